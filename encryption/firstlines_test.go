package encryption_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/insecurekeys"
	"github.com/crmguard/crmguard/encryption/sqlkeys"
	"github.com/crmguard/crmguard/internal/testdb"
)

// The first program of the package comment runs on PostgreSQL, on the columns
// and with the file that it names, and leaves what it says.
func TestTheFirstLinesRunOnPostgreSQL(t *testing.T) {
	keys, crm, folder := testdb.New(t, testdb.PostgresC), testdb.New(t, testdb.PostgresICU), t.TempDir()
	db := crm.Open(t)
	for _, statement := range []string{
		`CREATE TABLE contacts (id text PRIMARY KEY, person text NOT NULL, email bytea, email_idx bigint, notes bytea)`,
		`CREATE INDEX ON contacts (email_idx)`,
	} {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
	require.NoError(t, os.WriteFile(filepath.Join(folder, "kek-1"), bytes.Repeat([]byte{9}, 32), 0o600))
	t.Setenv("KEYS_URL", keys.DSN("pgx"))
	t.Setenv("CRM_URL", crm.DSN("pgx"))
	t.Setenv("KEK_FOLDER", folder)
	Example_firstLines()

	var person string
	var email encryption.Sealed
	var index int64
	require.NoError(t, db.QueryRowContext(t.Context(), `SELECT person, email, email_idx FROM contacts WHERE id = 'c1'`).Scan(&person, &email, &index))
	require.Equal(t, "p1", person)
	require.NotContains(t, string(email.Bytes()), "Ann")
	require.NotZero(t, index)
	store, err := sqlkeys.Open(t.Context(), keys.Open(t))
	require.NoError(t, err)
	vault, err := encryption.Open(t.Context(), encryption.Config{Keys: store, KEK: insecurekeys.Folder(folder)})
	require.NoError(t, err)
	contacts, err := vault.Table(encryption.Table{Name: "contacts", Columns: []encryption.Column{{Name: "email", Find: encryption.Email}, {Name: "notes"}}})
	require.NoError(t, err)
	row, err := contacts.Row(t.Context(), "main", "p1", "c1")
	require.NoError(t, err)
	_, err = row.Text(t.Context(), "email", email.Bytes())
	require.ErrorIs(t, err, encryption.ErrErased)
}

// The package comment says what a sealed value costs in bytes.
func TestWhatASealedValueCostsInBytes(t *testing.T) {
	e := newEnv(t, 1)
	require.NoError(t, e.vault.AddTenant(t.Context(), "cost"))
	table, err := e.vault.Table(encryption.Table{Name: "cost", Columns: []encryption.Column{{Name: "bytes"}, {Name: "text", Text: true}}})
	require.NoError(t, err)
	w, err := table.Writer(t.Context(), "cost", "p1")
	require.NoError(t, err)
	for _, n := range []int{0, 1, 20, 1000} {
		plain := string(bytes.Repeat([]byte{'a'}, n))
		require.Len(t, w.Text("bytes", plain).Bytes(), n+33)
		text, err := w.Text("text", plain).Value()
		require.NoError(t, err)
		require.Len(t, text, 13+(4*(n+33)+2)/3, "%d bytes", n)
	}
	keys, err := e.vault.WrappedKeys(t.Context(), "cost", "p1")
	require.NoError(t, err)
	require.Len(t, keys, 1)
	for _, wrapped := range keys {
		require.Len(t, wrapped, 65)
	}
}

// What a tenant takes in the key store before it has a person.
func TestWhatATenantCostsInBytes(t *testing.T) {
	e := newEnv(t, 1)
	require.NoError(t, e.vault.AddTenant(t.Context(), "cost"))
	bytes, rows := 0, 0
	for _, purpose := range []string{"branch", "index", "log", "seal", "suppression", "wrap"} {
		row := keysetOf(t, e.cfg.Keys, "cost", purpose)
		bytes += len(row.Wrapped)
		rows++
	}
	require.Equal(t, 6, rows)
	require.Less(t, bytes, 1024)
}
