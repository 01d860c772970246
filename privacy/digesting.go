package privacy

import (
	"context"
	"fmt"
	"strings"

	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// digesting fills an entry with digests of one tenant, all under one root. The
// first error stays.
type digesting struct {
	ctx    context.Context //nolint:containedctx // for the lines of one entry
	d      *Desk
	tenant string
	entry  *erasurelog.Entry
	err    error
}

// about sets tenant, person and aliases.
func (w *digesting) about(person string, aliases []string) {
	w.entry.Tenant = w.digest(erasurelog.KindTenant, []byte(w.tenant))
	w.entry.Person = w.digest(erasurelog.KindPerson, []byte(person))
	for _, alias := range aliases {
		w.entry.Aliases = append(w.entry.Aliases, w.digest(erasurelog.KindPerson, []byte(alias)))
	}
}

// known digests what somebody was known by, for the suppression list.
func (w *digesting) known(kind, value string) string {
	return w.digest(suppressionKind+kind, spelling(value))
}

// digest is under the entry's root, or the newest where it has none yet.
func (w *digesting) digest(kind string, id []byte) string {
	if w.err != nil {
		return ""
	}
	if w.entry.Root == 0 {
		var text string
		w.entry.Root, text, w.err = w.d.cfg.Ledger.Digest(w.ctx, kind, w.tenant, id)
		return text
	}
	keys, err := w.d.cfg.Ledger.Keys(w.ctx, kind, w.tenant, id)
	if err != nil {
		w.err = err
		return ""
	}
	for _, key := range keys {
		if text, ok := strings.CutPrefix(key, fmt.Sprint(w.entry.Root)+"/"); ok {
			return text
		}
	}
	w.err = fmt.Errorf("%w: its root is none of the ledger's any more", erasurelog.ErrForeign)
	return ""
}

// follow is an entry about the plan or hold that an earlier one began.
func follow(s *erasurelog.State, op erasurelog.Op, id string) (*erasurelog.Entry, bool) {
	for _, e := range s.Plan(id) {
		if !e.Ignored && (e.Op == erasurelog.Intent || e.Op == erasurelog.Hold) {
			return &erasurelog.Entry{Op: op, Plan: e.Plan, Person: e.Person, Tenant: e.Tenant, Root: e.Root}, true
		}
	}
	return nil, false
}

// intentOf is the number of a plan's intent.
func intentOf(s *erasurelog.State, id string) (int64, error) {
	for _, e := range s.Plan(id) {
		if !e.Ignored && e.Op == erasurelog.Intent {
			return e.N, nil
		}
	}
	return 0, erasurelog.ErrAbsent
}
