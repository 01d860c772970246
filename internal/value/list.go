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

// Items are the items of a list, as they were handed in: read each with [Of].
// A nil slice is the empty list: databases know no list that is NULL and none.
func (v Value) Items() ([]any, error) {
	switch x := v.held.(type) {
	case []any:
		return x, nil
	case []string:
		out := make([]any, len(x))
		for i, s := range x {
			out[i] = s
		}
		return out, nil
	}
	if v.kind != List {
		return nil, v.not(wantList, ErrKind)
	}
	r := reflect.ValueOf(v.held)
	out := make([]any, r.Len())
	for i := range out {
		out[i] = r.Index(i).Interface()
	}
	return out, nil
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
		items, err := v.Items()
		if err != nil {
			return nil, err
		}
		dst = append(dst, '[')
		for i, item := range items {
			if dst, err = appendItem(dst, i, item, depth); err != nil {
				return nil, err
			}
		}
		return append(dst, ']'), nil
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
