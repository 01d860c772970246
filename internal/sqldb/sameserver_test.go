package sqldb_test

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
)

func opened(t *testing.T, db *sql.DB) *sqldb.DB {
	t.Helper()
	asked, err := sqldb.Open(t.Context(), db)
	require.NoError(t, err)
	return asked
}

func sameServer(t *testing.T, a, b *sqldb.DB) bool {
	t.Helper()
	there, err := a.SameServer(t.Context(), b)
	require.NoError(t, err)
	back, err := b.SameServer(t.Context(), a)
	require.NoError(t, err)
	require.Equal(t, there, back)
	return there
}

// Two databases of one server share their fate, whoever asks: a role without
// any right, and through whatever driver. One of another server or kind does not.
func TestDatabasesOfOneServerAreKnown(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		first := opened(t, d.Open(t))
		require.True(t, sameServer(t, first, first))
		require.True(t, sameServer(t, first, opened(t, d.Open(t))), "another pool")
		require.False(t, sameServer(t, first, opened(t, testdb.New(t, testdb.SQLite).Open(t))), "another kind, or another file")
		if d.Name == testdb.SQLite {
			return
		}
		if d.Name == testdb.MariaDB {
			require.False(t, sameServer(t, first, opened(t, testdb.New(t, testdb.PostgresC).Open(t))), "another kind")
		}
		second := testdb.New(t, d.Name)
		for _, driver := range d.Name.Drivers() {
			require.True(t, sameServer(t, first, opened(t, second.OpenWith(t, driver))), driver)
		}
		role, as := second.Role(t)
		if d.Name == testdb.MariaDB {
			admin := second.Open(t)
			_, err := admin.ExecContext(t.Context(), `CREATE TABLE seen (id INT)`)
			require.NoError(t, err)
			_, err = admin.ExecContext(t.Context(), `GRANT SELECT ON seen TO `+role)
			require.NoError(t, err)
		}
		require.True(t, sameServer(t, first, opened(t, as.Open(t))), "a role without rights")
	})
}

// A file of SQLite is known under each of its names, and when it is attached.
func TestAFileIsKnownUnderEachOfItsNames(t *testing.T) {
	dir := t.TempDir()
	open := func(dsn string) *sqldb.DB {
		db, err := sql.Open("sqlite", dsn)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, db.Close()) })
		db.SetMaxOpenConns(1)
		return opened(t, db)
	}
	keys := open("file:" + filepath.Join(dir, "keys.db"))
	_, err := keys.ExecContext(t.Context(), `CREATE TABLE x (id INTEGER)`)
	require.NoError(t, err)
	require.NoError(t, os.Symlink(filepath.Join(dir, "keys.db"), filepath.Join(dir, "soft.db")))
	require.NoError(t, os.Link(filepath.Join(dir, "keys.db"), filepath.Join(dir, "hard.db")))
	require.True(t, sameServer(t, keys, open("file:"+filepath.Join(dir, "soft.db"))))
	require.True(t, sameServer(t, keys, open("file:"+filepath.Join(dir, "hard.db"))))

	memory := open("file::memory:")
	require.False(t, sameServer(t, keys, memory))
	require.False(t, sameServer(t, memory, open("file::memory:")), "each has its own")
	_, err = memory.ExecContext(t.Context(), `ATTACH ? AS keys`, filepath.Join(dir, "keys.db"))
	require.NoError(t, err)
	require.True(t, sameServer(t, keys, memory))
}

// The physical backups of a standby are those of its cluster; a server that was
// copied from another one and lives on by itself is another one.
func TestAStandbyIsOfItsCluster(t *testing.T) {
	primary := testdb.Own(t, testdb.PostgresC)
	keys := opened(t, primary.New(t).Open(t))
	standby := primary.Standby(t)
	data := opened(t, standby.Follow(t, primary.New(t)).Open(t))
	require.True(t, sameServer(t, keys, data))
	require.False(t, sameServer(t, data, opened(t, testdb.New(t, testdb.PostgresC).Open(t))), "another cluster")

	_, err := standby.Admin(t).ExecContext(t.Context(), `SELECT pg_promote()`)
	require.NoError(t, err)
	require.False(t, sameServer(t, keys, data))
}

// Whoever holds the only connection of a pool is not waited for without end.
func TestABusyPoolIsAnError(t *testing.T) {
	db := testdb.New(t, testdb.SQLite).Open(t)
	keys, data := opened(t, db), opened(t, testdb.New(t, testdb.SQLite).Open(t))
	data.SetMaxOpenConns(1)
	conn, err := data.Conn(t.Context())
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	_, err = keys.SameServer(ctx, data)
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, conn.Close())
}
