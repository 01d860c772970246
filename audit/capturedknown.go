package audit

import (
	"bytes"
	"context"
	"slices"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// A captured row whose id stands in the log is there again: a database was restored, or
// a copy. It goes, and nobody is told, if its entry says what it says: a default of the
// column that is the same for each row would have all others go in silence.

// inTheLog are the numbers of rows whose id is taken, and whether by their own entry.
func (f *capturedFiling) inTheLog(ctx context.Context, tx HandoverTx) (map[int64]bool, error) {
	out := make(map[int64]bool)
	by := make(map[[16]byte]*captured, len(f.added))
	for i := range f.added {
		by[f.added[i].id] = &f.added[i]
	}
	for part := range slices.Chunk(f.added, rowsAStatement) {
		args := make([]any, len(part))
		for i := range part {
			args[i] = part[i].id[:]
		}
		err := f.trail.query(ctx, tx, func(found answer) error {
			var id, leaf []byte
			var filed bool
			if err := found.Scan(&id, &filed, &leaf); err != nil {
				return err
			}
			if len(id) == 16 {
				c := by[[16]byte(id)]
				out[c.n] = filed && (leaf == nil || c.isSaidBy(leaf)) // what was pruned is not compared
			}
			return nil
		}, `SELECT v.id, COALESCE(v.idx >= 0, false), `+upTo(auditlog.MaxLeaf, "e.leaf")+`
			FROM crmguard_audit_events v LEFT JOIN crmguard_audit_entries e ON e.idx = v.idx WHERE v.id IN (`+sqldb.Marks(len(part))+`)`, args...)
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// isSaidBy compares what no erasure changes: whose row it was, may be said no more.
func (c *captured) isSaidBy(raw []byte) bool {
	if bytes.Equal(raw, c.raw) {
		return true
	}
	l, err := auditlog.ParseLeaf(raw)
	return err == nil && l.Capture != nil && l.At.Equal(c.leaf.At) && l.Capture.Table == c.leaf.Capture.Table &&
		l.Capture.Op == c.leaf.Capture.Op && slices.Equal(l.Capture.Columns, c.leaf.Capture.Columns)
}
