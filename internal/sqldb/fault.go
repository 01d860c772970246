package sqldb

import (
	"errors"
	"reflect"
	"strconv"
	"strings"
)

// A passing fault is one after which the same transaction is worth another
// try: the database ended it in favour of another one, or did not get to it.
func passing(err error) bool {
	switch codeOf(err) {
	case "40001", "40P01", // serialization failure, deadlock
		"55P03",      // lock not available
		"mysql 1213", // deadlock
		"mysql 1205", // lock wait timeout
		"mysql 3572", // the same, of a statement that does not wait
		"sqlite 5",   // busy
		"sqlite 6",   // a table is locked by another connection of a shared cache
		"sqlite 261", // busy in recovery
		"sqlite 517", // busy, and the snapshot is an old one
		"sqlite 773": // busy, timeout
		return true
	}
	return false
}

// Locked says that a server refused a statement because another transaction holds
// what it needs.
func Locked(err error) bool {
	switch codeOf(err) {
	case "55P03", "mysql 1205", "mysql 3572":
		return true
	}
	return false
}

// hungUp says that the database ended the connection, or took none.
func hungUp(err error) bool {
	code := codeOf(err)
	switch code {
	case "57P01", "57P02", "57P03", "57P05", "53300", // ended by an administrator, by a crash, starting, idle, too many
		"mysql 1040", "mysql 1053", "mysql 1077", "mysql 1152", "mysql 1317", "mysql 1927", "mysql 4031":
		return true
	}
	return len(code) == 5 && strings.HasPrefix(code, "08") // PostgreSQL's class of connections
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
