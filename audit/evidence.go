package audit

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/crmguard/crmguard/audit/auditlog"
)

// evidence is what the log says about openings that are gone.
type evidence struct {
	erased  map[[2]string]int64 // (tenant, surrogate) -> index of the newest erasure in the log
	pending map[[2]string]bool  // erasures that are queued with a valid tag
	lost    [][2]int64          // ranges that recover events name
}

func newEvidence() *evidence {
	return &evidence{erased: make(map[[2]string]int64), pending: make(map[[2]string]bool)}
}

// add takes what a leaf says; index -1 is a queued one.
func (ev *evidence) add(index int64, leaf *auditlog.Leaf) {
	switch leaf.Kind {
	case auditlog.KindErase:
		for _, s := range leaf.Persons {
			key := [2]string{leaf.Tenant, s}
			if index < 0 {
				ev.pending[key] = true
			} else {
				ev.erased[key] = index
			}
		}
	case auditlog.KindRecover:
		if from, to, ok := parseRange(leaf.Object.ID); ok && index >= 0 {
			ev.lost = append(ev.lost, [2]int64{from, min(to, index)})
		}
	}
}

// recovered is the object of a recover event: the entries read back, from the
// first to the one after the last.
func recovered(from, to int64) Object {
	return Object{Kind: "entries", ID: fmt.Sprintf("%d/%d", from, to)}
}

func parseRange(s string) (from, to int64, ok bool) {
	a, b, ok := strings.Cut(s, "/")
	from, err1 := strconv.ParseInt(a, 10, 64)
	to, err2 := strconv.ParseInt(b, 10, 64)
	return from, to, ok && err1 == nil && err2 == nil && from >= 0 && from <= to
}

func (ev *evidence) wasLost(index int64) bool {
	for _, r := range ev.lost {
		if r[0] <= index && index < r[1] {
			return true
		}
	}
	return false
}

// judged is the verdict on the opening of one (event, owner).
type judged struct {
	verdict OpeningVerdict
	person  string            // person id, "" where it is nobody or unknown
	opening *auditlog.Opening // where the verdict is ok or returned and it opened
	why     string
}

// judge says what became of an opening: sealed is nil where the row is gone.
// Erased needs all three: no opening, an erasure in the log after the event
// that names the surrogate, and no row of the surrogate. A deletion by hand
// has at most two.
func (t *Trail) judge(ctx context.Context, ev *evidence, index int64, leaf *auditlog.Leaf, owner string, sealed []byte) (judged, error) {
	var j judged
	mapped := owner == auditlog.Nobody
	if !mapped {
		var err error
		mapped, err = t.one(ctx, t.db, []any{&j.person}, `SELECT person FROM crmguard_audit_surrogates WHERE tenant = ? AND surrogate = ?`, leaf.Tenant, owner)
		if err != nil {
			return j, err
		}
	}
	key := [2]string{leaf.Tenant, owner}
	at, erased := ev.erased[key]
	erased = erased && (index < 0 || at > index)
	if sealed == nil {
		switch {
		case erased && !mapped:
			j.verdict = OpeningErased
		case ev.pending[key] && !mapped:
			j.verdict = OpeningPending
		case index >= 0 && ev.wasLost(index):
			j.verdict = OpeningLost
		case erased:
			j.verdict, j.why = OpeningMissing, "an erasure names it, but the surrogate is still there"
		default:
			j.verdict, j.why = OpeningMissing, "no erasure, recovery or retention in the log explains it"
		}
		return j, nil
	}
	if !mapped {
		j.verdict, j.why = OpeningAltered, "the row of its surrogate is gone"
		if erased {
			j.verdict, j.why = OpeningReturned, "it was erased"
		}
		return j, nil
	}
	o, err := t.unseal(ctx, leaf, j.person, sealed)
	if err == nil {
		err = o.Matches(leaf, owner)
	}
	switch {
	case ctx.Err() != nil:
		return j, ctx.Err()
	case err != nil:
		j.verdict, j.why = OpeningAltered, "it does not open, or not to what the event commits to"
	default:
		j.verdict, j.opening = OpeningOK, o
	}
	if erased {
		j.verdict, j.why = OpeningReturned, "it was erased"
	}
	return j, nil
}

func (t *Trail) unseal(ctx context.Context, leaf *auditlog.Leaf, person string, sealed []byte) (*auditlog.Opening, error) {
	id, err := parseID(leaf.ID)
	if err != nil {
		return nil, err
	}
	plain, err := t.config.Seal.Open(ctx, leaf.Tenant, person, sealed, openingAD(id))
	if err != nil {
		return nil, err
	}
	return parseOpening(plain)
}
