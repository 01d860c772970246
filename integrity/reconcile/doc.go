// Package reconcile compares two sequences of rows that should hold the same:
// a table before and after a migration, a database and an export, a CRM and
// the system it feeds.
//
// # What it does
//
// [Diff] walks two sequences that are sorted by key and yields the rows that
// are missing, that are extra, and that differ, with the names of the fields.
//
// # What it promises
//
// Every difference is yielded, in the order of the keys, and nothing else. Two
// different values never compare as equal: text "0", integer 0, NULL, the
// empty text and a missing field are five things. No difference and no error
// holds a value. Memory is one row a side.
//
// # What it does not promise
//
// It does not sort. A sequence that is out of order, or holds a key twice, is
// an error and never a wrong answer. It reads what the sequences yield: on live
// tables read both in one snapshot, and look at each difference again after a
// while before calling it real.
//
// # Which call first
//
// [Diff]. Declare [Options.Columns] when the two sides are different systems,
// so that true and 1, or 1.5 and 1.50, compare as what they mean.
//
// # Order of keys
//
// Keys are compared part by part: text and bytes by their bytes (ORDER BY under
// COLLATE "C", utf8mb4_bin, BINARY), integers by number. A row is before
// another whose key continues it.
//
// # Concurrency
//
// A sequence is used once, by the goroutine that ranges over the result.
//
// # Errors
//
//	sentinel   kind       what to do
//	ErrOrder   permanent  *OrderError has side and row: sort the query by the bytes of the key
//	ErrKey     permanent  a key is empty or has a part of another type: fix the sequence
//	ErrValue   permanent  a value has no canonical form: declare its column
//	other      temporary  a sequence failed
//
// # Format and compatibility
//
// Nothing is stored. Stability: settling.
package reconcile
