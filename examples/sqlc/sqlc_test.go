package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/examples/sqlc/postgres"
	"github.com/crmguard/crmguard/examples/sqlc/sqlite"
	"github.com/crmguard/crmguard/internal/testdb"
)

// each runs a test on SQLite and both PostgreSQL, with a way to read the cells
// as they are stored.
func each(t *testing.T, f func(t *testing.T, vault *encryption.Vault, c *contacts, cells func() [][]byte)) {
	t.Helper()
	for _, name := range []testdb.Name{testdb.SQLite, testdb.PostgresC, testdb.PostgresICU} {
		t.Run(string(name), func(t *testing.T) {
			vault := encryptiontest.Vault(t, tenant)
			table, err := vault.Table(definition())
			require.NoError(t, err)
			d := testdb.New(t, name)
			db := d.Open(t)
			var on queries
			if name == testdb.SQLite {
				_, err = db.ExecContext(t.Context(), sqliteSchema)
				on = onSQLite{sqlite.New(db)}
			} else {
				_, err = db.ExecContext(t.Context(), postgresSchema)
				conn, problem := pgx.Connect(t.Context(), d.DSN("pgx"))
				require.NoError(t, problem)
				t.Cleanup(func() { _ = conn.Close(t.Context()) })
				on = onPostgres{postgres.New(conn)}
			}
			require.NoError(t, err)
			f(t, vault, &contacts{tenant: tenant, table: table, queries: on}, func() (cells [][]byte) {
				rows, err := db.QueryContext(t.Context(), "SELECT email, notes FROM contacts")
				require.NoError(t, err)
				defer rows.Close()
				for rows.Next() {
					var email, notes []byte
					require.NoError(t, rows.Scan(&email, &notes))
					cells = append(cells, email, notes)
				}
				require.NoError(t, rows.Err())
				return cells
			})
		})
	}
}

func TestGeneratedQueriesCarrySealedValues(t *testing.T) {
	each(t, func(t *testing.T, _ *encryption.Vault, c *contacts, cells func() [][]byte) {
		ctx := t.Context()
		for i := range 3 {
			_, err := c.add(ctx, fmt.Sprintf("p-%d", i), fmt.Sprintf("secret-%d@b.example", i), "secret notes")
			require.NoError(t, err)
		}
		found, err := c.find(ctx, "SECRET-1@b.example")
		require.NoError(t, err)
		require.Len(t, found, 1)
		require.Equal(t, "secret-1@b.example", found[0].email)
		require.Equal(t, "secret notes", found[0].notes)

		require.NoError(t, c.changeEmail(ctx, found[0].id, "p-1", "secret-new@b.example"))
		require.Error(t, c.changeEmail(ctx, found[0].id, "p-2", "secret-other@b.example"), "the row of another person")
		found, err = c.find(ctx, "secret-new@b.example")
		require.NoError(t, err)
		require.Len(t, found, 1)
		gone, err := c.find(ctx, "secret-1@b.example")
		require.NoError(t, err)
		require.Empty(t, gone)

		page, err := c.list(ctx, 0, 2)
		require.NoError(t, err)
		require.Len(t, page, 2)
		require.Equal(t, "secret-0@b.example", page[0].email)

		stored := cells()
		require.Len(t, stored, 6)
		for _, cell := range stored {
			require.NotEmpty(t, cell)
			require.NotContains(t, string(cell), "secret")
		}
	})
}

func TestAnErasedPersonLeavesThePageWhole(t *testing.T) {
	each(t, func(t *testing.T, vault *encryption.Vault, c *contacts, _ func() [][]byte) {
		_, err := c.add(t.Context(), "p-1", "secret@b.example", "")
		require.NoError(t, err)
		_, err = vault.Erase(t.Context(), tenant, "p-1")
		require.NoError(t, err)
		_, err = c.add(t.Context(), "p-2", "secret-2@b.example", "")
		require.NoError(t, err)
		page, err := c.list(t.Context(), 0, 10)
		require.NoError(t, err)
		require.Len(t, page, 2)
		require.Empty(t, page[0].email)
		require.Equal(t, "secret-2@b.example", page[1].email)
		_, err = c.add(t.Context(), "p-1", "secret@b.example", "")
		require.ErrorIs(t, err, encryption.ErrErased)
	})
}

func TestTheProgramRuns(t *testing.T) {
	require.NoError(t, run(t.Context(), nil))
}

// The committed code is what sqlc makes of the SQL files. It needs sqlc in the
// version that the files name, in PATH; without it this is not looked at.
func TestTheCodeIsWhatSqlcGenerates(t *testing.T) {
	tool, err := exec.LookPath("sqlc")
	if err != nil {
		t.Skip("sqlc is not installed: go install github.com/sqlc-dev/sqlc/cmd/sqlc@v1.31.1")
	}
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS(".")))
	for _, folder := range []string{"sqlite", "postgres"} {
		require.NoError(t, os.RemoveAll(filepath.Join(dir, folder)))
	}
	generate := exec.CommandContext(t.Context(), tool, "generate")
	generate.Dir = dir
	said, err := generate.CombinedOutput()
	require.NoError(t, err, string(said))
	compared := 0
	for _, folder := range []string{"sqlite", "postgres"} {
		require.NoError(t, fs.WalkDir(os.DirFS(dir), folder, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			want, err := os.ReadFile(filepath.Join(dir, path))
			require.NoError(t, err)
			got, err := os.ReadFile(path)
			require.NoError(t, err, "%s is not committed", path)
			require.True(t, bytes.Equal(want, got), "%s: run sqlc generate", path)
			compared++
			return nil
		}))
	}
	require.Equal(t, 6, compared)
}
