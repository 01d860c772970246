package audit

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/crmguard/crmguard/audit/auditlog"
)

// Entry is one event of an answer, with the values that still open.
type Entry struct {
	Leaf    auditlog.Leaf
	Raw     []byte            // exact bytes of the leaf
	Index   int64             // place in the log, -1 while queued
	At      time.Time         // when it happened, as it is found: the leaf's time, or that of the filing, or of the entry before, where the leaf's is minutes ahead of both or a month behind
	Cursor  string            // for Page.Before
	Persons map[string]string // person id by surrogate, where the person was not erased
	Changes []OpenedChange    // by path
}

// OpenedChange is a change with its values.
type OpenedChange struct {
	Path     string // the true name where it opened, otherwise as in the leaf ("*" for all fields of an event of very many)
	Who      string // person id; the surrogate where the person was erased; "" for nobody
	Old, New any    // as in [Change], or an [auditlog.StandIn]; nil unless Verdict is OpeningOK
	Verdict  OpeningVerdict
}

// entriesOf opens what stands behind the events of a page.
func (t *Trail) entriesOf(ctx context.Context, tenant string, hits []hit, r *reply) ([]Entry, error) {
	defer r.wipe()
	if err := t.peopleOf(ctx, tenant, hits, r.people); err != nil {
		return nil, err
	}
	if r.named != nil {
		r.named(r.people)
	}
	ev, err := t.evidenceOf(ctx, tenant, r.people)
	if err != nil {
		return nil, err
	}
	out := make([]Entry, 0, len(hits))
	for i := range hits {
		h := &hits[i]
		e := Entry{Leaf: h.leaf, Raw: h.raw, Index: h.index, Cursor: h.String(), Persons: r.persons(&h.leaf)}
		e.At = time.UnixMicro(h.found).UTC()
		sealed := r.sealed[h.index]
		if h.index < 0 {
			sealed = make(map[string][]byte)
			for _, f := range h.frames {
				sealed[ownerText(f.Owner)] = f.Body
			}
		}
		if e.Changes, err = t.changes(ctx, h, r.people, sealed, ev); err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

// persons are the people whom a leaf names and who are known, by surrogate.
func (r *reply) persons(l *auditlog.Leaf) map[string]string {
	out := make(map[string]string, len(l.Persons))
	for _, text := range l.Persons {
		s, err := surrogateBytes(text)
		if p := r.people[s]; err == nil && p != nil && p.person != nil {
			out[text] = *p.person
		}
	}
	return out
}

// wipe overwrites the content keys that were opened.
func (r *reply) wipe() {
	for _, p := range r.people {
		p.wipe()
	}
}

// peopleOf reads the rows of surrogates that the statement of the page did not
// bring along: of events that no index names yet.
func (t *Trail) peopleOf(ctx context.Context, tenant string, hits []hit, people map[[16]byte]*personRow) error {
	var missing [][16]byte
	for i := range hits {
		if h := &hits[i]; h.waits || h.late {
			persons, err := surrogatesOf(h.leaf.Persons)
			if err != nil {
				return err
			}
			for _, p := range append(persons, [16]byte{}) { // and nobody
				if people[p] == nil && !slices.Contains(missing, p) {
					missing = append(missing, p)
				}
			}
		}
	}
	for part := range slices.Chunk(missing, rowsAStatement) {
		if err := t.surrogatesNamed(ctx, t.db, tenant, part, people); err != nil {
			return err
		}
	}
	for _, p := range people {
		p.keep = true
	}
	return nil
}

// evidenceOf is what the database says about openings that are gone. That somebody
// was erased, and whose a surrogate is, the tag of the surrogate's row vouches for
// here, or its head; VerifyStore looks for the event.
func (t *Trail) evidenceOf(ctx context.Context, tenant string, people map[[16]byte]*personRow) (*evidence, error) {
	ev := newEvidence()
	var keys []macKey
	defer func() { wipe(keys) }()
	for s, p := range people {
		if p.person == nil && p.state != surrogateErased && p.state != surrogateErasing {
			continue
		}
		if keys == nil {
			var err error
			if keys, err = t.macKeys(ctx, tenant, surrogateKeyLabel); err != nil {
				return nil, err
			}
		}
		right := p.check(keys) == tagRight
		switch {
		case p.state == surrogateErased || p.state == surrogateErasing:
			if p.person = nil; right {
				ev.erased[[2]string{tenant, ownerText(s)}] = 0
			}
		case p.state != surrogateLive:
			p.person = nil
		case !right: // it names somebody, and may name somebody else
			theirs, err := t.opens(ctx, p, *p.person)
			if err != nil {
				return nil, err
			}
			if !theirs {
				p.person = nil
			}
		}
	}
	return ev, nil
}

// recoveries adds which entries were read back after a restore, and whose openings
// went with retention: it is asked where an opening is gone that nothing else explains.
func (t *Trail) recoveries(ctx context.Context, ev *evidence, tenant string) error {
	return t.query(ctx, t.db, func(rows answer) error {
		var index int64
		var raw []byte
		if err := rows.Scan(&index, &raw); err != nil {
			return err
		}
		leaf, err := auditlog.ParseLeaf(raw)
		if err == nil && (leaf.Kind == auditlog.KindRecover || leaf.Kind == auditlog.KindPrune) {
			ev.add(index, &leaf)
		}
		return err
	}, `SELECT e.idx, `+upTo(auditlog.MaxLeaf, "e.leaf")+` FROM crmguard_audit_found f CROSS JOIN crmguard_audit_entries e WHERE e.idx = f.idx AND f.action_k IN (?, ?)`, findKey("action", t.config.Tenant, "audit.recover"), findKey("action", tenant, pruneOpeningsAction))
}

// judgeAll says what became of the openings of an event, by owner.
func (t *Trail) judgeAll(ctx context.Context, h *hit, people map[[16]byte]*personRow, sealed map[string][]byte, ev *evidence) (map[string]judged, error) {
	by := make(map[string]judged)
	for _, owner := range h.leaf.Owners() {
		s, err := ownerBytes(owner)
		if err != nil {
			return nil, err
		}
		j, err := t.judge(ctx, ev, h.index, &h.leaf, owner, sealed[owner], people[s])
		if err == nil && j.verdict == OpeningMissing && !ev.recovered {
			ev.recovered = true
			if err = t.recoveries(ctx, ev, h.leaf.Tenant); err == nil {
				j, err = t.judge(ctx, ev, h.index, &h.leaf, owner, sealed[owner], people[s])
			}
		}
		if err != nil {
			return nil, err
		}
		by[owner] = j
	}
	return by, nil
}

// changes opens the values of an event.
func (t *Trail) changes(ctx context.Context, r *hit, people map[[16]byte]*personRow, sealed map[string][]byte, ev *evidence) ([]OpenedChange, error) {
	if len(r.leaf.Changes) == 0 {
		return nil, nil
	}
	id, err := auditlog.ParseID(r.leaf.ID)
	if err != nil {
		return nil, err
	}
	by, err := t.judgeAll(ctx, r, people, sealed, ev)
	if err != nil {
		return nil, err
	}
	var out []OpenedChange
	for _, c := range r.leaf.Changes {
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
