package tags

import (
	"crypto/sha256"
	"testing"

	"github.com/stretchr/testify/require"
)

func counting(n int) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = byte(i)
	}
	return out
}

// What stands before the leaf, byte by byte, as section 6 has it.
func TestQueueInput(t *testing.T) {
	digest := sha256.Sum256([]byte("sealed"))
	require.Equal(t, "\x00\x00\x00\x17crmguard/audit/queue/v2\x00\x00\x00\x11crm.example/audit\x00\x00\x00\x02t1\x00\x00\x00\x20"+string(digest[:]),
		string(Queue(nil, "crm.example/audit", "t1", []byte("sealed"))))
}

func TestSurrogateInput(t *testing.T) {
	const live, erasing = 0, 3
	surrogate, into := [16]byte(counting(16)), counting(16)
	require.Equal(t, "\x00\x00\x00\x02t1\x00\x00\x00\x10"+string(surrogate[:])+"\x03\x00\x00\x00\x00\x00\x00\x00\x00", string(Surrogate("t1", surrogate, erasing, nil, "")))
	require.Equal(t, "\x00\x00\x00\x02t1\x00\x00\x00\x10"+string(surrogate[:])+"\x00\x00\x00\x00\x10"+string(into)+"\x00\x00\x00\x02p1", string(Surrogate("t1", surrogate, live, into, "p1")))
}
