package audit

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/frame"
)

// The library's own form of a value is none of an application's: it could be one
// that nothing reads, or a stand-in that nobody made. An empty decimal is none.
func TestTheFormOfTheLibraryIsNoValue(t *testing.T) {
	for _, v := range []any{frame.Value{Type: frame.Text, Data: []byte("x")}, &frame.Value{Type: frame.Null}, Decimal("")} {
		_, err := toValue(v)
		require.ErrorIs(t, err, frame.ErrValue)
	}
	got, err := toValue(Absent{})
	require.NoError(t, err)
	require.Equal(t, frame.Value{Type: frame.Absent}, got)
}
