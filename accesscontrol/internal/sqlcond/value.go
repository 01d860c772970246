package sqlcond

import "strings"

// Kind is the kind of a value.
type Kind uint8

// The kinds. References are texts: the id of what they refer to.
const (
	Absent  Kind = iota // NULL: the record has no such attribute
	Text                // UTF-8, compared by its bytes
	Integer             // 64 bits
	Boolean             // Number is 0 or 1
	Other               // there, and nothing that a condition compares
)

// Value is a value of a record or of a condition. The zero Value is absent.
type Value struct {
	Kind   Kind
	Text   string
	Number int64
}

// Row is a record: its values by slot, the elements of its sets by theirs, and
// the record itself for a [Foreign].
type Row struct {
	Values []Value
	Sets   [][]Value
	Source any
}

// TextOf makes a text.
func TextOf(s string) Value { return Value{Kind: Text, Text: s} }

// IntegerOf makes an integer.
func IntegerOf(n int64) Value { return Value{Kind: Integer, Number: n} }

// BooleanOf makes a boolean.
func BooleanOf(is bool) Value {
	if is {
		return Value{Kind: Boolean, Number: 1}
	}
	return Value{Kind: Boolean}
}

// compare orders two values of one kind.
func compare(a, b Value) int {
	if a.Kind == Text {
		return strings.Compare(a.Text, b.Text)
	}
	switch {
	case a.Number < b.Number:
		return -1
	case a.Number > b.Number:
		return 1
	default:
		return 0
	}
}

// Column is one attribute of a record: its slot in a [Row] and its column in
// the table.
type Column struct {
	// Slot is the place in Row.Values.
	Slot int
	// Name is the SQL column; empty where there is no table.
	Name string
	// Kind is that of its values.
	Kind Kind
	// Storage is how they are held.
	Storage Storage
	// Via leads to the table whose column it is; nil is the record's own.
	Via *Join
}
