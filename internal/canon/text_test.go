package canon_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/crmguard/crmguard/internal/canon"
)

func TestATimeHasOneText(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6999, time.FixedZone("", 3600))
	require.Equal(t, "2026-01-02T02:04:05.000006Z", canon.FormatTime(at))
	for _, text := range []string{
		"", "2026-01-02T02:04:05Z", "2026-01-02T02:04:05.006Z", "2026-01-02T02:04:05.0000060Z", "2026-01-02T02:04:05,000006Z",
		"2026-01-02T02:04:05.000006+00:00", "2026-01-02t02:04:05.000006z", "2026-01-02 02:04:05.000006Z", " 2026-01-02T02:04:05.000006Z",
		"2026-02-30T02:04:05.000006Z", "2026-01-02T24:00:00.000000Z", "2026-01-02T02:04:60.000000Z", "2026-1-02T02:04:05.000006Z", "10000-01-02T02:04:05.000006Z",
		canon.FormatTime(time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)), canon.FormatTime(time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC)),
	} {
		_, err := canon.ParseTime(text)
		require.ErrorIs(t, err, canon.ErrCanonical, text)
	}
	first, last := time.Time{}.AddDate(-1, 0, 0).Unix(), time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC).Unix()-1
	rapid.Check(t, func(t *rapid.T) {
		at := time.Unix(rapid.Int64Range(first, last).Draw(t, "second"), rapid.Int64Range(0, 999_999_999).Draw(t, "nano"))
		text := canon.FormatTime(at)
		got, err := canon.ParseTime(text)
		require.NoError(t, err)
		require.True(t, got.Equal(at.Truncate(time.Microsecond)))
		require.Equal(t, text, canon.FormatTime(got))
	})
}

func TestBytesHaveOneText(t *testing.T) {
	require.Equal(t, "-_8", canon.FormatBytes([]byte{0xfb, 0xff}))
	for _, text := range []string{"A", "AB", "-_9", "-_8=", "+/8", "-_8\n", "-\r\n_8", " -_8", "-_8 ", "-_8\x00", "é"} {
		_, err := canon.ParseBytes(text)
		require.ErrorIs(t, err, canon.ErrCanonical, "%q", text)
	}
	rapid.Check(t, func(t *rapid.T) {
		data := rapid.SliceOf(rapid.Byte()).Draw(t, "data")
		got, err := canon.ParseBytes(canon.FormatBytes(data))
		require.NoError(t, err)
		require.Equal(t, len(data), len(got))
		require.Equal(t, string(data), string(got))

		text := rapid.StringMatching(`[A-Za-z0-9_\-+/=\n]{0,9}`).Draw(t, "text")
		if got, err := canon.ParseBytes(text); err == nil {
			require.Equal(t, text, canon.FormatBytes(got))
		}
	})
}
