package audit

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"strconv"
	"strings"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/internal/ids"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// Page limits a history.
type Page struct {
	Size   int    // most entries; 0 means 50, the most is 1000
	Before string // Cursor of the last entry of the page before; "" begins at the newest
}

// Entry is one event of a history, with the values that still open.
type Entry struct {
	Leaf    auditlog.Leaf
	Raw     []byte            // exact bytes of the leaf
	Index   int64             // place in the log, -1 while queued
	Cursor  string            // for Page.Before
	Persons map[string]string // person id by surrogate, where the person was not erased
	Changes []OpenedChange    // by path
}

// OpenedChange is a change with its values.
type OpenedChange struct {
	Path     string // the true name where it opened, otherwise as in the leaf ("*" for all fields of an event of very many)
	Who      string // person id; the surrogate where the person was erased; "" for nobody
	Old, New any    // as in [Change], or a [StandIn]; nil unless Verdict is OpeningOK
	Verdict  OpeningVerdict
}

// History yields the events about an object ([Ref], [PersonRef]) or a person
// ([About]), with their values: those that wait first, the newest thousand of
// them, and then by the time at which they happened, newest first. It reads the
// database, not the published log: [Trail.VerifyStore] says whether they agree. A
// person without a surrogate (never recorded, or erased) has no history. An event
// that was shown while it waited is shown again on a later page where it was filed
// in between.
func (t *Trail) History(ctx context.Context, tenant string, of Object, page Page) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		entries, err := t.past(ctx, tenant, of, page)
		if err != nil {
			yield(Entry{}, err)
			return
		}
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
	}
}

const (
	pageMost    = 1000
	pendingMost = 1000 // waiting rows that a question looks at
	unfoundMost = 4096 // entries that a question looks at without an index
)

// cursor is a place in a history: a row that waits, or an entry by its time.
type cursor struct {
	pending bool
	at, n   int64 // the time, and the number of the row or the index of the entry
}

func (c cursor) String() string {
	if c.pending {
		return "w" + strconv.FormatInt(c.n, 10)
	}
	return strconv.FormatInt(c.at, 10) + "." + strconv.FormatInt(c.n, 10)
}

// parseCursor reads one; nothing is before all.
func parseCursor(s string) (cursor, error) {
	const last = 1<<63 - 1
	if s == "" {
		return cursor{true, 0, last}, nil
	}
	if n, ok := strings.CutPrefix(s, "w"); ok {
		seq, err := strconv.ParseInt(n, 10, 64)
		if err == nil && seq > 0 {
			return cursor{true, 0, seq}, nil
		}
	}
	a, b, _ := strings.Cut(s, ".")
	at, err1 := strconv.ParseInt(a, 10, 64)
	n, err2 := strconv.ParseInt(b, 10, 64)
	if err1 != nil || err2 != nil || n < 0 {
		return cursor{}, invalid("history: Page.Before is no Cursor of an entry")
	}
	return cursor{false, at, n}, nil
}

// question is what a history is about.
type question struct {
	tenant  string
	object  auditlog.Object // as it stands in the log
	persons [][16]byte      // or these, whatever the object
}

// matches compares with the leaf itself: what the index knows are 64 bits.
func (q *question) matches(l *auditlog.Leaf) bool {
	if l.Tenant != q.tenant {
		return false
	}
	if q.persons == nil {
		return l.Object.Kind == q.object.Kind && l.Object.ID == q.object.ID
	}
	return slices.ContainsFunc(q.persons, func(p [16]byte) bool { return slices.Contains(l.Persons, surrogateText(p)) })
}

// pastRow is an event that a question found.
type pastRow struct {
	cursor
	index  int64
	raw    []byte
	leaf   auditlog.Leaf
	frames []auditlog.Frame // of one that waits
}

