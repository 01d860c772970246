package auditlog

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/crmguard/crmguard/internal/frame"
)

func counted(begin byte) (out [32]byte) {
	for i := range out {
		out[i] = begin + byte(i)
	}
	return out
}

func anOpening() *Opening {
	return &Opening{Seed: counted(0), Fields: []Field{
		{"email", SideNew, frame.Value{Type: frame.Text, Data: []byte("a@b.example")}},
		{"email", SideOld, frame.Value{Type: frame.Null}},
		{"a name of no column", SideName, frame.Value{Type: frame.Text, Data: []byte("a name of no column")}},
		{"a name of no column", SideNew, NewStandIn(StandInText, []byte("\xff"))},
		{"a name of no column", SideOld, frame.Value{Type: frame.Absent}},
	}}
}

func body(t require.TestingT, o *Opening) []byte {
	data, err := AppendBody(nil, o)
	require.NoError(t, err)
	return data
}

// The bytes of an opening, spelt out by hand once.
func TestBytesOfAnOpening(t *testing.T) {
	seed := counted(0)
	o := &Opening{Seed: seed, Fields: []Field{
		{"b", SideNew, frame.Value{Type: frame.Text, Data: []byte("x")}}, {"b", SideOld, frame.Value{Type: frame.Null}}, {"a", SideName, frame.Value{Type: frame.Boolean, Data: []byte{1}}},
	}}
	want := hex.EncodeToString(seed[:]) + "0003" +
		"00000001" + "61" + "02" + "04" + "00000001" + "01" +
		"00000001" + "62" + "00" + "01" + "00000000" +
		"00000001" + "62" + "01" + "02" + "00000001" + "78"
	data, err := AppendBody([]byte("before"), o)
	require.NoError(t, err)
	require.Len(t, data, len("before")+256)
	got := hex.EncodeToString(data[len("before"):])
	require.Equal(t, want, got[:len(want)])
	require.Empty(t, bytes.Trim(data[len("before")+len(want)/2:], "\x00"))
}

func TestAnOpeningComesBackAsItWas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := &Opening{Seed: [32]byte(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "seed"))}
		for _, path := range rapid.SliceOfDistinct(rapid.StringN(1, 40, 255), rapid.ID).Draw(t, "paths") {
			for side := range rapid.ByteMax(SideName).Draw(t, "sides") {
				v := frame.Value{Type: frame.Type(rapid.ByteMax(11).Draw(t, "type")), Data: rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "value")}
				o.Fields = append(o.Fields, Field{path, side, v})
			}
		}
		data := body(t, o)
		require.Zero(t, len(data)%256)
		back, err := ParseBody(data)
		require.NoError(t, err)
		require.Equal(t, o.Seed, back.Seed)
		require.Len(t, back.Fields, len(o.Fields))
		require.Equal(t, data, body(t, back))
	})
}

func FuzzBody(f *testing.F) {
	f.Add(body(f, anOpening()))
	f.Add(body(f, &Opening{}))
	f.Add(make([]byte, 256))
	f.Fuzz(func(t *testing.T, data []byte) {
		o, err := ParseBody(data)
		if err != nil {
			require.ErrorIs(t, err, ErrMalformed)
			return
		}
		require.Equal(t, data, body(t, o), "one opening has one spelling")
	})
}

func TestNoOtherSpellingOfAnOpening(t *testing.T) {
	sound := body(t, anOpening())
	at := func(i int, b byte) []byte {
		data := bytes.Clone(sound)
		data[i] = b
		return data
	}
	for name, data := range map[string][]byte{
		"nothing": {}, "a byte less": sound[1:], "a block more": append(bytes.Clone(sound), make([]byte, 256)...),
		"a byte in the padding": at(len(sound)-1, 1), "a field less": at(33, 4), "a field more": at(33, 6), "fields without end": at(32, 0xff),
		"an empty path":   append(append(bytes.Clone(sound[:32]), 0, 1, 0, 0, 0, 0, 0, 1), make([]byte, 256-40)...),
		"a side too many": at(34+4+19, 3), "a type too many": at(34+4+19+1, 12), "a path that is not UTF-8": at(34+4, 0xff), "a long path": at(34, 0xff),
	} {
		_, err := ParseBody(data)
		require.ErrorIs(t, err, ErrMalformed, name)
	}
	two := body(t, &Opening{Fields: []Field{{"a", SideOld, frame.Value{}}, {"b", SideOld, frame.Value{}}}})
	const size = 4 + 1 + 1 + 1 + 4 // of each field
	first, second := two[34:34+size], two[34+size:34+2*size]
	for name, fields := range map[string][][]byte{"fields swapped": {second, first}, "a field twice": {first, first}} {
		_, err := ParseBody(append(append(append(bytes.Clone(two[:34]), fields[0]...), fields[1]...), two[34+2*size:]...))
		require.ErrorIs(t, err, ErrMalformed, name)
	}
	twice := &Opening{Fields: []Field{{"a", SideOld, frame.Value{}}, {"a", SideOld, frame.Value{}}}}
	_, err := AppendBody(nil, twice)
	require.ErrorIs(t, err, ErrMalformed)
	_, err = AppendBody(nil, &Opening{Fields: []Field{{"a", 3, frame.Value{}}}})
	require.ErrorIs(t, err, ErrMalformed)
	_, err = AppendBody(nil, &Opening{Fields: []Field{{"a", 0, frame.Value{Type: frame.Bytes, Data: make([]byte, maxBody)}}}})
	require.ErrorIs(t, err, ErrTooLarge)
}

