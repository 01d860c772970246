package value

import (
	"errors"
	"strconv"
)

// Why a value cannot be read. Each is wrapped by an [*Error].
var (
	// ErrType is a Go type that holds no value: a struct, a channel, a func.
	ErrType = errors.New("a Go type that holds no value")
	// ErrValuer is a driver.Valuer that panicked, answered an error, or led on
	// to another one without end. What it said is left out: it may show the value.
	ErrValuer = errors.New("its driver.Valuer failed")
	// ErrKind is a value of another kind than was asked for.
	ErrKind = errors.New("not what was asked for")
	// ErrRange is a number or a time that what was asked for cannot hold exactly.
	ErrRange = errors.New("out of range")
	// ErrText is text, or bytes in the place of text, that is not UTF-8.
	ErrText = errors.New("text is not valid UTF-8")
	// ErrNull is NULL where a value was asked for.
	ErrNull = errors.New("NULL in place of a value")
)

// Error is a value that cannot be read at all, or not as what was asked for.
// It names the field and never shows the value.
type Error struct {
	// Field is how the caller calls it, "" where nobody has said; see [In].
	Field string
	// Have is the kind of value that came, or its Go type.
	Have string
	// Want is what was asked for, "" where nothing was yet.
	Want string
	// Err is one of the sentinels.
	Err error
}

// Error names the field and says why.
func (e *Error) Error() string {
	if e.Field == "" {
		return "value: " + e.Reason()
	}
	return "value: field " + strconv.Quote(e.Field) + ": " + e.Reason()
}

// Reason says why, without the field: for errors that name it themselves.
func (e *Error) Reason() string {
	switch {
	case e.Want == "":
		return e.Have + ": " + e.Err.Error()
	case errors.Is(e.Err, ErrKind), errors.Is(e.Err, ErrNull): // the words before say it
		return e.Have + " in place of " + e.Want
	}
	return e.Have + " in place of " + e.Want + ": " + e.Err.Error()
}

// Unwrap returns the sentinel.
func (e *Error) Unwrap() error { return e.Err }

// In names the field that an error of this package is about. Other errors,
// and nil, stay what they are.
func In(field string, err error) error {
	e, ours := errors.AsType[*Error](err)
	if !ours {
		return err
	}
	named := *e
	named.Field = field
	return &named
}
