package integrity

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/crmguard/crmguard/internal/value"
)

// given is a value of a record as the rules see it: pointers, named types,
// sql.Null* and other valuers are what they lead to, by the rules of package
// value. What cannot be read stays what it is, of no type that a field takes.
func given(v any) any {
	switch v.(type) {
	case nil, string, int64, int, float64, bool, time.Time, json.Number:
		return v
	}
	read, err := value.Of(v)
	if err != nil {
		return err
	}
	if read.Kind() == value.UUID {
		text, _ := read.Text()
		return text
	}
	if read.Kind() == value.Duration {
		n, _ := read.Integer()
		return n
	}
	return read.Any()
}

// wholeOf is a whole number that has passed the rules of its field, so that it
// fits.
func wholeOf(v any) int64 {
	read, _ := value.Of(v)
	n, _ := read.Integer()
	return n
}

// canonicalText is a text for values that are none, so that they compare.
func canonicalText(typed any) string {
	switch x := typed.(type) {
	case int64:
		return strconv.FormatInt(x, 10)
	case bool:
		return strconv.FormatBool(x)
	case time.Time:
		return x.UTC().Format(time.RFC3339Nano)
	}
	return ""
}
