package audit

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/internal/ids"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// pruneOpeningsAction is the action of the entry that tells of openings that go with
// retention: its reason is the class of actions, its tenant whose events they are of.
const pruneOpeningsAction = "audit.prune.openings"

// openingRule is what such an entry says.
type openingRule struct {
	tenant string
	class  class
	to     int64 // entries before this one
}

// ruleOf reads it from an entry.
func ruleOf(index int64, leaf *auditlog.Leaf) (r openingRule, ok bool) {
	what, to, ok := leaf.Pruned()
	if !ok || what != auditlog.PruneOpenings || to > index {
		return r, false
	}
	name, prefix := strings.CutSuffix(leaf.Reason, "*")
	return openingRule{leaf.Tenant, class{name: name, prefix: prefix}, to}, name != ""
}

// covers says whether the openings of an entry are to go.
func (r *openingRule) covers(index int64, leaf *auditlog.Leaf) bool {
	return index >= 0 && index < r.to && leaf.Tenant == r.tenant &&
		(leaf.Action == r.class.name || r.class.prefix && strings.HasPrefix(leaf.Action, r.class.name))
}

// PruneOpenings drops what is sealed about the events of a tenant, of one class of
// actions: an action, or the beginning of some, "contact." or "page.view*". What they
// were about, who acted and when stays, and so do the commitments: the verdict on
// each value is [OpeningPruned]. Personal values can go so years before their events.
//
// It takes events that were under a signed checkpoint before a moment, told and
// limited as for [Trail.Prune]: by the tags of signed heads, at least Config.RetryFor
// ago. The log tells of it first, in an entry of kind prune. A tenant with a hold keeps
// all (PruneReport.Held). Where a checkpoint is kept (Config.Kept), nothing goes that it
// does not cover. Where it is stopped the next call goes on; CatchUp does it again to a
// backup, unless the tenant has a hold since: then VerifyStore says incomplete until it
// is called when that ended. Config.Mirror is rewritten; a process without it leaves
// that to the rounds of those which have it. Pruned in the report is the first entry
// that keeps its openings, Rows how many openings were deleted.
func (t *Trail) PruneOpenings(ctx context.Context, tenant, actions string, before time.Time) (r PruneReport, err error) {
	if err := t.ready(); err != nil {
		return r, err
	}
	if err := t.pruneOpenings(ctx, tenant, actions, before, &r); err != nil {
		return r, fmt.Errorf("audit: prune openings: %w", err)
	}
	return r, nil
}

func (t *Trail) pruneOpenings(ctx context.Context, tenant, actions string, before time.Time, r *PruneReport) error {
	if err := ids.Check("tenant", tenant); err != nil {
		return invalid("prune openings: %w", err)
	}
	of, err := newClasses(map[string]Failure{actions: FailOpen})
	if err == nil {
		err = t.longAgo(before)
	}
	if err != nil {
		return err
	}
	if r.Held, err = t.held(ctx, tenant, make(map[string]bool)); err != nil || r.Held != "" {
		return err
	}
	kept, _, err := t.kept(ctx)
	if err != nil {
		return err
	}
	old, err := t.signedBefore(ctx, before)
	if err == nil {
		err = t.passed(ctx)
	}
	if err != nil {
		return err
	}
	v, err := t.look(ctx, t.config.Kept != nil)
	if err != nil {
		return err
	}
	rule := openingRule{tenant: tenant, class: of[0]}
	told, err := t.toldOpenings(ctx, v.state, tenant)
	if err != nil {
		return err
	}
	for _, one := range told {
		if one.class.name == rule.class.name && one.class.prefix == rule.class.prefix {
			rule.to = max(rule.to, one.to)
		}
	}
	known := rule.to
	if err := t.clockAgrees(old, max(known, v.state.pruned)); err != nil {
		return err
	}
	goal := min(old.size, v.head.N)
	if t.config.Kept != nil {
		goal = min(goal, kept.N)
	}
	if rule.to = max(known, goal); rule.to > known {
		leaf, err := t.ownLeaf(ctx, auditlog.KindPrune, tenant, pruneOpeningsAction)
		if err != nil {
			return err
		}
		leaf.Object, leaf.Reason = auditlog.PruneObject(auditlog.PruneOpenings, rule.to), rule.class.name
		if rule.class.prefix {
			leaf.Reason += "*"
		}
		if err := t.tellAll(ctx, []*auditlog.Leaf{leaf}); err != nil {
			return err
		}
	}
	r.Pruned, r.New = rule.to, rule.to-known
	r.Rows, err = t.dropRuled(ctx, []openingRule{rule})
	return err
}

// toldOpenings are the rules of a tenant that the log has, as the tree proves them.
func (t *Trail) toldOpenings(ctx context.Context, s state, tenant string) (out []openingRule, err error) {
	rows, err := t.ownEntries(ctx, tenant, pruneOpeningsAction, s.N)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	reader := t.rows(t.db).Reader(ctx, s.Tree)
	for i := range rows {
		leaf, err := t.provenLeaf(reader, &rows[i])
		if err != nil {
			return nil, err
		}
		if rule, ok := ruleOf(rows[i].idx, leaf); ok {
			out = append(out, rule)
		}
	}
	return out, nil
}

