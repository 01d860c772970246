package audit_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
)

// What may be another value without anybody being told something false: the order
// in which waiting rows are looked at, tags of retries, when an entry was filed, how
// often the lock was taken, and what was set aside, which says nothing.
var unprotected = []string{
	"events.seq", "events.retry", "entries.filed", "surrogates.n", "state.drains", "aside.n", "aside.body", "aside.why", "aside.at",
}

// Each byte of each column of each table, one after the other, is another one:
// VerifyStore finds it.
func TestEveryByteOfTheTablesIsCompared(t *testing.T) {
	b := newBench(t)
	b.db.SetMaxOpenConns(1)
	b.exec(`PRAGMA synchronous = OFF`)
	b.record(update("p0", 1))
	b.record(update("p1", 2))
	b.record(update("p2", 3))
	b.run()
	require.NoError(t, b.trail.Erase(t.Context(), "main", "p1"))
	require.NoError(t, b.trail.Merge(t.Context(), "main", "p0", "p2"))
	b.rewrite(b.record(audit.Event{Tenant: "main", Actor: "u-1", Action: "x.y"}), "u-1", "u-2")
	b.run()
	b.record(update("p0", 4)) // and one that waits
	sound := b.verifyStore(nil)
	require.Equal(t, auditlog.Unanchored, sound.Verdict, "%+v", sound.Faults)
	flips := 0
	for _, table := range []string{"log", "events", "entries", "found", "persons", "openings", "surrogates", "heads", "aside", "tiles", "state"} {
		columns := b.columns(table)
		for n := range b.count(`SELECT COUNT(*) FROM crmguard_audit_` + table) {
			for _, column := range columns {
				if !slices.Contains(unprotected, table+"."+column) {
					flips += b.flip(table, column, n)
				}
			}
		}
	}
	require.Greater(t, flips, 3000)
	require.Equal(t, sound.Verdict, b.verifyStore(nil).Verdict, "all is as it was")
}

func (b *bench) columns(table string) (out []string) {
	b.t.Helper()
	rows, err := b.db.QueryContext(b.t.Context(), `SELECT name FROM pragma_table_info('crmguard_audit_`+table+`')`)
	require.NoError(b.t, err)
	defer rows.Close()
	for rows.Next() {
		var name string
		require.NoError(b.t, rows.Scan(&name))
		out = append(out, name)
	}
	require.NoError(b.t, rows.Err())
	return out
}

// flip turns each byte of a value, and says how many values it tried.
func (b *bench) flip(table, column string, row int) (tried int) {
	b.t.Helper()
	// The row is found by its other columns: the one that is turned may be its key.
	var where strings.Builder
	where.WriteString(` WHERE `)
	var args []any
	for i, c := range b.columns(table) {
		if i > 0 {
			where.WriteString(` AND `)
		}
		where.WriteString(c + ` IS ?`)
	}
	args = b.row(table, row)
	at := slices.Index(b.columns(table), column)
	for _, turned := range turns(args[at]) {
		set := `UPDATE OR IGNORE crmguard_audit_` + table + ` SET ` + column + ` = ?` + where.String()
		if b.exec(set, append([]any{turned}, args...)...) == 0 {
			continue // no such table is possible
		}
		report, err := b.trail.VerifyStore(b.t.Context(), nil)
		if err == nil && report.Verdict == auditlog.Unanchored {
			b.t.Errorf("%s.%s of row %d is %s, and nobody sees it", table, column, row, short(turned))
		}
		back := slices.Clone(args)
		back[at] = turned
		require.EqualValues(b.t, 1, b.exec(`UPDATE crmguard_audit_`+table+` SET `+column+` = ?`+where.String(), append([]any{args[at]}, back...)...))
		tried++
	}
	return tried
}

func short(v any) string {
	s := fmt.Sprintf("%x", v)
	return s[:min(len(s), 40)]
}

// row reads a row, in the order of what the database calls it by itself.
func (b *bench) row(table string, n int) []any {
	b.t.Helper()
	columns := b.columns(table)
	out, dest := make([]any, len(columns)), make([]any, len(columns))
	for i := range out {
		dest[i] = &out[i]
	}
	require.NoError(b.t, b.db.QueryRowContext(b.t.Context(), `SELECT * FROM crmguard_audit_`+table+` ORDER BY 1, 2 LIMIT 1 OFFSET ?`, n).Scan(dest...))
	return out
}

// turns are the other values that are tried in the place of one.
func turns(v any) (out []any) {
	switch v := v.(type) {
	case int64:
		return []any{v + 1, v ^ 1<<40}
	case nil:
		return nil
	case string:
		for i := range len(v) {
			c := []byte(v)
			c[i] ^= 1
			out = append(out, string(c))
		}
	case []byte:
		for i := range v {
			c := slices.Clone(v)
			c[i] ^= 1
			out = append(out, c)
		}
	}
	return out
}
