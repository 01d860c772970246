package values

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/internal/frame"
)

// The library's own form of a value is none of an application's: it could be one
// that nothing reads, or a stand-in that nobody made. An empty decimal is none.
func TestTheFormOfTheLibraryIsNoValue(t *testing.T) {
	for _, v := range []any{frame.Value{Type: frame.Text, Data: []byte("x")}, &frame.Value{Type: frame.Null}, auditlog.Decimal("")} {
		_, err := Of(v)
		require.ErrorIs(t, err, frame.ErrValue)
	}
	got, err := Of(auditlog.Absent{})
	require.NoError(t, err)
	require.Equal(t, frame.Value{Type: frame.Absent}, got)
}

func TestValuesComeBack(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	for _, v := range []any{auditlog.Absent{}, nil, "x", "", int64(-7), true, false, []byte{1}, at, 1.5, auditlog.JSON(`{"a":1}`), auditlog.Decimal("1.50"), auditlog.Date("2026-01-02")} {
		value, err := Of(v)
		require.NoError(t, err)
		back, err := auditlog.GoValue(value)
		require.NoError(t, err)
		require.Equal(t, v, back)
	}
	for _, v := range []any{struct{}{}, "\xff", auditlog.Decimal("1,5"), auditlog.Decimal(""), auditlog.Date("x"), auditlog.JSON("{"), frame.Value{Type: 99}} {
		_, err := Of(v)
		require.ErrorIs(t, err, frame.ErrValue)
	}
	for _, v := range []frame.Value{{Type: frame.Null, Data: []byte{1}}, {Type: frame.Boolean, Data: []byte{2}}, {Type: frame.Integer}, {Type: 11, Data: make([]byte, 8)}} {
		_, err := auditlog.GoValue(v)
		require.ErrorIs(t, err, auditlog.ErrMalformed)
	}
}