// dropRuled deletes the openings that rules cover, few at a time, and has the mirror
// say what is left.
func (t *Trail) dropRuled(ctx context.Context, rules []openingRule) (gone int64, err error) {
	var to int64
	for i := range rules {
		to = max(to, rules[i].to)
	}
	s, err := t.state(ctx, t.db)
	if err != nil || to <= s.pruned {
		return 0, err
	}
	for from := s.pruned; from < to; {
		rows, next, err := t.sealedRows(ctx, from, to)
		if err != nil {
			return gone, err
		}
		from = next
		n, err := t.dropRuledPage(ctx, rows, rules)
		if gone += n; err != nil {
			return gone, err
		}
	}
	if t.config.Mirror == nil {
		return gone, nil
	}
	return gone, t.withMirror(ctx, copyCall, func(sink Sink) error {
		for n := s.pruned / mirrorBlock; n*mirrorBlock < min(to, s.mirrored); n++ {
			ruled, err := t.ruled(ctx, rules, n*mirrorBlock, mirrorBlock)
			if err == nil {
				err = t.mirrorOpenings(ctx, sink, n, blockWork{gone: func(l *mirrorLine) bool { return ruled[l.idx] }})
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// ruled are those of the next entries whose openings rules cover.
func (t *Trail) ruled(ctx context.Context, rules []openingRule, from, number int64) (map[int64]bool, error) {
	out := make(map[int64]bool)
	for to := from + number; ; {
		rows, err := t.entryRows(ctx, t.db, from, to, int(number))
		if err != nil || len(rows) == 0 {
			return out, err
		}
		from = rows[len(rows)-1].idx + 1
		for i := range rows {
			leaf, err := auditlog.ParseLeaf(rows[i].leaf)
			if err == nil && slices.ContainsFunc(rules, func(r openingRule) bool { return r.covers(rows[i].idx, &leaf) }) {
				out[rows[i].idx] = true
			}
		}
	}
}

// sealedRows are the next entries about which something is sealed.
func (t *Trail) sealedRows(ctx context.Context, from, to int64) (rows []entryRow, next int64, err error) {
	limit := t.pruning.rows()
	err = t.query(ctx, t.db, func(found answer) error {
		var e entryRow
		err := found.Scan(&e.idx, &e.id, &e.leaf)
		rows = append(rows, e)
		return err
	}, `SELECT e.idx, `+upTo(mostID, "e.id")+`, `+upTo(auditlog.MaxLeaf, "e.leaf")+` FROM crmguard_audit_entries e WHERE e.idx >= ? AND e.idx < ? AND EXISTS (SELECT 1 FROM crmguard_audit_openings o WHERE o.idx = e.idx) ORDER BY e.idx LIMIT ?`, from, to, limit)
	if next = to; len(rows) == limit {
		next = rows[limit-1].idx + 1
	}
	return rows, next, err
}

func (t *Trail) dropRuledPage(ctx context.Context, rows []entryRow, rules []openingRule) (gone int64, err error) {
	var idx, ids []any
	for i := range rows {
		leaf, err := auditlog.ParseLeaf(rows[i].leaf)
		if err == nil && slices.ContainsFunc(rules, func(r openingRule) bool { return r.covers(rows[i].idx, &leaf) }) {
			idx, ids = append(idx, rows[i].idx), append(ids, rows[i].id)
		}
	}
	if len(idx) == 0 {
		return 0, nil
	}
	began := time.Now() // of the lock
	err = t.within(ctx, func(tx HandoverTx) error {
		began, gone = time.Now(), 0
		for at := 0; at < len(idx); at += rowsAStatement {
			end := min(at+rowsAStatement, len(idx))
			marks := sqldb.Marks(end - at)
			if _, err := t.exec(ctx, tx, `UPDATE crmguard_audit_events SET retry = `+t.noRetry()+` WHERE id IN (`+marks+`) AND idx >= 0 AND LENGTH(retry) > 0`, ids[at:end]...); err != nil {
				return err
			}
			n, err := t.exec(ctx, tx, `DELETE FROM crmguard_audit_openings WHERE idx IN (`+marks+`)`, idx[at:end]...)
			if err != nil {
				return err
			}
			gone += n
		}
		return nil
	})
	t.pruning.took(len(rows), time.Since(began))
	return gone, err
}

// ruled says whether the log tells that what is sealed about an entry goes.
func (ev *evidence) ruled(index int64, leaf *auditlog.Leaf) bool {
	return slices.ContainsFunc(ev.rules[leaf.Tenant], func(r openingRule) bool { return r.covers(index, leaf) })
}

// ownEntries are the entries of an action of the trail's own, oldest first, as far as
// they are found.
func (t *Trail) ownEntries(ctx context.Context, tenant, action string, below int64) (rows []entryRow, err error) {
	err = t.query(ctx, t.db, func(found answer) error {
		var e entryRow
		err := found.Scan(&e.idx, &e.leaf)
		rows = append(rows, e)
		return err
	}, `SELECT e.idx, `+upTo(auditlog.MaxLeaf, "e.leaf")+` FROM crmguard_audit_found f CROSS JOIN crmguard_audit_entries e WHERE e.idx = f.idx AND f.action_k = ? AND e.idx < ?`,
		findKey("action", tenant, action), below)
	slices.SortFunc(rows, func(a, b entryRow) int { return cmp.Compare(a.idx, b.idx) })
	return rows, err
}
