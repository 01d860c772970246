package audit

import (
	"cmp"
	"context"
	"database/sql"
	"iter"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/internal/ids"
)

// Page limits a history.
type Page struct {
	Size   int   // most entries; 0 means 50, the most is 1000
	Before int64 // Cursor of the last entry of the page before; 0 begins at the newest
}

// Entry is one event of a history, with the values that still open.
type Entry struct {
	Leaf    auditlog.Leaf
	Raw     []byte            // exact bytes of the leaf
	Index   int64             // place in the log, -1 while queued
	Cursor  int64             // for Page.Before
	Persons map[string]string // person id by surrogate, where the person was not erased
	Changes []OpenedChange    // by path
}

// OpenedChange is a change with its values.
type OpenedChange struct {
	Path     string // the true name where it opened, otherwise as in the leaf ("*" for all fields of an event of very many)
	Who      string // person id; the surrogate where the person was erased; "" for nobody
	Old, New any    // as in [Change], or a [auditlog.StandIn]; nil unless Verdict is OpeningOK
	Verdict  OpeningVerdict
}

// History yields the events about an object ([Ref], [PersonRef]) or a person
// ([About]), newest first, with their values. It reads the database, not the
// published log: [Trail.VerifyStore] says whether they agree. A person without
// a surrogate (never recorded, or erased) has no history.
func (t *Trail) History(ctx context.Context, tenant string, of Object, page Page) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		rows, err := t.past(ctx, tenant, of, page)
		if err != nil {
			yield(Entry{}, err)
			return
		}
		for _, r := range rows {
			e, err := t.history(ctx, r)
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

type pastRow struct {
	seq   int64
	index sql.NullInt64
	leaf  []byte
}

const pageMost = 1000

func (t *Trail) past(ctx context.Context, tenant string, of Object, page Page) (out []pastRow, err error) {
	if err := t.ready(); err != nil {
		return nil, err
	}
	if err := cmp.Or(ids.Check("tenant", tenant), ids.CheckGiven("the id of the object or person", of.ID)); err != nil {
		return nil, invalid("history: %w", err)
	}
	switch {
	case of.Kind == "" && !of.Person:
		return nil, invalid("history: the object has no kind; About names a person whatever the object")
	case page.Size < 0 || page.Size > pageMost:
		return nil, invalid("history: Page.Size is %d, allowed are 0 (for 50) to %d", page.Size, pageMost)
	case page.Before < 0:
		return nil, invalid("history: Page.Before is below 0; it is the Cursor of an entry")
	}
	if page.Size == 0 {
		page.Size = 50
	}
	if page.Before == 0 {
		page.Before = 1<<63 - 1
	}
	if err := t.checkKind(of); err != nil {
		return nil, err
	}
	id := of.ID // as it stands in the log
	if of.Person {
		found, err := t.one(ctx, t.db, []any{&id}, `SELECT surrogate FROM crmguard_audit_surrogates WHERE tenant = ? AND person = ?`, tenant, of.ID)
		if err != nil || !found {
			return nil, err
		}
	}
	query, args := `SELECT seq, idx, leaf FROM crmguard_audit_events WHERE tenant = ? AND object_kind = ? AND object_id = ? AND seq < ? ORDER BY seq DESC LIMIT ?`,
		[]any{tenant, of.Kind, id, page.Before, page.Size}
	if of.Kind == "" {
		query, args = `SELECT e.seq, e.idx, e.leaf FROM crmguard_audit_persons p JOIN crmguard_audit_events e ON e.id = p.event WHERE p.tenant = ? AND p.surrogate = ? AND e.seq < ? ORDER BY e.seq DESC LIMIT ?`,
			[]any{tenant, id, page.Before, page.Size}
	}
	err = t.query(ctx, t.db, func(rows answer) error {
		var r pastRow
		err := rows.Scan(&r.seq, &r.index, &r.leaf)
		out = append(out, r)
		return err
	}, query, args...)
	return out, err
}

func (t *Trail) history(ctx context.Context, r pastRow) (Entry, error) {
	leaf, err := auditlog.ParseLeaf(r.leaf)
	if err != nil {
		return Entry{}, err
	}
	e := Entry{Leaf: leaf, Raw: r.leaf, Index: -1, Cursor: r.seq, Persons: make(map[string]string)}
	if r.index.Valid {
		e.Index = r.index.Int64
	}
	for _, s := range leaf.Persons {
		var person string
		found, err := t.one(ctx, t.db, []any{&person}, `SELECT person FROM crmguard_audit_surrogates WHERE tenant = ? AND surrogate = ?`, leaf.Tenant, s)
		if err != nil {
			return Entry{}, err
		}
		if found {
			e.Persons[s] = person
		}
	}
	if len(leaf.Changes) == 0 {
		return e, nil
	}
	e.Changes, err = t.changes(ctx, &leaf, e.Index)
	return e, err
}

// changes opens the values of an event.
func (t *Trail) changes(ctx context.Context, leaf *auditlog.Leaf, index int64) ([]OpenedChange, error) {
	sealed, err := t.sealed(ctx, leaf)
	if err != nil {
		return nil, err
	}
	id, err := parseID(leaf.ID)
	if err != nil {
		return nil, err
	}
	by := make(map[string]judged)
	for _, owner := range leaf.Owners() {
		ev := newEvidence()
		if sealed[owner] == nil {
			if ev, err = t.evidence(ctx, leaf.Tenant, owner); err != nil {
				return nil, err
			}
		}
		if by[owner], err = t.judge(ctx, ev, index, leaf, owner, sealed[owner]); err != nil {
			return nil, err
		}
	}
	var out []OpenedChange
	for _, c := range leaf.Changes {
		j := by[c.Owner()]
		o := OpenedChange{Path: c.Path, Who: cmp.Or(j.person, c.Who), Verdict: j.verdict}
		if j.opening == nil {
			out = append(out, o)
			continue
		}
		parts, err := j.opening.Unfold(id, c)
		if err != nil {
			return nil, err
		}
		for _, p := range parts {
			o.Path = p.Path
			if o.Old, err = auditlog.GoValue(p.Before); err != nil {
				return nil, err
			}
			if o.New, err = auditlog.GoValue(p.After); err != nil {
				return nil, err
			}
			out = append(out, o)
		}
	}
	return out, nil
}

// evidence reads what the database's log says about one owner.
func (t *Trail) evidence(ctx context.Context, tenant, owner string) (*evidence, error) {
	ev := newEvidence()
	scan := func(rows answer) error {
		var r pastRow
		if err := rows.Scan(&r.seq, &r.index, &r.leaf); err != nil {
			return err
		}
		leaf, err := auditlog.ParseLeaf(r.leaf)
		if err != nil {
			return err
		}
		if !r.index.Valid {
			r.index.Int64 = -1
		}
		ev.add(r.index.Int64, &leaf)
		return nil
	}
	err := t.query(ctx, t.db, scan, `SELECT e.seq, e.idx, e.leaf FROM crmguard_audit_persons p JOIN crmguard_audit_events e ON e.id = p.event WHERE p.tenant = ? AND p.surrogate = ? AND e.kind = ?`, tenant, owner, auditlog.KindErase)
	if err != nil {
		return nil, err
	}
	return ev, t.query(ctx, t.db, scan, `SELECT seq, idx, leaf FROM crmguard_audit_events WHERE tenant = ? AND object_kind = ? AND kind = ?`, t.config.Tenant, "entries", auditlog.KindRecover)
}
