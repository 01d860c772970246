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

// ParseTime reads what [FormatTime] writes, and no other spelling: package time
// takes a comma for the point. A year beyond 9999 is none that can be read.
func ParseTime(text string) (time.Time, error) {
	t, err := time.Parse(timeLayout, text)
	if err != nil || t.Format(timeLayout) != text {
		return time.Time{}, fmt.Errorf("%w: a time that is not RFC 3339 in UTC with six digits", ErrCanonical)
	}
	return t, nil
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
