package canon

import (
	"encoding/base64"
	"fmt"
	"strings"
	"time"
)

const timeLayout = "2006-01-02T15:04:05.000000Z"

// FormatTime is how every format writes a time: RFC 3339 in UTC with exactly six
// digits behind the second. What is finer is cut off.
func FormatTime(t time.Time) string { return t.UTC().Format(timeLayout) }

// ParseTime reads what [FormatTime] writes, and no other spelling. A year beyond
// 9999 is none that can be read.
func ParseTime(text string) (time.Time, error) {
	t, ok := parseTime(text)
	if !ok {
		return time.Time{}, fmt.Errorf("%w: a time that is not RFC 3339 in UTC with six digits", ErrCanonical)
	}
	return t, nil
}

// parseTime reads the digits where the layout has them. Package time knows how
// long a month is.
func parseTime(text string) (time.Time, bool) {
	if len(text) != len(timeLayout) {
		return time.Time{}, false
	}
	var n [7]int // year, month, day, hour, minute, second, microsecond
	at := 0
	for i := range len(text) {
		c := text[i]
		switch d := timeLayout[i]; {
		case d < '0' || d > '9':
			if c != d {
				return time.Time{}, false
			}
			at++
		case c < '0' || c > '9':
			return time.Time{}, false
		default:
			n[at] = 10*n[at] + int(c-'0')
		}
	}
	if n[1] < 1 || n[1] > 12 || n[4] > 59 || n[5] > 59 {
		return time.Time{}, false
	}
	t := time.Date(n[0], time.Month(n[1]), n[2], n[3], n[4], n[5], 1000*n[6], time.UTC)
	return t, t.Day() == n[2] // the day after stands where a month or a day is too long
}

// FormatBytes is how every format writes bytes as text: base64url without
// padding.
func FormatBytes(data []byte) string {
	var room [64]byte // enough for a digest, which most are
	return string(base64.RawURLEncoding.AppendEncode(room[:0], data))
}

// ParseBytes reads what [FormatBytes] writes, and no other spelling: package
// base64 skips line ends and, where it is not strict, takes any trailing bits.
func ParseBytes(text string) ([]byte, error) {
	data, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") {
		return nil, fmt.Errorf("%w: bytes that are not base64url without padding", ErrCanonical)
	}
	return data, nil
}
