// Package reconcile compares two sequences of rows that should hold the same:
// a table before and after a migration, a database and an export, a CRM and
// the system it feeds.
//
// # What it does
//
// [Diff] walks two sequences that are sorted by key and yields the rows that
// are missing, that are extra, that differ, with the names of the fields, and
// those where a value cannot be read, with its side and field.
//
// # What it promises
//
// Every difference is yielded, in the order of the keys, and nothing else. Two
// different values never compare as equal: text "0", bytes "0", integer 0,
// NULL, the empty text and a missing field are six things, and so are the JSON
// numbers 9007199254740993 and 9007199254740992. A value that is not what its
// column says, such as a date 0000-00-00, is an outcome of its own row, so is a
// key that is NULL, and the rows behind it are compared. Nothing is yielded before both sides have ended
// and were in order, so that a side in another order never looks like missing
// rows. Columns that no row has, and none at all, are an error, never equality.
// No difference and no error holds a value. Memory is one row a side and the
// differences, at most [Options.Limit].
//
// # What it does not promise
//
// It does not sort. A sequence that is out of order, or holds a key twice, is
// an error. It reads what the sequences yield: on live tables read both in one
// snapshot, and look at each difference again after a while before calling it
// real. It sees the values that it is given: [FromRows] gives them as the
// database holds them, whatever the driver has made of them.
//
// # Which call first
//
// [FromRows] for each side that is a database, of any kind, and [Diff] with
// [Options.Columns], so that true and 1, or 1.5 and 1.50, compare as what they
// mean; then [Counts.Equal].
//
// # Order of keys
//
// Keys are compared part by part: text and bytes by their bytes (ORDER BY under
// COLLATE "C", utf8mb4_bin, BINARY), integers by number and before text, text
// before bytes. A row is before another whose key continues it.
//
// # Concurrency
//
// A sequence is used once, by the goroutine that ranges over the result.
//
// # Errors
//
//	sentinel    kind       what to do
//	ErrOptions  permanent  no columns, misspelt ones, or a sequence is nil: nothing was compared
//	ErrOrder    permanent  *OrderError has side and row: sort the query by the bytes of the key
//	ErrKey      permanent  no key of a side can be used, or the sides keep them in two types: fix the sequence
//	ErrLimit    permanent  there are more differences than Options.Limit, which were yielded
//	other       temporary  a sequence failed
//
// # Format and compatibility
//
// Nothing is stored. Stability: settling.
package reconcile
