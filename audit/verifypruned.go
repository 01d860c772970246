package audit

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/auditlog"
)

// toldPrune is an entry of kind prune, and the first entry that stays.
type toldPrune struct{ index, to int64 }

// prunedTo is up to where the newest word of the log says that retention goes.
func (ev *evidence) prunedTo() (to int64) {
	newest := int64(-1)
	for _, p := range ev.told {
		if p.index > newest {
			newest, to = p.index, p.to
		}
	}
	return to
}

// stubless are the entries whose stubs nobody could bring back: a backup from
// before them was brought level when they had gone with retention already.
func (ev *evidence) stubless(below int64) (out [][2]int64) {
	all := slices.Clone(ev.jumped)
	slices.SortFunc(all, func(a, b [2]int64) int { return cmp.Compare(a[0], b[0]) })
	for _, r := range all {
		r[1] = min(r[1], below)
		if last := len(out) - 1; last >= 0 && r[0] <= out[last][1] {
			out[last][1] = max(out[last][1], r[1])
		} else if r[0] < r[1] {
			out = append(out, r)
		}
	}
	return out
}

// skipped compares what the published log has no entries of with the hashes that
// stand for them.
func (c *comparison) skipped(ctx context.Context) func(int64, []byte) error {
	return func(first int64, hashes []byte) error {
		for i := range len(hashes) / tlog.HashSize {
			index, want := first+int64(i), tlog.Hash(hashes[i*tlog.HashSize:(i+1)*tlog.HashSize])
			if index >= c.size {
				return nil // behind, which is reported once
			}
			if index >= c.state.pruned {
				r, err := c.at(ctx, index)
				if err != nil {
					return err
				}
				if r == nil || tlog.RecordHash(r.leaf) != want {
					c.sound = false
					c.fault(auditlog.Tampered, index, "", entriesTable, "the row is gone, or not that of the published hash")
				}
			}
			if err := c.add(ctx, want); err != nil {
				return err
			}
		}
		return nil
	}
}

// belowMark compares the mark with what the log says about it, and with what is
// there.
func (c *comparison) belowMark(ctx context.Context) error {
	if c.stateless {
		return nil
	}
	mark, left := c.state.pruned, int64(0)
	n, err := c.count(ctx, `SELECT COUNT(*) FROM crmguard_audit_entries WHERE idx < 0`)
	if err != nil {
		return err
	}
	if n > 0 {
		c.fault(auditlog.Tampered, -1, "", entriesTable, "there are rows that are no entries of the log")
	}
	for _, table := range prunedTables {
		n, err := c.count(ctx, `SELECT COUNT(*) FROM `+table+` WHERE idx < ?`, mark)
		if err != nil {
			return err
		}
		left += n
	}
	switch to := c.ev.prunedTo(); {
	case mark > to:
		c.fault(auditlog.Tampered, mark, "", stateTable, "the mark of retention is beyond what the log says")
	case mark < to:
		c.fault(auditlog.Incomplete, mark, "", stateTable, "the log tells of retention that was not done: call Prune")
	case left > 0 || c.back:
		c.fault(auditlog.Incomplete, -1, "", entriesTable, "what went with retention is still there, or back: call Prune")
	}
	return c.prunedStubs(ctx, mark)
}

// prunedStubs counts the stubs of entries that went: one each, and no other.
func (c *comparison) prunedStubs(ctx context.Context, mark int64) error {
	want, where, args := mark, &strings.Builder{}, []any{mark}
	for _, r := range c.ev.stubless(mark) {
		want -= r[1] - r[0]
		where.WriteString(` AND (idx < ? OR idx >= ?)`)
		args = append(args, r[0], r[1])
	}
	var rows, places, bodies int64
	if _, err := c.trail.one(ctx, c.trail.db, []any{&rows, &places, &bodies}, `SELECT COUNT(*), COUNT(DISTINCT idx), COUNT(body) FROM crmguard_audit_events WHERE idx >= 0 AND idx < ?`+where.String(), args...); err != nil {
		return err
	}
	if rows != want || places != want || bodies != 0 {
		c.fault(auditlog.Tampered, -1, "", eventsTable, fmt.Sprintf("%d entries went with retention, and %d rows say where their events were", want, places))
	}
	return nil
}
