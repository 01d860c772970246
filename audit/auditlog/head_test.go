package auditlog

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func aHead() *Head { return &Head{Content: counted(0), Surrogate: [16]byte{1, 2, 3}, Person: "p1"} }

// The bytes of a head, spelt out by hand once.
func TestBytesOfAHead(t *testing.T) {
	content := counted(0)
	want := "01" + hex.EncodeToString(content[:]) + "00000010" + "01020300000000000000000000000000" + "00000002" + "7031"
	data, err := AppendHead([]byte("before"), aHead())
	require.NoError(t, err)
	require.Equal(t, want+strings.Repeat("00", 64-len(want)/2), hex.EncodeToString(data[len("before"):]))
	sum := sha256.Sum256(data[len("before"):])
	require.Equal(t, "de8814efba32d96cd07f1420cdeac2a08d2b9555d25e9b24f5d11a52d8dfd27e", hex.EncodeToString(sum[:]), "the vector of formats.md, section 6")
	require.Equal(t, "00000015"+hex.EncodeToString([]byte("crmguard/surrogate/v1"))+"00000011"+hex.EncodeToString([]byte("crm.example/audit"))+"00000010"+"01020300000000000000000000000000",
		hex.EncodeToString(HeadData("crm.example/audit", [16]byte{1, 2, 3})))
}

func TestAHeadComesBackAsItWas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := Head{Content: [32]byte(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "content"))}
		if rapid.Bool().Draw(t, "of a person") {
			h.Surrogate[0], h.Person = 1, rapid.StringN(1, 255, 255).Draw(t, "person")
		}
		data, err := AppendHead(nil, &h)
		require.NoError(t, err)
		require.Zero(t, len(data)%64)
		back, err := ParseHead(data)
		require.NoError(t, err)
		require.Equal(t, h, back)
	})
}

func TestNoOtherSpellingOfAHead(t *testing.T) {
	sound, err := AppendHead(nil, aHead())
	require.NoError(t, err)
	at := func(i int, b byte) []byte {
		data := bytes.Clone(sound)
		data[i] = b
		return data
	}
	for name, data := range map[string][]byte{
		"nothing": {}, "a byte less": sound[:63], "a block more": append(bytes.Clone(sound), make([]byte, 64)...), "another version": at(0, 2),
		"a short surrogate": at(36, 15), "a person without end": at(53, 1), "a person that is not UTF-8": at(57, 0xff), "a byte in the padding": at(63, 1),
		"a person without a surrogate": append(append(bytes.Clone(sound[:37]), make([]byte, 16)...), sound[53:]...), "a surrogate without a person": append(bytes.Clone(sound[:53]), make([]byte, 11)...),
	} {
		_, err := ParseHead(data)
		require.ErrorIs(t, err, ErrMalformed, name)
	}
	for _, wrong := range []Head{{Person: "p1"}, {Surrogate: [16]byte{1}}, {Surrogate: [16]byte{1}, Person: "\xff"}} {
		_, err := AppendHead(nil, &wrong)
		require.ErrorIs(t, err, ErrMalformed)
	}
}

func FuzzHead(f *testing.F) {
	sound, err := AppendHead(nil, aHead())
	require.NoError(f, err)
	f.Add(sound)
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := ParseHead(data)
		if err != nil {
			require.ErrorIs(t, err, ErrMalformed)
			return
		}
		again, err := AppendHead(nil, &h)
		require.NoError(t, err)
		require.True(t, bytes.Equal(data, again), "one head has one spelling")
	})
}
