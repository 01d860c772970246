package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/crmguard/crmguard/audit/auditlog"
)

// hit is an event that a question found.
type hit struct {
	place
	index  int64 // -1 while it waits
	found  int64 // the time by which it is found
	late   bool  // an entry that no index names yet
	raw    []byte
	leaf   auditlog.Leaf
	frames []auditlog.Frame // of one that waits
}

// reply is what the statement of a page answered.
type reply struct {
	size, found, pruned int64 // of the log
	page, tail          []hit
	waiting             []waiting
	waits, damaged      int64
	unread              int64                       // waiting rows that another process may read
	sealed              map[int64]map[string][]byte // by index and owner
	people              map[[16]byte]*personRow
	named               func(people map[[16]byte]*personRow) // of those whom the question has found out, may be nil
}

// find makes a page. One that is too much for the memory is tried with fewer
// entries.
func (t *Trail) find(ctx context.Context, q *question, from place, size int) (Found, error) {
	most := limits{size + 1, pendingMost, unfoundMost}
	for {
		r, err := t.fetch(ctx, q, &from, most)
		if errors.Is(err, errEnough) && most != (limits{2, 1, 1}) {
			most = limits{max(most.page/4, 2), max(most.waiting/4, 1), max(most.tail/4, 1)}
			continue
		}
		if err != nil {
			return Found{}, err
		}
		return t.pageOf(ctx, q, &from, r, min(size, most.page-1), most)
	}
}

// fetch executes the statement of a page.
func (t *Trail) fetch(ctx context.Context, q *question, from *place, most limits) (*reply, error) {
	r := &reply{sealed: make(map[int64]map[string][]byte), people: make(map[[16]byte]*personRow)}
	s := t.pageText(q, from, most)
	total, smallest := 0, most == limits{2, 1, 1}
	err := t.query(ctx, t.db, func(rows answer) error {
		size, err := r.take(rows, q.Tenant)
		if total += size; err == nil && total > pageBytes && !smallest {
			err = errEnough
		}
		return err
	}, s.text.String(), s.args...)
	return r, err
}

// take reads one row of the answer.
func (r *reply) take(rows answer, tenant string) (size int, err error) {
	var part, a, b, c int64
	var d, e, f, g []byte
	var text *string
	if err := rows.Scan(&part, &a, &b, &c, &d, &e, &f, &g, &text); err != nil {
		return 0, err
	}
	switch part {
	case partState:
		r.size, r.found, r.pruned = a, b, c
	case partEntry:
		r.page = append(r.page, hit{place: place{at: b, n: a}, index: a, found: b, raw: d})
	case partTail:
		r.tail = append(r.tail, hit{place: place{at: b, n: a}, index: a, found: b, late: true, raw: d})
	case partOpening:
		if r.sealed[a] == nil {
			r.sealed[a] = make(map[string][]byte)
		}
		r.sealed[a][ownerOfRow(e)] = d
	case partPerson:
		p := personRow{n: a, k: b, head: e, keep: true}
		p.tenant, p.person, p.tag, p.into, p.short = tenant, text, f, g, len(d) != len(p.surrogate)
		p.fill(d, c)
		r.people[p.surrogate] = &p
	case partWaiting:
		r.waiting = append(r.waiting, waiting{seq: a, body: d, id: e})
	case partWaitings:
		r.waits = a
	}
	return len(d) + len(e) + len(f) + len(g), nil
}

// pageOf chooses what stands on a page.
func (t *Trail) pageOf(ctx context.Context, q *question, from *place, r *reply, size int, most limits) (out Found, err error) {
	end := from.end
	if from.first {
		end = r.size
	}
	hits, next, err := t.chosen(ctx, q, from, r, size, most, end)
	if err != nil {
		return out, err
	}
	looked := from.rows
	if looked == (seqs{}) && len(r.waiting) > 0 {
		bySeq := func(a, b waiting) int { return cmp.Compare(a.seq, b.seq) }
		looked = seqs{slices.MinFunc(r.waiting, bySeq).seq, slices.MaxFunc(r.waiting, bySeq).seq}
	}
	for i := range hits {
		hits[i].end, hits[i].rows = end, looked
	}
	if next != nil {
		next.end, next.rows = end, looked
		out.Next = next.String()
	}
	if from.first {
		out.Pending = max(0, r.waits-int64(len(r.waiting))) + r.unread
	}
	out.Behind, out.Damaged, out.Pruned = r.behind(from, most, end), r.damaged, r.pruned
	r.named = q.name
	out.Entries, err = t.entriesOf(ctx, q.Tenant, hits, r)
	return out, err
}

