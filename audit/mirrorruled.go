package audit

import (
	"context"
	"errors"
	"slices"

	"github.com/crmguard/crmguard/audit/auditlog"
)

// ruledOf says which records of file n of the mirror the log tells to go, of those that the
// database does not have: as the tree proves both the entry and the rule, because
// whoever may write the tables is not to have the mirror forget anything. What has a
// hold (Config.Hold) stays, and so does what nobody can tell.
func (t *Trail) ruledOf(ctx context.Context, s state, n int64, lines []mirrorLine) (map[int64]bool, error) {
	out, want := make(map[int64]bool), make(map[int64]bool, len(lines))
	for i := range lines {
		want[lines[i].idx] = true
	}
	reader := t.rows(t.db).Reader(ctx, s.Tree)
	rules, free := make(map[string][]openingRule), make(map[string]bool)
	for from, to := n*mirrorBlock, min((n+1)*mirrorBlock, s.N); ; {
		rows, err := t.entryRows(ctx, t.db, from, to, mirrorBlock)
		if err != nil || len(rows) == 0 {
			return out, err
		}
		from = rows[len(rows)-1].idx + 1
		for i := range rows {
			if !want[rows[i].idx] {
				continue
			}
			leaf, err := t.provenLeaf(reader, &rows[i])
			if err != nil {
				continue // changed: VerifyStore says so
			}
			of, asked := rules[leaf.Tenant]
			if !asked {
				if of, err = t.rulesFree(ctx, s, leaf.Tenant, free); err != nil {
					return nil, err
				}
				rules[leaf.Tenant] = of
			}
			out[rows[i].idx] = slices.ContainsFunc(of, func(r openingRule) bool { return r.covers(rows[i].idx, leaf) })
		}
	}
}

// rulesFree are the rules of a tenant, none where it has a hold or somebody has changed
// one of them.
func (t *Trail) rulesFree(ctx context.Context, s state, tenant string, free map[string]bool) ([]openingRule, error) {
	of, err := t.toldOpenings(ctx, s, tenant)
	if errors.Is(err, auditlog.ErrTampered) {
		return nil, nil // VerifyStore says so
	}
	if err != nil || len(of) == 0 {
		return nil, err
	}
	held, err := t.mayBeHeld(ctx, tenant, free)
	if held {
		of = nil
	}
	return of, err
}