func (t *Trail) past(ctx context.Context, tenant string, of Object, page Page) ([]Entry, error) {
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
	}
	before, err := parseCursor(page.Before)
	if err != nil {
		return nil, err
	}
	if err := t.checkKind(of); err != nil {
		return nil, err
	}
	size := cmp.Or(page.Size, 50)
	q, err := t.meant(ctx, tenant, of)
	if err != nil || q == nil {
		return nil, err
	}
	var rows []pastRow
	if before.pending {
		if rows, err = t.pastWaiting(ctx, q, before.n, size); err != nil {
			return nil, err
		}
		before = cursor{false, 1<<63 - 1, 1<<63 - 1}
	}
	if len(rows) < size {
		filed, err := t.pastFiled(ctx, q, before, size-len(rows))
		if err != nil {
			return nil, err
		}
		filed = slices.DeleteFunc(filed, func(f pastRow) bool { // filed while this looked
			return slices.ContainsFunc(rows, func(r pastRow) bool { return r.leaf.ID == f.leaf.ID })
		})
		rows = append(rows, filed...)
	}
	return t.entriesOf(ctx, tenant, rows)
}

// meant turns what a user names into what the log says; nil where nobody is meant.
func (t *Trail) meant(ctx context.Context, tenant string, of Object) (*question, error) {
	q := &question{tenant: tenant, object: auditlog.Object{Kind: of.Kind, ID: of.ID}}
	if !of.Person {
		return q, nil
	}
	surrogates, err := t.surrogatesFor(ctx, t.db, tenant, of.ID)
	if err == nil && len(surrogates) == 0 {
		if _, err = t.reclaim(ctx, tenant, of.ID); err == nil {
			surrogates, err = t.surrogatesFor(ctx, t.db, tenant, of.ID)
		}
	}
	if err != nil || len(surrogates) == 0 {
		return nil, err
	}
	if of.Kind != "" {
		q.object.ID = surrogateText(surrogates[0].surrogate)
		return q, nil
	}
	for _, s := range surrogates {
		q.persons = append(q.persons, s.surrogate)
	}
	return q, nil
}

// pastWaiting are the events of a question that wait, newest first.
func (t *Trail) pastWaiting(ctx context.Context, q *question, before int64, size int) (out []pastRow, err error) {
	var rows []waiting
	size0 := 0
	err = t.query(ctx, t.db, func(found answer) error {
		var w waiting
		err := found.Scan(&w.seq, &w.id, &w.body)
		if rows, size0 = append(rows, w), size0+len(w.body); err == nil && size0 > queueBytes {
			err = errEnough
		}
		return err
	}, `SELECT seq, id, body FROM crmguard_audit_events WHERE idx IS NULL AND seq < ? AND seq > `+t.drainedNow()+` ORDER BY seq DESC LIMIT ?`, before, pendingMost)
	if err = enough(err); err != nil {
		return nil, err
	}
	keys := newPassKeys()
	defer keys.wipe()
	good, _, err := t.verify(ctx, rows, keys)
	for i := range good {
		if c := &good[i]; len(out) < size && q.matches(&c.leaf) {
			out = append(out, pastRow{cursor{true, 0, c.seq}, -1, c.raw, c.leaf, c.frames})
		}
	}
	return out, err
}

// drainedNow is up to where nothing waits, for a statement.
func (t *Trail) drainedNow() string {
	if t.db.Kind == sqldb.SQLite {
		return `(SELECT drained FROM crmguard_audit_state WHERE id = 1)`
	}
	return "0"
}

