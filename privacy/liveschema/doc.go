// Package liveschema compares a data map with the schema that a database really
// has, and proposes a first map from it.
//
//	source, err := liveschema.Propose(ctx, db) // once: Go source, to be read and decided about
//	…
//	findings, err := liveschema.Check(ctx, db, dataMap) // in a test of the application, and before every erasure
//	check(findings.Err())
//
// # Promises
//
// [Check] finds every table and every column of the database that the map does
// not know, so that a new one cannot be forgotten, and what in the schema makes
// an erasure fail or lie: constraints, types, cascades, foreign keys of any
// table into those of the map, tables that cannot be erased from, columns in which
// nobody is found, copies that stay. What would is
// an [Alarm]; what somebody should know is a [Notice]. It reads catalogues only,
// no row, and changes nothing.
//
// The source of [Propose] compiles, and its map is valid. Wherever a person has
// to decide stands "decide:", and what nobody decided about is an alarm of
// Check, which refuses every erasure.
//
// # Does not promise
//
// That a category is right: it is guessed from a column's name, and no value is
// looked at. Conditions of CHECKs and bodies of triggers are not understood, but
// named. What the account may not see is not there: ask with the one that owns
// the tables. On SQLite attached files are not read; on MariaDB and MySQL the
// database in use and those that the map names are; a collation of SQLite is
// known as far as an index has it.
//
// Tables whose name begins with crmguard_ are the library's own and left out.
// That of a migration tool (goose_db_version, schema_migrations) is a Table of
// the map with Key and Columns alone.
//
// # First call
//
// [Propose] where there is no map, [Check] where there is one.
//
// # Concurrency
//
// Both may be called at any time, by any number of goroutines.
//
// # Errors
//
//	datamap.ErrMap  permanent  the map is wrong in itself: its text says where
//	ErrUnfit        permanent  (of Findings.Err) schema and map do not fit: each line says what to do
//	fs.ErrPermission permanent  a right to read the catalogue is missing
//	others          temporary  the database did not answer: ask again
//
// Stability: settling.
package liveschema
