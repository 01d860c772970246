package gormfield

import (
	"context"
	"database/sql"
	"hash/maphash"
	"reflect"

	"gorm.io/gorm/schema"

	"github.com/crmguard/crmguard/encryption"
)

// serializerName is what the tag of a sealed field says.
const serializerName = "crmguard"

// serializer stands in the fields of a model and neither seals nor opens:
// whoever reaches the database through it has gone past the plugin, and is
// refused. The plugin takes values out of fields before GORM asks for them, and
// puts in only what it has opened itself.
type serializer struct{}

var seed = maphash.MakeSeed()

// unsealed is what a field is compared by (Statement.Changed), and shows nothing.
type unsealed struct{ digest uint64 }

// String is a mask.
func (unsealed) String() string { return "unsealed" }

// Value always fails, so that nothing is written without the plugin.
func (serializer) Value(_ context.Context, field *schema.Field, _ reflect.Value, value any) (any, error) {
	plain, null, err := plaintext(value)
	if err != nil || null {
		return nil, &FieldError{Table: field.Schema.Table, Column: field.DBName, Err: ErrUnsealed}
	}
	return unsealed{maphash.Bytes(seed, plain)}, &FieldError{Table: field.Schema.Table, Column: field.DBName, Err: ErrUnsealed}
}

// opened is an opened value on its way from the plugin to where it is scanned
// into. It has a type of its own, so that a field can tell it from anything that
// a database holds.
type opened string

// failed stands for a cell that does not open, of rows that are handed out one by one.
type failed struct{ err error }

// Scan takes what the plugin has opened, and nothing else.
func (serializer) Scan(ctx context.Context, field *schema.Field, dst reflect.Value, value any) error {
	target := field.ReflectValueOf(ctx, dst)
	switch v := value.(type) {
	case nil:
		target.SetZero()
		return nil
	case opened:
		return assign(field, target, string(v))
	case failed:
		target.SetZero()
		return v.err
	}
	target.SetZero()
	if target.Type() == indexValueType {
		return nil // what an index column holds is for conditions
	}
	return &FieldError{Table: field.Schema.Table, Column: field.DBName, Err: ErrUnopened}
}

var (
	indexValueType = reflect.TypeFor[encryption.IndexValue]()
	scannerType    = reflect.TypeFor[sql.Scanner]()
)

// assign puts an opened value into a field.
func assign(field *schema.Field, target reflect.Value, value string) error {
	for target.Kind() == reflect.Pointer {
		if target.IsNil() {
			target.Set(reflect.New(target.Type().Elem()))
		}
		target = target.Elem()
	}
	switch {
	case reflect.PointerTo(target.Type()).Implements(scannerType):
		if target.Addr().Interface().(sql.Scanner).Scan(value) != nil { // its error may quote the value
			return &FieldError{Op: "scan", Table: field.Schema.Table, Column: field.DBName, Err: ErrValue}
		}
	case target.Kind() == reflect.String:
		target.SetString(value)
	case target.Kind() == reflect.Slice && target.Type().Elem().Kind() == reflect.Uint8:
		target.SetBytes([]byte(value))
	default:
		return &FieldError{Op: "the field is a " + target.Type().String(), Table: field.Schema.Table, Column: field.DBName, Err: ErrModel}
	}
	return nil
}
