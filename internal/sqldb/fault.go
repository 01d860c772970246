package sqldb

import (
	"errors"
	"reflect"
	"strconv"
)

// A passing fault is one after which the same transaction is worth another
// try: the database ended it in favour of another one, or did not get to it.
func passing(err error) bool {
	switch codeOf(err) {
	case "40001", "40P01", // serialization failure, deadlock
		"55P03",      // lock not available
		"mysql 1213", // deadlock
		"mysql 1205", // lock wait timeout
		"sqlite 5",   // busy
		"sqlite 6",   // a table is locked by another connection of a shared cache
		"sqlite 261", // busy in recovery
		"sqlite 517", // busy, and the snapshot is an old one
		"sqlite 773": // busy, timeout
		return true
	}
	return false
}

// codeOf is the code of a fault as the database gave it, "" where it gave none.
// Drivers carry it in types of their own, and none of them is imported here:
// PostgreSQL's give it by SQLState, SQLite's by Code, MySQL's in the field
// Number.
func codeOf(err error) string {
	code, _ := origin(err)
	return code
}

// origin is the code of a fault and the driver's error that carries it.
func origin(err error) (code string, from error) {
	var state interface {
		error
		SQLState() string
	}
	if errors.As(err, &state) {
		return state.SQLState(), state
	}
	var number interface {
		error
		Code() int
	}
	if errors.As(err, &number) {
		return "sqlite " + strconv.Itoa(number.Code()), number
	}
	return numberOf(err)
}

func numberOf(err error) (code string, from error) {
	if err == nil {
		return "", nil
	}
	if v := reflect.Indirect(reflect.ValueOf(err)); v.Kind() == reflect.Struct {
		if n := v.FieldByName("Number"); n.IsValid() && n.CanUint() {
			return "mysql " + strconv.FormatUint(n.Uint(), 10), err
		}
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range joined.Unwrap() {
			if code, from := numberOf(one); code != "" {
				return code, from
			}
		}
		return "", nil
	}
	return numberOf(errors.Unwrap(err))
}

// field is the text in the first of the fields that the driver's error has.
func field(err error, names ...string) string {
	v := reflect.Indirect(reflect.ValueOf(err))
	if v.Kind() != reflect.Struct {
		return ""
	}
	for _, name := range names {
		if f := v.FieldByName(name); f.IsValid() && f.Kind() == reflect.String {
			return f.String()
		}
	}
	return ""
}
