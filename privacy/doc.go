// Package privacy answers the requests of persons: find, export, erase; and
// keeps an erasure true after a backup has been restored.
//
// The first lines; must and check stand for what is done about an error, and
// the example FirstLines has what stands around them:
//
//	dataMap := &datamap.Map{Tenant: "main", Tables: []datamap.Table{{
//		Name: "contacts", Key: []string{"id"}, Person: "person", Created: "created", Erase: datamap.Delete,
//		Columns: []datamap.Column{{Name: "name", Category: "contact.name", Purpose: "dpv:CustomerRelationshipManagement", Basis: "dpv:Contract"}},
//	}}}
//	check(privacy.Install(ctx, db))
//	ledger := must(erasurelog.In(outside, must(erasurelog.KeysFile(secret))))
//	check(ledger.Create(ctx)) // once in the life of the system
//	desk := must(privacy.Open(ctx, privacy.Config{Map: dataMap, DB: db, Ledger: ledger, Sign: certKey}))
//	check(desk.Ready(ctx)) // at every start, before serving
//	exported := must(desk.Export(ctx, "main", person, recipient, file))
//	plan := must(desk.PlanErasure(ctx, privacy.Request{Tenant: "main", Person: person, Reason: "gdpr-17", By: "user/1"}))
//	check(desk.Approve(ctx, plan.ID, "user/2"))
//	outcome, err := desk.Execute(ctx, plan.ID) // ErrTooEarly before plan.NotBefore; then Waiting, then Done
//
// One data map ([datamap.Map]) says which tables and columns hold personal data,
// how each leads to a person and what an erasure does to it. The database (a
// sqlstore over Config.DB) and other stores ([datastore.Func] for keys,
// openings, files) carry it out. Plans are rehearsed, stored, approved by a
// second principal and executed by id; [Desk.Hold] suspends, [Desk.Void]
// withdraws what cannot be finished.
//
// # Promises
//
//   - The database erases in one transaction, whose last step writes the intent
//     to a ledger outside of it; no other store is touched before that has
//     committed. Until the intent an error leaves everything as it was; from then
//     on Execute may be interrupted between any two steps and called again.
//   - What the schema refuses is an error when an erasure is planned: it is carried
//     out in a transaction then, and taken back.
//   - By what the other stores find the person stands sealed beside the ledger
//     until they have erased. What is somebody else's by then leads to nobody: the
//     outcome is Partial.
//   - One intent, one certificate and one end for each plan, also where several
//     processes execute it. A row of a plan that somebody has written into the
//     database is refused; an older one put back makes the desk look again.
//   - A call returns when its context ends, also where a store does not; that store
//     is not asked about the same person a second time while it hangs.
//   - Done means: every store erased, everything was read back by the keys
//     found before and by a fresh search, and the lease of cached keys is over.
//     What is left makes the outcome Partial, what answers later Waiting; both
//     are no errors, and neither is certified.
//   - A copy of the database that was taken before it had erased is behind the
//     ledger, also one taken while an outcome was Partial.
//   - From its intent on an erasure keeps the gate shut, for whoever starts and for
//     whoever asks, until the database has erased and every other store has answered
//     that nothing is left, or that it does it later ([datastore.ErrLater]): also
//     where the process ended in between, a store is down (Partial), or another
//     process is at it. The lease of cached keys does not keep it shut, nor does
//     what comes behind a store's answer. A store that is lost shuts it for good only
//     until Execute or Replay gets through without it, or [Desk.Void]; others are
//     erased meanwhile.
//   - A plan that was cancelled or voided stays so, and so does a decision, whatever
//     older row is put back into the database, and after a restore. A plan that waits
//     ends with the erasure of all its persons by others that begin behind it.
//   - The suppression list outlives a restore: it is in the ledger.
//   - After a restore the boot gate ([Desk.Ready]) refuses until
//     [Desk.Replay] has erased again whom the ledger names, by person id and only
//     records created before the erasure, so that a new record with the same
//     e-mail address stays. While a store is down, in a replay or in an erasure,
//     it goes on refusing, also in the next process and after another restore.
//     Rows of which nobody knows when they were created keep it shut until
//     somebody decides ([Desk.Decide]); counters that would give out numbers of
//     erased persons again, until a replay has moved them on.
//   - The high-water mark by which it knows is bound to the ledger's keys: who may
//     write the database cannot raise it. While the ledger cannot be read it opens,
//     for Config.Grace, only where something shows that the database was not
//     restored; otherwise somebody has to order it, by name, with another one's
//     agreement, for a time ([Desk.OpenAnyway]).
//   - [Desk.Run] carries out what is approved and due, and replays every
//     Config.ReplayEvery: within so long a table that was brought back beside the
//     rest is found. Behind the end of a hold it replays at once.
//   - An export holds what an erasure would take, or says in the row that it left
//     it out and why: each column of the person's rows, and of rows of others what
//     points to the person. A record about several ids of one person is about nobody
//     else. It is written as it is read, and the trail knows of it before its first
//     byte is given out.
//   - What a certificate calls kept was there when everything was read back. An
//     obligation whose date cannot be read keeps its row.
//   - A ledger that is shorter than a head kept elsewhere, holds an entry that
//     this system did not write, or belongs to another system is refused with
//     a typed error, and the folder stays as it was.
//   - Certificates list each class under its true name, what was not covered,
//     what backups from before the erasure keep readable (all of it where no
//     key of the person was destroyed, see erasurelog.KeysFrom and
//     datastore.Func.Sealed), and
//     two dates: unreadable in the live system, final in key copies.
//   - No error, ledger line, plan or certificate holds personal data. The
//     random person id stands in a plan row until the plan is done or
//     cancelled, sealed in notes beside the ledger until a replay has got through,
//     and afterwards only in columns that the map retains.
//
// SECURITY.md, "Known faults", lists what is known to break these promises
// today.
//
// # Does not promise
//
//   - To reach what no store declares: server logs, replicas, mail already
//     sent, disk blocks. Config.NotCovered puts them on the certificate.
//   - To notice that database and ledger were rolled back together, unless a
//     head is kept elsewhere (erasurelog.Anchor); [Desk.Gate] then says Unanchored.
//   - That a redaction of a record of several persons leaves nothing behind when it
//     is rehearsed: a key that the application made for it stays, and seals nothing.
//   - To know who someone is. Who asks and who approves are compared as the
//     session names them, without regard to case, width, ligatures and
//     composition; a person with two accounts is two principals, and so are
//     look-alikes of two scripts.
//   - To tell tenants apart in the link table of joint records ([datamap.Link])
//     for which the map names no tenant column: their ids must be unique in
//     the whole database (UUIDs are).
//   - To find in a restored store a person whom no store lists
//     ([datastore.People]), no
//     plan of the restored database names and no replay has begun with.
//   - To unlink the row of a record kept by law from its random person id,
//     where the map retains that column.
//   - That nobody but the person can tell whose a certificate is: whoever has the
//     ledger roots draws its salt again, and can tell from the ledger, too.
//   - MySQL, which it was never run on; SQLite, PostgreSQL and MariaDB are what
//     it is tested on. Others are refused by name.
//   - That a deleted row is gone from a server's files: dead rows, samples of the
//     planner, the write-ahead log, the binary log and replicas of PostgreSQL and MariaDB
//     keep it for as long as the server does. SQLite forgets with secure_delete
//     and the checkpoint after each erasure.
//
// # First call
//
// The map begins as liveschema.Propose writes it; liveschema.Check holds it against
// the database, in a test of the application too. [Install] makes the desk's tables, as their owner, and [Grants] has the rights
// of the role as which all else works; without a vault of package encryption
// erasurelog.NewKeysFile once and erasurelog.KeysFile give the ledger its keys;
// erasurelog.In and once its Create the ledger, [Open] the desk; at every start
// [Desk.Ready], and only then serve.
//
// # Concurrency
//
// Desk and ledger are safe for concurrent use, in several processes. While the
// intent is written the transaction over Config.DB is open: the ledger's keys and
// its place wait for no connection of that pool; its anchors may, they are asked
// before. Of a store that does
// not return when its context ends, one goroutine waits until it does. A transaction that the
// database ends for the sake of another one is tried again, Config.Record in
// it, too. Where a connection ends in the middle of a call, also after a commit
// whose answer is lost, the same call again finishes: nothing is erased, recorded
// or certified twice; only PlanErasure may leave a second plan, which is
// cancelled with the first one's end. Where a commit failed behind the intent,
// others meet ErrBehind until that plan is executed again.
// While an erasure is under way, or Partial, [Desk.Ready] is ErrBehind and
// ErrUnderWay; processes that serve go on erasing others. A health check of theirs
// answers that all is well on ErrUnderWay as long as [GateError].Since is young; a
// process that starts waits.
//
// # Errors
//
//	sentinel              lasts      what the operator does
//	erasurelog's errors   as they say there
//	ErrBehind             permanent  keep readers out and call Replay, again while a store is down; where an erasure was begun and not finished, Execute it again
//	ErrUnderWay           temporary  (with ErrBehind, in a *GateError) none while Since is young; then Execute what UnderWay names
//	ErrNoteGone           permanent  put the notes of the ledger back, or Void, and see to the other stores by hand
//	ErrMarkForged         permanent  find out who wrote to the database, keep readers out, Replay
//	ErrUndecided          permanent  Decide about each of Replayed.Undated, then Replay
//	ErrNumbers            permanent  keep writers out, Replay
//	ErrOpening            permanent  the gate is open, or Until is wrong
//	ErrNoRow              permanent  decide about rows of Replayed.Undated
//	ErrReplayLimit        permanent  see what came with it (ReplayPlan looks without erasing), then set Config.AllowReplay, which is told both counts
//	ErrReplayLeft         temporary  see the StoreError, mend the store, Replay again
//	ErrNoPeople           permanent  give one store the People method
//	ErrNotApproved, ErrExpired, ErrTooEarly, ErrTooMany  temporary  approve; wait
//	ErrPlanChanged        permanent  plan and approve anew: a table or a fate that nobody approved
//	ErrBegun              permanent  (Cancel) execute the plan, or void it
//	ErrNotBegun, ErrEnded, ErrVoided  permanent  (Void, Cancel, Execute) cancel it instead; nothing is to be done any more
//	ErrUnmapped           permanent  mend the map
//	ErrHangs              temporary  (in a StoreError) find out what the store waits for
//	ErrPlanForged         permanent  someone wrote to the plan table: find out who, plan anew
//	ErrSelfApproval, ErrCancelled, ErrNoPlan, ErrReason, ErrRecipient, ErrID, ErrPrincipal, ErrConfig, datamap.ErrMap  permanent  mend the call
//	bundle.ErrRecord      permanent  (Export) see table and column: what stands there cannot be shown, or Config.Open failed
//	bundle.ErrSpool       temporary  (Export) make room in Config.TempDir
//	datastore.ErrLater    temporary  (from stores) the outcome is Waiting; execute again
//	*PlanError            as its cause  (EraseMany) names the plan
//	*StoreError           as its cause  the text names store and operation, and of the cause what a database says of tables, constraints and rights; Unwrap gives all of it
//	ErrStandby            temporary  connect to the primary: a standby may show whom it has erased
//	fs.ErrPermission      permanent  grant what the text names: see Grants, and sqlstore.Grants
//	*ErrSchema            permanent  call Install, or apply Migrations; where that was done, look where the search path of this account leads
//	errors.ErrUnsupported permanent  (from Install and Open) another kind of database, or too old a version
//
// # Observations
//
// privacy.planned (rows), privacy.erased, privacy.partial, privacy.replayed
// (persons), privacy.exported (bytes), privacy.ledger_unreachable,
// privacy.unflushed.
//
// [Desk.Status] answers findings, all of them each time:
//
//	privacy.gate              entries   alarm: [Desk.Ready] refuses; notice: it opens although the ledger is unreachable
//	privacy.opening           s         alarm: somebody has ordered the gate open ([Desk.OpenAnyway])
//	privacy.replay.pending    persons   alarm: a replay did not get through every store
//	privacy.replay.undecided  rows      alarm: they came back, and wait for [Desk.Decide]
//	privacy.replay.age        s         alarm: the last replay is longer ago than twice Config.ReplayEvery, or a hold has ended since; notice: none yet
//	privacy.numbers           columns   alarm: their counters are behind what was given out
//	privacy.ledger            entries   alarm: the ledger cannot be read, or is wrong
//	privacy.ledger.anchors    heads     notice: none is kept elsewhere; alarm: a place does not answer
//	privacy.clock             s         alarm: the clock is behind the ledger
//	privacy.plans.running     plans     notice: begun and not finished
//	privacy.plans.partial     plans     alarm: data is left in a store
//	privacy.plans.waiting     plans     notice: their delay is over, and nobody approves or executes them
//	privacy.plans.ahead       plans     alarm: made while a clock was ahead, and not due before that time
//	privacy.plans.forged      plans     alarm: somebody has written into their rows
//	privacy.store.durability  settings  alarm: the database loses what was committed
//	privacy.store.replica     sources   notice: the database follows another one (MariaDB)
//
// # Format and compatibility
//
// Ledger and certificates have rooms of their own, privacy/erasurelog and
// privacy/certificate; plan rows are in section 12 of the formats; exports are a bundle (privacy/bundle, section 14) in an age
// file. Bytes and Go API may change until v0.1.0.
// Stability: settling.
package privacy
