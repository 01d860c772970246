package integrity

import (
	"fmt"
	"strings"
)

// Code says what is wrong. Codes are kept like API: programs decide by them,
// [Schema.Explain] makes sentences of them.
type Code string

// The codes of a record.
const (
	CodeRequired     Code = "required"      // nothing there
	CodeRequiredAny  Code = "required_any"  // nothing there in any field of the group
	CodeUnknownField Code = "unknown_field" // fields that the schema does not have
	CodeType         Code = "type"          // a Go value of another kind
	CodeMinLength    Code = "min_length"    // fewer characters than min
	CodeMaxLength    Code = "max_length"    // more characters than max
	CodeOneOf        Code = "one_of"        // not one of the choices
	CodePattern      Code = "pattern"       // does not match the pattern
	CodeEmail        Code = "email"         // not a deliverable address form
	CodePhone        Code = "phone"         // not a phone number
	CodeURL          Code = "url"           // not an absolute http or https URL
	CodeInteger      Code = "integer"       // not a whole number of 64 bits
	CodeDecimal      Code = "decimal"       // not a decimal number at the scale
	CodeBoolean      Code = "boolean"       // neither true nor false
	CodeDate         Code = "date"          // not a calendar date
	CodeTime         Code = "time"          // not a point in time
	CodeCountry      Code = "country"       // not an ISO 3166 alpha-2 code
	CodeLanguage     Code = "language"      // not a BCP 47 language tag
	CodeCard         Code = "card"          // not a card number
	CodeUTF8         Code = "invalid_utf8"  // bytes that are not UTF-8
	CodeNUL          Code = "nul"           // a NUL character
	CodeControl      Code = "control"       // a character that acts on what surrounds it; see Field.FreeText
	CodeNoSchema     Code = "no_schema"     // no rules to judge by
)

// The codes of a file or an import.
const (
	CodeTooFewColumns   Code = "too_few_columns"  // fewer cells than the header
	CodeTooManyColumns  Code = "too_many_columns" // more cells than the header
	CodeQuote           Code = "quote"            // a quote mark where none may stand
	CodeQuoteOpen       Code = "quote_open"       // a quote that is never closed
	CodeLineEnd         Code = "line_end"         // a lone carriage return, or a lone line feed where carriage returns end lines
	CodeFieldTooLarge   Code = "field_too_large"  // a cell above the limit
	CodeRecordTooLarge  Code = "record_too_large" // a record above the limit
	CodeDuplicate       Code = "duplicate"        // the value of a unique field stood in an earlier row
	CodeHeaderDuplicate Code = "header_duplicate" // two columns of the same name; the later one was renamed
	CodeHeaderUnknown   Code = "header_unknown"   // no column of the header is known
	CodeHeaderInvalid   Code = "header_invalid"   // a header that cannot be read
	CodeEmptyFile       Code = "empty_file"       // not even a header
	CodeEncoding        Code = "encoding"         // a file that is UTF-16, not UTF-8
	CodeRead            Code = "read"             // the underlying reader failed
)

// Outcome says what became of a fault.
type Outcome string

// The outcomes.
const (
	RowRejected   Outcome = "row_rejected"   // the row was left out
	FieldDropped  Outcome = "field_dropped"  // the row was taken without this value
	ColumnRenamed Outcome = "column_renamed" // the column was taken under another name
)

// Param is one parameter of a code: a limit, a count, the choices. It comes
// from the definition, never from the record.
type Param struct {
	// Name is what the templates call it, such as "max".
	Name string
	// Value is its text.
	Value string
}

// Violation is one broken rule of one field. It never holds the value.
type Violation struct {
	// Code says which rule.
	Code Code
	// Path is the JSON Pointer of the field, "" for the record as a whole.
	Path string
	// Params are the parameters of the rule.
	Params []Param
}

// Violations are all broken rules of a record, in the order of its fields.
// None means valid.
type Violations []Violation

// Err returns the violations as a [*RecordError], nil when there are none.
func (v Violations) Err() error {
	if len(v) == 0 {
		return nil
	}
	return &RecordError{Violations: v}
}

// RecordError is an error made of violations.
type RecordError struct {
	// Violations are at least one.
	Violations Violations
}

// Error lists codes and paths.
func (e *RecordError) Error() string {
	var b strings.Builder
	b.WriteString("integrity: record breaks its schema:")
	for i, one := range e.Violations {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, " %s %s", one.Path, one.Code)
	}
	return b.String()
}

// Fault is what was wrong with a row of a file, and what became of it.
type Fault struct {
	// Line is where the row begins, from 1; 0 where the source has no lines.
	Line int
	// Column is the place of the column, from 1; 0 for the row as a whole or
	// where the source has no columns.
	Column int
	// Field is the name of a field of the schema, "" for the row as a whole
	// and for columns that the schema does not know: a heading may be data.
	Field string
	// Code and Outcome say what was wrong and what became of it.
	Code    Code
	Outcome Outcome
	// Params are the parameters of the code.
	Params []Param
}

// Place names the field, or else the column by its number.
func (f Fault) Place() string {
	switch {
	case f.Field != "":
		return f.Field
	case f.Column > 0:
		return fmt.Sprintf("column %d", f.Column)
	}
	return ""
}

// RowError is what a sequence of rows yields as its error where one row is
// lost and the next can still be read. [Import] counts it and goes on.
type RowError struct {
	// Fault says which row and why.
	Fault Fault
}

// Error names line, place, code and outcome.
func (e *RowError) Error() string {
	f := e.Fault
	return fmt.Sprintf("integrity: line %d: %s%s: %s", f.Line, prefixed(f.Place()), f.Code, f.Outcome)
}

func prefixed(place string) string {
	if place == "" {
		return ""
	}
	return place + ": "
}
