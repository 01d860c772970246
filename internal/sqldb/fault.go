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
		"sqlite 5",   // busy
		"sqlite 6",   // a table is locked by another connection of a shared cache
		"sqlite 261", // busy in recovery
		"sqlite 517", // busy, and the snapshot is an old one
		"sqlite 773": // busy, timeout
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

// absent says that the database answered, and that the answer is that there is
// no such table, or no right to read it. Every other fault tells nothing about
// the table.
func absent(kind Kind, err error) bool {
	switch codeOf(err) {
	case "42P01", "3F000", "42501", "mysql 1044", "mysql 1142", "mysql 1143", "mysql 1146", "sqlite 1":
		return true
	case "":
		return kind == SQLite // some of its drivers give no code
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
