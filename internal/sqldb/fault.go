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
	var state interface{ SQLState() string }
	if errors.As(err, &state) {
		return state.SQLState()
	}
	var code interface{ Code() int }
	if errors.As(err, &code) {
		return "sqlite " + strconv.Itoa(code.Code())
	}
	return numberOf(err)
}

func numberOf(err error) string {
	if err == nil {
		return ""
	}
	if v := reflect.Indirect(reflect.ValueOf(err)); v.Kind() == reflect.Struct {
		if n := v.FieldByName("Number"); n.IsValid() && n.CanUint() {
			return "mysql " + strconv.FormatUint(n.Uint(), 10)
		}
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range joined.Unwrap() {
			if number := numberOf(one); number != "" {
				return number
			}
		}
		return ""
	}
	return numberOf(errors.Unwrap(err))
}
