package audit

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/canon"
)

// A cursor comes back as the place that it was made of, and nothing else is one: no
// version of another time, no byte more or less.
func TestACursorHasOneSpelling(t *testing.T) {
	for _, p := range []place{
		{end: 7, at: -5, n: 3}, {end: 1 << 40, at: 1 << 50, n: 0}, {waits: true, end: 9, at: 12, id: [16]byte{1, 2, 3}},
	} {
		got, err := parsePlace(p.String())
		require.NoError(t, err)
		require.Equal(t, p, got)
		data, err := canon.ParseBytes(p.String())
		require.NoError(t, err)
		refused := func(what string, data []byte) {
			t.Helper()
			_, err := parsePlace(canon.FormatBytes(data))
			require.ErrorIs(t, err, ErrInvalid, what)
		}
		other := func(at int, to byte) []byte {
			out := append([]byte(nil), data...)
			out[at] = to
			return out
		}
		refused("another version", other(0, placeVersion+1))
		refused("of the other kind", other(1, 1-data[1]))
		refused("of no kind", other(1, 2))
		refused("a size below nothing", other(2, 0x80))
		refused("a byte more", append(append([]byte(nil), data...), 0))
		refused("a byte less", data[:len(data)-1])
		refused("its beginning", data[:2])
	}
	first, err := parsePlace("")
	require.NoError(t, err)
	require.Equal(t, place{first: true, waits: true}, first)
}
