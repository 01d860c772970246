package audit

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

// worse orders the verdicts.
func (v Verdict) rank() int {
	switch v {
	case Tampered:
		return 5
	case Forked:
		return 4
	case RolledBack:
		return 3
	case Incomplete:
		return 2
	case Unanchored:
		return 1
	default:
		return 0
	}
}

func worst(verdicts ...Verdict) Verdict {
	out := OK
	for _, v := range verdicts {
		if v.rank() > out.rank() {
			out = v
		}
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

// maxFaults bounds a report; the rest is counted.
const maxFaults = 100

// Report is the outcome of [VerifyLog].
type Report struct {
	Verdict  Verdict // the worst of the two below
	Log      Verdict // the folder against its own checkpoint
	Kept     Verdict // the folder against the kept checkpoint; Unanchored if none was given, or one of no entries
	Origin   string  // the log
	Size     int64   // entries that the checkpoint promises
	Root     [32]byte
	Verified int64       // entries read and hashed
	Beats    int64       // beats among them
	KeptSize int64       // entries that the kept checkpoint promises
	Keys     []KeyChange // what the log says about its signing keys, the first hundred
	Faults   []Fault     // the first hundred
	More     int         // faults beyond those
}

func (r *Report) add(f Fault) {
	r.Log = worst(r.Log, f.Verdict)
	r.Faults, r.More = appendFault(r.Faults, r.More, f)
}

func appendFault(faults []Fault, more int, f Fault) ([]Fault, int) {
	if len(faults) >= maxFaults {
		return faults, more + 1
	}
	return append(faults, f), more
}

// OpeningVerdict says what became of the values of an event.
type OpeningVerdict string

// The verdicts on an opening.
const (
	OpeningOK       OpeningVerdict = "ok"       // opens, and every commitment matches
	OpeningErased   OpeningVerdict = "erased"   // gone, a later sequenced erasure names the surrogate, and the surrogate's row is gone
	OpeningLost     OpeningVerdict = "lost"     // gone in a restore that a recover event names
	OpeningUnmapped OpeningVerdict = "unmapped" // there, and whose it is is not known since a restore: found when the person is prepared or asked for
	OpeningPending  OpeningVerdict = "pending"  // gone, and the erasure that names it is queued, not yet in the published log
	OpeningMissing  OpeningVerdict = "missing"  // gone without any of these: tampering
	OpeningAltered  OpeningVerdict = "altered"  // there, but does not open (under another secret, too) or does not match
	OpeningReturned OpeningVerdict = "returned" // there, although an erasure names it: replay the erasures
)

// StoreReport is the outcome of [Trail.VerifyStore].
type StoreReport struct {
	Verdict  Verdict                  // the worst of everything
	Log      Report                   // the published log by itself and against the kept checkpoint
	Rows     int64                    // sequenced rows compared
	Waiting  int64                    // rows not sequenced yet, with a valid tag
	Refused  int64                    // rows not sequenced, without one
	Openings map[OpeningVerdict]int64 // one for each (event, owner)
	Faults   []Fault                  // the first hundred
	More     int                      // faults beyond those
}

func (r *StoreReport) add(f Fault) {
	r.Verdict = worst(r.Verdict, f.Verdict)
	r.Faults, r.More = appendFault(r.Faults, r.More, f)
}
