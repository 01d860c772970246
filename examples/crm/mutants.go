package main

// A mutant takes one protection out, or plants one fault, without the checks
// knowing. A run with a mutant must fail and name the step; a check that
// stays green then checks nothing. TestEveryMutantIsCaught runs them all.
const (
	breakRow        = "row"         // a contact is changed behind the application's back
	breakOldRow     = "old-row"     // a contact is put back to an earlier version, with its old seal
	breakLogDrop    = "log-drop"    // an entry of the published log is dropped
	breakLogReorder = "log-reorder" // two entries of the published log change places
	breakLogCut     = "log-cut"     // the newest entries are cut off, with an older valid checkpoint
	breakErase      = "erase"       // stores say they erased, and do nothing
	breakReplay     = "replay"      // the ledger is not replayed after the restore
	breakLedger     = "ledger"      // the ledger is lost with everything else
	breakKeyVersion = "generation"  // a key version is destroyed although a snapshot needs it
	breakKeyCopy    = "keycopy"     // the key copy of the old epoch is kept, and its KEK too
)

func mutants() []string {
	return []string{
		breakRow, breakOldRow, breakLogDrop, breakLogReorder, breakLogCut,
		breakErase, breakReplay, breakLedger, breakKeyVersion, breakKeyCopy,
	}
}

// takenOut says in words what a mutant does.
func takenOut(mutant string) string {
	return map[string]string{
		breakRow:        "a contact was changed behind the application's back",
		breakOldRow:     "a contact was put back to an earlier version, with its old seal",
		breakLogDrop:    "an entry of the published log was dropped",
		breakLogReorder: "two entries of the published log changed places",
		breakLogCut:     "the newest entries were cut off, with an older valid checkpoint",
		breakErase:      "every store said that it erased, and did nothing",
		breakReplay:     "the erasure ledger was not replayed after the restore",
		breakLedger:     "the erasure ledger was lost with everything else",
		breakKeyVersion: "a key version was destroyed although a snapshot needs it",
		breakKeyCopy:    "the key copy of the old epoch was kept, and its KEK too",
	}[mutant]
}
