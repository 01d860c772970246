package auditlog

import "github.com/crmguard/crmguard/audit/internal/worst"

// Verdict is the outcome of a verification.
type Verdict string

// The verdicts, apart from each other on purpose: what cannot be read is not
// the same as what was changed.
const (
	OK         Verdict = "ok"          // sound, and compared with a checkpoint kept elsewhere
	Unanchored Verdict = "unanchored"  // sound by itself; whether it is the log that others saw, nobody can tell without a kept checkpoint
	Incomplete Verdict = "incomplete"  // files are missing or unreadable, or the check was interrupted
	RolledBack Verdict = "rolled-back" // older than the kept checkpoint
	Forked     Verdict = "forked"      // another history than the kept checkpoint's
	Tampered   Verdict = "tampered"    // bytes do not match what was signed
)

// rank orders the verdicts. What is none of them says nothing that is known, and
// counts as Incomplete: "" stands in a report that was not made, and a later
// version may have a verdict that this one does not.
func (v Verdict) rank() int {
	switch v {
	case Tampered:
		return 5
	case Forked:
		return 4
	case RolledBack:
		return 3
	case Unanchored:
		return 1
	case OK:
		return 0
	default: // and Incomplete
		return 2
	}
}

// Worst is the one of several verdicts that counts. It is OK only where each is: of
// no verdict, and of what is none, it is Incomplete.
func Worst(verdicts ...Verdict) Verdict {
	if len(verdicts) == 0 {
		return Incomplete
	}
	out := OK
	for _, v := range verdicts {
		if v.rank() > out.rank() {
			out = v
		}
	}
	if out.rank() == Incomplete.rank() {
		return Incomplete
	}
	return out
}

// Fault is one thing that is wrong, without personal data.
type Fault struct {
	Verdict Verdict // what it amounts to
	Index   int64   // entry, -1 if it is about none
	Event   string  // event id, where known
	File    string  // published file or table
	What    string  // in words
}

// MaxFaults bounds a report; the rest is counted. Where there are more, those
// with the worse verdict stand in it, and of one verdict those that name an entry or an event.
const MaxFaults = 100

// Worse says whether a fault is the one to be told where only one of them can be.
func (f Fault) Worse(than Fault) bool {
	if f.Verdict.rank() != than.Verdict.rank() {
		return f.Verdict.rank() > than.Verdict.rank()
	}
	return f.named() && !than.named()
}

// named says whether a fault says which entry or event it is about.
func (f Fault) named() bool { return f.Index >= 0 || f.Event != "" }

// Report is the outcome of [VerifyLog].
type Report struct {
	Verdict  Verdict // the worst of the two below
	Log      Verdict // the folder against its own checkpoint
	Kept     Verdict // the folder against the kept checkpoint; Unanchored if none was given, or one of no entries
	Origin   string  // the log
	Size     int64   // entries that the checkpoint promises
	Root     [32]byte
	Verified int64       // entries read and hashed
	Parsed   int64       // entries among them whose content was read, too: all but those that did not match, or few for VerifyHashes
	Pruned   int64       // entries that went with retention: that they were there is verified, what they said is gone
	Beats    int64       // beats among those read
	KeptSize int64       // entries that the kept checkpoint promises
	Keys     []KeyChange // what the log says about its signing keys, the first hundred
	Faults   []Fault     // the first hundred of the worst
	More     int         // faults beyond those
}

func (r *Report) add(f Fault) {
	r.Log = Worst(r.Log, f.Verdict)
	var full bool
	if r.Faults, full = worst.Keep(r.Faults, MaxFaults, f, Fault.Worse); full {
		r.More++
	}
}

// unmade is the report of a verification that was not made.
func unmade() Report { return Report{Verdict: Incomplete, Log: Incomplete, Kept: Incomplete} }