func TestASealedOpeningIsOfOneEventAndOwner(t *testing.T) {
	content, event, owner := counted(1), [16]byte{1}, [16]byte{2}
	plain := body(t, anOpening())
	sealed, err := SealBody([]byte("before"), &content, event, owner, plain)
	require.NoError(t, err)
	require.Equal(t, "before", string(sealed[:6]))
	sealed = sealed[6:]
	require.Len(t, sealed, 12+len(plain)+16)
	back, err := OpenBody(&content, event, owner, sealed)
	require.NoError(t, err)
	require.Equal(t, plain, back)

	again, err := SealBody(nil, &content, event, owner, plain)
	require.NoError(t, err)
	require.NotEqual(t, sealed, again, "each sealing has a nonce of its own")

	other := counted(2)
	_, err = OpenBody(&other, event, owner, sealed)
	require.ErrorIs(t, err, ErrTampered, "another key")
	_, err = OpenBody(&content, [16]byte{9}, owner, sealed)
	require.ErrorIs(t, err, ErrTampered, "another event")
	_, err = OpenBody(&content, event, [16]byte{9}, sealed)
	require.ErrorIs(t, err, ErrTampered, "another owner")
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		_, err := OpenBody(&content, event, owner, changed)
		require.ErrorIs(t, err, ErrTampered, "byte %d", i)
	}
	for _, n := range []int{0, 1, 28, 28 + 255, len(sealed) - 1} {
		_, err := OpenBody(&content, event, owner, sealed[:n])
		require.ErrorIs(t, err, ErrMalformed, "%d bytes", n)
	}
}

// The vector of formats.md, section 6.
func TestVectorOfTheKeyOfAnOpening(t *testing.T) {
	content := counted(0)
	require.Equal(t, "f1640ca1e7a4042d822a0ed0b0305390406214ce9b2d0a7dfddc5adbc2c6b667", hex.EncodeToString(bodyKey(&content, [16]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15})))
}

// Any AES-GCM opens it, with what formats.md says and nothing of ours.
func TestAnySealedOpeningOpensWithAnyGCM(t *testing.T) {
	content, event, owner := counted(1), [16]byte{1, 2, 3}, [16]byte{4, 5, 6}
	plain := body(t, anOpening())
	sealed, err := SealBody(nil, &content, event, owner, plain)
	require.NoError(t, err)
	mac := hmac.New(sha256.New, content[:])
	mac.Write([]byte("\x00\x00\x00\x17crmguard/opening/key/v2\x00\x00\x00\x10"))
	mac.Write(event[:])
	block, err := aes.NewCipher(mac.Sum(nil))
	require.NoError(t, err)
	gcm, err := cipher.NewGCM(block)
	require.NoError(t, err)
	ad := append([]byte("\x00\x00\x00\x13crmguard/opening/v2\x00\x00\x00\x10"), event[:]...)
	ad = append(append(ad, 0, 0, 0, 16), owner[:]...)
	back, err := gcm.Open(nil, sealed[:12], sealed[12:], ad)
	require.NoError(t, err)
	require.Equal(t, plain, back)
}

func BenchmarkSealBody(b *testing.B) {
	content, o := counted(1), anOpening()
	var plain, sealed []byte
	b.ReportAllocs()
	for b.Loop() {
		plain, _ = AppendBody(plain[:0], o)
		sealed, _ = SealBody(sealed[:0], &content, [16]byte{1}, [16]byte{2}, plain)
	}
}
