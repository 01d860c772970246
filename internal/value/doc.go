// Package value is the one reader of values: what a Scan hands over from any
// database, and what the application holds in its Go structs.
//
// Reading has two steps. [Of] (and [Scanned] for what a Scan has put into an
// *any) reads a Go value into a small closed [Kind] without knowing what it
// should be. Then a method of [Value] converts it to what the column or field
// was declared as, exactly, or answers an [*Error], which names the field (see
// [In]) and never shows the value. What a package makes of a kind in its own
// format is the package's; what a Go value means is written here, once.
//
// # What a Go value is
//
//	Go value                                            kind
//	nil; nil []byte, sql.RawBytes, json.RawMessage      NULL
//	  and named types of bytes; nil pointers; sql.Null* and
//	  sql.Null[T] that are not valid; a driver.Valuer that
//	  answers one of these, or is a nil pointer
//	string and named types of it, "" included           text
//	signed and unsigned integers and named types        integer; beyond 63 bits: that, exact
//	bool and named types                                boolean
//	[]byte, sql.RawBytes, [n]byte, named, empty too     bytes
//	[16]byte and named types of it                      UUID
//	float64, float32 and named types                    float
//	json.Number                                         integer if written as one, or else number
//	json.RawMessage                                     JSON
//	time.Time                                           time
//	time.Duration                                       duration
//	other slices and arrays, nil ones are empty         list
//	maps with text keys, nil ones are empty             map
//	pointers, pointers to pointers, driver.Valuer       what they lead to
//	anything else; a driver.Valuer that panics, fails   an error
//	  or leads nowhere in 16 steps
//
// Empty is not NULL. There are two exceptions that nobody can see through once
// the Scan is done: an empty blob is nil in a []byte where the driver gives it
// as nil bytes (modernc.org/sqlite), and empty text is nil in a sql.RawBytes
// where the driver gives text as strings (that is database/sql). Scan into an
// any, and read it with [Scanned]: there the two are told apart.
//
// # What it may be declared as
//
//	asked for   taken beside the kind itself
//	Text        bytes (MySQL's driver gives text so), UUID; always valid UTF-8
//	ID          text, bytes, integers in decimal, UUID; never empty
//	Integer     3.0 below 2^53, numbers without a fraction, "3", "3.00" (text or bytes), a duration's
//	            nanoseconds; not "03", no boolean; beyond 63 bits an error
//	Boolean     integers 0 and 1, one byte 0 or 1 (BIT), the texts 0, 1, true, false
//	Bytes       text, UUID, JSON
//	Float       integers and texts of numbers that a binary64 stands for exactly
//	Decimal     integers, numbers, texts of numbers, floats of up to 15 digits at the scale
//	Time        text as RFC 3339 and as databases write it; without a zone only if the caller has one
//	Date        text YYYY-MM-DD, a time at midnight of its own zone
//	JSON        text and bytes that hold a document, numbers, booleans, lists, maps
//
// Whatever is not in the table is an error: 5 is no text, "yes" no boolean, NaN
// no decimal, 0000-00-00 and the zero time (which MySQL's driver makes of it) no
// date and no time, a text of one item no list.
//
// # What it does not
//
// It cannot see what a Scan into a typed variable has lost before: 0.1 in a
// float32, 9007199254740993 in a float64 (which is refused as an integer for
// that). It knows no column: whether 1 and "1" may be one is for the package to
// say, which asks for the [Kind] where they may not.
//
// A Value holds on to bytes, lists and maps that were handed in; the bytes of a
// sql.RawBytes are good until the next row. All functions are safe for
// concurrent use.
package value
