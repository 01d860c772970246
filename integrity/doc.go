// Package integrity keeps wrong data out and finds data that was changed
// behind the application's back.
//
// The first lines; must stands for what is done about an error, and the example
// FirstLines has what stands around them:
//
//	schema := must(integrity.NewSchema("contact",
//		integrity.Field{Name: "email", Type: integrity.Email, Required: true},
//		integrity.Field{Name: "stage", OneOf: []string{"lead", "customer"}}))
//	for _, v := range schema.Validate(map[string]any{"email": "ann at shop", "stage": "won"}) {
//		fmt.Println(v.Path, v.Code, schema.Explain("zh", v))
//	}
//	report := must(integrity.Import(ctx, integrity.CSV(file, integrity.CSVOptions{Columns: integrity.KnownHeaders()}),
//		integrity.ImportOptions{Schema: schema, Unique: []string{"email"}}, store))
//
//	sealer := must(integrity.NewSealer(must(integrity.KeysFile(secret)), // or the tagger of a vault
//		integrity.Layout{ID: "contact/1", Columns: []integrity.Column{{Name: "email"}, {Name: "stage"}}}))
//	row := integrity.SealedRow{
//		Ref:    integrity.Ref{Tenant: "main", Table: "contacts", Key: "c-1", Version: 1, SchemaID: "contact/1"},
//		Values: map[string]any{"email": "ann@a.example", "stage": "lead"},
//	}
//	row.Seal = must(sealer.Seal(ctx, row.Ref, row.Values)) // stored beside the row
//	row.Values["stage"] = "customer"                       // by somebody who cannot seal
//	fmt.Println(sealer.Verify(ctx, row))
//
// # What it does
//
// A [Schema] validates records and says what is wrong in codes. [Import] takes
// rows, from [CSV] or any other sequence, through a schema: a fault in a
// required field rejects the row, a fault in an optional field drops that
// value alone, good rows go on. A [Sealer] puts a keyed seal on each stored
// row, [Sealer.Sweep] verifies a table and computes [Roots], whose head is
// anchored elsewhere (the beat of the audit trail). Package reconcile compares
// two sequences row by row.
//
// # What it promises
//
//   - No violation, fault, report, finding, error or reject file contains a
//     value of a record.
//   - Read = accepted + rejected, whatever a file contains.
//   - No row is made of the inside of a cell, whatever a cell contains, unless
//     [CSVOptions.ResumeAfterQuote] asks to go on after a broken quote.
//   - Only io.EOF itself ends a file; an error that wraps it is a failure.
//   - Rejects are written before the batch that follows them is handed over.
//   - [Field.Check] sees the same Go types in a form, a struct and an import.
//   - Text that shows nothing is not there; text of one line holds no line
//     break, control or direction character (see [Field.FreeText]).
//   - Nil and zero arguments are errors, and without a schema nothing is valid.
//   - A changed field, key, tenant, table, version or schema id breaks a seal.
//   - A row put back with its old seal, and a deleted row, change the roots.
//   - What a WHERE compares as different is never one behind a seal: another
//     number of a JSON document, a blob or a text in place of a number, NULL in
//     place of an empty value. What a database only keeps in another way, such
//     as 12.50 as 12.5, breaks none. [Sealer.Seal] lists what each type takes.
//   - A sweep that did not reach the end is not OK, whatever it found; one row
//     that cannot be read does not end it.
//
// # What it does not promise
//
// A seal alone does not find a deleted row, nor an old row put back together
// with its old seal: compare the roots with anchored ones. Roots find changes
// since they were anchored, the application's own included, and name buckets,
// not rows. Whoever holds the seal key can seal anything. An e-mail address
// that passes is well formed; whether anyone reads it, and whether its letters
// are of the alphabet that they seem to be of, is another question. Hosts beyond
// ASCII pass as IDNA 2008 has them, in any case and normal form, stored as they
// came; full width, symbols, and capitals that software maps in two ways (ẞ, İ)
// do not. The
// built-in [Phone] rule looks at the shape only; hand in a [Field.Check] for
// numbering plans. A duplicate is found within one import, not against the
// database. A reader that hangs holds up its import: the context is looked at
// between rows.
//
// A seal sees what it is given: read rows with a [Reader], because a Scan into a
// typed variable, or a driver that makes times of text, shows two stored values
// as one, and two drivers show one value in two ways. It does not cover the
// schema: who may declare another type or collation, or put a view in place of
// the table, changes what a query finds without touching a row.
//
// JSON documents that say the same (RFC 8785) are one behind a seal: white
// space, the order of members, escapes, 1 and 1.0. A query over their text
// (LIKE, or ->> compared with '1') tells these apart, and so does SQLite with
// 9007199254740993 and 9007199254740993.0: what a query decides by stands in a
// column of its own, or is cast to a number. A Decimal needs a column that is
// declared as a number or as text: where SQLite converts nothing (no declared
// type, BLOB, ANY), the number 12.5 and the text '12.50' are one.
//
// # What databases keep
//
// A [Reader] reads SQLite, PostgreSQL (pgx and lib/pq), MariaDB and MySQL (the
// last was not run). A row sealed as it was bound verifies, whichever driver
// wrote it and whichever reads it, except where the database keeps another value
// than it was given:
//
//   - Of char(n) blanks at the end do not count: seal text without them. A uuid
//     is lower case, a citext keeps its case.
//   - real and FLOAT keep 24 bits: seal the float32. The driver of MySQL cuts a
//     FLOAT to six digits, so it is refused: select it cast to DOUBLE.
//   - timestamp of PostgreSQL keeps a clock without its zone: bind UTC, or take
//     timestamptz. The driver of MySQL writes and reads clocks in the zone "loc"
//     of its data source name: keep it the same, and UTC, where no hour is there
//     twice a year. It needs parseTime=true to read a Time, or is refused.
//   - A DATETIME, or TIMESTAMP(3), keeps fewer digits than a Time has: declare
//     six, or truncate to them before sealing.
//   - On MySQL and MariaDB 0000-00-00 is no date, nor is 0001-01-01, which the
//     driver makes of it; [Reader.Columns] shows that 2026-02-30, which a session
//     may store, is none.
//   - SQLite has neither dates nor times: bind YYYY-MM-DD and microseconds since
//     1970 (int64). Of a time.Time its driver makes a text of its own, which is
//     neither; what the driver makes of it when it reads is refused.
//   - A number in JSON of MySQL is a binary64 if it has a fraction.
//   - Arrays, intervals, addresses, times of day and ranges are shown by each
//     driver in its own way, and refused: select them cast to text.
//
// # Which call first
//
// [NewSchema], then [Schema.Validate] for forms and [Import] with
// [KnownHeaders] for files. Without a vault of package encryption [NewKeysFile]
// once and [KeysFile]; [NewSealer], then [Sealer.Seal] in the transaction
// that writes the row; [OpenReader], and at night [Sealer.Sweep] over
// [Reader.Sealed], [Roots.Head] to the anchor.
//
// # Grammar of CSV
//
// RFC 4180, read strictly: the first record is the header; cells are separated
// by the comma; a cell that begins with a quote mark goes to the next quote
// mark that is not doubled, line ends included, and behind it stands a comma or
// a line end; no other cell holds a quote mark. Beyond the RFC:
//
//   - A UTF-8 byte-order mark may stand first, then a line "sep=" and the comma.
//   - The first line end decides. In a file of LF or CRLF (several CR before an
//     LF count as one) a lone CR outside of quotes sets its record aside with
//     the code line_end; where CR alone ends the header it ends every record,
//     and a lone LF sets its record aside.
//   - Between quotes CRLF becomes LF. Empty lines are no records. The last line
//     needs no line end.
//   - A cell above [CSVOptions.MaxField], with NUL or without UTF-8 is left out;
//     a record above [CSVOptions.MaxRecord] or with another number of cells than
//     the header is set aside. Both are passed over to their true end: quotes
//     are followed through what is not stored.
//   - A quote mark where none may stand, and a cell that the end of the file
//     finds open, end the file with a [SourceError].
//
// Within the limits, and without a lone CR, the records are those of
// encoding/csv, and so is what ends a file.
//
// # Concurrency
//
// [Schema], [Reader] and [Roots] do not change after they are made, a [Sealer]
// only what [Sealer.Status] says; all are safe for concurrent use. A sequence of
// rows is used once, by one goroutine.
// Nothing starts a goroutine. Memory: [CSV] holds one record, [Import]
// one batch and, for each unique field, about 40 bytes an accepted row; a sweep about 80 bytes a row.
//
// # Errors
//
//	sentinel          kind       what to do
//	ErrConfig         permanent  fix the schema, layout, options or query; nothing ran, or a sequence ended
//	ErrSource         permanent  the file is unreadable, or from the line on that *SourceError has
//	                             beside the code: mend the line and import the file again
//	                             (code read: the reader failed, perhaps temporary)
//	ErrRow            permanent  the caller's row or reference is not what its layout says
//	ErrTampered       permanent  the row is not what was sealed: look at the audit trail, restore the row
//	                             (names the column that holds another class of value; if all rows do,
//	                             what was sealed is not what the database keeps: see above)
//	ErrNoSeal         permanent  as above; before the first sealing run, seal the row
//	ErrUnknownKey     permanent  the keyset lost the key of this seal: restore the keyset
//	ErrUnknownSchema  permanent  register the layout of this schema id
//	ErrRoots          permanent  not a roots file, or roots that cannot be compared
//	*RowError         permanent  one row of a sequence is lost; Import reports it and goes on
//	*RecordError      permanent  a record breaks its schema; show [Schema.Explain]
//	other             temporary  the tagger, the sequence or the writer failed; try again
//
// # Observation
//
// [Sealer.Status] answers findings, all of them each time, of what this Sealer
// has come across; where a table is not well, a line with tenant/table stands
// behind the sum, for ten at most:
//
//	integrity.tagger            calls   alarm: the last ones failed, nothing is sealed or verified
//	integrity.rows              rows    alarm: not as they were sealed, until a whole sweep finds the table well
//	integrity.sweep.incomplete  tables  notice: the last sweep did not reach the end (processes that sweep)
//	integrity.sweep.age         s       since the newest whole sweep of the table where that is longest ago (such processes)
//
// # Format and compatibility
//
// The row seal is a keyed tag over
//
//	LP("crmguard/seal/v1") ‖ LP(tenant) ‖ LP(table) ‖ LP(key) ‖ row version (8) ‖
//	LP(schema id) ‖ LP(event id) ‖ n (4) ‖ n × (LP(name) ‖ type ‖ LP(value))
//
// where LP is a 4-byte big-endian length and the bytes, and fields stand in
// the order of their names' bytes. JSON enters as RFC 8785, but with all digits
// of its numbers instead of the nearest float64. A bucket of the roots is a
// keyed tag over
//
//	LP("crmguard/roots/v1") ‖ LP(tenant) ‖ LP(table) ‖ bucket (1) ‖ rows (8) ‖
//	the sorted SHA-256(LP(key) ‖ row version (8) ‖ LP(seal))
//
// and a row is in the bucket that the first byte of
// SHA-256(LP("crmguard/roots/bucket/v1") ‖ LP(tenant) ‖ LP(table) ‖ LP(key))
// names. Roots are stored as RFC 8785 JSON. Samples are frozen in testdata.
// Bytes and Go API may change until v0.1.0; codes, verdicts and outcomes are
// kept like API. Stability: settling.
package integrity
