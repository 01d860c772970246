package canon

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// What stands here writes parts of a document behind one another, for those who
// write members in their order themselves: without reflection, and without a
// second pass.

// AppendText appends a string.
func AppendText(dst []byte, text string) ([]byte, error) {
	dst, err := jsontext.AppendQuote(dst, text)
	if err != nil {
		return dst, fmt.Errorf("%w: text that is not UTF-8", ErrCanonical)
	}
	return dst, nil
}

// AppendInt appends an integer.
func AppendInt(dst []byte, n int64) ([]byte, error) {
	if n > maxInteger || n < -maxInteger {
		return dst, fmt.Errorf("%w: an integer beyond 2^53-1", ErrCanonical)
	}
	return strconv.AppendInt(dst, n, 10), nil
}

// AppendTime appends a string that holds a time, as [FormatTime] writes it.
func AppendTime(dst []byte, t time.Time) ([]byte, error) {
	t = t.UTC()
	if year := t.Year(); year < 0 || year > 9999 {
		return dst, fmt.Errorf("%w: a year beyond 9999 or before 0", ErrCanonical)
	}
	dst = t.AppendFormat(append(dst, '"'), timeLayout)
	return append(dst, '"'), nil
}

// strict is the spelling of bytes that [ParseBytes] reads.
var strict = base64.RawURLEncoding.Strict()

// IsBytes says whether text is what [FormatBytes] writes of n bytes, at most 64
// of them.
func IsBytes(text string, n int) bool {
	var in [86]byte
	var out [64]byte
	if n < 0 || n > len(out) || len(text) != strict.EncodedLen(n) {
		return false
	}
	copy(in[:], text)
	got, err := strict.Decode(out[:], in[:len(text)])
	return err == nil && got == n // line ends are skipped, and then it is fewer
}
