// Package audit records who did what in the same transaction as the change
// itself, and keeps the events in a Merkle log that anyone can verify.
//
// The first lines; must and check stand for what is done about an error, and
// the example FirstLines has what stands around them:
//
//	check(sqltrail.Install(ctx, db))
//	trail := must(audit.Open(ctx, must(sqltrail.Open(ctx, db)), audit.Config{
//		Name: "crm.example/audit", Tenant: "main", Key: key, Fields: map[string][]string{"contact": {"email"}},
//		Sink: must(tilesink.Open(folder)), Keys: must(audit.KeysFile(secret)), // or vault.AuditKeys()
//	}))
//	check(trail.Prepare(ctx, "main", person)) // before BEGIN
//	tx := must(db.BeginTx(ctx, nil))
//	must(tx.ExecContext(ctx, `UPDATE contacts SET email = ? WHERE id = ?`, after["email"], person))
//	must(trail.Record(ctx, tx, audit.Event{ // its id may go into the row
//		Tenant: "main", Actor: "user-7", Action: "contact.update",
//		Object: audit.PersonRef("contact", person), Changes: audit.Diff(person, before, after),
//	}))
//	check(tx.Commit())
//	must(trail.RunOnce(ctx)) // or go trail.Run(ctx), in any process
//	report := must(auditlog.VerifyLog(ctx, os.DirFS(folder), auditlog.Trust{Key: verifier}))
//	fmt.Println(report.Verdict, report.Verified) // ok only against a checkpoint that is kept elsewhere: Trust.Kept
//
// An event is one row, written by one statement in the caller's transaction: it
// commits with the business change or not at all. What else it needs (indexes,
// openings by person, its place) is done by the sequencer, which gives each event
// its place and publishes the log as static files in the C2SP tlog-tiles format
// with a signed checkpoint, so that tools we did not write (tessera's fsck,
// torchwood, any witness) read it. Values before and after are in the log as
// salted commitments only; what opens them is sealed under a key that only the
// key of the person they are about opens, in a row that can be erased. People
// appear under random surrogates.
//
// # Promises
//
//   - An event that committed is sequenced exactly once, by any number of
//     processes; a rolled-back one never is. A retry with the id that Record was
//     given changes nothing, for Config.RetryFor after it got its place and while
//     the key of the tags is the same; after that it is a [ConflictError]. It never
//     makes a second event.
//   - A change, loss, insertion or exchange of sequenced entries, in the
//     published files or in the database, is found by [auditlog.VerifyLog] and
//     [Trail.VerifyStore]; against a checkpoint kept elsewhere also a cut at
//     the end, and a rewrite by someone who holds the signing key. Without one
//     the verdict is [auditlog.Unanchored] at best.
//   - What is signed extends all that is known of the log: the kept checkpoint,
//     asked before each signature, the published one, the state row of the
//     database, which bears a tag, and what the process has seen. A database that
//     went back under a running process is found by that process; one that went
//     back before it began, together with the folder, by the kept checkpoint.
//   - A row that waits and was changed or inserted without the key of the tags
//     never enters the log: it is set aside, an alarm until [Trail.Readmit] or
//     [Trail.Dismiss]. One under a key that no process here has waits.
//   - Erasing a person changes no leaf, hash or proof. "Erased" cannot be
//     forged by deleting: it needs a sequenced erasure that names the
//     surrogate.
//   - A value that has no encoding, and an event of very many fields, fail no
//     sale: the first is recorded as a [auditlog.StandIn], the second in one piece a person.
//   - The signing key can change while the log goes on (Config.Former, SignAlso),
//     and the log says so; a stolen one can be taken out of it ([Trail.RevokeKey]).
//   - Nothing is signed before its transaction has committed, no checkpoint
//     goes backwards, not even by a sequencer that stood still for an hour, and a
//     database that is behind the published log signs nothing until
//     [Trail.CatchUp].
//   - No lock of the database is held until the sink answers: one that is slow or
//     hangs keeps nobody from recording.
//   - Where the database captures changes (package capture, Config.Captured), what no
//     event of the same transaction told of (capture.Row.ToldBy) is an entry of kind
//     capture: behind the events of a pass, a thousand at most, each once. It never
//     says who acted.
//   - What is lost or damaged of the published log, or of the tree in the
//     database, is made anew by [Trail.Republish] and [Trail.RebuildTiles], from
//     entries that continue a kept checkpoint, and from no others.
//   - An answer of [Trail.Find] is the same whether its events wait or are filed, and
//     its pages go on while the log grows: of what was recorded before the first page
//     none is shown twice, and none is missing.
//   - Old entries go with retention ([Trail.Prune]), only under a kept checkpoint, and what
//     is sealed about some years before ([Trail.PruneOpenings]), no further than one that is
//     kept: never against a legal hold (Config.Hold), told by the log first. Proofs, the tree
//     and the ids that were used stay; what is gone is told from what is missing, and is gone
//     from every backup that [Trail.CatchUp] was called for. A hold that came since keeps
//     what was told and not done, and what is sealed in such a backup.
//   - A disclosure opens one value of one event, and nothing else of it; whoever holds
//     the verifier key checks it without us.
//   - Inside the caller's transaction no key service and no other connection is
//     used, ever: [Trail.Prepare], before BEGIN, makes what recording about these
//     persons needs and keeps it in memory for Config.Prepared. Later, and without
//     it, recording is a [NotPreparedError], which has written nothing.
//   - Which actions may go on without their event is a table, Config.Classes, and
//     nothing that is not in it does. What was lost is counted in the log by an event
//     of kind [auditlog.KindGap].
//
// SECURITY.md, "Known faults", lists what is known to break these promises
// today.
//
// # Databases
//
// SQLite, PostgreSQL, MariaDB and MySQL, found out by [Open]; text keys are
// compared and ordered by their bytes on all of them. The trail's own
// transactions state their isolation (READ COMMITTED) and are durable when they
// return; the database may end one in favour of another, and it is tried again,
// for a few seconds. The caller's transaction stays as the caller began it, and
// must reach the tables that [Open] was given: what reaches those of another
// log, by another search path, is refused with ErrOrigin.
//
// A transaction is whatever has ExecContext and Commit: *sql.Tx, *sqlx.Tx, GORM's
// tx.Statement.ConnPool inside of db.Transaction, and pgx with this around it:
//
//	type pgxTx struct{ pgx.Tx } // has Commit: the trail sees that it is a transaction
//
//	func (t pgxTx) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
//		tag, err := t.Exec(ctx, query, args...)
//		return driver.RowsAffected(tag.RowsAffected()), err
//	}
//
// The trail's own work is done on a *sql.DB: of pgx's pool by
// sqltrail.Open(ctx, stdlib.OpenDBFromPool(pool)) of pgx/v5/stdlib, as sqltrail.Install.
//
// The statement of a sale never changes its text, so that drivers prepare it once,
// and its arguments are text and bytes. examples/handles has all of them.
//
// What a sale can wait for, beside what it wrote itself:
//
//   - SQLite: the one writer that the database allows at a time. A pass of the
//     sequencer is one while it does SQL, on a bounded number of rows, fewer where
//     that took long, and with pauses between them while sales come; so are Prepare for
//     persons who are new, CatchUp and the end of the retry tags. None waits for keys
//     or for the sink.
//   - PostgreSQL, MariaDB and MySQL: another open transaction that records an event
//     with the same id. Nothing else: no row is shared. A sale that retries keeps the
//     row of its event until it ends, and the sequencer passes it by meanwhile.
//
// Under REPEATABLE READ or SERIALIZABLE on PostgreSQL, and where SQLite's
// transaction read before it wrote, the database may end a transaction that
// meets another one's event: repeat it, as any other one.
//
// What a [ConflictError] met is told by [Trail.Leaf], after the rollback. On
// MariaDB and MySQL a connection that is not strict (sql_mode) empties the tag of
// the event that it conflicted with, if its transaction commits all the same: later
// retries of that event are conflicts, too.
//
// # Bytes
//
// One event about one person, with one field of 18 characters before and after, filed
// and found, indexes included, in bytes; measured over 51,200 events of 1,000 persons
// after VACUUM, VACUUM FULL or OPTIMIZE TABLE (BenchmarkBytesAnEvent of sqltrail):
//
//	                          SQLite   PostgreSQL   MariaDB   folder
//	an event                   1,140        1,500     1,840      470
//	without its opening          820        1,080     1,390      470
//	after Prune                   95          160       275       40
//	a year of 100,000 a day    42 GB        55 GB     67 GB    17 GB
//
// A table that is not made smaller by hand keeps the room of what went and uses it
// again: a log from which as much goes as comes does not grow.
//
// # Not promised
//
//   - Until an event is sequenced, someone who may delete rows can delete it
//     unnoticed: keep the application's role without DELETE (sqltrail.Grants), and
//     let the row that an event belongs to carry its id. Until its checkpoint is
//     outside the host, someone who owns the host can rewrite everything, and
//     someone who may write database and folder, without any key, can put both back
//     to an older state between two processes, or begin the log anew. Keep checkpoints in another administrative domain:
//     an alarm of [Trail.Status] says that none is.
//   - What is read is counted in memory for a minute ([Trail.Decisions]): a process
//     that is killed takes it along. Questions are asked of the database, which
//     [Trail.VerifyStore] compares with the log; an answer itself proves nothing.
//   - Surrogates, field names, times, actors and object ids stay in the log, also
//     after an erasure, until their entries go with retention, and so do tenants and
//     request ids. Ids of events, as the rows of their stubs, and surrogates of who was erased
//     stay for ever. An object id
//     that is not a person's is not hidden: never use one that says something.
//     What has the form of an address, of a telephone number or of a name with a
//     space is refused as any of them; what only the application understands cannot
//     be. Name the kinds of objects that are persons in Config.PersonKinds.
//   - Times are the application's clock; audit.clock tells of one that is off.
//   - The order of two events about one object, where a retry of the first is in hand
//     while the second is sequenced.
//   - What a process had counted as lost goes with it when it is killed. Where a
//     COMMIT was not answered, an event of [Trail.Note] may count as lost and be there.
//   - What is old enough for [Trail.Prune] is told by when it was signed, under the clock
//     of the sequencer that did it. Where that clock is wrong, and the job's is wrong with it,
//     too much goes. Of a backup from before entries that had gone since, the ids are not known any
//     more: a client that repeats such an event, older than Config.RetryFor, records it once more.
//   - An erasure reaches openings that wait, that lie in Config.Mirror and that were
//     set aside. Content keys of the last Config.Prepared stay in the memory of
//     processes that prepared them, of 16,384 persons at most; what is recorded with one
//     after the erasure names an erased surrogate, and the sequencer drops its opening.
//   - With the keys of [KeysFrom] or [KeysFile] no person has a key of their
//     own: an erasure deletes openings, and backups from before keep them
//     readable to whoever holds the secret.
//   - Values cannot be computed from the log once seed and opening are gone;
//     whoever copied an opening and its key before keeps both.
//   - Whether a store really deletes is its own matter: on SQLite set
//     secure_delete before the first row.
//   - That a server is set up to keep what it has committed: fsync on
//     PostgreSQL, innodb_flush_log_at_trx_commit = 1 on MariaDB and MySQL.
//
// # Which call first
//
// sqltrail.Install and sqltrail.Open over the database, tilesink.Open over a
// folder, [GenerateKey] and, without a vault of package encryption,
// [NewKeysFile] once, then [Open]. [Trail.Prepare] before a
// transaction, [Trail.Record] as its last statement, [Trail.Run] in the
// background of any process. [Trail.Note] for what has no transaction.
// Config.From says who is at work, so that events need not. Where rows are Go
// structs [NewDiffer] and [Trail.Check] say at the start which fields are recorded,
// and a field that nobody has decided about is an error.
//
// [Trail.Find] for screens and reports: who, about whom, what, when, with what
// outcome (Found.Pruned says how many entries are not there any more); [Trail.History] for the past of one record, [Trail.Event] for the event
// that a row names, [Trail.Export] for a spreadsheet, [Trail.Disclose] for one value
// to an outsider. [Trail.Watch] around a policy makes events of what it denies, and
// counts what it allows with the outcome allowed, which no question about an action
// takes for the act. [Trail.Proof] and [auditlog.Verify] for one event,
// [auditlog.VerifyLog] for the folder, [Trail.VerifyStore] for all of it,
// [Trail.Published] (and tilehttp.Handler over it) where there is no folder. [Trail.Prune],
// in a job of its own whose role has the rights for it, where entries may not be kept for ever.
//
// # Times
//
// The time of an event is Config.Now when it is recorded ([auditlog.Leaf] At, in a CSV
// clock). It is found by [Entry.At] (in a CSV at), which is the same time, or that of
// its filing where the event is a month older than that, or minutes newer: a clock
// that was years off hides nothing. [Filter] From is within, To is not, so that a
// month is
//
//	from := time.Date(2026, time.May, 1, 0, 0, 0, 0, zone) // of whoever asks
//	audit.Filter{Action: "contact.export", From: from, To: from.AddDate(0, 1, 0)}
//
// and answers are in UTC. No event can be recorded as if it had happened before: what
// was before the trail began is an event of today that says so.
//
// # After a restore
//
// A database that came back from a backup lacks what was published since, erasures
// too. [Open] opens it, events are recorded, and questions are answered from what it
// has, erased persons included, until [Trail.CatchUp]: so before anything is served
//
//  1. open it, and call CatchUp: it does nothing to a database that is level. (One that
//     is behind is ErrBehind of [Trail.RunOnce], ends [Trail.Run], and is an alarm of
//     audit.log.)
//  2. delete the rows of erased persons again, which the backup has brought back, from
//     the ledger of package privacy or by the entries of kind erase. By hand and
//     unrecorded (gormcapture.ByHand), or call [Trail.Erase] again behind it.
//  3. RunOnce, then [Trail.VerifyStore] against the kept checkpoint.
//  4. audit.unmapped of [Trail.Status] counts persons whom only their next
//     [Trail.Prepare] makes known again.
//
// # Concurrency
//
// A [Trail] is safe for concurrent use and in several processes. Sequencers
// exclude each other by a row lock; keys are used, and heads are read, outside
// the locked transaction. No goroutine is started but one at a time for each of
// Config.Copies and for Config.Mirror, which one that never answers keeps.
//
// # Errors
//
//	ErrInvalid        permanent   correct the event, query or configuration (ValueError
//	                              names the field, under Config.StrictValues)
//	ErrNotPrepared    temporary   roll back, Prepare, and the transaction again
//	                              (NotPreparedError says how much is missing)
//	ErrNoTransaction  permanent   pass the *sql.Tx of the business change, or what wraps it
//	ErrTooLarge       permanent   split the event, parts sharing For
//	ErrConflict       permanent   the id belongs to another event, or to one that is too old
//	                              or of somebody erased (ConflictError)
//	ErrKeys           temporary   the key service does not answer: ask again
//	ErrPartial        temporary   a history lacks what PartialError counts: Find says it with each page
//	ErrWaiting        temporary   an erasure is done but for rows that an open sale holds, or
//	                              for a mirror that does not answer: Erase again
//	ErrHeld           temporary   end the transactions that hold the events named: CatchUp again
//	ErrNotFound       permanent   no such event
//	ErrPruned         permanent   it went with retention, or what is older may have (PrunedError)
//	ErrClosed         permanent   the value was erased, lost or changed: Event says which
//	ErrNotPublished   temporary   wait for the next pass of the sequencer
//	ErrNotOpen        permanent   take the Trail that Open returned
//	ErrBehind         permanent   the database is an old one: CatchUp (BehindError)
//	ErrLogLost        permanent   bring back the published folder, or Republish it
//	ErrMirrorLost     permanent   bring back the store of Config.Mirror, or leave it nil
//	ErrUnanchored     permanent   a repair needs Config.Kept and a checkpoint in it
//	ErrChanged        temporary   others keep replacing the checkpoint
//	ErrOrigin         permanent   key, tables, folder or transaction belong to another log
//	ErrHead           temporary   a store named in Heads does not answer
//	ErrSchema         permanent   call sqltrail.Install, or apply its migrations
//	fs.ErrPermission  permanent   a right on a table is missing: see sqltrail.Grants
//
// What is said about the bytes of the log stands in package auditlog:
//
//	auditlog.ErrMalformed   permanent   these bytes are no leaf, opening, proof or head; a
//	                                    checkpoint that ends too early: Republish
//	auditlog.ErrTampered    permanent   stop; verify, compare with the kept checkpoint (after a
//	                                    change of the keys of the tags: CatchUp). Damage, not
//	                                    malice: Republish mends files, RebuildTiles the tree
//	auditlog.ErrNotSigned   permanent   take the verifier key of this log; ErrTampered too
//	auditlog.ErrForked      permanent   stop; two histories exist, find out which is true
//	auditlog.ErrRolledBack  permanent   bring back the folder and the database that were kept or
//	                                    seen; where a backup or a replica took the database's
//	                                    place, CatchUp
//
// Errors of the sink and of the keys are wrapped. Those of the
// database stand behind "audit: read" or "audit: write" in words of the library,
// with code, table, column and constraint and without the values that databases
// and drivers quote; the driver's own error, which may hold some, is found by
// errors.As. After an error of [Trail.Record] roll back; only after
// ErrNotPrepared and ErrConflict the transaction is as usable as before. Where a
// connection was lost during a COMMIT nobody knows whether it was done: repeat the
// call, or the transaction with the event under the same id.
//
// # Observation
//
// audit.sequenced, audit.refused, audit.published (one each a pass),
// audit.refused.row (why), audit.run.failed (beat), audit.caught_up,
// audit.standin (why), audit.copy.failed (copy; each turn), audit.gap (lost events
// that the log does not count yet), audit.gap.failed, audit.dropped,
// audit.keys.failed, audit.erased.again (persons), audit.tickets.moved (persons whose
// row is another one since their Prepare), audit.head.beside and audit.head.mended (a
// head that did not open: the person has a new surrogate beside it, or it is back from
// the mirror), audit.giveback.failed (a file of another process's log that a refused pass
// replaced: Republish of that one mends it), audit.mirror.failed,
// audit.mirror.damaged (file), audit.exported (events of an export so far),
// audit.unmapped.left (a question found out whose a surrogate is, and could not note
// it), audit.decisions.failed (decisions that stay counted in memory). Where rows are
// captured: audit.captured, audit.captured.told (an event told of them),
// audit.captured.left (what; what entries do not say), audit.captured.forged,
// audit.captured.failed.
//
// [Trail.Status] answers findings, all of them each time. Late is what waits
// longer than Config.BeatEvery and ten times Config.Interval:
//
//	audit.queue             events    alarm: the oldest is late
//	audit.unpublished       entries   alarm: the oldest is late
//	audit.beat.age          s         alarm: one is due, and late
//	audit.log               entries   published; alarm: database and folder disagree, one went back, or the folder cannot be read
//	audit.kept              entries   kept elsewhere; alarm: none is, or it is not of this log, or longer
//	audit.copies            entries   behind, below 0 ahead, one of each of Config.Copies; alarm: it is late, has what the published
//	                                  log has not, fails or does not answer; notice: it is late, and being filled
//	audit.run.failing       passes    alarm: the last pass failed, or does not end; notice: it goes on for long (processes that make passes)
//	audit.refused           rows      alarm: rows that were set aside until the key of their tag is known
//	audit.aside             rows      alarm: forged rows that were set aside
//	audit.gap               events    alarm: lost under Config.Classes, and not in the log yet (this process)
//	audit.mirror            entries   not in Config.Mirror; alarm: late, or it fails or does not answer; notice: late, and being filled
//	audit.clock             s         alarm: clocks are more than five minutes apart: this process and the database server, or
//	                                  whoever recorded, filed and signed what is newest; above 0 is ahead of this process
//	audit.unmapped          persons   notice: surrogates whose person is not known since a restore
//	audit.pruned            entries   that went with retention, where any did; notice: rows of them are still there, or back
//	audit.heads             rows      alarm: heads of surrogates that do not open, or rows of surrogates without a tag
//	audit.erased            persons   notice: erased by this process, and recorded again: delete rows first, then Erase, and once more now
//	audit.captured          rows      alarm: captured rows have been waiting for a day, may not be filed, or were written by no trigger (PostgreSQL)
//	audit.capturing         tables    alarm: not captured as Config.Captured says; each of the first ten has a finding with its name
//	audit.store.durability  settings  alarm: the database loses what was committed
//	audit.store.replica     sources   notice: the database follows another one (MariaDB)
//
// # Format and compatibility
//
// Leaves and commitments are version 1, openings, queue and retry tags version 2
// of the library's formats document, frozen in auditlog/testdata. The published
// folder is C2SP tlog-tiles v1 with entry bundles, the checkpoint a C2SP
// signed note, proofs c2sp.org/tlog-proof@v1. An undeclared path appears as
// "c:" and a commitment of side 2 over the path itself; a recover event names
// the entries it read back as the object ["entries", "first/end"], and one of kind prune
// those that went as ["entries", "0/end"], or ["openings", "0/end"] with the class of actions as its reason. Settling:
// bytes and Go API may change until v0.1.0.
package audit
