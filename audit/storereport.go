package audit

import (
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/internal/worst"
)

// OpeningVerdict says what became of the values of an event.
type OpeningVerdict string

// The verdicts on an opening.
const (
	OpeningOK       OpeningVerdict = "ok"       // opens, and every commitment matches
	OpeningErased   OpeningVerdict = "erased"   // gone, an erasure in the log names the surrogate, and the surrogate's row is its tombstone
	OpeningLost     OpeningVerdict = "lost"     // gone in a restore that a recover event names
	OpeningPruned   OpeningVerdict = "pruned"   // gone with retention, as an entry of kind prune says ([Trail.PruneOpenings])
	OpeningUnmapped OpeningVerdict = "unmapped" // there, and whose it is is not known since a restore: found when the person is prepared or asked for
	OpeningPending  OpeningVerdict = "pending"  // going: the erasure that names it is not in the published log yet, or what the log tells of retention is not done
	OpeningKeyless  OpeningVerdict = "keyless"  // there, and the person's key is gone, which no erasure tells of yet: call Erase
	OpeningMissing  OpeningVerdict = "missing"  // gone without any of these: tampering
	OpeningAltered  OpeningVerdict = "altered"  // there, but does not open (under another secret, too) or does not match
	OpeningReturned OpeningVerdict = "returned" // there, although an erasure names it: replay the erasures
)

// StoreReport is the outcome of [Trail.VerifyStore].
type StoreReport struct {
	Verdict  auditlog.Verdict         // the worst of everything
	Log      auditlog.Report          // the published log by itself and against the kept checkpoint
	Rows     int64                    // sequenced rows compared
	Waiting  int64                    // rows not sequenced yet, with a valid tag
	Refused  int64                    // rows not sequenced, without one
	Openings map[OpeningVerdict]int64 // one for each (event, owner)
	Faults   []auditlog.Fault         // the first hundred of the worst
	More     int                      // faults beyond those
}

func (r *StoreReport) add(f auditlog.Fault) {
	r.Verdict = auditlog.Worst(r.Verdict, f.Verdict)
	var full bool
	if r.Faults, full = worst.Keep(r.Faults, auditlog.MaxFaults, f, auditlog.Fault.Worse); full {
		r.More++
	}
}
