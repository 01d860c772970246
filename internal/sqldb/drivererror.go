package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"io/fs"
	"net"
	"strings"
	"unicode"
)

// A DriverError is what a database or its driver answered, told without the values
// that they quote: PostgreSQL writes the key of a duplicate into DETAIL, MySQL
// into the message, pgx the argument that it cannot encode.
//
// Where the database says that a right is missing, [errors.Is] finds
// [fs.ErrPermission]. The driver's own error stays behind [errors.As], for
// whoever decides by its type; its text is no text for a log.
type DriverError struct {
	// Code is the SQLSTATE of PostgreSQL, or "mysql 1062", "sqlite 1555"; ""
	// where the driver failed without one.
	Code string
	// Table, Column and Constraint are names, each "" where it is not known.
	Table, Column, Constraint string

	said string // by us, never by the database
	err  error
}

// Error says what is wrong in words of the library, the code, and the names.
func (f *DriverError) Error() string {
	var known []string
	for _, one := range [][2]string{{"", f.code()}, {"table ", f.Table}, {"column ", f.Column}, {"constraint ", f.Constraint}} {
		if one[1] != "" {
			known = append(known, one[0]+one[1])
		}
	}
	if len(known) == 0 {
		return f.said
	}
	return f.said + " (" + strings.Join(known, ", ") + ")"
}

func (f *DriverError) code() string {
	if len(f.Code) == 5 {
		return "SQLSTATE " + f.Code
	}
	return f.Code
}

// Unwrap is the driver's error.
func (f *DriverError) Unwrap() error { return f.err }

// Is says whether a right is missing, or row security is in the way.
func (f *DriverError) Is(target error) bool {
	return target == fs.ErrPermission && denied(f.Code) || target == ErrRowSecurity && f.said == hidesRows
}

// Safe takes the values out of an error of a driver: it answers a [*DriverError].
// What holds none stays as it is: nil, a DriverError, the errors of context, of
// database/sql and of the network. Every error of a statement, of Scan and of
// Rows.Err goes through it where it enters the library.
func Safe(err error) error {
	if err == nil {
		return nil
	}
	var known *DriverError
	if errors.As(err, &known) {
		return err
	}
	if code, from := origin(err); code != "" {
		f := &DriverError{Code: code, said: words(code), err: err}
		f.name(from)
		return f
	}
	if harmless(err) {
		return err
	}
	return &DriverError{said: beforeValues(err.Error()), err: err}
}

// harmless are errors whose texts name no value of a row. An error beside
// others is as harmless as all of them.
func harmless(err error) bool {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range joined.Unwrap() {
			if !harmless(one) {
				return false
			}
		}
		return true
	}
	return harmlessIn(err) != nil
}

// harmlessIn is the error within err that names no value of a row.
func harmlessIn(err error) error {
	for _, fine := range []error{
		context.Canceled, context.DeadlineExceeded, sql.ErrNoRows, sql.ErrTxDone, sql.ErrConnDone, driver.ErrBadConn,
		io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, errors.ErrUnsupported,
	} {
		if errors.Is(err, fine) {
			return fine
		}
	}
	var network net.Error
	if errors.As(err, &network) {
		return network
	}
	return nil
}

// beforeValues is the beginning of a text up to where a value could stand: a
// digit, a quote, a bracket, whatever is not a word or the comma between two.
func beforeValues(text string) string {
	end := strings.IndexFunc(text, func(r rune) bool {
		return !unicode.IsLetter(r) && !strings.ContainsRune(" ,.:-/_", r)
	})
	if end < 0 {
		return "the driver failed: " + text
	}
	text = strings.TrimRight(text[:end], " ,.:-/_")
	if text == "" {
		return "the driver failed; its words are left out, because they may hold values"
	}
	return "the driver failed: " + text + " …; the rest is left out, because it may hold values"
}
