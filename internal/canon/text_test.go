package canon_test

import (
	"bytes"
	"fmt"
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

// timeOfPackageTime is the slow way, which says what a time is.
func timeOfPackageTime(text string) (time.Time, bool) {
	const layout = "2006-01-02T15:04:05.000000Z"
	at, err := time.Parse(layout, text)
	return at, err == nil && at.Format(layout) == text
}

func sameTime(t require.TestingT, text string) {
	want, sound := timeOfPackageTime(text)
	got, err := canon.ParseTime(text)
	require.Equal(t, sound, err == nil, "%q", text)
	if sound {
		require.Equal(t, want, got)
	}
}

// Each day there could be in years of each kind, and each number in each place.
func TestATimeIsReadAsPackageTimeReadsIt(t *testing.T) {
	for _, year := range []int{0, 1, 4, 100, 400, 1900, 1970, 2000, 2023, 2024, 2100, 9999} {
		for month := range 14 {
			for day := range 34 {
				sameTime(t, fmt.Sprintf("%04d-%02d-%02dT01:02:03.000004Z", year, month, day))
			}
		}
	}
	for n := range 100 {
		for _, layout := range []string{"2026-11-27T%02d:02:03.000004Z", "2026-11-27T01:%02d:03.000004Z", "2026-11-27T01:02:%02d.000004Z", "2026-11-%02dT01:02:03.000004Z", "2026-11-27T01:02:03.%02d9999Z"} {
			sameTime(t, fmt.Sprintf(layout, n))
		}
	}
	sound := []byte("2026-11-27T01:02:03.000004Z")
	for i := range sound {
		for c := range 256 {
			changed := bytes.Clone(sound)
			changed[i] = byte(c)
			sameTime(t, string(changed))
		}
	}
}

func FuzzTime(f *testing.F) {
	f.Add("2026-11-27T01:02:03.000004Z")
	f.Add("0000-02-29T23:59:59.999999Z")
	f.Fuzz(func(t *testing.T, text string) { sameTime(t, text) })
}
