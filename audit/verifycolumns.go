package audit

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/crmguard/crmguard/audit/auditlog"
)

// columns compares all that the database says about an entry with its leaf.
func (c *comparison) columns(r *storedRow, leaf *auditlog.Leaf) {
	id, err := auditlog.ParseID(leaf.ID)
	bad := func(table, what string) { c.fault(auditlog.Tampered, r.idx, leaf.ID, table, what) }
	if err != nil || !bytes.Equal(r.id, id[:]) {
		bad(entriesTable, "the columns of the row do not say what its entry says")
	}
	if !r.stub.Valid || r.stub.Int64 != r.idx || !r.emptied.Bool || r.log.Int64 != logRow {
		bad(eventsTable, "the row of its event is gone, or says that it is elsewhere")
	}
	if r.at != leaf.At.UnixMicro() {
		before := c.before.latest()
		if c.before.next != r.idx || !c.before.whole() { // gone, by retention or otherwise: any is believed that bears this one out
			before = r.at
		}
		if r.at != orderTime(leaf.At, r.filed, before) || !c.filedBetween(r) {
			bad(entriesTable, "the time by which it is found is not its own")
		}
	}
	c.before.add(r.idx, r.at, leaf)
	c.index(r, leaf, bad)
}

// index compares what an entry is found by. What is not filed yet has none of it.
func (c *comparison) index(r *storedRow, leaf *auditlog.Leaf, bad func(table, what string)) {
	if r.idx >= c.state.found && !r.found[0].Valid && len(r.persons) == 0 {
		return
	}
	want := foundRow(r.idx, r.at, leaf)
	for i, v := range want {
		n, has := v.(int64)
		if r.found[i].Valid != has || has && r.found[i].Int64 != n {
			bad("crmguard_audit_found", "what it is found by is not what it says")
			break
		}
	}
	persons, err := personRows(r.idx, r.at, leaf)
	there := slices.SortedFunc(slices.Values(r.persons), func(a, b personIndex) int { return cmp.Compare(a.k, b.k) })
	slices.SortFunc(persons, func(a, b []any) int { return cmp.Compare(a[1].(int64), b[1].(int64)) })
	same := err == nil && len(there) == len(persons)
	for i := 0; same && i < len(there); i++ {
		same = there[i] == personIndex{persons[i][1].(int64), persons[i][2].(int64)}
	}
	if !same {
		bad("crmguard_audit_persons", "who is found in it is not who it names")
	}
}

// headMark is when the log was signed at a size.
type headMark struct{ size, at int64 }

// filedBetween says whether an entry that is found by the time of its filing was
// filed between the signatures around it, as far as clocks agree.
func (c *comparison) filedBetween(r *storedRow) bool {
	slack := int64(time.Hour / time.Microsecond)
	after, _ := slices.BinarySearchFunc(c.marks, r.idx+1, func(m headMark, n int64) int { return cmp.Compare(m.size, n) })
	if after == len(c.marks) {
		return true
	}
	next := c.marks[after].at
	if r.filed > next+slack {
		return false
	}
	return after == 0 || c.marks[after-1].at > next || r.filed >= c.marks[after-1].at-slack
}

// readMarks reads when the log was signed, before entries are compared.
func (c *comparison) readMarks(ctx context.Context) error {
	return c.trail.query(ctx, c.trail.db, func(rows answer) error {
		var m headMark
		err := rows.Scan(&m.size, &m.at)
		c.marks = append(c.marks, m)
		return err
	}, `SELECT size, at FROM crmguard_audit_heads ORDER BY size`)
}

// heads compares the signed heads of the database with its tree.
func (c *comparison) heads(ctx context.Context) error {
	t := c.trail
	reader := t.rows(t.db).Reader(ctx, c.state.Tree)
	for last := int64(-1); ; {
		page, err := t.headRows(ctx, t.db, last)
		if err != nil || len(page) == 0 {
			return err
		}
		for i := range page {
			if err := ctx.Err(); err != nil {
				return err
			}
			h := &page[i]
			last = h.tree.N
			tree, err := t.headTree(h.note)
			right := !h.short && err == nil && tree == h.tree
			if right {
				if right, err = t.headTagged(ctx, h); err != nil {
					return err
				}
			}
			if !right {
				c.fault(auditlog.Tampered, h.tree.N, "", "crmguard_audit_heads", "a signed head was changed")
				continue
			}
			if same, err := extends(reader, h.tree); h.tree.N > c.state.N || err != nil || !same {
				c.fault(auditlog.Tampered, h.tree.N, "", "crmguard_audit_heads", "a signed head is not one of this tree")
			}
		}
	}
}
