package value

import (
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"time"
)

// Kind is what a value is before anybody has said what it should be.
type Kind uint8

// The kinds. There are no others.
const (
	Null     Kind = iota // SQL NULL, whatever it is spelled with in Go
	Text                 // a string; [Value.Text] says whether it is UTF-8
	Integer              // up to 63 bits and a sign
	Unsigned             // an integer beyond 63 bits, exact
	Boolean              // true or false
	Bytes                // bytes, which may be text that a driver left as bytes
	Float                // binary64; may be NaN or infinite
	Number               // a json.Number that is no Integer, as it is written
	Time                 // a point in time
	Duration             // a time.Duration
	UUID                 // 16 bytes
	JSON                 // a json.RawMessage: one document, not looked at
	List                 // a slice or an array
	Map                  // values by name
)

var kindNames = [...]string{
	"NULL", "text", "integer", "integer beyond 63 bits", "boolean", "bytes", "float", "number",
	"time", "duration", "UUID", "JSON", "list", "map",
}

// String is the name of the kind.
func (k Kind) String() string {
	if int(k) >= len(kindNames) {
		return "unknown"
	}
	return kindNames[k]
}

// Value is a value of a known kind. The zero Value is NULL. It may hold on to
// bytes, lists and maps that were handed in: whoever changes them changes it.
type Value struct {
	kind Kind
	bits uint64 // Integer, Unsigned, Boolean, Float, Duration
	text string // Text, Number
	held any    // Bytes, Time, UUID, JSON, List, Map
}

// Kind is what the value is.
func (v Value) Kind() Kind { return v.kind }

// IsNull holds for NULL.
func (v Value) IsNull() bool { return v.kind == Null }

// Of reads a Go value: what the application holds in its structs, and what a
// Scan has put into a typed variable. The package comment has the rules.
func Of(v any) (Value, error) {
	switch x := v.(type) { // the common types first: reflection costs
	case nil:
		return Value{}, nil
	case string:
		return Value{kind: Text, text: x}, nil
	case int64:
		return integer(x), nil
	case int:
		return integer(int64(x)), nil
	case bool:
		return boolean(x), nil
	case []byte:
		return ofBytes(v, x == nil), nil
	case time.Time:
		return Value{kind: Time, held: v}, nil
	case float64:
		return float(x), nil
	case *string:
		if x == nil {
			return Value{}, nil
		}
		return Value{kind: Text, text: *x}, nil
	case sql.NullString:
		if !x.Valid {
			return Value{}, nil
		}
		return Value{kind: Text, text: x.String}, nil
	case sql.NullInt64:
		if !x.Valid {
			return Value{}, nil
		}
		return integer(x.Int64), nil
	case sql.NullBool:
		if !x.Valid {
			return Value{}, nil
		}
		return boolean(x.Bool), nil
	case sql.RawBytes:
		return ofBytes([]byte(x), x == nil), nil
	}
	return ofRest(v)
}

// Scanned reads what a Scan has put into an *any. It differs from [Of] in one
// rule: nil bytes are empty bytes there, because NULL is nil itself, and the
// SQLite driver gives an empty blob as nil bytes.
func Scanned(v any) (Value, error) {
	if x, isBytes := v.([]byte); isBytes && x == nil {
		return Value{kind: Bytes, held: []byte{}}, nil
	}
	return Of(v)
}

// ofRest reads the less common types, after pointers and valuers are resolved.
func ofRest(v any) (Value, error) {
	switch x := v.(type) {
	case int32:
		return integer(int64(x)), nil
	case uint64:
		return unsigned(x), nil
	case float32:
		return float(float64(x)), nil
	case json.Number:
		return ofNumber(x)
	case json.RawMessage:
		if x == nil {
			return Value{}, nil
		}
		return Value{kind: JSON, held: []byte(x)}, nil
	case time.Duration:
		return Value{kind: Duration, bits: uint64(x)}, nil
	case []string, []any:
		return Value{kind: List, held: v}, nil
	case map[string]any:
		return Value{kind: Map, held: v}, nil
	}
	if leads(v) {
		plain, err := Resolve(v)
		if err != nil {
			return Value{}, err
		}
		return Of(plain) // a plain value leads nowhere
	}
	return ofKind(v, reflect.ValueOf(v))
}

// ofKind reads named types by what they are made of.
func ofKind(v any, r reflect.Value) (Value, error) {
	switch r.Kind() {
	case reflect.String:
		return Value{kind: Text, text: r.String()}, nil
	case reflect.Bool:
		return boolean(r.Bool()), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return integer(r.Int()), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return unsigned(r.Uint()), nil
	case reflect.Float32, reflect.Float64:
		return float(r.Float()), nil
	case reflect.Slice:
		if r.Type().Elem().Kind() == reflect.Uint8 {
			return ofBytes(r.Bytes(), r.IsNil()), nil
		}
		return Value{kind: List, held: v}, nil
	case reflect.Array:
		return ofArray(v, r), nil
	case reflect.Map:
		if r.Type().Key().Kind() == reflect.String {
			return Value{kind: Map, held: v}, nil
		}
	default:
	}
	return Value{}, &Error{Have: fmt.Sprintf("a %T", v), Err: ErrType}
}

// ofArray takes 16 bytes for a UUID: nothing else of that length is kept in an
// array.
func ofArray(v any, r reflect.Value) Value {
	if r.Type().Elem().Kind() != reflect.Uint8 {
		return Value{kind: List, held: v}
	}
	raw := make([]byte, r.Len())
	for i := range raw {
		raw[i] = byte(r.Index(i).Uint())
	}
	if len(raw) == 16 {
		return Value{kind: UUID, held: [16]byte(raw)}
	}
	return Value{kind: Bytes, held: raw}
}

func ofBytes(v any, isNil bool) Value {
	if isNil {
		return Value{} // as database/sql stores it
	}
	return Value{kind: Bytes, held: v}
}

func integer(x int64) Value { return Value{kind: Integer, bits: uint64(x)} }

func unsigned(x uint64) Value {
	if x > math.MaxInt64 {
		return Value{kind: Unsigned, bits: x}
	}
	return Value{kind: Integer, bits: x}
}

func boolean(x bool) Value {
	if x {
		return Value{kind: Boolean, bits: 1}
	}
	return Value{kind: Boolean}
}

func float(x float64) Value { return Value{kind: Float, bits: math.Float64bits(x)} }

// bytes are the bytes of Bytes and JSON.
func (v Value) bytes() []byte {
	raw, _ := v.held.([]byte)
	return raw
}

// Any is the value as a plain Go value: nil, string, int64, uint64, bool,
// []byte, float64, [json.Number], [time.Time], [time.Duration], [16]byte,
// [json.RawMessage], or the list or map as it was handed in.
func (v Value) Any() any {
	switch v.kind {
	case Null:
		return nil
	case Text:
		return v.text
	case Integer:
		return int64(v.bits)
	case Unsigned:
		return v.bits
	case Boolean:
		return v.bits == 1
	case Float:
		return math.Float64frombits(v.bits)
	case Number:
		return json.Number(v.text)
	case Duration:
		return time.Duration(v.bits)
	case JSON:
		return json.RawMessage(v.bytes())
	default:
		return v.held
	}
}

// leads says whether v only leads to a value.
func leads(v any) bool {
	if _, isValuer := v.(driver.Valuer); isValuer {
		return true
	}
	return reflect.ValueOf(v).Kind() == reflect.Pointer
}
