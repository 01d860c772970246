// Package handle says which handle of a database is a transaction, by its type and by
// what is embedded in it. It promises that nothing of a handle is called, and that
// what its type does not say is not said.
package handle

import (
	"context"
	"database/sql"
	"reflect"
	"slices"
)

// Libraries and applications wrap transactions in structs of their own, whose
// methods are those of what is embedded. What is embedded therefore tells more
// than the names.

// Kind is what the type of a handle says. One that neither commits nor begins, or may
// do both, says nothing.
type Kind struct{ MayBeNil, Commits, Begins bool }

// Of looks at a handle and its type. What has a Commit is a transaction, unless a
// database is embedded in it: it may not have begun. What can begin one, and cannot
// commit, is a database or a connection: libraries give their Begin other results
// than database/sql does, so the name counts and not the signature.
func Of(tx any, handle reflect.Type) (k Kind) {
	k.MayBeNil = handle.Kind() != reflect.Struct || slices.ContainsFunc(slices.Collect(handle.Fields()), func(f reflect.StructField) bool { return f.Anonymous })
	_, commit := tx.(interface{ Commit() error })
	if !commit {
		// The names stand here as they are, or the linker had to keep all methods of
		// all types of the program.
		_, commit = handle.MethodByName("Commit")
	}
	if commit {
		k.Commits = !embedsDatabase(handle, deepest)
		return k
	}
	_, k.Begins = handle.MethodByName("Begin")
	if !k.Begins {
		_, k.Begins = handle.MethodByName("BeginTx")
	}
	return k
}

// deepest is how far what is embedded is followed: types may go round in circles.
const deepest = 8

// executes is what a promoted method needs.
var executes = reflect.TypeFor[interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}]()

// EmbedsNil finds a handle whose ExecContext would be called on nothing: nil itself,
// or a struct around a nil transaction.
func EmbedsNil(tx any) bool { return holdsNil(reflect.ValueOf(tx), deepest) }

func holdsNil(v reflect.Value, depth int) bool {
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		if v.IsNil() {
			return v.Type().Implements(executes)
		}
		v = v.Elem()
	}
	switch {
	case v.Kind() == reflect.Func, v.Kind() == reflect.Map:
		return v.IsNil()
	case v.Kind() != reflect.Struct, depth == 0:
		return !v.IsValid()
	}
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.Anonymous && (f.Type.Implements(executes) || f.Type.Kind() == reflect.Struct) && holdsNil(v.Field(i), depth-1) {
			return true
		}
	}
	return false
}

// embedsDatabase finds a handle that a database or a connection is embedded in. It
// commits and begins, and whether it has begun its type does not say.
func embedsDatabase(handle reflect.Type, depth int) bool {
	if handle == reflect.TypeFor[*sql.DB]() || handle == reflect.TypeFor[*sql.Conn]() {
		return true
	}
	if handle.Kind() == reflect.Pointer {
		handle = handle.Elem()
	}
	if handle.Kind() != reflect.Struct || depth == 0 || handle == reflect.TypeFor[sql.Tx]() {
		return false
	}
	for f := range handle.Fields() {
		if f.Anonymous && embedsDatabase(f.Type, depth-1) {
			return true
		}
	}
	return false
}
