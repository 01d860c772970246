package stranger_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/internal/testdb/stranger"
)

func TestTheCRMIsFilledTheSameEverywhere(t *testing.T) {
	stranger.Each(t, func(t *testing.T, c *stranger.CRM) {
		want := map[string]int{
			"users": 40, "accounts": 600, "contacts": 2998, "tags": 120, "contact_tags": 2998, "sources": 150, "activities": 2500, "events": 2500,
			"contacts_history": 452, "invoices": 800, "invoice_lines": 1600, "rates": 360, "Credit Notes": 300,
		}
		got := map[string]int{}
		for _, table := range c.Tables(t) {
			got[table.Name] = table.Rows
			require.Len(t, c.Keys(t, table.Name), table.Rows)
		}
		require.Equal(t, want, got)
		require.Subset(t, c.Keys(t, "contacts"), c.SpecialIDs(), "each special id is a row of its own")
	})
}

// What the schema has that a table of the library's own never has: each of
// them changes or refuses what somebody writes.
func TestTheSchemaHasAWillOfItsOwn(t *testing.T) {
	stranger.Each(t, func(t *testing.T, c *stranger.CRM) {
		dialect, err := sqldb.Ask(t.Context(), c.DB)
		require.NoError(t, err)
		named := func(query string) string {
			for _, table := range c.Tables(t) {
				query = strings.ReplaceAll(query, "{"+table.Name+"}", table.SQL)
				query = strings.ReplaceAll(query, "{live_"+table.Name+"}", strings.Replace(table.SQL, table.Name, "live_"+table.Name, 1))
			}
			return dialect.Bind(query)
		}
		exec := func(query string, args ...any) error {
			_, err := c.DB.ExecContext(t.Context(), named(query), args...)
			return err
		}
		count := func(query string, args ...any) (n int) {
			require.NoError(t, c.DB.QueryRowContext(t.Context(), named(query), args...).Scan(&n))
			return n
		}
		const insert = `INSERT INTO {contacts} (id, last_name, email, country, created_at, updated_at) VALUES (?, ?, ?, ?, '2026-01-01 00:00:00', '')`
		require.NoError(t, exec(insert, "new", "x", "New@a.example", "CH"))
		require.Error(t, exec(insert, "new2", "x", "nEW@A.example", "CH"), "e-mail is unique without regard to case")
		require.Error(t, exec(insert, "new2", nil, nil, "CH"), "last_name is never NULL")
		require.Error(t, exec(insert, "new2", "x", "no address", "CH"), "a check refuses what is no address")
		require.Error(t, exec(insert, "new2", "x", nil, "ch"), "a check refuses the country")
		require.Error(t, exec(insert, "", "x", nil, "CH"), "a check refuses the empty id")
		require.Error(t, exec(`INSERT INTO {users} (email, name, role) VALUES ('z@a.example', 'z', 'king')`), "an enum has its values only")
		require.Error(t, exec(`INSERT INTO {sources} (code) VALUES ('VIP0')`), "vip0 is there")
		require.Error(t, exec(`INSERT INTO {tags} (name) VALUES ('VIP0')`), "vip0 is there")
		require.Error(t, exec(`DELETE FROM {contacts} WHERE id = ?`, c.SpecialIDs()[0]), "who has an invoice stays")

		require.Positive(t, count(`SELECT COUNT(*) FROM {users} WHERE reports_to = 1`))
		require.NoError(t, exec(`UPDATE {contacts} SET owner_id = NULL WHERE owner_id <> 1`))
		require.NoError(t, exec(`DELETE FROM {users} WHERE id = 1`))
		require.Zero(t, count(`SELECT COUNT(*) FROM {users} WHERE reports_to = 1`), "whoever reported to them reports to nobody")
		require.Zero(t, count(`SELECT COUNT(*) FROM {contacts} WHERE owner_id IS NOT NULL`))

		before := count(`SELECT COUNT(*) FROM {contacts_history} WHERE contact_id = 'P1'`)
		require.NoError(t, exec(`INSERT INTO {contact_tags} (contact_id, tag) VALUES ('new', 'VIP0')`))
		require.NoError(t, exec(`UPDATE {contacts} SET city = 'x' WHERE id = 'P1'`))
		require.Equal(t, before+1, count(`SELECT COUNT(*) FROM {contacts_history} WHERE contact_id = 'P1'`), "the trigger keeps what was there")
		require.NoError(t, exec(`DELETE FROM {contacts} WHERE id = 'new'`))
		require.Zero(t, count(`SELECT COUNT(*) FROM {contact_tags} WHERE contact_id = 'new'`), "tags go with the contact")
		require.Equal(t, 1, count(`SELECT COUNT(*) FROM {contacts_history} WHERE contact_id = 'new'`), "and the history stays")
		require.Equal(t, count(`SELECT COUNT(*) FROM {contacts} WHERE deleted_at IS NULL`), count(`SELECT COUNT(*) FROM {live_contacts}`))
		require.Positive(t, count(`SELECT COUNT(*) FROM {contacts} WHERE deleted_at IS NOT NULL`))
		require.Positive(t, count(`SELECT COUNT(*) FROM {contacts} WHERE first_name = ''`))
		require.Positive(t, count(`SELECT COUNT(*) FROM {contacts} WHERE first_name IS NULL`))
		require.Positive(t, count(`SELECT COUNT(*) FROM {contacts} WHERE email IS NULL`))
		require.Positive(t, count(`SELECT COUNT(*) FROM {activities} WHERE subject_type = 'account'`))

		if c.Name == testdb.MariaDB {
			return // it knows no deferred constraints
		}
		deferred := func(also string) error {
			tx, err := c.DB.BeginTx(t.Context(), nil)
			require.NoError(t, err)
			defer func() { _ = tx.Rollback() }()
			_, err = tx.ExecContext(t.Context(), named(`INSERT INTO {invoice_lines} (invoice_id, line, text, amount) VALUES ('00000000-0000-4000-8000-000000000001', 1, 'x', 1)`))
			require.NoError(t, err, "a line may come before its invoice")
			_, err = tx.ExecContext(t.Context(), named(also))
			require.NoError(t, err)
			return tx.Commit()
		}
		require.Error(t, deferred(`SELECT 1`), "the invoice must be there at the end")
		require.NoError(t, deferred(`INSERT INTO {invoices} (id, number, contact_id, issued_on, total, address)
			VALUES ('00000000-0000-4000-8000-000000000001', 'new', 'P1', '2026-01-01', 1, '{}')`))
	})
}
