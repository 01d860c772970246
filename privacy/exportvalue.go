package privacy

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"
	"unicode/utf8"

	"github.com/crmguard/crmguard/internal/canon"
	"github.com/crmguard/crmguard/internal/value"
)

const (
	maxInteger = 1<<53 - 1
	maxDepth   = 32 // of lists in lists
)

// jsonValue makes a value that encodes the same everywhere: NULL is null, bytes
// that are text become text, other bytes base64url, times RFC 3339, numbers
// that JSON readers would change text. A value that has no form in JSON is shown
// as text: one cell never keeps the rest of a person's data back.
func jsonValue(v any, depth int) (any, error) {
	if depth == 0 {
		return nil, errors.New("lists within lists without end")
	}
	read, err := value.Scanned(v)
	if errors.Is(err, value.ErrType) { // a struct of the application, which says itself how it is encoded
		raw, err := json.Marshal(v)
		return json.RawMessage(raw), mute("encoding a value", err)
	}
	if err != nil {
		return nil, err
	}
	switch read.Kind() {
	case value.Text, value.Bytes, value.JSON:
		return jsonText(read)
	case value.UUID:
		return read.Text()
	case value.Integer, value.Unsigned, value.Number, value.Duration:
		return jsonNumber(read)
	case value.Float:
		if x, _ := read.Float(); math.IsNaN(x) || math.IsInf(x, 0) {
			return fmt.Sprint(x), nil
		}
		return read.Any(), nil
	case value.Time:
		at, _ := read.Any().(time.Time)
		return stamp(at), nil
	case value.List:
		return jsonList(read, depth-1)
	case value.Map:
		return jsonMap(read, depth-1)
	default: // NULL and booleans are what they are
		return read.Any(), nil
	}
}

// jsonText is a document as it is, text as text, and what is neither in
// base64url.
func jsonText(read value.Value) (any, error) {
	if read.Kind() == value.JSON {
		if document, err := read.JSON(); err == nil {
			return json.RawMessage(document), nil
		}
	}
	raw, err := read.Bytes()
	if err != nil {
		return nil, err
	}
	if utf8.Valid(raw) {
		return string(raw), nil
	}
	return map[string]any{"base64url": canon.FormatBytes(raw)}, nil
}

// jsonNumber is a number, or its text where JSON readers would change it.
func jsonNumber(read value.Value) (any, error) {
	if n, err := read.Integer(); err == nil && n <= maxInteger && n >= -maxInteger {
		return n, nil
	}
	if x, err := read.Float(); err == nil && read.Kind() == value.Number {
		return x, nil
	}
	if d, err := read.Duration(); err == nil {
		return fmt.Sprint(int64(d)), nil
	}
	return read.Digits()
}

func jsonList(read value.Value, depth int) (any, error) {
	n, err := read.Len()
	out := make([]any, n)
	for i := range out {
		if out[i], err = jsonValue(read.Item(i), depth); err != nil {
			return nil, err
		}
	}
	return out, err
}

func jsonMap(read value.Value, depth int) (any, error) {
	fields, err := read.Fields()
	out := make(map[string]any, len(fields))
	for name, v := range fields {
		if out[name], err = jsonValue(v, depth); err != nil {
			return nil, err
		}
	}
	return out, err
}
