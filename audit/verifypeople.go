package audit

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/crmguard/crmguard/audit/auditlog"
)

const openingsPage = 200

// openings judges the opening of each (event, owner) that the entries commit to.
func (c *comparison) openings(ctx context.Context) error {
	t := c.trail
	size := c.size
	if c.stateless {
		size = c.report.Log.Size
	}
	for from := c.state.pruned; from < size; {
		rows, err := t.entryRows(ctx, t.db, from, size, openingsPage)
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			return nil
		}
		last := rows[len(rows)-1].idx
		if err := c.openingsOf(ctx, rows, from, last+1); err != nil {
			return err
		}
		from = last + 1
	}
	return nil
}

func (c *comparison) openingsOf(ctx context.Context, rows []entryRow, from, to int64) error {
	t := c.trail
	size, sealed := 0, make(map[int64]map[string][]byte)
	err := t.query(ctx, t.db, func(found answer) error {
		var index int64
		var owner, data []byte
		err := found.Scan(&index, &owner, &data)
		if sealed[index] == nil {
			sealed[index] = make(map[string][]byte)
		}
		sealed[index][ownerOfRow(owner)] = data
		if size += len(data); err == nil && (size > queueBytes && len(rows) > 1 || size > mostBody) {
			err = errEnough
		}
		return err
	}, `SELECT idx, `+upTo(mostID, "owner")+`, `+upTo(mostSealed, "sealed")+` FROM crmguard_audit_openings WHERE idx >= ? AND idx < ?`, from, to)
	if half := len(rows) / 2; errors.Is(err, errEnough) && half > 0 {
		clear(sealed)
		if err := c.openingsOf(ctx, rows[:half], from, rows[half].idx); err != nil {
			return err
		}
		return c.openingsOf(ctx, rows[half:], rows[half].idx, to)
	}
	if err = enough(err); err != nil { // more than one event can have: the rest of its openings counts as gone
		return err
	}
	leaves := make([]auditlog.Leaf, len(rows))
	owners := make(map[string][][16]byte)
	for i := range rows {
		if leaves[i], err = auditlog.ParseLeaf(rows[i].leaf); err != nil {
			continue // told already
		}
		for _, owner := range leaves[i].Owners() {
			if o, err := ownerBytes(owner); err == nil {
				owners[leaves[i].Tenant] = append(owners[leaves[i].Tenant], o)
			}
		}
	}
	people := make(map[surrogateID]*personRow)
	for tenant, all := range owners {
		slices.SortFunc(all, func(a, b [16]byte) int { return bytes.Compare(a[:], b[:]) })
		of := make(map[[16]byte]*personRow)
		for part := range slices.Chunk(slices.Compact(all), rowsAStatement) {
			if err := t.surrogatesNamed(ctx, t.db, tenant, part, of); err != nil {
				return err
			}
		}
		for s, p := range of {
			people[surrogateID{tenant, s}] = p
		}
	}
	for i := range rows {
		if err := c.judge(ctx, rows[i].idx, &leaves[i], sealed[rows[i].idx], people); err != nil {
			return err
		}
	}
	return nil
}

func (c *comparison) judge(ctx context.Context, index int64, leaf *auditlog.Leaf, sealed map[string][]byte, people map[surrogateID]*personRow) error {
	place := index
	if place >= c.report.Log.Size {
		place = -1 // not published yet
	}
	for _, owner := range leaf.Owners() {
		o, err := ownerBytes(owner)
		if err != nil {
			continue
		}
		j, err := c.trail.judge(ctx, c.ev, place, leaf, owner, sealed[owner], people[surrogateID{leaf.Tenant, o}])
		if err != nil {
			return err
		}
		delete(sealed, owner)
		c.verdict(index, leaf.ID, j)
	}
	if len(sealed) > 0 {
		c.fault(auditlog.Tampered, index, leaf.ID, openingsTable, "an opening of someone whom the event does not name")
	}
	return nil
}

