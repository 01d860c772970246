package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"net"
	"reflect"
	"slices"
	"strings"
)

// Cause is what may be repeated of a fault of a database: its code, and what it
// says of tables, columns, constraints and rights. What could hold a value is
// left out, so that an error may be logged; "" says that nothing is left.
func Cause(err error) string {
	for _, known := range []error{
		context.Canceled, context.DeadlineExceeded, sql.ErrNoRows, sql.ErrTxDone, sql.ErrConnDone, driver.ErrBadConn, errors.ErrUnsupported,
	} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	code := codeOf(err)
	switch number, isMySQL := strings.CutPrefix(code, "mysql "); {
	case isMySQL:
		return causeOfMySQL(number, err)
	case strings.HasPrefix(code, "sqlite "):
		return causeOfSQLite(code, err)
	case code != "":
		return causeOfPostgres(code, err)
	}
	var schema *SchemaError
	if errors.As(err, &schema) {
		return schema.Error()
	}
	var network *net.OpError
	if errors.As(err, &network) {
		return network.Error()
	}
	return ""
}

// causeOfPostgres repeats a message only where no function was running: one
// that a trigger of the application builds may hold anything.
func causeOfPostgres(code string, err error) string {
	var state interface{ SQLState() string }
	_ = errors.As(err, &state) // codeOf has found it
	fields := reflect.Indirect(reflect.ValueOf(state))
	text := "SQLSTATE " + code
	// Classes whose messages name objects and rights; those of data exceptions
	// and constraints quote values.
	if spoken := []string{"08", "0A", "25", "28", "3D", "3F", "42", "53", "55", "57"}; slices.Contains(spoken, code[:min(2, len(code))]) && textOf(fields, "Where") == "" {
		if message := textOf(fields, "Message"); message != "" {
			return text + ": " + message
		}
	}
	for _, part := range []struct {
		word   string
		fields []string
	}{
		{"table", []string{"TableName", "Table"}},
		{"column", []string{"ColumnName", "Column"}},
		{"constraint", []string{"ConstraintName", "Constraint"}},
	} {
		for _, field := range part.fields {
			if name := textOf(fields, field); name != "" {
				text += ", " + part.word + " " + name
			}
		}
	}
	return text
}

// The numbers of MySQL and MariaDB whose messages name objects and rights:
// unknown or forbidden ones, read-only servers, keys that refer, columns that
// may not be empty or are too short, locks. Duplicates and wrong values quote
// what was written, and signals of triggers say anything.
const spokenMySQL = " 1040 1044 1045 1048 1049 1054 1142 1143 1146 1205 1213 1267 1290 1364 1406 1451 1452 1792 1836 3819 4025 "

func causeOfMySQL(number string, err error) string {
	if !strings.Contains(spokenMySQL, " "+number+" ") {
		return "error " + number
	}
	return withNumber(err).Error()
}

// withNumber is the error in the tree that carries MySQL's number.
func withNumber(err error) error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range joined.Unwrap() {
			if numberOf(one) != "" {
				return withNumber(one)
			}
		}
	}
	if inner := errors.Unwrap(err); inner != nil && numberOf(inner) != "" {
		return withNumber(inner)
	}
	return err
}

// causeOfSQLite repeats what SQLite says, which are names, but for the words of
// a trigger.
func causeOfSQLite(code string, err error) string {
	const raised = "sqlite 1811"
	var coded interface {
		error
		Code() int
	}
	if code == raised || !errors.As(err, &coded) {
		return "code " + strings.TrimPrefix(code, "sqlite ")
	}
	return coded.Error()
}

func textOf(fields reflect.Value, name string) string {
	if fields.Kind() != reflect.Struct {
		return ""
	}
	if f := fields.FieldByName(name); f.IsValid() && f.Kind() == reflect.String {
		return f.String()
	}
	return ""
}
