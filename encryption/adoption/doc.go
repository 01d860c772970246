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
//	// Before anything: all that stands in the way to sealed values only, with remedies.
//	for _, obstacle := range must(a.Obstacles(ctx, "main")) {
//		fmt.Println(obstacle.Before, obstacle, obstacle.SQL)
//	}
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
// other tenants that are further, and needs no key; only where the guard Refuse stands a new one
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
//     column is too short, is of another type, or a trigger changes the value, one that
//     PostgreSQL defers to COMMIT, too. Whatever a job cannot do for one row is counted and listed, and stops nothing.
//   - A restored database brings its own stage back with its rows.
//   - A recorded stage that somebody without the keys has changed is refused (ErrStage),
//     and an alarm: it carries a tag under a key of the tenant.
//   - A move that is refused says everything that it lacks, and each obstacle says its
//     remedy: a statement, or the field of MoveOptions that states that it may be so.
//   - From ReadSealed on nothing of an erased person is read, in the clear or sealed.
//     Once Clear was clean, nothing is read in the clear (ErrInClear).
//   - What is kept for too long says so, and neither finds less nor reads NULL: values
//     and Conditions are ErrLease, a row that was read before a way back is ErrStage.
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
//   - Erase destroys keys, and does not reach what stands in the clear: call
//     [Adoption.ClearRows] with it (privacy.Func{Erase: a.ClearRows, Left: a.RowsLeft}
//     is a store of package privacy), or [Adoption.ClearErased] over the whole table
//     afterwards. Both work at each stage, and take the sealed and index values too,
//     where the column in the clear may be NULL. Where it is NOT NULL, by itself, a
//     domain or a CHECK, as it may be until the move to SealedOnly, they leave its value
//     and say so (NotNullError): delete the row instead, or drop that earlier. A row that
//     a CHECK over several columns refuses stays whole, and is listed with its name.
//   - It changes no schema: SQL and GuardSQL return statements for the owner of the
//     table. It adopts text; see [Adoption.Check] for what it refuses.
//   - WriteBoth and ReadSealed protect nothing yet: the clear is still there.
//   - Where the clear was emptied without the guard at ReadSealed, the sealed value is
//     still read: a mismatch, which Backfill lists and Unseal does not write back. A
//     trigger that inserts rows and changes the value is seen by Backfill, as a value
//     that differs, and not by the guard Reset.
//   - Who may write the tables and holds no key may put a value into the clear that is
//     read as one that is not sealed yet, until Clear was clean. They may put an older
//     row of a stage back with its tag, as a restore does, and take the row of a tenant
//     away: processes that have seen a newer one count the former (.rewound) and refuse
//     the latter, and one that starts later believes both. [Finished] has no keys and
//     believes what stands there; the jobs' own rows carry no tag.
//   - On SQLite a CHECK, NOT NULL or UNIQUE leaves a table only by making it anew; a
//     partial unique index there is taken for one over all rows, and UNIQUE in the
//     clear is replaced by a whole index, but where its predicate alone asks whether
//     anything stands in the clear.
//   - An exclusion that is no equality, and a uniqueness whose predicate alone is about
//     the clear and asks more than whether anything stands there, is named, and kept by
//     nothing that is handed out.
//   - Obstacles sees the rows of now: a spelling or a value that collides may come
//     later. UNIQUE over more columns than the value and the tenant is compared when
//     everything is sealed, at the move to SealedOnly. On MariaDB it sees the foreign
//     keys of other tables that its account has rights on.
//   - A Condition has the value itself among its arguments at each stage: what writes
//     statements with their arguments down (a logger of the application, GORM's unless
//     ParameterizedQueries) holds what is searched for in the clear.
//   - A move waits for the LongestTransaction of the vault that calls it: the operator's
//     program has to say the same one as the application, which nothing compares.
//   - A search in the clear whose Column.Compare is not of the form f({column}) =
//     f({value}) is not compared with the normaliser.
//   - From WriteBoth on neither an index nor the columns of an adoption change, but by
//     going back to Plain. Another column is adopted under a table name of its own.
//   - Unseal that is killed between writing a value and asking whether its person was
//     erased meanwhile may leave it in the clear: ClearErased takes it away.
//
// # Before you begin
//
// What is UNIQUE in the clear, as most addresses are, wants that said in the first
// definition, since it cannot change later. One index is for both, searching and
// uniqueness, and is written with Writer.Index instead of Writer.Int64:
//
//	{Name: "email", SQL: "email_sealed", Index: []encryption.Index{
//		{Column: "email_sealed_idx", As: encryption.Email, Unique: true}, // 128 bits
//	}}
//
// It is unique by its normaliser: Twin@b.example and twin@b.example are one, and what
// is nothing to it (an empty text, blanks) is not unique any more (.unique counts these).
// A twin is refused by your own constraint up to ReadSealed, and by the unique index at
// SealedOnly: [Adoption.Exists] knows both, whatever they are called. Seal
// under the owner as the column gives it back: a Writer of another owner, or of a UUID
// without hyphens, is found by the first Backfill at WriteBoth (Report.Owners), and
// lost where only sealed values are left.
//
// A program for the operator, with status, plan, move, backfill, clear, back and restore, stands
// in examples/adopt of this module: put your table into it.
//
// # Step by step
//
// Each stage may last as long as you like; a day of real use between two moves shows
// what tests do not.
//
//  0. Make the tables of the stages ([Install], or [Migrations] with a tool of yours,
//     and [Grants]), without which Open is ErrSchema. Ask [Adoption.Obstacles], at
//     Plain, before the table has any column of the
//     adoption: everything in the schema and in the rows that a later move would not go
//     over, at once: UNIQUE without an index that can take its place, rows that the
//     normaliser of a unique index takes for one, a uniqueness to which two NULLs are
//     equal, NOT NULL, CHECKs and domains, generated columns, triggers behind the guard,
//     foreign keys that cascade, those of other tables that reference the column,
//     spellings that a search would miss, a history of the table (MariaDB). What is
//     declared (an index for UNIQUE) can only change here. Its statements may be
//     executed now or when a move asks for them: RestoreSQL knows what brings back what
//     they drop.
//  1. Execute what [Adoption.SQL] returns, as the owner of the table,
//     one by one and outside of a transaction: sealed and index columns, which may be
//     NULL; on PostgreSQL the indexes are built CONCURRENTLY; the guard Reset. Nothing
//     changes for the release before, if it names the columns that it inserts.
//     psql: \d contacts shows them.
//  2. Deploy the release that has the lines above. It is at Plain. Back: deploy the
//     release before.
//  3. Move to WriteBoth. Back: Move to Plain.
//  4. Backfill, as often as you like, until its report is Clean. DryRun says what it
//     would do, RowsPerSecond, BatchTime, MaxLag and MaxWAL slow it down.
//     Look at what it lists, and at Owners: a program may name the wrong one.
//     psql: SELECT count(*) FROM contacts WHERE email IS NOT NULL AND email_sealed IS NULL;
//  5. Where the tenant had keys before the index was declared: FenceOldWriters and
//     Rebuild of the sealed table. Without them the next move says so.
//  6. Move to ReadSealed; watch encryption.adoption.mismatches of the processes that
//     read, which is 0. Each counts its own, by Observe and in its own Status: that of
//     the operator's program has read nothing. Backfill again: it compares, and while
//     the release before writes it is Clean only in a quiet moment. Back: Move to
//     WriteBoth.
//  7. End the release before for good. Move to SealedOnly with OldReleaseGone. What the
//     column in the clear promises (NOT NULL, UNIQUE, CHECK) is said, all at once, with
//     the statements. Back: Move to ReadSealed, then [Adoption.Unseal], then WriteBoth;
//     [Adoption.RestoreSQL] is what brings the constraints back: those that Obstacles and
//     this move have asked to drop, and NOT NULL where no emptied row is left. The unique
//     index over the index column is built here, or from WriteBoth on, when Obstacles
//     lists it; one that SQL has built on the same column alone may go then. Up to here a
//     twin is refused by your own constraint.
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
//	foreign keys                 gone, and refused where another table references the
//	                             column: keys stay in the clear, as ids that tell nothing
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
//	history of the table      WITH SYSTEM VERSIONING (MariaDB) is refused: DROP it first;
//	                          tables that triggers fill with what was: empty them
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
//	ErrDefinition  until fix  the adoption is declared otherwise than recorded, or than the table is: the text says which; a ColumnError names a column in the clear that cannot be adopted as it is (no text, GENERATED), or one that is not there (Owner, Tenant, Key)
//	ErrStage       until fix  the call belongs to another stage, or a newer release moved to one that this one does not know
//	ErrNotReady    until fix  a NotReadyError says what stands in the way, with the statements
//	ErrInClear     until fix  of one row: somebody wrote it past the application after Clear; move back to ReadSealed if it is to count
//	NotNullError   until fix  a value of an erased person stays, since its column is NOT NULL, by itself, a domain or a CHECK: delete the row, or drop that
//	ErrLease       temporary  take a new Writer, or a new Condition
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
// (values read in the clear from ReadSealed on), .mismatches, .unreadable, .owners,
// .inclear, .forged (stages without their tag) and .rewound.
//
// [Adoption.Status] answers findings, all of them each time; the subject is the
// table. What a process has met is its own and begins at 0 with it; all else is read
// from the database:
//
//	encryption.adoption.stage       position of the stage; notice where it stands between for over 30 days, alarm where it was changed by hand
//	encryption.adoption.move        notice while a move is under way, or was interrupted: call Move again
//	encryption.adoption.guard       alarm where the trigger is missing, the wrong one, or outrun by one of yours; notice at SealedOnly until it is Refuse
//	encryption.adoption.unsealed    rows in the clear only, from ReadSealed on: Backfill; alarm once Clear was clean
//	encryption.adoption.emptied     rows that are sealed only: alarm at ReadSealed, but on the way back before Unseal
//	encryption.adoption.inclear     alarm: values came into the clear after Clear was clean, which nobody reads: of now, and met
//	encryption.adoption.owners      alarm: a Writer names another owner than the row has: of the last Backfill, and met
//	encryption.adoption.unique      values beside the first that are nothing to a unique index: '' and blanks
//	encryption.adoption.fallbacks   met: values read in the clear: Backfill; ok once no row stands there alone
//	encryption.adoption.mismatches  met, alarm: somebody writes one column only; ok at Plain and once Clear was clean
//	encryption.adoption.unreadable  met, alarm: sealed values did not open at ReadSealed, and the clear was read; ok as above
//	encryption.adoption.rewound     met, alarm: the stage became an older one: a database that was put back, or somebody
//
// # Time, and tests
//
// A move waits for a lease and the LongestTransaction of the vault, with the defaults
// 35 s, twice that after one that was killed, and longer where a transaction is open
// on the table. It is the LongestTransaction of the vault that moves, which nothing
// records: give the operator's program the largest that any process of the application
// has, or a value of a stage that is over may be written after the move. A job reads its table once, in batches of 200 rows that take half a
// second at most; measured beside a CRM in use, 20,000 rows of PostgreSQL took 10 s to
// seal and 3 s to clear.
//
// To test an application take encryptiontest.Vault, under which a move takes
// milliseconds, and run the same assertions at each stage:
//
//	vault := encryptiontest.Vault(t, "main")
//	// adoption.Install, vault.Table, adoption.Open and SQL as above, on a database of the test
//	for _, stage := range []adoption.Stage{adoption.WriteBoth, adoption.ReadSealed, adoption.SealedOnly} {
//		// Move; write, read and search as the application does; Backfill
//	}
//
// A Writer that was taken before a move keeps its stage until its lease ends: take a
// new one after each Move, as the application does for each statement.
//
// # What is left after the way back
//
// At Plain nobody writes or reads what the adoption has made: sealed values, their
// columns and indexes, the guard, the rows of the stage. They do no harm, but that
// sealed values of persons who are erased later stay, unreadable, and that the release
// before carries the trigger. What ends it, as the owner of the table:
//
//	GuardSQL(ctx, NoGuard)                        the trigger
//	RestoreSQL(ctx, tenant)                       constraints that were dropped for SealedOnly; delete
//	                                              rows that ClearRows has emptied before NOT NULL
//	ALTER TABLE contacts DROP COLUMN email_sealed and each index column; their indexes go along
//	DELETE FROM crmguard_adoption                 WHERE tab = 'contacts', once no release asks for the
//	DELETE FROM crmguard_adoption_job             stage any more
//
// # Concurrency
//
// An Adoption is safe for concurrent use, a Writer is for one goroutine. Several
// processes may run a job at once; its recorded place is then that of either, and
// what both do is done twice.
//
// Stability: settling; tables and API may change until v0.1.0.
package adoption
