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
type Kind struct{ MayBeNil, Commits, Begins, mayHold bool }

// Of looks at the type of a handle. What has a Commit is a transaction, unless a
// database is embedded in it: it may not have begun. What can begin one, and cannot
// commit, is a database or a connection: libraries give their Begin other results
// than database/sql does, so the name counts and not the signature.
func Of(handle reflect.Type) (k Kind) {
	k.MayBeNil = handle.Kind() != reflect.Struct || slices.ContainsFunc(slices.Collect(handle.Fields()), func(f reflect.StructField) bool { return f.Anonymous })
	if commits(handle) {
		k.Commits, k.mayHold = !embedsDatabase(handle, deepest), embedsInterface(handle, deepest)
		return k
	}
	k.Begins = begins(handle)
	return k
}

// HoldsDatabase finds a handle of this kind in which a database is embedded behind an
// interface, which its type does not say.
func (k Kind) HoldsDatabase(tx any) bool {
	return k.mayHold && holdsDatabase(reflect.ValueOf(tx), deepest)
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

// embedsInterface says that a type does not tell all that is embedded in its values.
func embedsInterface(handle reflect.Type, depth int) bool {
	if handle.Kind() == reflect.Pointer {
		handle = handle.Elem()
	}
	if handle.Kind() != reflect.Struct || depth == 0 {
		return false
	}
	for f := range handle.Fields() {
		if f.Anonymous && (f.Type.Kind() == reflect.Interface || embedsInterface(f.Type, depth-1)) {
			return true
		}
	}
	return false
}

// holdsDatabase finds a database or a connection, or what of another library begins
// and cannot commit, behind an interface that is embedded.
func holdsDatabase(v reflect.Value, depth int) bool {
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		isOpen := v.Kind() == reflect.Interface
		if v = v.Elem(); isOpen && v.IsValid() && (embedsDatabase(v.Type(), deepest) || begins(v.Type()) && !commits(v.Type())) {
			return true
		}
	}
	if v.Kind() != reflect.Struct || depth == 0 {
		return false
	}
	for i := range v.NumField() {
		if v.Type().Field(i).Anonymous && holdsDatabase(v.Field(i), depth-1) {
			return true
		}
	}
	return false
}

// The names stand here as they are, or the linker had to keep all methods of all
// types of the program.

func commits(handle reflect.Type) bool {
	_, has := handle.MethodByName("Commit")
	return has
}

func begins(handle reflect.Type) bool {
	if _, has := handle.MethodByName("Begin"); has {
		return true
	}
	_, has := handle.MethodByName("BeginTx")
	return has
}
