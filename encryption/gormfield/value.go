package gormfield

import (
	"context"
	"database/sql/driver"
	"reflect"
	"slices"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/schema"

	"github.com/crmguard/crmguard/encryption"
)

// plaintext is what a Go value says: text or bytes, or NULL.
func plaintext(value any) (plain []byte, null bool, err error) {
	switch v := value.(type) {
	case nil:
		return nil, true, nil
	case string:
		return []byte(v), false, nil
	case []byte:
		return v, v == nil, nil
	case encryption.Sealed, *encryption.Sealed, encryption.IndexValue, *encryption.IndexValue:
		return nil, false, ErrValue // sealed twice opens for nobody
	}
	rv := reflect.ValueOf(value)
	if rv.Kind() == reflect.Pointer && rv.IsNil() {
		return nil, true, nil
	}
	if v, ok := value.(driver.Valuer); ok {
		inner, err := v.Value()
		if err != nil {
			return nil, false, ErrValue // its text may quote the value
		}
		switch inner.(type) {
		case nil, string, []byte:
			return plaintext(inner)
		}
		return nil, false, ErrValue
	}
	switch {
	case rv.Kind() == reflect.Pointer:
		return plaintext(rv.Elem().Interface())
	case rv.Kind() == reflect.String:
		return []byte(rv.String()), false, nil
	case rv.Kind() == reflect.Slice && rv.Type().Elem().Kind() == reflect.Uint8:
		return rv.Bytes(), rv.IsNil(), nil
	}
	return nil, false, ErrValue
}

// computed holds for what the database would make the value of.
func computed(value any) bool {
	switch v := value.(type) {
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
func fieldPlain(ctx context.Context, s *schema.Schema, field *schema.Field, value any) (plain []byte, null bool, err error) {
	if computed(value) {
		return nil, false, ErrValue
	}
	switch value.(type) {
	case nil, string, []byte, encryption.Sealed, *encryption.Sealed, encryption.IndexValue, *encryption.IndexValue:
		return plaintext(value)
	}
	if field == nil || field.Serializer == nil {
		return plaintext(value)
	}
	scratch := reflect.New(s.ModelType).Elem()
	if field.Set(ctx, scratch, value) != nil { // its text quotes the value
		return nil, false, ErrValue
	}
	return plaintext(field.ReflectValueOf(ctx, scratch).Interface())
}

// idText is the text of an owner, a tenant or the key of a row; "" where there
// is none, or where it is zero and the database would fill it in.
func idText(values ...any) (string, error) {
	for _, value := range values {
		if computed(value) {
			return "", nil
		}
		rv := reflect.ValueOf(value)
		for rv.Kind() == reflect.Pointer && !rv.IsNil() {
			rv = rv.Elem()
		}
		if !rv.IsValid() || rv.IsZero() {
			return "", nil
		}
		if v, ok := value.(driver.Valuer); ok {
			if inner, err := v.Value(); err != nil || inner == nil {
				return "", nil
			}
		}
	}
	return encryption.RowText(values...)
}