// pastFiled are the entries of a question before a place, newest first.
func (t *Trail) pastFiled(ctx context.Context, q *question, before cursor, size int) (out []pastRow, err error) {
	late, err := t.pastUnfound(ctx, q, before)
	if err != nil {
		return nil, err
	}
	for from := before; len(out) < size; {
		page, err := t.pastFound(ctx, q, from, size)
		if err != nil {
			return nil, err
		}
		for _, r := range page {
			if r.leaf, err = auditlog.ParseLeaf(r.raw); err != nil {
				return nil, err
			}
			if from = r.cursor; q.matches(&r.leaf) {
				out = append(out, r)
			}
		}
		if len(page) < size {
			break
		}
	}
	out = append(out, late...)
	slices.SortFunc(out, func(a, b pastRow) int { return cmp.Or(cmp.Compare(b.at, a.at), cmp.Compare(b.n, a.n)) })
	out = slices.CompactFunc(out, func(a, b pastRow) bool { return a.index == b.index }) // one filed in between
	return out[:min(len(out), size)], nil
}

// pastFound asks the index.
func (t *Trail) pastFound(ctx context.Context, q *question, before cursor, size int) (out []pastRow, err error) {
	table, column := "crmguard_audit_found", "object_k = ?"
	args := []any{findKey("object", q.tenant, findObject(q.object.Kind, q.object.ID))}
	if q.persons != nil {
		table, column, args = "crmguard_audit_persons", "k IN ("+sqldb.Marks(len(q.persons))+")", nil
		for _, p := range q.persons {
			args = append(args, surrogateK(p))
		}
	}
	args = append(args, before.at, before.at, before.n, size)
	return out, t.query(ctx, t.db, func(rows answer) error {
		var r pastRow
		err := rows.Scan(&r.n, &r.at, &r.raw)
		r.index = r.n
		out = append(out, r)
		return err
	}, `SELECT f.idx, f.at, e.leaf FROM (SELECT idx, at FROM `+table+` WHERE `+column+` AND at <= ? AND (at < ? OR idx < ?) ORDER BY at DESC, idx DESC LIMIT ?) f CROSS JOIN crmguard_audit_entries e WHERE e.idx = f.idx ORDER BY f.at DESC, f.idx DESC`, args...)
}

// pastUnfound looks at the entries that are not in the index yet.
func (t *Trail) pastUnfound(ctx context.Context, q *question, before cursor) (out []pastRow, err error) {
	return out, t.query(ctx, t.db, func(rows answer) error {
		var r pastRow
		if err := rows.Scan(&r.n, &r.at, &r.raw); err != nil {
			return err
		}
		r.index = r.n
		if r.at > before.at || r.at == before.at && r.n >= before.n {
			return nil
		}
		if r.leaf, err = auditlog.ParseLeaf(r.raw); err == nil && q.matches(&r.leaf) {
			out = append(out, r)
		}
		return err
	}, `SELECT idx, at, leaf FROM crmguard_audit_entries WHERE idx >= (SELECT found FROM crmguard_audit_state WHERE id = 1) ORDER BY idx DESC LIMIT ?`, unfoundMost)
}

