package audit

import (
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/internal/frame"
)

func counting(n int) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = byte(i)
	}
	return out
}

// What the tag of the state row is over, in the order of section 6.
func TestStateBytes(t *testing.T) {
	s := state{Tree: tlog.Tree{N: 3, Hash: tlog.Hash(counting(32))}, published: 2, beat: 1790000000000001, beatSize: 3, found: 4, mirrored: 5, people: 6, drained: 7, pruned: 8, swept: 9, tag: []byte("none of it")}
	require.Equal(t, "0000001763726d67756172642f61756469742f73746174652f76320000001363726d2e6578616d706c652f61756469742f300000000000000003000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f000000000000000200065bfeda25e0010000000000000003000000000000000400000000000000050000000000000006000000000000000700000000000000080000000000000009",
		hex.EncodeToString(stateData("crm.example/audit/0", s)))
}

// What is authenticated of a sale, byte by byte, as section 6 has it.
func TestRetryInput(t *testing.T) {
	e := &Event{
		Tenant: "t1", Actor: "u", Action: "a", Outcome: "ok", Object: PersonRef("contact", "p1"),
		Reason: "r", Request: "q", Policy: "y", For: "f", Prior: "i",
	}
	g := given{
		id: [16]byte(counting(16)), event: e, persons: []string{"p1", "p2"},
		changes: []change{{path: "email", who: "p1", before: frame.Value{Type: frame.Absent}, after: frame.Value{Type: frame.Text, Data: []byte("x")}}},
	}
	lp := func(parts ...string) (out string) {
		for _, part := range parts {
			out += string(frame.Append(nil, part))
		}
		return out
	}
	want := lp("crmguard/audit/retry/v2", "t1", string(counting(16)), "a", "u", "ok", "contact", "p1") + "\x01" + lp("r", "q", "y", "f", "i") +
		"\x00\x00\x00\x02" + lp("p1", "p2") + "\x00\x00\x00\x01" + lp("email", "p1") + "\x00" + lp("") + "\x02" + lp("x")
	require.Equal(t, want, string(g.append(nil)))
	k := macKey{id: 0x01020304, key: [32]byte(counting(32))}
	require.Equal(t, "0101020304", hex.EncodeToString(k.tag(nil, []byte("head"), []byte("rest"))[:5]))
	require.Equal(t, k.tag(nil, []byte("head"), []byte("rest")), newMACMaker(k).tag(nil, []byte("head"), []byte("rest")))
	require.Equal(t, k.sum(nil, []byte("headrest"), nil), k.sum(nil, []byte("head"), []byte("rest")))
}

func TestSurrogateInput(t *testing.T) {
	require.Equal(t, []int{0, 1, 2, 3}, []int{surrogateLive, surrogateErased, surrogateUnmapped, surrogateErasing})
	surrogate := [16]byte(counting(16))
	require.Equal(t, int64(0x0001020304050607), surrogateKey(surrogate))
	require.Equal(t, "s:AAECAwQFBgcICQoLDA0ODw", surrogateText(surrogate))
}
