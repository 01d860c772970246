package auditlog

import (
	"bytes"
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"
)

func frames(owners ...byte) (out []Frame) {
	for _, n := range owners {
		out = append(out, Frame{Owner: [16]byte{n}, Body: bytes.Repeat([]byte{n}, bodyOver+bodyBlock)})
	}
	return out
}

func TestBytesOfOpeningsByOwner(t *testing.T) {
	require.Equal(t, []byte("x"), AppendFrames([]byte("x"), nil))
	none, err := ParseFrames(nil)
	require.NoError(t, err)
	require.Empty(t, none)

	data := AppendFrames([]byte("x"), frames(2, 0, 1))
	require.Equal(t, "78"+"02"+"0003"+"00000000000000000000000000000000"+"0000011c"+"0000", hex.EncodeToString(data[:26]))
	back, err := ParseFrames(data[1:])
	require.NoError(t, err)
	require.Equal(t, frames(0, 1, 2), back)
}

func TestNoOtherSpellingOfOpeningsByOwner(t *testing.T) {
	sound := AppendFrames(nil, frames(0, 1))
	size := 16 + 4 + bodyOver + bodyBlock
	swapped := append(append(bytes.Clone(sound[:3]), sound[3+size:]...), sound[3:3+size]...)
	for name, data := range map[string][]byte{
		"another version": append([]byte{1}, sound[1:]...), "no owner": {2, 0, 0}, "more owners than an event has": append([]byte{2, 1, 0xf6}, sound[3:]...),
		"an owner more": append([]byte{2, 0, 3}, sound[3:]...), "an owner less": append([]byte{2, 0, 1}, sound[3:]...), "owners swapped": swapped,
		"an owner twice": AppendFrames(nil, frames(1, 1)), "a byte more": append(bytes.Clone(sound), 0), "a short body": AppendFrames(nil, []Frame{{Body: make([]byte, bodyOver)}}),
		"a body between blocks": AppendFrames(nil, []Frame{{Body: make([]byte, bodyOver+1)}}), "no body": AppendFrames(nil, []Frame{{}}),
	} {
		_, err := ParseFrames(data)
		require.ErrorIs(t, err, ErrMalformed, name)
	}
	for n := 1; n < len(sound); n++ {
		_, err := ParseFrames(sound[:n])
		require.ErrorIs(t, err, ErrMalformed, "%d bytes", n)
	}
}

func TestAnEventHasAtMost501Owners(t *testing.T) {
	var many []Frame
	for i := range maxFrames + 1 {
		many = append(many, Frame{Owner: [16]byte{byte(i >> 8), byte(i)}, Body: make([]byte, bodyOver+bodyBlock)})
	}
	_, err := ParseFrames(AppendFrames(nil, many[1:]))
	require.NoError(t, err)
	_, err = ParseFrames(AppendFrames(nil, many))
	require.ErrorIs(t, err, ErrMalformed)
}

func FuzzFrames(f *testing.F) {
	f.Add(AppendFrames(nil, frames(0, 1, 2)))
	f.Add([]byte{2, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		parsed, err := ParseFrames(data)
		if err != nil {
			require.ErrorIs(t, err, ErrMalformed)
			return
		}
		require.Equal(t, len(data), len(AppendFrames(nil, parsed)))
		require.True(t, bytes.Equal(data, AppendFrames(nil, parsed)), "one list has one spelling")
	})
}

func TestAWaitingRowComesApartAsItWasPutTogether(t *testing.T) {
	tag := bytes.Repeat([]byte{7}, TagSize)
	for _, in := range []RowBody{{tag, []byte("leaf"), []byte("sealed")}, {tag, []byte("leaf"), []byte{}}} {
		data, err := AppendRowBody([]byte("x"), in)
		require.NoError(t, err)
		back, err := ParseRowBody(data[1:])
		require.NoError(t, err)
		require.Equal(t, in, back)
	}
	data, err := AppendRowBody(nil, RowBody{tag, []byte("leaf"), []byte("s")})
	require.NoError(t, err)
	require.Equal(t, "01"+hex.EncodeToString(tag)+"000000046c656166"+"73", hex.EncodeToString(data))
	for n := range len(data) - 1 {
		_, err := ParseRowBody(data[:n])
		require.ErrorIs(t, err, ErrMalformed, "%d bytes", n)
	}
	data[0] = 2
	_, err = ParseRowBody(data)
	require.ErrorIs(t, err, ErrMalformed)

	for _, wrong := range []RowBody{{tag[1:], []byte("leaf"), nil}, {tag, nil, nil}, {tag, make([]byte, MaxLeaf+1), nil}} {
		_, err := AppendRowBody(nil, wrong)
		require.ErrorIs(t, err, ErrMalformed)
	}
	_, err = ParseRowBody(append(append([]byte{1}, tag...), 0, 0, 0, 0))
	require.ErrorIs(t, err, ErrMalformed, "no leaf")
	_, err = ParseRowBody(append(append(append([]byte{1}, tag...), 0, 1, 0, 0), make([]byte, MaxLeaf+1)...))
	require.ErrorIs(t, err, ErrMalformed, "a leaf above 65,535 bytes")
}

func FuzzRowBody(f *testing.F) {
	data, err := AppendRowBody(nil, RowBody{make([]byte, TagSize), []byte("leaf"), []byte("sealed")})
	require.NoError(f, err)
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := ParseRowBody(data)
		if err != nil {
			require.ErrorIs(t, err, ErrMalformed)
			return
		}
		again, err := AppendRowBody(nil, b)
		require.NoError(t, err)
		require.True(t, bytes.Equal(data, again), "one row has one spelling")
	})
}
