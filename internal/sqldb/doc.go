// Package sqldb is the one floor on which the packages meet a SQL database:
// SQLite, PostgreSQL, MariaDB and MySQL, through database/sql and any driver.
//
// # What it does
//
// [Ask] finds the [Dialect] by asking the database once. A Dialect writes what
// the four say differently: placeholders ([Dialect.Bind]), names
// ([Dialect.Quote]), insertions of many rows ([Dialect.Insert]), pages of a
// table in the order of its key ([Dialect.Page]). [DB.Write] and [DB.Snapshot]
// run a transaction with the isolation and the durability that the caller
// needs, and again where the database asks for it. A [Schema] is the tables of
// one package: their migrations, installed under a lock and checked at Open.
// [DB.WaitForWriters] is for whoever destroys what a table may need: what its
// transactions have written is there to be counted afterwards.
//
// # Order of text
//
// The library's own text keys are ordered and compared by bytes on every
// database: COLLATE "C" on PostgreSQL, BINARY on SQLite, VARBINARY on MariaDB
// and MySQL, whose utf8mb4_bin takes 'a' and 'a ' for one. The collation is
// part of the column, so the statements are the same everywhere.
//
// # Tables of others
//
// A table that the application made is read by a [Keyset]: a unique key that the
// database itself names, with the types and the order of its index. Pages come in
// that order, so that none is sorted, the cursor goes back to the database in a
// form that loses nothing in any driver or session, and [Dialect.Equal] compares a
// value byte for byte behind the comparison that uses the index. Where rows have
// no such key, it is a [KeyError], never a page that leaves rows out.
//
// Not known: a time in TIMESTAMP of MariaDB and MySQL as part of a key, in the hour
// that a session's time zone has twice; a collation of SQLite that the application
// defined itself; on MySQL, where a DECIMAL is the key, an exactness that was shown
// on MariaDB only.
//
// # Errors
//
// Databases and drivers quote values in what they say. [Safe] makes a
// [*DriverError] of that, which says the code, the table and the constraint in
// words of the library, and keeps the driver's error behind errors.As. The verbs
// here do it themselves; whoever executes a statement hands each error of it,
// of Scan and of Rows.Err through Safe.
//
// # What it does not
//
// It does not hide the database: whoever needs a statement writes it, in the
// words that all four understand, and where there is no such word, as a method
// of Dialect. It opens no connections, and closes none.
//
// All types are safe for concurrent use.
package sqldb
