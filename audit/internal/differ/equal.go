package differ

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"strconv"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/internal/values"
	"github.com/crmguard/crmguard/internal/frame"
	"github.com/crmguard/crmguard/internal/value"
)

// fieldSide is a field of one of the two states.
type fieldSide struct {
	held    reflect.Value // invalid: NULL, behind an embedded pointer that is nil
	isThere bool          // the row exists
}

func (f *Field) side(row reflect.Value) fieldSide {
	if !row.IsValid() {
		return fieldSide{}
	}
	held, _ := followIndex(row, f.index)
	return fieldSide{held, true}
}

// followIndex is [reflect.Value.FieldByIndex] without a panic.
func followIndex(row reflect.Value, index []int) (reflect.Value, bool) {
	for i, n := range index {
		if i > 0 {
			if row = structOf(row); !row.IsValid() {
				return row, false
			}
		}
		row = row.Field(n)
	}
	return row, true
}

// any is the value as a change takes it: what pointers and valuers lead to, so
// that it stays what it is when the state is changed later.
func (s fieldSide) any() any {
	switch {
	case !s.isThere:
		return auditlog.Absent{}
	case !s.held.IsValid():
		return nil
	}
	v := s.held.Interface()
	plain, err := value.Resolve(v)
	if err != nil {
		return v // a stand-in, when it is recorded
	}
	return plain
}

// nothing holds for NULL and for a row that does not exist.
func (s fieldSide) nothing() bool {
	if !s.isThere || !s.held.IsValid() {
		return true
	}
	v, err := value.Of(s.held.Interface())
	return err == nil && v.IsNull()
}

// equals compares by what would be recorded, after a look that costs nothing.
func (s fieldSide) equals(o fieldSide) bool {
	if s.isThere != o.isThere {
		return false
	}
	if !s.held.IsValid() && !o.held.IsValid() || s.held.IsValid() && o.held.IsValid() && surelySame(s.held, o.held, 0) {
		return true
	}
	a, b := s.any(), o.any()
	x, exactX := keptOf(a)
	y, exactY := keptOf(b)
	if exactX && exactY {
		return sameValue(x, y)
	}
	return !exactX && !exactY && reflect.DeepEqual(a, b)
}

// keptOf is what recording keeps of a value, and whether that is all of it.
func keptOf(v any) (frame.Value, bool) {
	encoded, err := values.Of(v)
	if err == nil {
		return encoded, true
	}
	encoded = values.StandInFor(v)
	switch auditlog.WhyStandIn(encoded) {
	case auditlog.StandInText, auditlog.StandInInteger, auditlog.StandInFloat, auditlog.StandInForm:
		return encoded, true
	}
	return encoded, false
}

// sameValue compares numbers by what they say: the column of a decimal may fill
// it up with zeros.
func sameValue(x, y frame.Value) bool {
	if x.Type == frame.Decimal || y.Type == frame.Decimal {
		a, isNumber := digitsOf(x)
		b, areNumbers := digitsOf(y)
		return isNumber && areNumbers && bytes.Equal(a, b)
	}
	return x.Type == y.Type && bytes.Equal(x.Data, y.Data)
}

// digitsOf are the digits of a number, without zeros at the end of its fraction.
func digitsOf(v frame.Value) ([]byte, bool) {
	switch v.Type {
	case frame.Integer:
		return strconv.AppendInt(nil, int64(binary.BigEndian.Uint64(v.Data)), 10), true
	case frame.Decimal:
		if bytes.IndexByte(v.Data, '.') < 0 {
			return v.Data, true
		}
		return bytes.TrimSuffix(bytes.TrimRight(v.Data, "0"), []byte(".")), true
	default:
		return nil, false
	}
}

// surelySame says of two values of one type that they surely are one; where it
// does not they may be nevertheless.
func surelySame(a, b reflect.Value, depth int) bool {
	if depth > specimenDepth {
		return false // it may go in circles
	}
	switch a.Kind() {
	case reflect.Pointer:
		if a.IsNil() || b.IsNil() || a.Pointer() == b.Pointer() {
			return a.Pointer() == b.Pointer()
		}
		return surelySame(a.Elem(), b.Elem(), depth+1)
	case reflect.Interface:
		if a.IsNil() || b.IsNil() {
			return a.IsNil() && b.IsNil()
		}
		return a.Elem().Type() == b.Elem().Type() && surelySame(a.Elem(), b.Elem(), depth+1)
	case reflect.Slice:
		if a.IsNil() != b.IsNil() || a.Len() != b.Len() {
			return false
		}
		if a.Type().Elem().Kind() == reflect.Uint8 {
			return bytes.Equal(a.Bytes(), b.Bytes())
		}
		return everyIndex(a.Len(), func(i int) bool { return surelySame(a.Index(i), b.Index(i), depth+1) })
	default:
		return sameBits(a, b)
	}
}

// sameBits compares as == does, and pointers as such: what a struct of another
// package leads to may go in circles.
func sameBits(a, b reflect.Value) bool {
	switch a.Kind() {
	case reflect.Struct:
		return everyIndex(a.NumField(), func(i int) bool { return sameBits(a.Field(i), b.Field(i)) })
	case reflect.Array:
		return everyIndex(a.Len(), func(i int) bool { return sameBits(a.Index(i), b.Index(i)) })
	case reflect.Slice:
		return a.Pointer() == b.Pointer() && a.Len() == b.Len()
	case reflect.Map, reflect.Func:
		return a.Pointer() == b.Pointer()
	case reflect.Interface:
		if a.IsNil() || b.IsNil() {
			return a.IsNil() && b.IsNil()
		}
		return a.Elem().Type() == b.Elem().Type() && sameBits(a.Elem(), b.Elem())
	default:
		return a.Equal(b)
	}
}

func everyIndex(n int, holds func(i int) bool) bool {
	for i := range n {
		if !holds(i) {
			return false
		}
	}
	return true
}
