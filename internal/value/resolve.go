package value

import (
	"database/sql/driver"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// maxSteps bounds the pointers and valuers on the way to a value.
const maxSteps = 16

// Resolve follows pointers and valuers to the value that they lead to, nil for
// NULL, and leaves everything else as it is. For packages with Go types of
// their own, which [Of] would read by what they are made of.
func Resolve(v any) (any, error) {
	for range maxSteps {
		switch x := v.(type) {
		case nil, string, int64, int, bool, []byte, float64, time.Time:
			return v, nil
		case driver.Valuer:
			inner, err := ask(x)
			if err != nil {
				return nil, &Error{Have: fmt.Sprintf("a %T", v), Err: err}
			}
			v = inner
		default:
			r := reflect.ValueOf(v)
			if r.Kind() != reflect.Pointer {
				return v, nil
			}
			if r.IsNil() {
				return nil, nil
			}
			v = r.Elem().Interface()
		}
	}
	return nil, &Error{Have: fmt.Sprintf("a %T", v), Err: ErrValuer}
}

// ask asks a valuer as database/sql does, but for a panic, which is an error,
// or NULL where a nil pointer was its cause.
func ask(valuer driver.Valuer) (out any, err error) {
	r := reflect.ValueOf(valuer)
	isNil := r.Kind() == reflect.Pointer && r.IsNil()
	if isNil && r.Type().Elem().Implements(reflect.TypeFor[driver.Valuer]()) {
		return nil, nil
	}
	if inner, ok := ofNull(reflect.Indirect(r)); ok {
		return inner, nil
	}
	defer func() {
		if recover() == nil {
			return
		}
		out, err = nil, nil
		if !isNil {
			err = ErrValuer
		}
	}()
	if out, err = valuer.Value(); err != nil {
		return nil, ErrValuer
	}
	return out, nil
}

// ofNull looks into a sql.Null[T]. Its own Value knows only what a driver
// takes: it makes text of a number and refuses a UUID.
func ofNull(r reflect.Value) (inner any, ok bool) {
	if r.Kind() != reflect.Struct || r.Type().PkgPath() != "database/sql" || !strings.HasPrefix(r.Type().Name(), "Null[") {
		return nil, false
	}
	if !r.FieldByName("Valid").Bool() {
		return nil, true
	}
	return r.FieldByName("V").Interface(), true
}
