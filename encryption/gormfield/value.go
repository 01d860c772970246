package gormfield

import (
	"context"
	"reflect"
	"slices"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/schema"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/internal/value"
)

// plaintext is what a Go value says: text or bytes, or NULL.
func plaintext(v any) (plain []byte, null bool, err error) {
	switch target(v).(type) {
	case encryption.Sealed, encryption.IndexValue:
		return nil, false, ErrValue // sealed twice opens for nobody
	}
	said, err := value.Resolve(v)
	if err != nil {
		return nil, false, ErrValue // its text may quote the value
	}
	switch said := said.(type) {
	case nil:
		return nil, true, nil
	case string:
		return []byte(said), false, nil
	case []byte:
		return said, said == nil, nil
	}
	rv := reflect.ValueOf(said)
	switch {
	case rv.Kind() == reflect.String:
		return []byte(rv.String()), false, nil
	case rv.Kind() == reflect.Slice && rv.Type().Elem().Kind() == reflect.Uint8:
		return rv.Bytes(), rv.IsNil(), nil
	}
	return nil, false, ErrValue
}

// target is what pointers lead to; nil at a nil pointer.
func target(v any) any {
	rv := reflect.ValueOf(v)
	for rv.Kind() == reflect.Pointer {
		rv = rv.Elem()
	}
	if !rv.IsValid() {
		return nil
	}
	return rv.Interface()
}

// computed holds for what the database would make the value of.
func computed(given any) bool {
	switch v := given.(type) {
	case clause.Expression, clause.Column, clause.Table, gorm.Valuer, *gorm.DB, gorm.DB:
		return true
	case []any:
		if slices.ContainsFunc(v, computed) {
			return true
		}
	}
	return false
}

// fieldPlain is the plaintext of a value that GORM has taken out of a field, or
// that was handed in for it. A field with a serializer gives a wrapper that only
// the setter of a field can look into, so it is set on a scratch model.
func fieldPlain(ctx context.Context, s *schema.Schema, field *schema.Field, given any) (plain []byte, null bool, err error) {
	if computed(given) {
		return nil, false, ErrValue
	}
	switch given.(type) {
	case nil, string, []byte, encryption.Sealed, *encryption.Sealed, encryption.IndexValue, *encryption.IndexValue:
		return plaintext(given)
	}
	if field == nil || field.Serializer == nil {
		return plaintext(given)
	}
	scratch := reflect.New(s.ModelType).Elem()
	if field.Set(ctx, scratch, given) != nil { // its text quotes the value
		return nil, false, ErrValue
	}
	return plaintext(field.ReflectValueOf(ctx, scratch).Interface())
}

// idText is the text of an owner, a tenant or the key of a row; "" where there
// is none, or where it is zero and the database would fill it in.
func idText(values ...any) (string, error) {
	for _, v := range values {
		if computed(v) {
			return "", nil
		}
		if rv := reflect.ValueOf(target(v)); !rv.IsValid() || rv.IsZero() {
			return "", nil
		}
		if said, err := value.Resolve(v); err != nil || said == nil {
			return "", nil
		}
	}
	return encryption.RowText(values...)
}
