package privacy

import (
	"errors"
	"fmt"
)

// Errors about the ledger. Each comes inside a [*LedgerError] that names the
// file and the remedy; the folder is left as it was.
var (
	ErrLedgerUnreachable = errors.New("privacy: ledger unreachable")
	ErrLedgerRewound     = errors.New("privacy: ledger is shorter than a head kept elsewhere")
	ErrLedgerForged      = errors.New("privacy: ledger holds what this system did not write")
	ErrLedgerForeign     = errors.New("privacy: ledger of another system")
	ErrLedgerBusy        = errors.New("privacy: ledger is being written by another process")
	ErrClock             = errors.New("privacy: clock is behind the ledger's last entry")
)

// LedgerError carries where the ledger is wrong and what the operator does.
type LedgerError struct {
	File   string // the ledger file, or the place of the head that disagrees
	Line   int64  // 0 where no line is to blame
	Detail string
	Remedy string
	Err    error // one of the ErrLedger… sentinels or ErrClock
}

// Error names the file and the remedy.
func (e *LedgerError) Error() string {
	where := e.File
	if e.Line > 0 {
		where = fmt.Sprintf("%s line %d", where, e.Line)
	}
	if e.Detail != "" {
		where += ": " + e.Detail
	}
	return fmt.Sprintf("%v: %s; remedy: %s", e.Err, where, e.Remedy)
}

// Unwrap returns the sentinel.
func (e *LedgerError) Unwrap() error { return e.Err }

// The remedies, in the operator's words.
const (
	remedyReach  = "make the folder readable and try again; if it is lost, bring back its newest copy, never an empty one (Ledger.Create is for the very first start alone)"
	remedyRewind = "bring back the newest copy of the ledger, which has at least that many entries; then call Replay"
	remedyForged = "bring back the newest copy of the ledger whose entries verify; find out who wrote to the folder"
	remedyOther  = "point the configuration at this system's own ledger folder, or hand in the ledger roots that wrote it"
	remedyBusy   = "try again; if no process writes, find out who holds the lock"
	remedyClock  = "set the clock right; nothing is erased while it is behind the ledger"
)
