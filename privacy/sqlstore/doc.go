// Package sqlstore finds, exports, erases and reads back the rows of a data
// map in a database/sql database: a privacy.Store.
//
// It promises that one Erase is one transaction, that it may be called again,
// that Left looks by the keys found before and by a fresh search, and that
// nothing inside the transaction uses another connection. What the map keeps is
// still there when the transaction commits, or it does not commit. On SQLite a
// person or tenant is who the column holds in exactly that spelling, number,
// text or blob: 017 is not 17, nor P1 p1, whatever affinity and collation say.
//
// It does not search free text, does not know replicas, server logs or
// backups, and erases only what the map declares: run [CheckSchema] in a test
// of the application, so that a new column cannot be forgotten.
//
// Call [Open] first, after privacy.Install. A Store is safe for concurrent use.
//
// Errors: a [*DatabaseError] names operation and table; its text leaves out
// what the driver said, which may quote values. It is temporary or permanent
// as its cause is. An error that wraps privacy.ErrLater is temporary: readers
// are in the way of a checkpoint, or a joint record changed meanwhile. A
// [*CascadeError] (from Open, ErrMap too) and a [*LostError] (from Erase) are
// permanent: the schema deletes what the map keeps, or what is about others
// (seen on SQLite, as the schema was at Open); mend it. So is a
// [*KeyError] (from Erase, ErrMap too): the map names no unique key.
//
// The SQL was run on SQLite only. Elsewhere CheckSchema answers
// errors.ErrUnsupported, Flush has nothing to do, cascades are found in the
// transaction only, and ids are compared as the database compares them. On
// SQLite, open the database with secure_delete=ON before its first row.
// Stability: settling.
package sqlstore
