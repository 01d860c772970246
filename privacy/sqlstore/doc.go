// Package sqlstore finds, exports, erases and reads back the rows of a data
// map in a database/sql database: a datastore.Store, and Transactional,
// Numbered, Keeper, People and Flusher besides.
//
//	store := must(sqlstore.Open(ctx, sqlstore.Config{DB: db, Map: dataMap}))
//	scope := datastore.Scope{Tenant: "main", Person: person}
//	must(store.Rehearse(ctx, []datastore.Scope{scope})) // what the schema refuses is said here
//	rows := must(store.Find(ctx, scope))
//	check(store.Erase(ctx, scope, rows))
//	left := must(store.Remaining(ctx, scope, rows)) // 0
//
// # Promises
//
// Edges of the map are followed from the person to their rows, from those to
// further ones, until nothing new comes: each table is asked with one statement
// for each 500 values that lead there, for one person or for many, and a row is
// found once, however many edges lead to it. Rows of others that only point to
// the person lose that in the same transaction, before what they point to goes.
//
// One Erase is one transaction, which may be called again. Before its end it
// looks again, and erases what has come meanwhile, also rows that name one which
// is gone; nothing inside the transaction uses another connection. What the map
// keeps is still there when the transaction commits, or it does not commit.
// Remaining looks by the keys found before, by a fresh search, and for rows that
// name one that is gone. Rows are locked before they are erased, with those that
// lead to the person, so that nobody moves one to another person meanwhile.
// Rehearse is the same, with every constraint checked, and taken back.
//
// A person or tenant is who the column holds in exactly that spelling, in
// bytes: 017 is not 17, nor P1 p1, whatever the type, the collation or SQLite's
// affinity take for equal. Numbers and UUIDs are compared as such, where the id
// is written as the database writes it; bytes that are no text are written as \x
// and lower-case hexadecimal; an id that no value of the type is written as names
// nobody. Of identities e-mail addresses alone are compared without regard to
// case; one that another person has too leads nowhere, see [SharedIdentityError], nor do
// blanks and what an erasure writes. Rows to which only a value leads that rows of
// others have too are nobody's: see [AmbiguousError].
//
// Rows that stay get what the map says of each column, or of each member of a
// JSON document, whose other members keep their bytes. A code of Pseudonymise is
// 32 hexadecimal digits, of which the last eight tell it from any other text;
// the code of a {row} is the first 16 of SHA-256 over tenant, table, column and key.
//
// Tables that could only seem to be erased from are refused by Open: views,
// rows hidden by row level security, WITH SYSTEM VERSIONING, engines without
// transactions, partitions of another server. Row level security that comes later
// makes Erase fail. What inherits from a table of PostgreSQL is a table of its own.
//
// # Not promised
//
// It does not search free text but where the map says Scrub, and there in the
// person's own rows: what texts in rows of others say of the person stays. It does
// not know replicas, server logs or
// backups, and erases only what the map declares: run liveschema.Check in a test
// of the application, so that a new column cannot be forgotten.
//
// Edges between tables go by the columns' own comparison, as foreign keys do;
// where types or collations differ, by bytes. Identities are compared without an
// index of the bare column. Rows that the application has found in sealed columns
// are those of a moment before the transaction. Types of columns and foreign keys
// are those at Open. Triggers are not read: one that deletes rows which stay is
// noticed in the transaction, one that empties their columns, or copies what
// goes, is not. On MariaDB and MySQL foreign keys of other databases of the
// server are not read, unless the map names a table there, and keys of tables
// on which the account has no rights are not seen.
//
// # First call
//
// [Open], after privacy.Install. A Store is safe for concurrent use, in several
// processes. [Grants] lists the rights that its account needs on the tables of
// the map, and privacy.Grants those on the library's own.
//
// # Errors
//
// A [*DatabaseError] names operation and table, and of the cause what the
// database says of names, codes and rights; the rest, which may quote values,
// errors.As finds in the driver's error. It is temporary or permanent as its
// cause is. An error that wraps datastore.ErrLater is temporary: readers are in
// the way of a checkpoint, or a joint record changed meanwhile.
// privacy.ErrStandby is temporary: connect to the primary. Permanent:
// fs.ErrPermission (a right is missing, see [Grants]). Permanent, from Open:
// privacy.ErrSchema (call Install), an error that wraps datamap.ErrMap (the map
// names what is not there, or cannot be erased from), a [*CascadeError] (ErrMap
// too: the schema deletes what the map keeps). Permanent, from Erase and Rehearse,
// nothing erased: a [*LostError] (a cascade or a trigger took what was to stay, or
// what is about others), a [*RemainingError] (a trigger writes again what goes), a
// [*KeyError] (ErrMap too: the map names no unique key), a [*ValueError] (a value
// cannot become what the map says), a [*DatabaseError] that names the constraint.
// Permanent, from Rehearse: a [*DeferredError] (ErrMap too). Permanent, from
// whatever looks for the person: a [*SharedIdentityError], a [*TooManyError], an
// [*AmbiguousError] (ErrMap too: an edge names no unique key), a [*KeyError] (rows
// that stay have keys that read alike, such as 1 and '1' on SQLite).
// Permanent, from Advance: a [*NumberError] (ErrMap too: numbers are given again).
//
// # Databases
//
// SQLite, PostgreSQL and MariaDB, through any driver; MySQL was never run. On
// SQLite, open the database with secure_delete=ON before its first row; Flush
// has something to do there only. A table from which a foreign key deletes rows
// of other persons makes its erasures on MariaDB hold up insertions nearby.
//
// Stability: settling.
package sqlstore
