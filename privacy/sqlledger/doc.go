// Package sqlledger keeps the erasure ledger of package erasurelog in a table:
// of SQLite, PostgreSQL or MariaDB, through any driver of database/sql. It is for
// an application on many hosts that has a database for its keys, which is the
// place for it.
//
// The first lines; must and check stand for what is done about an error, and
// the example FirstLines has what stands around them:
//
//	check(sqlledger.Install(ctx, keyDB)) // as the owner of the tables
//	ledger := must(erasurelog.Open(erasurelog.Config{
//		Medium:  must(sqlledger.Open(ctx, keyDB)),
//		Digests: must(erasurelog.KeysFile(secret)),
//		Anchors: []erasurelog.Anchor{{Name: "the audit trail", Head: keptHead}},
//	}))
//	check(ledger.Create(ctx)) // once in the life of the system
//	state, err := ledger.Read(ctx)
//
// # Promises
//
//   - A line is a row, appended by a compare-and-swap on its number, the primary
//     key: of any number of hosts one succeeds, the others read on.
//   - A line is durable when Append returns, as far as the server is set up for
//     it; of a commit whose answer was lost, the next read shows what became.
//   - The role of the application ([Grants]) can add lines, and neither change
//     nor remove one.
//   - A table that was emptied is not an empty ledger: line 0 says that one was
//     made. A row that is missing between others is an erasurelog.ErrForged.
//
// # Does not promise
//
//   - To be outside of anything: give it another database than the one whose
//     persons are erased, better another server. Which one it was given is not
//     looked at. In the application's own database, a restore takes the ledger
//     back with the rows, and nothing is erased again.
//   - To notice that its own database was restored to an older state: heads that
//     are kept elsewhere do (erasurelog.Anchor, and the mark of the application's
//     database, which the desk hands in). The Log answers ErrRewound then, until
//     the newest copy is back. Where there is none, the entries since are lost,
//     and whom they named is known by the application's database alone.
//   - That a note which was forgotten is gone from the server's files: dead rows,
//     the write-ahead log, the binary log and replicas keep it, sealed, for as long
//     as the server does. SQLite forgets it: connections without secure_delete, or
//     with synchronous below FULL, are refused.
//
// # First call
//
// [Install] as the owner of the tables, or the [Migrations] with a tool of your
// own; [Open] as the role that has the [Grants]; then package erasurelog.
//
// # Concurrency
//
// A Ledger is safe for concurrent use and for several processes. No connection
// is held while lines or notes are yielded, so a pool of one may serve the keys
// as well. Each call ends when its context does, as far as the driver lets it.
//
// # Errors
//
//	ErrSchema              permanent   call Install, or apply Migrations
//	ErrStandby             temporary   connect to the primary
//	ErrRowSecurity         permanent   use a role with BYPASSRLS, or the owner of the tables
//	ErrPragmas             permanent   open SQLite with synchronous(FULL) and secure_delete(1)
//	errors.ErrUnsupported  permanent   the error names the database that was found
//	fs.ErrPermission       permanent   a right is missing: see Grants
//
// All others are what the database or its driver answered, without the values
// that they quote. They come out of a Log inside erasurelog.ErrUnreachable.
//
// # Format and compatibility
//
// The lines and notes are those of package erasurelog, a row each, byte for byte.
// Stability: settling; tables may change until v0.1.0.
package sqlledger