// behind counts the entries that nobody looked at.
func (r *reply) behind(from *place, most limits, end int64) int64 {
	n := max(0, min(r.size, end)-max(r.found, r.pruned)-int64(most.tail))
	if from.waits && !from.first {
		n += max(0, r.size-end-int64(most.tail))
	}
	return n
}

// chosen are the events of a page, and where the next page begins: nil at the end.
func (t *Trail) chosen(ctx context.Context, q *question, from *place, r *reply, size int, most limits, end int64) (hits []hit, next *place, err error) {
	if from.waits {
		if hits, err = t.waited(ctx, q, from, r, end); err != nil {
			return nil, nil, err
		}
		if len(hits) > size {
			hits = hits[:size]
			return hits, new(hits[size-1].place), nil
		}
	}
	filed, floor := r.filed(q, from, most, end)
	if left := size - len(hits); len(filed) > left {
		hits = append(hits, filed[:left]...)
		return hits, new(hits[size-1].place), nil
	}
	return append(hits, filed...), floor, nil
}

// waited are the events that waited on the first page, wherever they are by now,
// newest first.
func (t *Trail) waited(ctx context.Context, q *question, from *place, r *reply, end int64) (out []hit, err error) {
	keys := newPassKeys()
	defer keys.wipe()
	good, refused, err := t.verify(ctx, r.waiting, keys)
	if err == nil {
		err = r.refused(q, from, refused, keys)
	}
	if err != nil {
		return nil, err
	}
	var order ifFiled
	for i := range good {
		c := &good[i]
		if !q.matches(&c.leaf) {
			continue
		}
		at, err := order.found(ctx, t, c.leaf.At)
		if err != nil {
			return nil, err
		}
		out = append(out, hit{place: place{waits: true, at: c.leaf.At.UnixMicro(), id: c.id}, index: -1, found: at, raw: c.raw, leaf: c.leaf, frames: c.frames})
	}
	for _, h := range r.tail {
		if h.index < end || !r.read(&h) {
			continue
		}
		id, err := auditlog.ParseID(h.leaf.ID)
		if err != nil {
			return nil, err
		}
		h.place = place{waits: true, at: h.leaf.At.UnixMicro(), id: id}
		out = append(out, h)
	}
	out = slices.DeleteFunc(out, func(h hit) bool {
		return !q.matches(&h.leaf) || h.found < q.from || h.found > q.to || !h.before(from)
	})
	slices.SortFunc(out, func(a, b hit) int { return a.newer(&b.place) })
	return out, nil
}

// refused counts what waits and is in no answer. A key that does not answer is an
// error: nobody knows then what the answer is.
func (r *reply) refused(q *question, from *place, rows []refusal, keys *passKeys) error {
	for i := range rows {
		switch f := &rows[i]; {
		case f.definite: // whose it was nobody knows any more
			if from.first {
				r.damaged++
			}
		case f.tenant != "" && f.tenant != q.Tenant:
		case f.tenant != "" && keys.by[f.tenant].err != nil:
			return fmt.Errorf("%w: %w", ErrKeys, keys.by[f.tenant].err)
		default:
			r.unread++
		}
	}
	return nil
}

// read reads the leaf of an entry. One that cannot be read, which somebody changed,
// must not keep all others of its page from being shown.
func (r *reply) read(h *hit) bool {
	var err error
	if h.leaf, err = auditlog.ParseLeaf(h.raw); err != nil {
		r.damaged++
	}
	return err == nil
}

// filed are the entries behind a place, newest first, and where they go on: nil at
// the end.
func (r *reply) filed(q *question, from *place, most limits, end int64) (out []hit, floor *place) {
	slices.SortFunc(r.page, func(a, b hit) int { return a.newer(&b.place) })
	if len(r.page) >= most.page {
		floor = new(r.page[len(r.page)-1].place)
	}
	out = r.page
	for _, h := range r.tail {
		if h.index < end && h.at >= q.from && h.at <= q.to && (from.waits || h.before(from)) && (floor == nil || h.newer(floor) <= 0) {
			out = append(out, h)
		}
	}
	slices.SortFunc(out, func(a, b hit) int { return a.newer(&b.place) })
	out = slices.CompactFunc(out, func(a, b hit) bool { return a.index == b.index })
	kept := out[:0]
	for i := range out {
		if h := &out[i]; r.read(h) && q.matches(&h.leaf) {
			kept = append(kept, *h)
		}
	}
	return kept, floor
}
