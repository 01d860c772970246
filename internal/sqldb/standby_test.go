package sqldb_test

import (
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
)

func nothing(*sql.Tx) error { return nil }

// A hot standby answers every question, with a state of some time ago. It is
// refused when it is opened, and when a pool comes to it during its life.
func TestAStandbyIsRefused(t *testing.T) {
	primary := testdb.Own(t, testdb.PostgresC)
	d := primary.New(t)
	require.NoError(t, demo(2).Install(t.Context(), d.Open(t)))
	standby := primary.Standby(t)
	here := standby.Follow(t, d)
	for _, driver := range here.Name.Drivers() {
		handle := here.OpenWith(t, driver)
		db := open(t, handle)
		for what, err := range map[string]error{
			"check":    demo(2).Check(t.Context(), db),
			"install":  demo(3).Install(t.Context(), handle),
			"snapshot": db.Snapshot(t.Context(), nothing),
			"write":    db.Write(t.Context(), nothing),
			"wait":     db.WaitForWriters(t.Context(), "crmguard_demo_word", nil),
		} {
			require.ErrorIs(t, err, sqldb.ErrStandby, what)
			require.ErrorContains(t, err, "connect to the primary", what)
		}
	}

	handle := standby.Before(d).Open(t)
	handle.SetMaxIdleConns(0) // each transaction has a connection of its own
	db := open(t, handle)
	require.NoError(t, demo(2).Check(t.Context(), db))
	require.NoError(t, db.Snapshot(t.Context(), nothing))
	require.NoError(t, db.Write(t.Context(), nothing))
	primary.Stop(t)
	require.ErrorIs(t, db.Snapshot(t.Context(), nothing), sqldb.ErrStandby)
	require.ErrorIs(t, db.Write(t.Context(), nothing), sqldb.ErrStandby)

	_, err := standby.Admin(t).ExecContext(t.Context(), `SELECT pg_promote(true, 60)`)
	require.NoError(t, err)
	require.NoError(t, db.Snapshot(t.Context(), nothing), "it is the primary now")
	require.NoError(t, db.Write(t.Context(), func(tx *sql.Tx) error {
		return db.Insert(t.Context(), tx, insert(false), [][]any{{"main", "a", 1, nil}})
	}))
}

// The rights of this account would let it write all the same.
func TestAReadOnlyServerIsRefused(t *testing.T) {
	server := testdb.Own(t, testdb.MariaDB)
	handle := server.New(t).Open(t)
	require.NoError(t, demo(2).Install(t.Context(), handle))
	db := open(t, handle)
	set := func(value string) {
		_, err := server.Admin(t).ExecContext(t.Context(), `SET GLOBAL read_only = `+value)
		require.NoError(t, err)
	}
	set("1")
	for what, err := range map[string]error{
		"check":    demo(2).Check(t.Context(), db),
		"install":  demo(3).Install(t.Context(), handle),
		"snapshot": db.Snapshot(t.Context(), nothing),
		"write":    db.Write(t.Context(), nothing),
		"wait":     db.WaitForWriters(t.Context(), "crmguard_demo_word", nil),
	} {
		require.ErrorIs(t, err, sqldb.ErrStandby, what)
		require.ErrorContains(t, err, "read_only", what)
	}
	set("0")
	require.NoError(t, demo(2).Check(t.Context(), db))
	require.NoError(t, db.Snapshot(t.Context(), nothing))
	require.NoError(t, db.Write(t.Context(), nothing))
}
