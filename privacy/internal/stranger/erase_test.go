package stranger_test

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/privacy/internal/stranger"
	"github.com/crmguard/crmguard/privacy/internal/wholedb"
)

// What the world asks of an erasure can be done: by hand, in SQL that somebody
// wrote who knows the schema.
func TestAnErasureByHandDoesWhatTheWorldAsks(t *testing.T) {
	stranger.Each(t, func(t *testing.T, w *stranger.World) {
		state := w.Backup(t)
		for _, p := range w.People {
			others := w.Others(t, p)
			require.Greater(t, len(others), 20)
			eraseByHand(t, w, p)
			require.Empty(t, w.Search(t, w.Needles(p)), p.Habit)
			require.Empty(t, w.Lost(t, p), p.Habit)
			require.Equal(t, others, w.Others(t, p), p.Habit)
			w.Restore(t, state)
			require.Empty(t, wholedb.Lost(w.Search(t, w.Needles(p)), w.Needles(p)), "a restore brings them back")
		}
	})
}

func eraseByHand(t *testing.T, w *stranger.World, p *stranger.Person) {
	t.Helper()
	tx, err := w.SQL.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	defer func() { _ = tx.Rollback() }()
	exec := func(format string, args ...any) {
		t.Helper()
		query := fmt.Sprintf(format, args...)
		_, err := tx.ExecContext(t.Context(), query)
		require.NoError(t, err, query)
	}
	ids, texts := fmt.Sprintf("(%d, %d)", p.ID, p.Merged), fmt.Sprintf("('%d', '%d')", p.ID, p.Merged)
	addresses := map[string]bool{}
	for _, a := range pairs(t, tx, `SELECT 0, email FROM contacts WHERE id IN `+ids+` UNION SELECT 0, address FROM emails WHERE contact_id IN `+ids+` UNION SELECT 0, login FROM portal_accounts WHERE contact_id IN `+ids) {
		addresses[strings.ToLower(a[1])] = true
	}
	for _, a := range pairs(t, tx, fmt.Sprintf(`SELECT id, address FROM mailing_list WHERE tenant_id = %d`, p.Tenant)) {
		if addresses[strings.ToLower(a[1])] {
			exec(`DELETE FROM mailing_list WHERE id = %s`, a[0])
		}
	}
	for _, d := range pairs(t, tx, `SELECT deal_id, (SELECT count(*) FROM deal_persons o WHERE o.deal_id = d.deal_id) FROM deal_persons d WHERE contact_id IN `+ids) {
		if d[1] == "1" {
			exec(`DELETE FROM deals WHERE id = %s`, d[0])
		} else {
			exec(`UPDATE deals SET summary = '[redacted]' WHERE id = %s`, d[0])
			exec(`DELETE FROM deal_persons WHERE deal_id = %s AND contact_id IN %s`, d[0], ids)
		}
	}
	settings := "json_remove(settings, '$.signature', '$.address')"
	if w.Name == testdb.PostgresC || w.Name == testdb.PostgresICU {
		settings = "settings - 'signature' - 'address'"
	}
	exec(`UPDATE portal_accounts SET contact_id = NULL, login = 'gone-%d@erased.invalid', display = '[redacted]', phone = NULL, settings = %s WHERE contact_id IN %s`, p.N, settings, ids)
	for _, i := range pairs(t, tx, `SELECT tenant_id, number FROM `+w.Table("invoices")+` WHERE contact_id IN `+ids+` AND issued_on < '2016-01-01'`) {
		exec(`DELETE FROM %s WHERE tenant_id = %s AND number = %s`, w.Table("invoice_lines"), i[0], i[1])
		exec(`DELETE FROM %s WHERE tenant_id = %s AND number = %s`, w.Table("invoices"), i[0], i[1])
	}
	exec(`UPDATE %s SET reminder = NULL WHERE contact_id IN %s`, w.Table("invoices"), ids)
	exec(`DELETE FROM comments WHERE subject_type = 'Contact' AND subject_id IN %s`, texts)
	exec(`DELETE FROM notes WHERE contact_id IN %s`, ids)
	exec(`DELETE FROM outbox WHERE contact_id IN %s`, ids)
	exec(`UPDATE contacts SET reports_to = NULL WHERE reports_to IN %s`, ids)
	exec(`DELETE FROM contacts WHERE merged_into IN %s`, ids)
	exec(`DELETE FROM contacts WHERE id IN %s`, ids)
	require.NoError(t, tx.Commit())
	if w.Name == testdb.SQLite {
		_, err := w.SQL.ExecContext(t.Context(), `PRAGMA wal_checkpoint(TRUNCATE)`)
		require.NoError(t, err)
	}
}

func pairs(t *testing.T, tx *sql.Tx, query string) (out [][2]string) {
	t.Helper()
	rows, err := tx.QueryContext(t.Context(), query)
	require.NoError(t, err, query)
	defer rows.Close()
	for rows.Next() {
		var one [2]string
		require.NoError(t, rows.Scan(&one[0], &one[1]))
		out = append(out, one)
	}
	require.NoError(t, rows.Err())
	return out
}
