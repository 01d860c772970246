// Package ids holds the one rule for ids (formats.md, General): opaque UTF-8
// without NUL, 1 to 255 bytes, compared byte for byte. Ids are never trimmed,
// folded or normalised: "A" and "a", "p" and "p ", the two spellings of "é" are
// six ids, here as in every table that holds them.
//
// Ids with a colon as their second byte belong to the library ("t:", "r:…",
// "s:…"). Where an id comes from a caller it must be none of them.
package ids

import (
	"strings"
	"unicode/utf8"
)

// Max is the length of the longest id in bytes.
const Max = 255

// The reasons of an [Error], as a half sentence behind the name of the field.
const (
	Empty    = "is empty"
	TooLong  = "is longer than 255 bytes"
	NotUTF8  = "is not UTF-8"
	HoldsNUL = "holds NUL"
	Reserved = "is reserved: a colon in second place"
)

// Error says which id breaks the rule, and how. It never holds the id, which
// may be an address that somebody handed in by mistake.
type Error struct {
	Field  string // as the caller calls it: "tenant", "Record.ID"
	Reason string // one of the reasons above
}

// Error is a sentence such as "tenant is empty".
func (e *Error) Error() string { return e.Field + " " + e.Reason }

// Check returns nil where id is one, and an [Error] that names field.
func Check(field, id string) error {
	switch {
	case id == "":
		return &Error{field, Empty}
	case len(id) > Max:
		return &Error{field, TooLong}
	case !utf8.ValidString(id):
		return &Error{field, NotUTF8}
	case strings.IndexByte(id, 0) >= 0:
		return &Error{field, HoldsNUL}
	}
	return nil
}

// CheckGiven is [Check] for an id that a caller gives to a person, an account
// or an object: it refuses the reserved ones too.
func CheckGiven(field, id string) error {
	if err := Check(field, id); err != nil {
		return err
	}
	if len(id) > 1 && id[1] == ':' {
		return &Error{field, Reserved}
	}
	return nil
}

// Plain says whether every database can hold a text: it is UTF-8 without NUL.
func Plain(text string) bool { return utf8.ValidString(text) && strings.IndexByte(text, 0) < 0 }
