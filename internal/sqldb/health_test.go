package sqldb_test

import (
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/health"
	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
)

// faults are the settings that are not well, by name, and the level of the sum.
func faults(t *testing.T, db *sqldb.DB) (map[string]health.Level, health.Level) {
	t.Helper()
	findings, err := db.Health(t.Context(), "p.store")
	require.NoError(t, err)
	out := map[string]health.Level{}
	var sum health.Level
	for _, f := range findings {
		require.Contains(t, []string{"p.store.durability", "p.store.replica"}, f.Name)
		require.Equal(t, f.Level == health.OK, f.Remedy == "", "what is not well has a remedy: %v", f)
		if f.Subject == "" {
			sum = max(sum, f.Level)
			continue
		}
		out[f.Subject] = f.Level
	}
	return out, sum
}

func open(t *testing.T, handle *sql.DB) *sqldb.DB {
	t.Helper()
	db, err := sqldb.Open(t.Context(), handle)
	require.NoError(t, err)
	return db
}

func TestAServerAsItIsInstalledIsDurable(t *testing.T) {
	each(t, func(t *testing.T, db *sqldb.DB) {
		settings, sum := faults(t, db)
		require.Empty(t, settings)
		require.Equal(t, health.OK, sum)
	})
}

func TestSettingsThatLoseCommitsAreFound_PostgreSQL(t *testing.T) {
	server := testdb.Own(t, testdb.PostgresC, "fsync=off", "full_page_writes=off")
	d := server.New(t)
	for _, driver := range d.Name.Drivers() {
		settings, sum := faults(t, open(t, d.OpenWith(t, driver)))
		require.Equal(t, map[string]health.Level{"fsync": health.Alarm, "full_page_writes": health.Alarm}, settings)
		require.Equal(t, health.Alarm, sum)
	}
}

// The library's own transactions are durable although the application's are not.
func TestAnApplicationWithoutSynchronousCommitIsANotice(t *testing.T) {
	d := testdb.New(t, testdb.PostgresC)
	handle := d.Open(t)
	require.NoError(t, demo(2).Install(t.Context(), handle))
	_, err := handle.ExecContext(t.Context(), `DO $$ BEGIN EXECUTE 'ALTER DATABASE ' || quote_ident(current_database()) || ' SET synchronous_commit = off'; END $$`)
	require.NoError(t, err)
	for _, driver := range d.Name.Drivers() {
		db := open(t, d.OpenWith(t, driver))
		settings, sum := faults(t, db)
		require.Equal(t, map[string]health.Level{"synchronous_commit": health.Notice}, settings)
		require.Equal(t, health.Notice, sum)
		var now string
		require.NoError(t, db.Write(t.Context(), func(tx *sql.Tx) error {
			return tx.QueryRowContext(t.Context(), `SHOW synchronous_commit`).Scan(&now)
		}))
		require.Equal(t, "on", now)
	}
	_, err = handle.ExecContext(t.Context(), `DO $$ BEGIN EXECUTE 'ALTER DATABASE ' || quote_ident(current_database()) || ' RESET synchronous_commit'; END $$`)
	require.NoError(t, err)
	settings, _ := faults(t, open(t, d.Open(t)))
	require.Empty(t, settings)
}

func TestSettingsThatLoseCommitsAreFound_MariaDB(t *testing.T) {
	server := testdb.Own(t, testdb.MariaDB, "skip-innodb-doublewrite", "log-bin=log", "sync-binlog=0", "server-id=1", "innodb-flush-log-at-trx-commit=2", "innodb-flush-method=nosync")
	db := open(t, server.New(t).Open(t))
	settings, sum := faults(t, db)
	require.Equal(t, map[string]health.Level{
		"innodb_doublewrite": health.Alarm, "sync_binlog": health.Alarm, "innodb_flush_log_at_trx_commit": health.Alarm, "innodb_flush_method": health.Alarm,
	}, settings)
	require.Equal(t, health.Alarm, sum)

	admin := server.Admin(t)
	set := func(statement string) {
		t.Helper()
		_, err := admin.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
	set(`SET GLOBAL sync_binlog = 1`)
	for _, flush := range []string{"0", "2"} {
		set(`SET GLOBAL innodb_flush_log_at_trx_commit = ` + flush)
		settings, _ = faults(t, db)
		require.Contains(t, settings, "innodb_flush_log_at_trx_commit", flush)
	}
	for _, flush := range []string{"1", "3"} {
		set(`SET GLOBAL innodb_flush_log_at_trx_commit = ` + flush)
		settings, _ = faults(t, db)
		require.Equal(t, map[string]health.Level{"innodb_doublewrite": health.Alarm, "innodb_flush_method": health.Alarm}, settings, "3 writes as 1 does, and once more")
	}

	// A server that applies the changes of another one, which it cannot reach,
	// and takes writes.
	set(`CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = 1, MASTER_USER = 'x', MASTER_PASSWORD = 'x'`)
	set(`START SLAVE`)
	require.Contains(t, replicas(t, db), health.Notice)
	set(`STOP SLAVE`)
	require.Equal(t, []health.Level{health.OK}, replicas(t, db))
}

func replicas(t *testing.T, db *sqldb.DB) (out []health.Level) {
	t.Helper()
	findings, err := db.Health(t.Context(), "p.store")
	require.NoError(t, err)
	for _, f := range findings {
		if f.Name == "p.store.replica" {
			out = append(out, f.Level)
		}
	}
	return out
}

func TestSettingsThatLoseCommitsAreFound_SQLite(t *testing.T) {
	for pragmas, want := range map[string]map[string]health.Level{
		"_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)":    {"synchronous": health.Alarm},
		"_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)":       {"synchronous": health.Alarm},
		"_pragma=journal_mode(MEMORY)&_pragma=synchronous(FULL)":   {"journal_mode": health.Alarm},
		"_pragma=journal_mode(OFF)&_pragma=synchronous(NORMAL)":    {"journal_mode": health.Alarm, "synchronous": health.Alarm},
		"_pragma=journal_mode(DELETE)&_pragma=synchronous(FULL)":   {"journal_mode": health.Notice},
		"_pragma=journal_mode(DELETE)&_pragma=synchronous(EXTRA)":  {},
		"_pragma=journal_mode(PERSIST)&_pragma=synchronous(FULL)":  {},
		"_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)":      {},
		"mode=memory&cache=shared&_pragma=synchronous(FULL)":       {"journal_mode": health.Alarm},
		"_pragma=journal_mode(TRUNCATE)&_pragma=synchronous(FULL)": {},
	} {
		handle, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "one.db")+"?"+pragmas)
		require.NoError(t, err)
		got, _ := faults(t, open(t, handle))
		require.Equal(t, want, got, pragmas)
		require.NoError(t, handle.Close())
	}
}
