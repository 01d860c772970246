package audit

import (
	"context"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// queue checks the tags of the rows that wait, wherever they stand.
func (c *comparison) queue(ctx context.Context) error {
	keys := newPassKeys()
	defer keys.wipe()
	for cursor := firstSeq; ; {
		rows, more, err := c.trail.queued(ctx, cursor, batch)
		if err != nil {
			return err
		}
		good, refused, err := c.trail.verify(ctx, rows, keys)
		if err != nil {
			return err
		}
		c.report.Waiting += int64(len(good))
		c.report.Refused += int64(len(refused))
		for i := range refused {
			c.fault(auditlog.Tampered, -1, eventName(refused[i].id), eventsTable, "a queued row: "+refused[i].why)
		}
		for i := range good {
			if good[i].seq <= c.state.drained && c.trail.db.Kind == sqldb.SQLite {
				c.fault(auditlog.Tampered, -1, good[i].leaf.ID, eventsTable, "a queued row: it was put where the sequencer does not look any more")
			}
			c.ev.add(-1, &good[i].leaf)
		}
		if len(rows) > 0 {
			cursor = rows[len(rows)-1].seq
		}
		if !more {
			return nil
		}
	}
}

// asides looks for rows that were parked by hand, as if they had been set aside.
func (c *comparison) asides(ctx context.Context) error {
	if err := c.each(ctx, "", eventsTable, "a row without a place that nobody has set aside",
		`SELECT `+upTo(64, "v.id")+` FROM crmguard_audit_events v WHERE v.idx < 0 AND (v.idx <> -1 OR NOT EXISTS (SELECT 1 FROM crmguard_audit_aside a WHERE a.id = v.id)) ORDER BY v.seq LIMIT 100`); err != nil {
		return err
	}
	return c.each(ctx, "", eventsTable, "a row of another log", `SELECT `+upTo(64, "id")+` FROM crmguard_audit_events WHERE log <> ? ORDER BY seq LIMIT 100`, logRow)
}

// names looks at the row that tells sales which log these tables hold.
func (c *comparison) names(ctx context.Context) error {
	n, err := c.count(ctx, `SELECT COUNT(*) FROM crmguard_audit_log WHERE id = ? AND name = ?`, logRow, c.trail.origin)
	if err != nil {
		return err
	}
	s, err := c.count(ctx, `SELECT COUNT(*) FROM crmguard_audit_state WHERE origin = ?`, c.trail.origin)
	if err != nil {
		return err
	}
	if s != 1 {
		c.fault(auditlog.Tampered, -1, "", stateTable, "the state row is another log's, or gone")
	}
	all, err := c.count(ctx, `SELECT COUNT(*) FROM crmguard_audit_log`)
	if err == nil && (n != 1 || all != 1) {
		c.fault(auditlog.Tampered, -1, "", "crmguard_audit_log", "the log's name is another one")
	}
	return err
}

func (c *comparison) count(ctx context.Context, query string, args ...any) (n int64, err error) {
	_, err = c.trail.one(ctx, c.trail.db, []any{&n}, query, args...)
	return n, err
}

// each reports rows that should not be there, by the id or place that they give.
func (c *comparison) each(ctx context.Context, event, table, what, query string, args ...any) error {
	return c.trail.query(ctx, c.trail.db, func(rows answer) error {
		var id []byte
		if err := rows.Scan(&id); err != nil {
			return err
		}
		name := event
		if len(id) == 16 {
			name = eventName(id)
		}
		c.fault(auditlog.Tampered, -1, name, table, what)
		return nil
	}, query, args...)
}

// stubs counts what each entry was compared with one by one: as many rows and no
// more, so that none stands anywhere without its entry.
func (c *comparison) stubs(ctx context.Context) error {
	s := c.state
	if c.report.Log.Size > s.N {
		return nil // behind, which is reported
	}
	entries := s.N - s.pruned
	for _, q := range []struct {
		table, what, query string
		want               int64
		args               []any
	}{
		{entriesTable, "there are rows that are no entries of the log", `SELECT COUNT(*) FROM crmguard_audit_entries`, entries, nil},
		{eventsTable, "there are rows with a place that no entry has", `SELECT COUNT(*) FROM crmguard_audit_events WHERE idx >= 0`, entries, nil},
		{"crmguard_audit_found", "there are rows of no entry", `SELECT COUNT(*) FROM crmguard_audit_found WHERE idx < ? OR idx >= ?`, 0, []any{s.pruned, s.N}},
		{"crmguard_audit_persons", "there are rows of no entry", `SELECT COUNT(*) FROM crmguard_audit_persons WHERE idx < ? OR idx >= ?`, 0, []any{s.pruned, s.N}},
		{openingsTable, "an opening without an event", `SELECT COUNT(*) FROM crmguard_audit_openings WHERE idx < ? OR idx >= ?`, 0, []any{s.pruned, s.N}},
	} {
		n, err := c.count(ctx, q.query, q.args...)
		if err != nil {
			return err
		}
		if n != q.want {
			c.fault(auditlog.Tampered, -1, "", q.table, q.what)
		}
	}
	return nil
}
