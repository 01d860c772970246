package audit_test

import (
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/internal/testdb"
)

// What the Example of Record on pgx shows is what happens.
func TestTheExampleOnPgxIsTrue(t *testing.T) {
	for _, name := range []testdb.Name{testdb.PostgresC, testdb.PostgresICU} {
		t.Run(string(name), func(t *testing.T) {
			ctx, dir := t.Context(), t.TempDir()
			pool, err := pgxpool.New(ctx, testdb.New(t, name).DSN("pgx"))
			require.NoError(t, err)
			t.Cleanup(pool.Close)
			_, err = pool.Exec(ctx, `CREATE TABLE contacts (id text PRIMARY KEY, email text)`)
			require.NoError(t, err)
			_, err = pool.Exec(ctx, `INSERT INTO contacts VALUES ('p-1', 'ann@a.example')`)
			require.NoError(t, err)
			key, _, err := audit.GenerateKey("crm.example/audit", 0)
			require.NoError(t, err)
			secret := filepath.Join(dir, "crm.secret")
			require.NoError(t, audit.NewKeysFile(secret))
			trail, err := openOnPool(ctx, pool, key, secret, filepath.Join(dir, "log"))
			require.NoError(t, err)
			require.NoError(t, changeEmail(ctx, pool, trail, "p-1", "ann@b.example"))
			require.Error(t, changeEmail(ctx, pool, trail, "p-2", "bob@b.example"), "there is no such row")
			_, err = trail.RunOnce(ctx)
			require.NoError(t, err)
			found, err := trail.Find(ctx, audit.Filter{Action: "contact.update"}, audit.Page{})
			require.NoError(t, err)
			require.Len(t, found.Entries, 1)
			require.Equal(t, "u-7", found.Entries[0].Leaf.Actor)
			require.Equal(t, "ann@b.example", found.Entries[0].Changes[0].New)
		})
	}
}
