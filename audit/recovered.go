package audit

import (
	"context"
	"fmt"
	"slices"

	"github.com/crmguard/crmguard/audit/auditlog"
)

// Recovered is what [Trail.CatchUpReport] has brought back.
type Recovered struct {
	Entries  int64 // published entries that the database did not have
	Openings int64 // sealed values of theirs, of Config.Mirror or of events that waited in the backup
	Lost     int64 // sealed values of theirs that nobody has any more; a recover event of the log names the entries
	People   int   // surrogates of the mirror alone: whose they are shows when the person is named again
	Aside    int   // waiting rows whose event was published in other bytes, set aside; see Readmit and Dismiss
}

// CatchUpReport is [Trail.CatchUp], and says what came back: of this call, where
// several were needed. What belongs to somebody erased counts neither as brought back
// nor as lost.
func (t *Trail) CatchUpReport(ctx context.Context) (Recovered, error) {
	sum := newRecovering()
	err := t.catchUp(ctx, sum)
	for _, n := range sum.by {
		sum.Openings += n.back
		sum.Lost += n.lost
	}
	return sum.Recovered, err
}

// recovering is what was counted so far, the sealed values by whom they are about: an
// erasure may follow in the log.
type recovering struct {
	Recovered
	by    map[surrogateID]*recoveredOf
	rules []openingRule // what they cover does not come back
}

type recoveredOf struct{ back, lost int64 }

func newRecovering() *recovering { return &recovering{by: make(map[surrogateID]*recoveredOf)} }

func (r *recovering) of(s surrogateID) *recoveredOf {
	if r.by[s] == nil {
		r.by[s] = &recoveredOf{}
	}
	return r.by[s]
}

// ruled says whether what is sealed about an entry went with retention.
func (r *recovering) ruled(index int64, leaf *auditlog.Leaf) bool {
	return slices.ContainsFunc(r.rules, func(rule openingRule) bool { return rule.covers(index, leaf) })
}

// add takes over what a page of entries has brought.
func (r *recovering) add(page *recovering, entries []adopted) {
	r.Entries += int64(len(entries))
	r.Aside += page.Aside
	for s, n := range page.by {
		sum := r.of(s)
		sum.back += n.back
		sum.lost += n.lost
	}
	for i := range entries {
		if e := &entries[i]; e.leaf.Kind == auditlog.KindErase {
			for _, s := range e.persons {
				delete(r.by, surrogateID{e.leaf.Tenant, s})
			}
		}
	}
}

// tally counts the openings of a page of entries that are there by now, and those that
// are not, though nobody was erased.
func (t *Trail) tally(ctx context.Context, tx HandoverTx, from int64, page []adopted, drop *dropping, got *recovering) error {
	there := make(map[int64]map[string]bool)
	if err := t.query(ctx, tx, func(rows answer) error {
		var idx int64
		var owner []byte
		err := rows.Scan(&idx, &owner)
		if there[idx] == nil {
			there[idx] = make(map[string]bool)
		}
		there[idx][ownerOfRow(owner)] = true
		return err
	}, `SELECT idx, `+upTo(mostID, "owner")+` FROM crmguard_audit_openings WHERE idx >= ? AND idx < ?`, from, from+int64(len(page))); err != nil {
		return err
	}
	for i := range page {
		leaf := &page[i].leaf
		for _, owner := range leaf.Owners() {
			o, err := ownerBytes(owner)
			if err != nil {
				return fmt.Errorf("audit: catch up: %w", err)
			}
			switch of := (surrogateID{leaf.Tenant, o}); {
			case there[from+int64(i)][owner]:
				got.of(of).back++
			case !drop.drops(leaf.Tenant, o) && !got.ruled(from+int64(i), leaf):
				got.of(of).lost++
			}
		}
	}
	return nil
}