// entriesOf opens what stands behind the rows of a page, in few questions for all.
func (t *Trail) entriesOf(ctx context.Context, tenant string, rows []pastRow) ([]Entry, error) {
	names := make(map[[16]byte]bool)
	var idx []any
	nobody := false
	for i := range rows {
		l := &rows[i].leaf
		persons, err := surrogatesOf(l.Persons)
		if err != nil {
			return nil, err
		}
		for _, p := range persons {
			names[p] = true
		}
		if len(l.Changes) > 0 {
			nobody = true
			if rows[i].index >= 0 {
				idx = append(idx, rows[i].index)
			}
		}
	}
	if nobody {
		names[[16]byte{}] = true
	}
	all := make([][16]byte, 0, len(names))
	for n := range names {
		all = append(all, n)
	}
	people := make(map[[16]byte]*personRow)
	for part := range slices.Chunk(all, rowsAStatement) {
		if err := t.surrogatesNamed(ctx, t.db, tenant, part, people); err != nil {
			return nil, err
		}
	}
	sealed, err := t.sealedIn(ctx, idx)
	if err != nil {
		return nil, err
	}
	ev, err := t.evidenceOf(ctx, tenant, people)
	if err != nil {
		return nil, err
	}
	out := make([]Entry, 0, len(rows))
	for i := range rows {
		e, err := t.entryOf(ctx, &rows[i], people, sealed[rows[i].index], ev)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

// sealedIn reads the openings of entries, by index and owner.
func (t *Trail) sealedIn(ctx context.Context, idx []any) (map[int64]map[string][]byte, error) {
	out := make(map[int64]map[string][]byte)
	for part := range slices.Chunk(idx, rowsAStatement) {
		err := t.query(ctx, t.db, func(rows answer) error {
			var index int64
			var owner, sealed []byte
			if err := rows.Scan(&index, &owner, &sealed); err != nil {
				return err
			}
			if out[index] == nil {
				out[index] = make(map[string][]byte)
			}
			out[index][ownerOfRow(owner)] = sealed
			return nil
		}, `SELECT idx, owner, sealed FROM crmguard_audit_openings WHERE idx IN (`+sqldb.Marks(len(part))+`)`, part...)
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// evidenceOf is what the database's log says about openings that are gone. That
// somebody was erased the tag of the surrogate's row vouches for here; VerifyStore
// looks for the event.
func (t *Trail) evidenceOf(ctx context.Context, tenant string, people map[[16]byte]*personRow) (*evidence, error) {
	ev := newEvidence()
	keys, err := t.macKeys(ctx, tenant, surrogateKeyLabel)
	if err != nil {
		return nil, err
	}
	defer wipe(keys)
	for s, p := range people {
		if (p.state == surrogateErased || p.state == surrogateErasing) && p.check(keys) == tagRight {
			ev.erased[[2]string{tenant, ownerText(s)}] = 0
		}
	}
	return ev, t.query(ctx, t.db, func(rows answer) error {
		var index int64
		var raw []byte
		if err := rows.Scan(&index, &raw); err != nil {
			return err
		}
		leaf, err := auditlog.ParseLeaf(raw)
		if err == nil && leaf.Kind == auditlog.KindRecover {
			ev.add(index, &leaf)
		}
		return err
	}, `SELECT e.idx, e.leaf FROM crmguard_audit_found f CROSS JOIN crmguard_audit_entries e WHERE e.idx = f.idx AND f.action_k = ?`, findKey("action", t.config.Tenant, "audit.recover"))
}

func (t *Trail) entryOf(ctx context.Context, r *pastRow, people map[[16]byte]*personRow, sealed map[string][]byte, ev *evidence) (Entry, error) {
	e := Entry{Leaf: r.leaf, Raw: r.raw, Index: r.index, Cursor: r.cursor.String(), Persons: make(map[string]string)}
	for _, text := range r.leaf.Persons {
		s, err := surrogateBytes(text)
		if err != nil {
			return Entry{}, err
		}
		if p := people[s]; p != nil && p.person != nil {
			e.Persons[text] = *p.person
		}
	}
	if r.index < 0 {
		sealed = make(map[string][]byte)
		for _, f := range r.frames {
			sealed[ownerText(f.Owner)] = f.Body
		}
	}
	var err error
	e.Changes, err = t.changes(ctx, r, people, sealed, ev)
	return e, err
}

// changes opens the values of an event.
func (t *Trail) changes(ctx context.Context, r *pastRow, people map[[16]byte]*personRow, sealed map[string][]byte, ev *evidence) ([]OpenedChange, error) {
	if len(r.leaf.Changes) == 0 {
		return nil, nil
	}
	id, err := auditlog.ParseID(r.leaf.ID)
	if err != nil {
		return nil, err
	}
	by := make(map[string]judged)
	for _, owner := range r.leaf.Owners() {
		s, err := ownerBytes(owner)
		if err != nil {
			return nil, err
		}
		if by[owner], err = t.judge(ctx, ev, r.index, &r.leaf, owner, sealed[owner], people[s]); err != nil {
			return nil, err
		}
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
