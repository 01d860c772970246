// Package adoption seals a column of a table that is in use, without stopping
// anything, and with a way back at every step: from values in the clear, through
// stages in which neighbours understand each other, to sealed ones only.
//
// The first lines; must and check stand for what is done about an error, and the
// example of the package has what stands around them:
//
//	// At every start of the release that adopts, everywhere.
//	check(adoption.Install(ctx, db))
//	contacts := must(vault.Table(encryption.Table{Name: "contacts", Columns: []encryption.Column{
//		{Name: "email", SQL: "email_sealed", Find: encryption.Email}, // beside the column email
//	}}))
//	a := must(adoption.Open(ctx, adoption.Config{DB: db, Table: contacts, Columns: []adoption.Column{{Name: "email", Plain: "email"}}}))
//
//	// Before that release: the columns that the table lacks, by who owns it.
//	for _, statement := range must(a.SQL(ctx)) {
//		must(db.ExecContext(ctx, statement))
//	}
//
//	// The application, the same lines at every stage.
//	use := func() {
//		w := must(a.Writer(ctx, "main", "p2")) // before BEGIN
//		must(db.ExecContext(ctx, `UPDATE contacts SET email = ?, email_sealed = ?, email_sealed_idx = ? WHERE id = ?`,
//			w.Plain("email", mail), w.Text("email", mail), w.Int64("email_sealed_idx", mail), id))
//		where, args := must(a.Lookup(ctx, "main", "email", "ann@b.example")).Where("") // Postgres("", 1)
//		found := people(ctx, db, where, args...)
//		check(adoption.OpenAll(ctx, a, "main", found))
//		fmt.Println(w.Stage(), found[0].Email)
//	}
//	use()
//
//	// The operator, one stage at a time, with days in between.
//	check(a.Move(ctx, "main", adoption.WriteBoth, adoption.MoveOptions{}))
//	use()
//	report := must(a.Backfill(ctx, "main", adoption.JobOptions{RowsPerSecond: 2000}))
//	fmt.Println(report.Rows, "rows,", report.Changed, "sealed now, clean:", report.Clean)
//	check(a.Move(ctx, "main", adoption.ReadSealed, adoption.MoveOptions{}))
//	use()
//	must(a.Backfill(ctx, "main", adoption.JobOptions{})) // compares once more
//	check(a.Move(ctx, "main", adoption.SealedOnly, adoption.MoveOptions{OldReleaseGone: true}))
//	use()
//	for _, statement := range must(a.GuardSQL(ctx, adoption.Refuse)) {
//		must(db.ExecContext(ctx, statement))
//	}
//	report = must(a.Clear(ctx, "main", adoption.JobOptions{}))
//	fmt.Println(report.Changed, "cleared, clean:", report.Clean)
//
//	// At every start of the next release, which has no adoption any more.
//	check(adoption.Finished(ctx, db, "contacts"))
//
// # Stages
//
// Each table and tenant is at one, which stands in the database of the rows:
//
//	stage         reads                                   writes    a search asks
//	Plain         the clear                               the clear the clear
//	WriteBoth     the clear                               both      the clear
//	ReadSealed    sealed; the clear where nothing is      both      the index, and the clear
//	              sealed; both are compared                         where nothing is sealed
//	SealedOnly    sealed; the clear where nothing is      sealed    the index, and the clear
//	              sealed                                            where nothing is sealed
//
// A process reads the stage outside of transactions and trusts it for a lease (5 s
// unless Config.Lease said otherwise to the first one). So while a move is under
// way, processes of two neighbouring stages work side by side, which reads and finds
// the same; never of three, because a move ends only when nobody is at the stage
// before any more.
//
// The stage of a tenant that nobody has moved is Plain, also where its table has
// other tenants that are further; only where the guard Refuse stands a new one
// begins at SealedOnly, if the account may read the guard. A table without a column
// of tenants is moved for one tenant. NULL is NULL at every stage: put nil into all
// places. An UPDATE always names the column in the clear, the sealed one and its
// index columns together.
//
// # What it promises
//
//   - At each stage each read is what was committed last, and each search finds it,
//     whichever of the two neighbouring stages wrote it, and whether or not a job is
//     running. An unsealed row never breaks a page.
//   - Each step goes back. Every move, and every job, may be killed anywhere and
//     called again, in another process, forward or back.
//   - The release before the adoption, which knows the column in the clear only,
//     works beside it up to ReadSealed where the guard stands on the table
//     ([Adoption.GuardSQL], Reset): a trigger that takes a sealed value away whose
//     value in the clear, or whose owner, somebody changes alone. What is sealed
//     only it leaves alone.
//   - No job overwrites a change: a row is written where its owner and both values
//     are as they were read, byte for byte, and as long as the stage stands.
//   - Clear takes nothing away that the sealed value does not open to. What a job
//     writes is read back before it is committed: a row stays as it was where a
//     column is too short, is of another type, or a trigger changes the value. Whatever a
//     job cannot do for one row is counted and listed, and stops nothing.
//   - A restored database brings its own stage back with its rows.
//
// # What it does not
//
//   - A process that takes a value out of a Writer and executes the statement later
//     than Config.LongestTransaction of the vault may write for a stage that is over,
//     as with sealing itself. Against the worst of it the guard Refuse stands.
//   - Processes that run while an older database is put in place beneath them may
//     write for the newer stage for as long as a lease: end them first, as ever.
//   - Where several servers take writes to one table, a move sees the transactions of
//     its own one only.
//   - Erasing a person does not erase what stands in the clear: until Clear, delete
//     or empty it as before. From ReadSealed on an erased person's sealed value
//     answers encryption.ErrErased, whatever stands in the clear.
//   - It changes no schema: SQL and GuardSQL return statements for the owner of the
//     table. It adopts text; see [Adoption.Check] for what it refuses.
//   - WriteBoth and ReadSealed protect nothing yet: the clear is still there.
//   - The guard does not see what runs behind it: a trigger of yours that changes the
//     clear later (on PostgreSQL by its name, on MariaDB by when it was made), keys
//     that cascade on MariaDB, sessions of PostgreSQL with session_replication_role
//     replica. Where the clear was emptied without it at ReadSealed, the sealed value
//     is still read.
//   - Who may write the tables and holds no key may set a stage back, and may put a
//     value into the clear that is read as one that is not sealed yet, also after
//     Clear, until the release without the adoption runs.
//   - Rows that were read, and a Condition that was made, are for the stage of then:
//     kept over two moves they read NULL or find nothing, without an error.
//   - A CHECK over the column in the clear is not seen by the move to SealedOnly,
//     after which the database refuses what it forbids; drop it before. On MariaDB
//     the statement that lets a column be NULL takes its DEFAULT and comment away, and
//     [Adoption.RestoreSQL] knows the statements of the last refusal only.
//   - SQL asks for an index with its column: one that failed once, or is INVALID, is
//     not asked for again. A partitioned table wants its index without CONCURRENTLY.
//     Look with \d.
//   - From WriteBoth on neither an index nor the columns of an adoption change, but by
//     going back to Plain. Another column is adopted under a table name of its own.
//   - Unseal that is killed between writing a value and asking whether its person was
//     erased meanwhile may leave it in the clear: empty erased persons' rows yourself.
//
// # Step by step
//
// Each stage may last as long as you like; a day of real use between two moves shows
// what tests do not.
//
//  1. Make the tables of the stages ([Install], or [Migrations] with a tool of yours,
//     and [Grants]). Execute what [Adoption.SQL] returns, as the owner of the table,
//     one by one and outside of a transaction: sealed and index columns, which may be
//     NULL; on PostgreSQL the indexes are built CONCURRENTLY; the guard Reset. Nothing
//     changes for the release before, if it names the columns that it inserts.
//     psql: \d contacts shows them.
//  2. Deploy the release that has the lines above. It is at Plain. Back: deploy the
//     release before.
//  3. Move to WriteBoth. Back: Move to Plain.
//  4. Backfill, as often as you like, until its report is Clean. DryRun says what it
//     would do, RowsPerSecond, BatchTime, MaxLag and MaxWAL slow it down.
//     psql: SELECT count(*) FROM contacts WHERE email IS NOT NULL AND email_sealed IS NULL;
//  5. Where the tenant had keys before the index was declared: FenceOldWriters and
//     Rebuild of the sealed table. Without them the next move says so.
//  6. Move to ReadSealed; watch encryption.adoption.mismatches of the processes that
//     read (each counts its own), which is 0. Backfill again: it compares. Back:
//     Move to WriteBoth.
//  7. End the release before for good. Move to SealedOnly with OldReleaseGone. What is
//     NOT NULL or UNIQUE in the clear is said with the statements. Back: Move to
//     ReadSealed, then [Adoption.Unseal], then WriteBoth; [Adoption.RestoreSQL] is
//     what brings the constraints back.
//  8. Execute what GuardSQL(ctx, Refuse) returns, when all tenants are there; Clear is
//     not Clean without. On MariaDB who calls Clear has the right TRIGGER, or does not
//     see the guard. Back: GuardSQL(ctx, Reset), which the move back asks for.
//  9. Clear, until its report is Clean. Back: Unseal, as in 7.
//  10. Deploy the release that declares the sealed table only, and calls [Finished] at
//     its start. Back: deploy the one before.
//  11. Take the guard away (GuardSQL(ctx, NoGuard)), then the column:
//     ALTER TABLE contacts DROP COLUMN email. Here the way back ends: a copy of the
//     database from before, or a column made anew and filled by Unseal at ReadSealed.
//     To give the sealed column the name of the old one, rename both it and its index
//     column and change only the SQL members of the definition.
//
// # What sealing costs
//
//	ORDER BY the column          gone: sealed values have no order. Sort what is opened,
//	                             or by a column that stays in the clear
//	= and IN, JOIN               works with an index (Column.Find), leaking which rows are
//	                             equal, and so how frequent each value is
//	JOIN between two tables      gone: an index differs from table to table. Join by ids
//	GROUP BY, DISTINCT, COUNT    works with an index, leaking the same; collisions of a
//	                             narrow one fall together, so 128 bits
//	UNIQUE                       works with a unique index over an index column of at least
//	                             128 bits (Index.Unique): unique by its normaliser
//	LIKE, prefixes               gone, and refused: an index of prefixes shows whoever has
//	                             the database the first letters by their frequency
//	full-text search             gone, and refused: words by their frequency are readable;
//	                             so are n-grams. Search what was opened, or a service that
//	                             is trusted with the clear
//	<, BETWEEN                   gone: what compares shows the order, and the order the value
//	jsonb operators, ->>         gone: a document is one value. Seal the members that need it
//	CHECK, triggers on the value gone: check before sealing
//	foreign keys                 gone: keys stay in the clear, as ids that tell nothing
//	replicas, logical copies     work: they carry sealed bytes, and need no key
//	size                         33 bytes a value, padding, 8 bytes an index value and its index
//
// # What dropped values leave behind
//
// Clear takes values out of rows, and DROP COLUMN out of the table's description.
// Where they stay, and what ends that:
//
//	dead rows and free pages  VACUUM FULL or pg_repack (PostgreSQL); OPTIMIZE TABLE
//	                          (MariaDB); VACUUM with secure_delete (SQLite). DROP COLUMN
//	                          alone rewrites nothing
//	indexes on the column     dropped with it; REINDEX where they stay
//	WAL, binary log           until it is recycled, and as long as its archive is kept
//	replicas                  physical ones follow; logical ones need the same steps
//	statistics                pg_stats shows the most common values: ANALYZE after Clear;
//	                          histograms of MariaDB: ANALYZE TABLE … PERSISTENT FOR ALL
//	dumps and backups         until they expire; no key protects them
//	logs                      log_statement, log_min_duration_statement, slow logs,
//	                          auto_explain, pg_stat_statements with literals: rotate them
//	caches, search engines,   what was copied out of the table: list it before you begin
//	warehouses, queues
//
// # Errors
//
//	sentinel       lasts      what to do
//	ErrDefinition  until fix  the adoption is declared otherwise than recorded, or than the table is: the text says which
//	ErrStage       until fix  the call belongs to another stage, or a newer release moved to one that this one does not know
//	ErrNotReady    until fix  a NotReadyError says what stands in the way, with the statements
//	ErrLease       temporary  take a new Writer
//	ErrMoved       temporary  look at the stage and call again
//	ErrSchema      until fix  call Install, or apply Migrations
//	ErrStandby     temporary  ask the primary
//
// All of the vault's errors come through as they are: encryption.ErrErased for one.
//
// # Observation
//
// The vault's Config.Observe receives encryption.adoption.moved, .writers
// (transactions that a move waits for), .rows and .conflicts (of jobs), .fallbacks
// (values read in the clear from ReadSealed on), .mismatches and .unreadable.
//
// [Adoption.Status] answers findings, all of them each time; the subject is the
// table:
//
//	encryption.adoption.stage       position of the stage; notice where it stands between for over 30 days
//	encryption.adoption.move        notice while a move is under way, or was interrupted: call Move again
//	encryption.adoption.guard       alarm where the trigger is missing or the wrong one; notice at SealedOnly until it is Refuse
//	encryption.adoption.unsealed    rows in the clear only, from ReadSealed on: Backfill
//	encryption.adoption.fallbacks   since the process started: Backfill
//	encryption.adoption.mismatches  alarm: somebody writes one column only
//	encryption.adoption.unreadable  alarm: sealed values did not open at ReadSealed
//
// # Time, and tests
//
// With the defaults a move takes 35 s: a lease, and the LongestTransaction of the
// vault, longer where a transaction is open on the table. To test an application
// take encryptiontest.Vault, under which a move takes milliseconds, and call Move
// between your assertions.
//
// What is left at Plain after the way back does no harm and is no longer written:
// sealed values, columns, indexes and the guard; drop them as their owner
// (GuardSQL with NoGuard, then the columns).
//
// # Concurrency
//
// An Adoption is safe for concurrent use, a Writer is for one goroutine. Several
// processes may run a job at once; its recorded place is then that of either, and
// what both do is done twice.
//
// Stability: settling; tables and API may change until v0.1.0.
package adoption