func (c *comparison) verdict(index int64, event string, j judged) {
	c.report.Openings[j.verdict]++
	verdict := auditlog.OK
	switch j.verdict {
	case OpeningMissing, OpeningAltered:
		verdict = auditlog.Tampered
	case OpeningReturned:
		verdict = auditlog.RolledBack
	case OpeningPending, OpeningKeyless:
		verdict = auditlog.Incomplete
	case OpeningOK, OpeningErased, OpeningLost, OpeningUnmapped, OpeningPruned:
	}
	if verdict != auditlog.OK {
		c.fault(verdict, index, event, openingsTable, "opening "+string(j.verdict)+": "+j.why)
	}
}

// people compares the rows of surrogates with what the log says was done to them.
func (c *comparison) people(ctx context.Context) error {
	t := c.trail
	keys := newPassKeys()
	defer keys.wipe()
	gone := make(map[[2]string]int64) // erased, and their tombstones not seen yet
	maps.Copy(gone, c.ev.erased)
	for last := int64(0); ; {
		page, err := t.peopleAfter(ctx, t.db, last, "", batch)
		if err != nil {
			return err
		}
		for i := range page {
			p := &page[i]
			last = p.n
			if err := keys.fetch(ctx, t, p.tenant); err != nil {
				return err
			}
			delete(gone, [2]string{p.tenant, ownerText(p.surrogate)})
			if err := c.person(ctx, p, keys.by[p.tenant].surrogates); err != nil {
				return err
			}
		}
		if len(page) < batch {
			break
		}
	}
	for _, index := range gone {
		c.fault(auditlog.Tampered, index, "", surrogatesTable, "the row of an erased surrogate is gone: what comes late about the person would not be dropped")
	}
	return nil
}

// person compares one row.
func (c *comparison) person(ctx context.Context, p *personRow, keys []macKey) error {
	key := [2]string{p.tenant, ownerText(p.surrogate)}
	index, erased := c.ev.erased[key]
	if !erased {
		index = -1
	}
	bad := func(v auditlog.Verdict, what string) { c.fault(v, index, "", surrogatesTable, what) }
	if p.check(keys) != tagRight || p.short || p.k != surrogateK(p.surrogate) {
		bad(auditlog.Tampered, "the row of a surrogate was changed by somebody without the key of the tags")
		return nil
	}
	tomb := p.state == surrogateErased || p.state == surrogateErasing
	switch {
	case erased && !tomb:
		bad(auditlog.RolledBack, "an erased surrogate is back: replay the erasures")
	case tomb && !erased && !c.ev.pending[key]:
		bad(auditlog.Tampered, "a surrogate is marked as erased, and no erasure in the log names it")
	case tomb && (p.person != nil || p.head != nil):
		bad(auditlog.RolledBack, "the head of an erased surrogate is back: replay the erasures")
	case tomb:
	case c.ev.merged[key] != c.mergedInto(p):
		bad(auditlog.Tampered, "the log says otherwise whom a surrogate was merged into")
	case p.state != surrogateLive && p.person != nil:
		bad(auditlog.Tampered, "the row of a surrogate names somebody whose it is not")
	case p.state == surrogateUnmapped:
		if len(c.ev.lost) == 0 {
			bad(auditlog.Tampered, "whose a surrogate is was taken away, and no restore explains it")
		}
	case p.state == surrogateBeside:
		bad(auditlog.Tampered, "the head of a surrogate does not open for anybody, and the person has another one beside it")
	case p.person == nil || p.head == nil:
		bad(auditlog.Tampered, "whose a surrogate is was taken away")
	default:
		head, err := c.trail.openHead(ctx, p.tenant, *p.person, p.surrogate, p.head)
		clear(head.Content[:])
		if ctx.Err() != nil {
			return ctx.Err()
		}
		switch {
		case errors.Is(err, ErrKeys):
			return err
		case errors.Is(err, errKeyGone):
			bad(auditlog.Incomplete, "the key of a person is gone, and no erasure in the log names the surrogate: call Erase")
		case err != nil:
			bad(auditlog.Tampered, "the head of a surrogate does not open for the person that the row names")
		}
	}
	return nil
}

func (c *comparison) mergedInto(p *personRow) string {
	if p.into == nil {
		return ""
	}
	if len(p.into) != 16 {
		return "?"
	}
	return surrogateText([16]byte(p.into))
}
