package bundle

import (
	"bytes"
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
	maxDepth   = 32  // of lists in lists
	maxNesting = 256 // of documents; Python gives up at 1,000
)

var errDepth = errors.New("lists within lists without end")

// jsonValue makes a value that encodes the same everywhere: NULL is null, bytes
// that are text become text, other bytes base64url, times RFC 3339, numbers
// that JSON readers would change text. A value that has no form in JSON is shown
// as text: one cell never keeps the rest of a person's data back.
func jsonValue(v any, depth int) (any, error) {
	if depth == 0 {
		return nil, errDepth
	}
	read, err := value.Scanned(v)
	if errors.Is(err, value.ErrType) { // a struct of the application, which says itself how it is encoded
		raw, err := json.Marshal(v)
		if err != nil {
			return nil, errors.Join(errEncode, err)
		}
		return json.RawMessage(raw), nil
	}
	if number, ok := v.(json.Number); ok && err != nil { // beyond what anything computes with
		return string(number), nil
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
		return jsonTime(at), nil
	case value.List:
		return jsonList(read, depth-1)
	case value.Map:
		return jsonMap(read, depth-1)
	default: // NULL and booleans are what they are
		return read.Any(), nil
	}
}

// jsonText is a document as it is, text as text, and what is neither in
// base64url. Text is also a document that other readers stumble over: with a name
// twice, an exponent without end, or nested beyond [maxNesting].
func jsonText(read value.Value) (any, error) {
	if read.Kind() == value.JSON {
		if document, err := read.JSON(); err == nil {
			if _, err := canon.Transform(document); err == nil && nesting(document) <= maxNesting {
				return json.RawMessage(document), nil
			}
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

// jsonTime is RFC 3339 in UTC, as every format of the library writes it, and
// with nine digits where six would lose some. A year that RFC 3339 does not know
// has a sign, as in ISO 8601.
func jsonTime(at time.Time) string {
	at = at.UTC()
	switch year := at.Year(); {
	case year < 0 || year > 9999:
		return fmt.Sprintf("%+05d", year) + at.Format("-01-02T15:04:05.999999999Z07:00")
	case at.Nanosecond()%1000 != 0:
		return at.Format(time.RFC3339Nano)
	}
	return canon.FormatTime(at)
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

// nesting is how deep the lists and objects of a document go.
func nesting(document []byte) (deepest int) {
	depth, tokens := 0, json.NewDecoder(bytes.NewReader(document))
	for {
		token, err := tokens.Token()
		if err != nil {
			return deepest
		}
		switch token {
		case json.Delim('['), json.Delim('{'):
			depth++
			deepest = max(deepest, depth)
		case json.Delim(']'), json.Delim('}'):
			depth--
		}
	}
}

// jsonType is the type of a value of jsonValue, as JSON Schema calls it.
func jsonType(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case int64, uint64:
		return "integer"
	case float64:
		return "number"
	case []any:
		return "array"
	case json.RawMessage:
		return typeOf(v)
	}
	return "object"
}

// typeOf is the type of a document.
func typeOf(document []byte) string {
	for _, c := range document {
		switch c {
		case ' ', '\t', '\n', '\r':
			continue
		case 'n':
			return "null"
		case 't', 'f':
			return "boolean"
		case '"':
			return "string"
		case '[':
			return "array"
		case '{':
			return "object"
		}
		return "number"
	}
	return "null"
}
