package sqldb

import (
	"errors"
	"reflect"
	"slices"
	"strings"
)

// Refused says whether the database refused a change because of the row that
// was to be changed: a constraint, a trigger that objects, a value that its
// column does not take. Another row may pass. What concerns all rows alike is
// no such answer: a connection, a right, a lock, a disk, a statement that the
// database does not understand.
func Refused(err error) (*DriverError, bool) {
	code, from := origin(err)
	if code == "" {
		return nil, false
	}
	var refused bool
	switch number, mysql := strings.CutPrefix(code, "mysql "); {
	case mysql:
		// SIGNAL, and refusals that have the general state HY000.
		refused = ofRow(stateOf(from)) || slices.Contains([]string{"1364", "1366", "1369", "1526", "1644", "3819", "4025"}, number)
	case strings.HasPrefix(code, "sqlite "):
		var number interface{ Code() int }
		refused = errors.As(err, &number) && slices.Contains([]int{18, 19, 20}, number.Code()&0xff) // TOOBIG, CONSTRAINT, MISMATCH
	default:
		refused = ofRow(code)
	}
	if !refused {
		return nil, false
	}
	var fault *DriverError
	return fault, errors.As(Safe(err), &fault)
}

// Doubtful says of the answer to a change that is no refusal of a row ([Refused])
// whether it may be one all the same: a trigger of PostgreSQL may raise any state,
// also that of a missing right. Whoever needs to know makes the same change of no
// row ([DB.RefusesRow]): what is wrong with the statement is answered to that, too.
// What passes by itself, and what is about the server, is in no doubt: locks,
// connections, disks; nor is a transaction that had failed before.
func Doubtful(err error) bool {
	code, from := origin(err)
	if code == "" || code == "25P02" || passing(err) || hungUp(err) {
		return false
	}
	if number, mysql := strings.CutPrefix(code, "mysql "); mysql {
		return strings.HasPrefix(stateOf(from), "42") || number == "1906" || number == "3105" // a generated column
	}
	if len(code) != 5 {
		return code == "sqlite 1" // of a statement: a generated column, a view
	}
	switch code[:2] {
	case "08", "40", "53", "57", "58", "72", "XX":
		return false
	}
	return true
}

// ofRow says of a SQLSTATE that it is about one row. A trigger may answer a state
// of its own: those whose class begins with 5 to 9 or I to Z are nobody's in the
// standard, and PostgreSQL has taken a few of them.
func ofRow(state string) bool {
	if len(state) != 5 {
		return false
	}
	switch class := state[:2]; class {
	case "09", "22", "23", "27", "44", "45", "P0":
		return true
	case "53", "54", "55", "57", "58", "72", "XX":
		return false
	default:
		return class[0] >= '5' && class[0] <= '9' || class[0] >= 'I' && class[0] <= 'Z'
	}
}

// stateOf is the SQLSTATE that the driver of MySQL carries beside its number.
func stateOf(err error) string {
	v := reflect.Indirect(reflect.ValueOf(err))
	if v.Kind() != reflect.Struct {
		return ""
	}
	state := v.FieldByName("SQLState")
	if !state.IsValid() || state.Kind() != reflect.Array || state.Type().Elem().Kind() != reflect.Uint8 {
		return ""
	}
	var text []byte
	for i := range state.Len() {
		text = append(text, byte(state.Index(i).Uint()))
	}
	return string(text)
}
