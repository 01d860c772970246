package audit

import (
	"cmp"
	"maps"
	"slices"

	"github.com/crmguard/crmguard/audit/auditlog"
)

// Some entries are what others are judged by: an opening is erased because an erasure
// names it, and not stolen; a key counts no more because the log says so. When such
// an entry goes with retention the log says the same again, in few entries, so that
// whoever reads what is left, or brings a backup level with it, needs nothing of what
// is gone.

// again is what the log has to say again.
type again struct {
	erased map[string]map[string]bool // surrogates by tenant
	others []auditlog.Leaf            // merges, restores, revocations
}

// take looks at an entry that is to go.
func (a *again) take(leaf *auditlog.Leaf) {
	switch {
	case leaf.Kind == auditlog.KindErase:
		if a.erased == nil {
			a.erased = make(map[string]map[string]bool)
		}
		if a.erased[leaf.Tenant] == nil {
			a.erased[leaf.Tenant] = make(map[string]bool)
		}
		for _, s := range leaf.Persons {
			a.erased[leaf.Tenant][s] = true
		}
	case leaf.Kind == auditlog.KindMerge, leaf.Kind == auditlog.KindRecover, leaf.Kind == auditlog.KindKey && leaf.Reason == auditlog.ReasonRevoked:
		a.others = append(a.others, *leaf)
	}
}

// sayAgain are the entries that say it: why is the id of the entry of kind prune
// that they belong to.
func (t *Trail) sayAgain(a *again, why string) (out []*auditlog.Leaf, err error) {
	say := func(kind, tenant, action string) (*auditlog.Leaf, error) {
		leaf, err := t.leafOfItself(kind, tenant, action) // who did it then is gone
		if err == nil {
			leaf.For = why
			out = append(out, leaf)
		}
		return leaf, err
	}
	for _, tenant := range slices.Sorted(maps.Keys(a.erased)) {
		for part := range slices.Chunk(slices.Sorted(maps.Keys(a.erased[tenant])), auditlog.MaxPersons) {
			leaf, err := say(auditlog.KindErase, tenant, "audit.erase")
			if err != nil {
				return nil, err
			}
			leaf.Persons = part
		}
	}
	for i := range a.others {
		o := &a.others[i]
		leaf, err := say(o.Kind, cmp.Or(o.Tenant, t.config.Tenant), o.Action)
		if err != nil {
			return nil, err
		}
		leaf.Object, leaf.Persons, leaf.Reason = o.Object, o.Persons, o.Reason
	}
	return out, nil
}
