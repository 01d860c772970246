package differ

import (
	"database/sql/driver"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"time"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/internal/values"
	"github.com/crmguard/crmguard/internal/value"
)

var valuerType = reflect.TypeFor[driver.Valuer]()

// isValueType says of a struct type that it is one value and no row.
func isValueType(t reflect.Type) bool {
	return t == reflect.TypeFor[time.Time]() || t.Implements(valuerType)
}

// noValueIn says why no value of a type can be recorded, "" where some can. It
// records one and looks: what a value is stands in one place, and that is not
// here.
func noValueIn(t reflect.Type) string {
	if t.Kind() == reflect.Interface && t.NumMethod() > 0 && !t.Implements(valuerType) {
		return t.String() + " may hold anything"
	}
	held, sure := specimen(t, 0)
	_, err := values.Of(held.Interface())
	if err == nil || !sure {
		return ""
	}
	if reflect.PointerTo(t).Implements(valuerType) && !t.Implements(valuerType) {
		return t.String() + ", whose Value is a method of the pointer"
	}
	return t.String()
}

// specimenDepth bounds types, and values, that hold themselves.
const specimenDepth = 8

// specimen is a value of a type with something in every place of it, so that
// what a pointer, a list or a map holds is looked at. It is not sure where a
// valuer decides what there is, and may refuse what is empty.
func specimen(t reflect.Type, depth int) (out reflect.Value, sure bool) {
	out, sure = reflect.New(t).Elem(), true
	if depth > specimenDepth {
		return out, sure
	}
	within := func(place reflect.Value) {
		held, isSure := specimen(place.Type(), depth+1)
		place.Set(held)
		sure = sure && isSure
	}
	switch v := out.Addr().Interface().(type) { // texts of a form that "" has not
	case *auditlog.Decimal:
		*v = "0"
	case *json.Number:
		*v = "0"
	case *auditlog.Date:
		*v = "2026-01-02"
	case *auditlog.JSON:
		*v = auditlog.JSON("0")
	case *json.RawMessage:
		*v = json.RawMessage("0")
	default:
		switch {
		case t.PkgPath() == "database/sql" && t.Kind() == reflect.Struct && strings.HasPrefix(t.Name(), "Null"):
			out.FieldByName("Valid").SetBool(true)
			if held := out.FieldByName("V"); held.IsValid() {
				within(held)
			}
		case t.Kind() == reflect.Pointer:
			place := reflect.New(t.Elem())
			within(place.Elem())
			out.Set(place)
		case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8:
			out.Set(reflect.MakeSlice(t, 0, 0)) // nil would be NULL
		case t.Kind() == reflect.Slice:
			out.Set(reflect.MakeSlice(t, 1, 1))
			within(out.Index(0))
		case t.Kind() == reflect.Array && t.Elem().Kind() != reflect.Uint8:
			for i := range t.Len() {
				within(out.Index(i))
			}
		case t.Kind() == reflect.Map && t.Key().Kind() == reflect.String:
			place := reflect.New(t.Elem()).Elem()
			within(place)
			out.Set(reflect.MakeMap(t))
			out.SetMapIndex(reflect.Zero(t.Key()), place)
		}
	}
	if t.Implements(valuerType) && t.Kind() != reflect.Interface {
		_, err := value.Resolve(out.Interface())
		sure = sure && !errors.Is(err, value.ErrValuer)
	}
	return out, sure
}
