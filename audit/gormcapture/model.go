package gormcapture

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"gorm.io/gorm"
	"gorm.io/gorm/schema"

	"github.com/crmguard/crmguard/audit"
)

// ErrModel says that a [Model] cannot be recorded as it was described, or that the
// database is not one of GORM's. The error says what to do.
var ErrModel = errors.New("gormcapture: the model cannot be recorded as it was described")

// ErrRows says that a statement changed more rows than were there when it was
// looked which ones it would change. It is rolled back: repeat it.
var ErrRows = errors.New("gormcapture: the statement changed rows that came while it ran: repeat it")

// A Model is one whose rows are recorded when GORM changes them.
type Model struct {
	// Of is a pointer to the struct, as GORM takes it: &Contact{}.
	Of any
	// Kind is the kind of the object, as in audit.Ref.
	Kind string
	// Person says that the primary key is the id of a person: the kind is one of
	// audit.Config.PersonKinds.
	Person bool
	// Skip are columns whose changes are not recorded: an update of these alone is
	// no event.
	Skip []string

	changes func(person string, before, after any) []audit.Change
	who     bool // the Differ says whose values they are
}

// Valued records values besides names: those that the Differ lists, before and
// after. Each update and delete then reads its rows before it, and updates after
// it, within the transaction.
func Valued[T any](m Model, d *audit.Differ[T]) Model {
	m.who = d != nil && len(d.Shape().Who) > 0
	m.changes = func(person string, before, after any) []audit.Change {
		old, _ := before.(*T)
		now, _ := after.(*T)
		return d.Of(person, old, now)
	}
	return m
}

// model is one that was looked at.
type model struct {
	Model
	schema *schema.Schema
}

var kinds = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}$`)

func newModel(db *gorm.DB, m Model) (*model, error) {
	stmt := &gorm.Statement{DB: db}
	if m.Of == nil {
		return nil, fmt.Errorf("%w: Of is nil", ErrModel)
	}
	if err := stmt.Parse(m.Of); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrModel, err)
	}
	out := &model{m, stmt.Schema}
	wrong := func(why string) error { return fmt.Errorf("%w: %s: %s", ErrModel, stmt.Schema.Name, why) }
	switch {
	case !kinds.MatchString(m.Kind):
		return nil, wrong("Kind is no code such as contact")
	case len(stmt.Schema.PrimaryFields) == 0:
		return nil, wrong("it has no primary key, which would name its rows")
	case m.Person && len(stmt.Schema.PrimaryFields) > 1:
		return nil, wrong("its primary key has several columns, and none of them is the id of a person")
	}
	for _, name := range m.Skip {
		if stmt.Schema.LookUpField(name) == nil {
			return nil, wrong("Skip names a column that it does not have")
		}
	}
	if m.changes != nil {
		zero := reflect.New(stmt.Schema.ModelType).Interface()
		if c := m.changes("", zero, nil); len(c) == 0 || c[0].Path == "" {
			return nil, wrong("the Differ is of another type, or was not made by NewDiffer")
		}
	}
	return out, nil
}

var escape = strings.NewReplacer("%", "%25", "/", "%2F")

// key names a row as its captured row does: the primary key as text, several
// columns joined by a slash. "" is none.
func (m *model) key(ctx context.Context, row reflect.Value) string {
	parts := make([]string, 0, 1)
	for _, field := range m.schema.PrimaryFields {
		value, zero := field.ValueOf(ctx, row)
		if zero {
			return ""
		}
		parts = append(parts, keyText(value))
	}
	if slices.Contains(parts, "") {
		return ""
	}
	if len(parts) > 1 {
		for i := range parts {
			parts[i] = escape.Replace(parts[i])
		}
	}
	return strings.Join(parts, "/")
}

// keyText is a part of a key as PostgreSQL shows it.
func keyText(value any) string {
	v := reflect.ValueOf(value)
	for v.Kind() == reflect.Pointer && !v.IsNil() {
		v = v.Elem()
	}
	if !v.IsValid() {
		return ""
	}
	if s, ok := v.Interface().(fmt.Stringer); ok {
		return s.String()
	}
	switch {
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8:
		return fmt.Sprintf(`\x%x`, v.Bytes())
	case v.Kind() == reflect.String:
		return v.String()
	}
	return fmt.Sprint(v.Interface())
}

// rows are those of a value that GORM was given, as structs of the model.
func (m *model) rows(v reflect.Value) (out []reflect.Value) {
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		if v.IsNil() {
			return nil
		}
		v = v.Elem()
	}
	switch {
	case !v.IsValid():
	case v.Type() == m.schema.ModelType:
		return []reflect.Value{v}
	case v.Kind() == reflect.Slice || v.Kind() == reflect.Array:
		for i := range v.Len() {
			out = append(out, m.rows(v.Index(i))...)
		}
	}
	return out
}

// object is how the log names a row.
func (m *model) object(key string) audit.Object {
	switch {
	case key == "":
		return audit.Object{}
	case m.Person:
		return audit.PersonRef(m.Kind, key)
	}
	return audit.Ref(m.Kind, key)
}
