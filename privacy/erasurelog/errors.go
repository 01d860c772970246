package erasurelog

import (
	"errors"
	"fmt"
)

// Errors about the ledger as a whole. Each comes inside a [*LedgerError] that
// names the place and the remedy; the ledger is left as it was.
var (
	ErrUnreachable = errors.New("erasurelog: ledger unreachable")
	ErrRewound     = errors.New("erasurelog: ledger is shorter than a head kept elsewhere")
	ErrForged      = errors.New("erasurelog: ledger holds what this system did not write")
	ErrForeign     = errors.New("erasurelog: ledger of another system")
	ErrNewer       = errors.New("erasurelog: ledger was written by a newer version")
	ErrBusy        = errors.New("erasurelog: ledger is being written by another process")
	ErrClock       = errors.New("erasurelog: clock is behind the ledger's last entry")
)

// Errors about one entry that was to be appended, or one call. Nothing was
// written.
var (
	ErrEntry  = errors.New("erasurelog: no entry")                                        // a member is missing or wrong
	ErrTwice  = errors.New("erasurelog: the ledger has that entry already")               // a second intent or done, an id used before
	ErrAbsent = errors.New("erasurelog: the ledger has no entry that this one names")     // done without intent, lift without hold
	ErrEnded  = errors.New("erasurelog: the plan or hold that the entry names has ended") // done or voided; lifted
	ErrKeys   = errors.New("erasurelog: the ledger keys gave no answer")
	ErrConfig = errors.New("erasurelog: configuration")
)

// LedgerError carries where the ledger is wrong and what the operator does.
type LedgerError struct {
	Place  string // the medium, such as the path of the file
	Line   int64  // 0 where no line is to blame
	Detail string // never a value of the ledger
	Remedy string
	Err    error // one of the sentinels
	Cause  error // what the medium answered; nil elsewhere
}

// Error names the place and the remedy.
func (e *LedgerError) Error() string {
	where := e.Place
	if e.Line > 0 {
		where = fmt.Sprintf("%s line %d", where, e.Line)
	}
	if e.Detail != "" {
		where += ": " + e.Detail
	}
	return fmt.Sprintf("%v: %s; remedy: %s", e.Err, where, e.Remedy)
}

// Unwrap returns the sentinel and the cause.
func (e *LedgerError) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Err}
	}
	return []error{e.Err, e.Cause}
}

// The remedies, in the operator's words.
const (
	remedyReach  = "make the ledger readable and try again; if it is lost, bring back its newest copy, never an empty one (Create is for the very first start alone)"
	remedyRewind = "bring back the newest copy of the ledger, which has at least that many entries; then replay the erasures"
	remedyForged = "bring back the newest copy of the ledger whose entries verify; find out who wrote to it"
	remedyNote   = "bring back the newest copy of that note, or remove it where its erasure is done; find out who wrote to it"
	remedyOther  = "point the configuration at this system's own ledger, or hand in the ledger roots that wrote it"
	remedyNewer  = "run the version of this library that wrote the entry, or a newer one"
	remedyBusy   = "try again; if no process writes, find out who holds the lock"
	remedyClock  = "set the clock right; if it was the clock of the last entry that was wrong, append an entry of operation clock, which two principals answer for"
)

// fail is an error about the ledger.
func (l *Log) fail(sentinel error, line int64, detail, remedy string) error {
	return &LedgerError{Place: l.place(), Line: line, Detail: detail, Remedy: remedy, Err: sentinel}
}

func (l *Log) place() string {
	if named, ok := l.cfg.Medium.(fmt.Stringer); ok {
		return named.String()
	}
	return "the ledger"
}
