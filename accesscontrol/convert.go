package accesscontrol

import (
	"database/sql/driver"
	"errors"
	"math"
	"reflect"
	"strconv"
	"time"

	"github.com/cedar-policy/cedar-go"

	"github.com/crmguard/crmguard/accesscontrol/internal/cedarx"
	"github.com/crmguard/crmguard/internal/ids"
)

// Faults of a value. None of them shows it.
var (
	errKind    = errors.New("value has the wrong type")
	errMissing = errors.New("required attribute is missing")
	errUnknown = errors.New("attribute is not in the schema")
	errText    = errors.New("text holds NUL or is not UTF-8")
	errRange   = errors.New("integer is out of range")
)

// valueOf turns a Go value into the Cedar value of a schema type. A nil result
// without an error is an absent value.
func valueOf(t cedarx.Type, v any) (cedar.Value, error) {
	switch known := v.(type) {
	case nil:
		return nil, nil
	case Ref:
		return referenceOf(t, known)
	case time.Time:
		if t.Kind == cedarx.Extension && t.Extension == "datetime" {
			return cedar.NewDatetime(known), nil
		}
		return nil, errKind
	case time.Duration:
		if t.Kind == cedarx.Extension && t.Extension == "duration" {
			return cedar.NewDuration(known), nil
		}
		return nil, errKind
	case driver.Valuer:
		inner, err := known.Value()
		if err != nil {
			return nil, errKind // the cause may show the value
		}
		return valueOf(t, inner)
	}
	r := reflect.ValueOf(v)
	if r.Kind() == reflect.Pointer {
		if r.IsNil() {
			return nil, nil
		}
		return valueOf(t, r.Elem().Interface())
	}
	switch t.Kind {
	case cedarx.Set:
		return setOf(t, r)
	case cedarx.RecordOf:
		fields, isMap := v.(map[string]any)
		if !isMap {
			return nil, errKind
		}
		return recordOf(t.Fields, fields)
	default:
		return scalarOf(t, r)
	}
}

func scalarOf(t cedarx.Type, r reflect.Value) (cedar.Value, error) {
	n, isInt, err := integerOf(r)
	if err != nil {
		return nil, err
	}
	s, isText := textOf(r)
	switch {
	case t.Kind == cedarx.Long && isInt:
		return cedar.Long(n), nil
	case t.Kind == cedarx.String && isText:
		return cedar.String(s), nil
	case t.Kind == cedarx.Bool && r.Kind() == reflect.Bool:
		return cedar.Boolean(r.Bool()), nil
	case t.Kind == cedarx.Bool && isInt && (n == 0 || n == 1): // as SQLite and MySQL give it
		return cedar.Boolean(n == 1), nil
	case t.Kind == cedarx.EntityRef && isInt:
		return cedar.NewEntityUID(t.Entity, cedar.String(strconv.FormatInt(n, 10))), nil
	case t.Kind == cedarx.EntityRef && isText:
		return cedar.NewEntityUID(t.Entity, cedar.String(s)), nil
	case t.Kind == cedarx.Extension && isText:
		v, err := cedarx.ParseExtension(t.Extension, s)
		if err != nil {
			return nil, errKind
		}
		return v, nil
	}
	return nil, errKind
}

func integerOf(r reflect.Value) (n int64, isInt bool, err error) {
	switch {
	case r.CanInt():
		return r.Int(), true, nil
	case r.CanUint() && r.Uint() <= math.MaxInt64:
		return int64(r.Uint()), true, nil
	case r.CanUint():
		return 0, true, errRange
	}
	return 0, false, nil
}

func textOf(r reflect.Value) (string, bool) {
	switch {
	case r.Kind() == reflect.String:
		return r.String(), true
	case r.Kind() == reflect.Slice && r.Type().Elem().Kind() == reflect.Uint8: // as some drivers give text
		return string(r.Bytes()), true
	}
	return "", false
}

func referenceOf(t cedarx.Type, ref Ref) (cedar.Value, error) {
	if t.Kind != cedarx.EntityRef || string(t.Entity) != ref.Type {
		return nil, errKind
	}
	return cedar.NewEntityUID(t.Entity, cedar.String(ref.ID)), nil
}

func setOf(t cedarx.Type, r reflect.Value) (cedar.Value, error) {
	if r.Kind() != reflect.Slice && r.Kind() != reflect.Array {
		return nil, errKind
	}
	items := make([]cedar.Value, 0, r.Len())
	for i := range r.Len() {
		item, err := valueOf(*t.Element, r.Index(i).Interface())
		if err != nil {
			return nil, err
		}
		if item == nil {
			return nil, errKind
		}
		items = append(items, item)
	}
	return cedar.NewSet(items...), nil
}

func recordOf(attrs cedarx.Attributes, values map[string]any) (cedar.Value, error) {
	record, name, err := attributesOf(attrs, values)
	if err != nil {
		return nil, errors.New(name + ": " + err.Error())
	}
	return record, nil
}

// attributesOf converts the attributes of an entity, a context or a record
// value. It names the attribute that is at fault.
func attributesOf(attrs cedarx.Attributes, values map[string]any) (record cedar.Record, name string, err error) {
	out := make(cedar.RecordMap, len(values))
	for name, v := range values {
		attr, known := attrs[name]
		if !known {
			return cedar.Record{}, name, errUnknown
		}
		converted, err := valueOf(attr.Type, v)
		if err != nil {
			return cedar.Record{}, name, err
		}
		if converted != nil {
			out[cedar.String(name)] = converted
		}
	}
	for name, attr := range attrs {
		if _, given := out[cedar.String(name)]; attr.Required && !given {
			return cedar.Record{}, name, errMissing
		}
	}
	return cedar.NewRecord(out), "", nil
}

// plain says whether every text in a value can be bound in every database.
func plain(v cedar.Value) bool {
	switch v := v.(type) {
	case cedar.String:
		return ids.Plain(string(v))
	case cedar.EntityUID:
		return ids.Plain(string(v.ID))
	case cedar.Set:
		for item := range v.All() {
			if !plain(item) {
				return false
			}
		}
	case cedar.Record:
		for item := range v.Values() {
			if !plain(item) {
				return false
			}
		}
	}
	return true
}
