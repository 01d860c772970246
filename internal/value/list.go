package value

import (
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// maxDepth bounds lists in lists.
const maxDepth = 32

// Len is how many items a list has; [Value.Item] has each as it was handed in,
// to be read with [Of]. A nil slice is the empty list: databases know no list
// that is NULL and none.
func (v Value) Len() (int, error) {
	if v.kind != List {
		return 0, v.not(wantList, ErrKind)
	}
	switch x := v.held.(type) {
	case []string:
		return len(x), nil
	case []any:
		return len(x), nil
	}
	return reflect.ValueOf(v.held).Len(), nil
}

// Item is one item of a list; i is less than [Value.Len].
func (v Value) Item(i int) any {
	switch x := v.held.(type) {
	case []string:
		return x[i]
	case []any:
		return x[i]
	}
	return reflect.ValueOf(v.held).Index(i).Interface()
}

// Fields are the values of a map by name, as they were handed in.
func (v Value) Fields() (map[string]any, error) {
	if x, isMap := v.held.(map[string]any); isMap {
		return x, nil
	}
	if v.kind != Map {
		return nil, v.not(wantMap, ErrKind)
	}
	r := reflect.ValueOf(v.held)
	out := make(map[string]any, r.Len())
	for i := r.MapRange(); i.Next(); {
		out[i.Key().String()] = i.Value().Interface()
	}
	return out, nil
}

// JSON is a JSON document: that of a json.RawMessage, of text and bytes that
// hold one, of numbers and booleans (SQLite makes a number of the document 17),
// and of a list or a map, whose integers keep all their digits and whose times
// are RFC 3339 in UTC. It is not canonical.
func (v Value) JSON() ([]byte, error) {
	var document []byte
	switch v.kind {
	case JSON, Bytes:
		document = v.bytes()
	case Text:
		document = []byte(v.text)
	case List, Map, Integer, Unsigned, Boolean, Float, Number:
		out, err := v.appendJSON(nil, maxDepth)
		if err != nil {
			return nil, v.not(wantJSON, err)
		}
		return out, nil
	default:
		return nil, v.not(wantJSON, ErrKind)
	}
	switch {
	case !utf8.Valid(document):
		return nil, v.not(wantJSON, ErrText)
	case !json.Valid(document):
		return nil, v.not(wantJSON, ErrKind)
	}
	return document, nil
}

// appendJSON writes a value inside a list or a map; its error is a sentinel.
func (v Value) appendJSON(dst []byte, depth int) ([]byte, error) {
	switch v.kind {
	case Null:
		return append(dst, "null"...), nil
	case Text:
		return appendString(dst, v.text)
	case UUID:
		return appendString(dst, uuidText(v.held))
	case Integer:
		return strconv.AppendInt(dst, int64(v.bits), 10), nil
	case Unsigned:
		return strconv.AppendUint(dst, v.bits, 10), nil
	case Boolean:
		return strconv.AppendBool(dst, v.bits == 1), nil
	case Number:
		return append(dst, v.text...), nil
	case JSON:
		document, err := v.JSON()
		if err != nil {
			return nil, ErrKind
		}
		return append(dst, document...), nil
	case Float:
		x, _ := v.Float()
		if !finite(x) {
			return nil, ErrRange
		}
		return strconv.AppendFloat(dst, x, 'g', -1, 64), nil
	case Time:
		at, _ := v.Time(nil)
		return at.UTC().AppendFormat(append(dst, '"'), time.RFC3339Nano+`"`), nil
	case List, Map:
		if depth == 0 {
			return nil, ErrRange
		}
		return v.appendNested(dst, depth-1)
	default:
		return nil, ErrKind // bytes and durations have no form in JSON
	}
}

func (v Value) appendNested(dst []byte, depth int) ([]byte, error) {
	if v.kind == List {
		n, err := v.Len()
		dst = append(dst, '[')
		for i := range n {
			if dst, err = appendItem(dst, i, v.Item(i), depth); err != nil {
				return nil, err
			}
		}
		return append(dst, ']'), err
	}
	fields, err := v.Fields()
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	slices.Sort(names)
	dst = append(dst, '{')
	for i, name := range names {
		if i > 0 {
			dst = append(dst, ',')
		}
		if dst, err = appendString(dst, name); err != nil {
			return nil, err
		}
		if dst, err = appendItem(append(dst, ':'), 0, fields[name], depth); err != nil {
			return nil, err
		}
	}
	return append(dst, '}'), nil
}

func appendItem(dst []byte, i int, item any, depth int) ([]byte, error) {
	if i > 0 {
		dst = append(dst, ',')
	}
	v, err := Of(item)
	if err != nil {
		return nil, ErrType
	}
	return v.appendJSON(dst, depth)
}

// appendString never puts U+FFFD in place of what is no UTF-8.
func appendString(dst []byte, s string) ([]byte, error) {
	if !utf8.ValidString(s) {
		return nil, ErrText
	}
	quoted, err := json.Marshal(s)
	return append(dst, quoted...), err
}
