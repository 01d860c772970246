// Package capture notices changes of tables without touching the code that
// makes them: triggers of PostgreSQL, which write down that a row changed.
//
// # What it does
//
// [Pack] writes the triggers for tables that are named to it, as two files of
// migrations. From then on each INSERT, UPDATE, DELETE, MERGE, COPY, cascade and
// TRUNCATE leaves a row in crmguard_audit_captured, in the same transaction: the
// table, the key of the row, what was done, the names of the columns that
// changed, the role that logged in, who the session claimed to act for, the
// transaction, the time. No value but the key, the tenant and the person whom the
// row is about. A trail whose Config.Captured names the tables files these rows as
// entries of a kind of their own, but for those of which events of the same
// transaction have told ([Row.ToldBy]): of an insertion or deletion any event about
// the row, of an update those that name each column that changed.
//
//	up, down, err := capture.Pack(
//		capture.Table{Name: "public.contacts", Kind: "contact", TenantColumn: "tenant", Skip: []string{"updated_at"}},
//		capture.Table{Name: "public.deals", Kind: "deal", TenantColumn: "tenant"})
//	os.WriteFile("20270101120000_capture.up.sql", []byte(up), 0o600)
//	// In each transaction, if the application can say for whom it acts:
//	tx.ExecContext(ctx, `SELECT set_config('crmguard.actor', $1, true)`, user)
//	// At start, and every few minutes:
//	lacks, err := capture.Missing(ctx, db, tables...)
//
// # What it promises
//
// What an UPDATE changed is told by the bytes of each column, so that another
// spelling of what the type takes for equal (citext, numeric, a collation) is a
// change, and types without a comparison (json, xml, point) have one. A row that
// gets another key, tenant or person is captured under both. An UPDATE that changes
// nothing, or columns of Skip only, is not captured. A transaction that is rolled
// back, and a savepoint, take their captured rows along.
//
// The functions run with the rights of their owner (SECURITY DEFINER) on a fixed
// search path, call nothing that the owner of a column's type could have written,
// and are executable by nobody else, so that no other table can feed them. Roles
// of the application need no right on crmguard_audit_captured, and get none, also
// where default privileges would give it. A trail that files needs these, the second
// because PostgreSQL lets nobody else lock a row, and nothing but its number can be
// changed with it:
//
//	GRANT SELECT, UPDATE (n), DELETE ON crmguard_audit_captured TO crm_app
//
// Columns that come, go, get another name or type do not break the statements of
// the application, also not in sessions that are open meanwhile. Until the pack
// is applied again such changes are captured some twenty times as slowly (see
// Cost), so apply it in the migration itself; a column that has come since is
// named where nothing else changed with it; and where a column of the key, of the
// tenant or of the person has gone or has another name, the rows are captured without
// it, without a key where it is the person's, and are filed without an object.
//
// # What it does not
//
// A captured row is never evidence of who acted. The role is the one that the
// connections of a pool share, what is claimed is what somebody wrote into a
// setting, and whoever owns the table of captured rows, or is superuser, writes
// there what he likes. It has no tag: what it proves is that the table of
// captured rows said so when it was filed.
//
// The owner of a table, and a superuser, can switch its trigger off, for good
// (ALTER TABLE … DISABLE TRIGGER), or for a session (session_replication_role =
// replica, which pg_restore --disable-triggers and logical replication use, and
// which needs a superuser), and can make it or its function anew so that it says
// less. [Missing] notices the first and the last, nothing the second. He can delete
// rows before they are filed.
//
// It fails closed: where crmguard_audit_captured cannot be written, because it
// was dropped, moved to another schema or renamed, because its owner lost a
// right, or because the disk is full, the statement of the application fails.
//
// Not captured: TRUNCATE of a single partition (of the whole table it is); tables
// that inherit from a named one without being its partitions, unless they are
// named too; what DDL does to rows (ALTER TABLE … TYPE … USING, DROP COLUMN, DROP
// TABLE, DETACH PARTITION). A row that moves to another partition is deleted and
// inserted. A large value is read to be compared wherever an UPDATE of its row
// leaves its length as it was: put such columns into Skip, or pay for it.
//
// # Personal data
//
// The key of a person's row is personal data, at rest in crmguard_audit_captured
// until the row is filed, when a surrogate takes its place; so is the id in the
// column Table.Person, and so are a tenant or a claimed actor that are names. An
// erasure files what waits about the person. What another table's key says of a
// person stands in the log, also behind the erasure, unless Person is set. The rows lie
// in backups of that time. Where nothing files, and while the keys of their tenant do
// not answer, they stay: install the pack with a trail that files. Names of columns
// stand in the log in the clear: Skip those that say too much.
//
// # Names of rows
//
// The name of a row is its key as text: an integer in decimal digits, a UUID in
// small letters, text of any type and the label of an enum as they are, bytes as
// \x and hexadecimal digits, a char(n) without the blanks that pad it; times,
// intervals and floats in one form, whatever the session has set. Several columns are
// joined by a slash, with % and / in them as %25 and %2F. A row has no name where one
// would be longer than 255 bytes, where a column of it is NULL, and where the column
// Person is one of the key: the name would say who the person is.
//
// # Cost
//
// BenchmarkCapture tells it. Measured for one row of a table of twenty columns,
// without the commit, on a machine of two cores: an UPDATE takes 3 µs without a
// trigger, 4 with an empty one, 16 captured; one that changes nothing takes about
// as long as one that is captured. Hence one function a table with its columns
// written out: one function for all tables has to turn rows into JSON (36 to 48
// µs), or to compose its statement anew (270 µs), which is what a captured row
// costs whose columns are others than when the pack was applied.
//
// # Errors
//
//	ErrInvalid (TableError)   permanent   correct the description: the error says what
//	ErrRow                    permanent   no trigger wrote this row: delete it, and report it
//	errors.ErrUnsupported     permanent   Missing asks PostgreSQL only
//
// What is wrong with a table as the database has it, up says itself when it is
// applied: a table or column that is not there (42P01, 42703), a table without a
// primary key where Key is empty (42704), a view (42809), a table named twice
// (42710) or under the name that another one had (55006), a table of captured
// rows of another owner (42501) or another version (42804). It is one statement: then
// nothing of it is done.
//
// # Format and compatibility
//
// PostgreSQL from 13. The pack makes the table crmguard_audit_captured
// itself, in the first schema of the search path, and down drops it when nothing
// waits in it. Settling: names, tables and the Go API may change until v0.1.0.
// All functions are safe for concurrent use; up and down, too: one after the
// other is applied, or, where transactions are stricter than READ COMMITTED, the
// second is told to begin anew (40001).
package capture
