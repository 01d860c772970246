// Package erasurelog is the erasure ledger: it remembers outside the database
// whom to erase again after a restore, and says nothing about anybody to
// whoever reads it.
//
// The first lines; must and check stand for what is done about an error, and
// the example FirstLines has what stands around them:
//
//	ledger := must(erasurelog.Open(erasurelog.Config{Medium: erasurelog.Folder(outside), Digests: must(erasurelog.KeysFile(secret))}))
//	check(ledger.Create(ctx)) // once in the life of the system
//	intent := must(ledger.NewEntry(ctx, erasurelog.Intent, plan, "main", "p1"))
//	state := must(ledger.Append(ctx, nil, func(s *erasurelog.State) (*erasurelog.Entry, error) {
//		if s.Status(plan) != erasurelog.Unknown {
//			return nil, nil // another process was faster
//		}
//		return &intent, nil
//	}))
//	keys := must(ledger.Keys(ctx, erasurelog.KindPerson, "main", []byte("p1")))
//	fmt.Println(state.Status(plan), len(state.Person(keys...).Erasures))
//
// An [Entry] is a line of canonical JSON: chained by the hash of the line
// before it, authenticated by a MAC under a ledger root, and of the person, the
// tenant, rows and principals it holds keyed digests only. A [State] is what
// all entries come to: which erasures are in force, which holds, up to which
// numbers identity columns had counted. A [Medium] keeps the lines: [Folder],
// or a table of package sqlledger; package erasurelogtest judges any.
//
// # Promises
//
//   - What Append has returned outlives a power cut. A write that was cut short
//     is passed over, and cut off by the next one.
//   - One intent and one done a plan, whatever number of processes wants them;
//     no done after a void, no void after a done. Where somebody who has the
//     root writes one all the same it has no effect, and [State.Faults] names it.
//   - A hold and a void name who answers for them, by digest; who agreed to a
//     void is somebody else. A hold that is over holds nothing.
//   - A plan that was cancelled has no intent afterwards. Of decisions about a row,
//     and of what is said about a value of the suppression list, the last one counts.
//   - An entry that was changed, left out, added or put elsewhere by whoever has
//     no root is noticed: the last one and what follows it at the next Read, any
//     by [Log.Verify], by the first Read of a process, and every Config.Recheck.
//   - A ledger that is an older state of itself is noticed by each head that
//     somebody else keeps: anchors, and those that a caller hands in; and by a
//     process that has read the newer one, for as long as it runs.
//   - Errors say what to do, and doing it works.
//   - Notes are sealed: whoever has the medium and no root reads none.
//
// # Does not promise
//
//   - To notice that the ledger was rolled back, where nobody keeps a head of
//     it: [State.Anchors] is empty then. A medium that is restored together with
//     the database is no medium for it.
//   - To notice an older line changed in place, or damaged by its disk, between
//     two whole readings.
//   - To tell the newest note of a name from an older one that was put back, or
//     from one that was forgotten: a note may only ever cause more work.
//   - To know that a clock is wrong: there is no second one. Clocks may differ by
//     a minute. Entries from further ahead lock the ledger until an entry of
//     operation [Clock], which two principals answer for, says that they count as
//     of its time. One that is behind is noticed by the entry before alone: an
//     erasure that is dated too early is not repeated for what was created since.
//   - To hide how many erasures there were, when, and which entries are about
//     the same digest; the codes of holds, the names of columns in Tops and the
//     names of notes stand in the clear.
//   - To forget: entries and roots outlive the longest-lived backup.
//
// # First call
//
// [NewKeysFile] once and [KeysFile] where no vault of package encryption gives
// its LedgerDigests; [Open], once [Log.Create]; then [Log.Read] and
// [Log.Append].
//
// # Concurrency
//
// A Log is safe for concurrent use, and any number of processes may share its
// medium: an Append is a compare-and-swap, and the loser reads and decides
// again. A State is safe to keep and to share. Every call ends when its
// context does; of a disk that hangs then, goroutines of [Folder] wait on, and of
// an anchor that heeds no context, one a call. Digests are asked with the
// caller's context, and heed it.
//
// # Cost
//
// Read costs what is new, 0.03 ms in a folder where nothing is, whatever the
// ledger holds; Append costs two such reads and a flush; a whole reading of
// 10,000 entries takes 0.1 s, Verify of what was read before 6 ms. Memory holds
// about 210 bytes an entry (of plans with an intent and a done), and 46 more for
// each ref.
//
// # Errors
//
//	sentinel        lasts      what the operator does
//	ErrUnreachable  temporary  make the ledger readable; bring back its newest copy, never an empty one
//	ErrRewound      permanent  bring back the newest copy, then replay
//	ErrForged       permanent  bring back the newest copy that verifies; look for who wrote
//	ErrForeign      permanent  point to this system's own ledger, or hand in its roots
//	ErrNewer        permanent  run the version of this library that wrote it
//	ErrBusy         temporary  call again
//	ErrClock        temporary  set the clock right, or append a [Clock] entry
//	ErrKeys         temporary  what the Digests answered is behind errors.As
//	*AnchorError    temporary  make the anchor answer; Read has returned the State all the same
//	ErrTwice, ErrAbsent, ErrEnded, ErrEntry, ErrConfig  permanent  mend the call
//	ErrMoved        temporary  (of a Medium) read on, and append there; Append does
//
// # Format and compatibility
//
// Section 8 of the formats, version 1; samples are frozen in testdata, and a
// reader of 50 lines of Python stands beside them. Bytes and Go API may change
// until v0.1.0. Stability: settling.
package erasurelog
