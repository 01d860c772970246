package encryption_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/internal/testdb"
)

// On PostgreSQL the application writes its rows itself: sealed fields go in, are
// found by Conditions.Postgres behind other arguments, and open again.
func TestFieldsAreSealedFoundAndOpenedOnPostgreSQL(t *testing.T) {
	vault := encryptiontest.Vault(t, "main")
	table, err := vault.Table(encryption.Table{Name: "contacts", Columns: []encryption.Column{{Name: "email", Index: []encryption.Index{
		{Column: "email_idx", As: encryption.Email, Bits: 32}, {Column: "email_wide", As: encryption.Email, Bits: 128},
	}}}})
	require.NoError(t, err)
	d := testdb.New(t, testdb.PostgresC)
	_, err = d.Open(t).ExecContext(t.Context(), `CREATE TABLE contacts (id text, driver text, person text, email bytea, email_idx bigint, email_wide bytea)`)
	require.NoError(t, err)
	for _, driver := range d.Name.Drivers() {
		db := d.OpenWith(t, driver)
		for _, person := range []string{"p1", "p2"} {
			w, err := table.Writer(t.Context(), "main", person)
			require.NoError(t, err)
			mail := person + "@b.example"
			_, err = db.ExecContext(t.Context(), `INSERT INTO contacts VALUES ($1, $2, $3, $4, $5, $6)`,
				person, driver, person, w.Text("email", mail), w.Int64("email_idx", mail), w.Index("email_wide", mail))
			require.NoError(t, err)
		}
		for _, index := range []string{"email_idx", "email_wide"} {
			probes, err := table.Lookup(t.Context(), "main", index, "P2@b.example")
			require.NoError(t, err)
			where, args := probes.Postgres("c", 2)
			require.Contains(t, where, "$2")
			var id string
			var email encryption.Sealed
			require.NoError(t, db.QueryRowContext(t.Context(), `SELECT c.id, c.email FROM contacts AS c WHERE c.driver = $1 AND `+where, append([]any{driver}, args...)...).Scan(&id, &email))
			r, err := table.Reader(t.Context(), "main", "p2")
			require.NoError(t, err)
			mail, err := r.Row("p2", id).Text(t.Context(), "email", email.Bytes())
			require.NoError(t, err)
			require.Equal(t, "p2@b.example", mail)
		}
	}
}

// Each live version of an index has a placeholder of its own.
func TestConditionsAreNumberedOnPostgreSQL(t *testing.T) {
	where, args := encryption.Conditions{{Column: "a"}, {Column: "b"}}.Postgres("", 3)
	require.Equal(t, "(a = $3 OR b = $4)", where)
	require.Len(t, args, 2)
	where, _ = encryption.Conditions{{Column: "a"}, {Column: "b"}}.Where("c")
	require.Equal(t, "(c.a = ? OR c.b = ?)", where)
}
