package capture_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit/capture"
)

func TestTheSessionIsNamedAndWhatItClaims(t *testing.T) {
	each(t, func(b *bench) {
		b.exec(contactsTable)
		b.pack(contacts())
		me := b.text(`SELECT session_user::text`)
		role, _ := b.as(`INSERT ON contacts`)
		claims := func(set ...string) (out []string) {
			session := b.conn()
			execOn(b, session, append([]string{`BEGIN`}, set...)...)
			execOn(b, session, `INSERT INTO contacts (name) VALUES ('a')`, `COMMIT`, `INSERT INTO contacts (name) VALUES ('a')`)
			require.NoError(b, session.Close())
			for _, r := range b.rows() {
				require.Equal(b, me, r.Who, "the role that logged in, whatever it has become")
				out = append(out, r.Claimed)
			}
			b.captured()
			return out
		}
		require.Equal(b, []string{"", ""}, claims())
		require.Equal(b, []string{"user/7", ""}, claims(`SELECT set_config('crmguard.actor', 'user/7', true)`), "for the transaction")
		require.Equal(b, []string{"", ""}, claims(`SELECT set_config('crmguard.actor', '', true)`))
		require.Equal(b, []string{strings.Repeat("x", 255), ""}, claims(`SELECT set_config('crmguard.actor', repeat('x', 255), true)`))
		require.Equal(b, []string{"", ""}, claims(`SELECT set_config('crmguard.actor', repeat('x', 256), true)`), "what is too long for an id is none")
		require.Equal(b, []string{"", ""}, claims(`SET LOCAL ROLE `+role), "SET ROLE")
	})
}

func TestCapturedRowsShareTheFateOfTheirTransaction(t *testing.T) {
	each(t, func(b *bench) {
		b.exec(contactsTable)
		b.pack(contacts())
		tx, err := b.db.BeginTx(b.Context(), nil)
		require.NoError(b, err)
		execOn(b, tx, `INSERT INTO contacts (name) VALUES ('a')`, `SAVEPOINT s`, `INSERT INTO contacts (name) VALUES ('b')`, `ROLLBACK TO s`, `UPDATE contacts SET name = 'c'`)
		var id string
		require.NoError(b, tx.QueryRowContext(b.Context(), `SELECT pg_current_xact_id()::text`).Scan(&id))
		require.NoError(b, tx.Commit())
		rows := b.rows()
		require.Equal(b, []string{"i 1", "u 1"}, ops(rows))
		for _, r := range rows {
			require.Regexp(b, "^"+id+"/[0-9]{16}$", r.Tx, "its number, and when it began")
			require.Equal(b, rows[0].Tx, r.Tx, "both of one transaction")
		}
		b.captured()
		tx, err = b.db.BeginTx(b.Context(), nil)
		require.NoError(b, err)
		execOn(b, tx, `UPDATE contacts SET name = 'd'`)
		require.NoError(b, tx.Rollback())
		require.Empty(b, b.captured())
	})
}

// What switches triggers off switches capture off: the package comment says so.
func TestWhoSwitchesTriggersOffIsNotCaptured(t *testing.T) {
	one(t, func(b *bench) {
		b.exec(contactsTable)
		b.pack(contacts())
		session := b.conn()
		execOn(b, session, `SET session_replication_role = replica`, `INSERT INTO contacts (name) VALUES ('a')`)
		require.Empty(b, b.captured())
		_, app := b.as(`INSERT ON contacts`)
		_, err := app.db.ExecContext(b.Context(), `SET session_replication_role = replica`)
		require.ErrorContains(b, err, "permission denied", "no role of an application may")
		_, err = app.db.ExecContext(b.Context(), `ALTER TABLE contacts DISABLE TRIGGER ALL`)
		require.ErrorContains(b, err, "must be owner")

		b.exec(`ALTER TABLE contacts DISABLE TRIGGER USER`, `INSERT INTO contacts (name) VALUES ('a')`)
		require.Empty(b, b.captured())
		lacks, err := capture.Missing(b.Context(), b.db, contacts())
		require.NoError(b, err)
		require.Len(b, lacks, 1)
		require.Contains(b, lacks[0].Why, "disabled")
	})
}
