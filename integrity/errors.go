package integrity

import (
	"errors"
	"fmt"
)

// The sentinels of this package; the package comment says what to do about
// each.
var (
	ErrConfig        = errors.New("integrity: bad definition")
	ErrSource        = errors.New("integrity: source is unreadable")
	ErrRow           = errors.New("integrity: row does not fit its layout")
	ErrTampered      = errors.New("integrity: row is not what was sealed")
	ErrNoSeal        = errors.New("integrity: row has no seal")
	ErrUnknownKey    = errors.New("integrity: seal is under a key that is not there")
	ErrUnknownSchema = errors.New("integrity: schema id has no layout")
	ErrRoots         = errors.New("integrity: not usable as roots")
)

// SourceError says why a file as a whole cannot be read. It wraps
// [ErrSource], and the reader's own error where there is one.
type SourceError struct {
	// Line is where reading stopped, or where the quote stands that was never
	// closed, from 1.
	Line int
	// Code is why.
	Code Code
	// Err is the error of the underlying reader, if it failed.
	Err error
	// Comma is what the only heading seems to be separated by, such as ';' or
	// a tab, where that is not [CSVOptions.Comma]; 0 otherwise.
	Comma byte
}

// Error names line and code, and what to do.
func (e *SourceError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%v: line %d: %s: %v", ErrSource, e.Line, e.Code, e.Err)
	}
	if e.Comma != 0 {
		return fmt.Sprintf("%v: line %d: %s: the headings seem to be separated by %q: set CSVOptions.Comma", ErrSource, e.Line, e.Code, e.Comma)
	}
	if e.Code == CodeQuote || e.Code == CodeQuoteOpen {
		return fmt.Sprintf("%v: line %d: %s: what follows may be the inside of a cell; mend the line and read the file again, or see CSVOptions.ResumeAfterQuote", ErrSource, e.Line, e.Code)
	}
	if e.Code == CodeHeaderUnknown {
		return fmt.Sprintf("%v: line %d: %s: say in CSVOptions.Columns which heading means which field", ErrSource, e.Line, e.Code)
	}
	return fmt.Sprintf("%v: line %d: %s", ErrSource, e.Line, e.Code)
}

// Unwrap makes errors.Is work for [ErrSource] and the reader's error.
func (e *SourceError) Unwrap() []error {
	if e.Err != nil {
		return []error{ErrSource, e.Err}
	}
	return []error{ErrSource}
}

func configErr(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrConfig, fmt.Errorf(format, args...))
}

func rowErr(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrRow, fmt.Errorf(format, args...))
}
