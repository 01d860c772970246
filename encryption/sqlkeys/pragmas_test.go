package sqlkeys_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/encryption/sqlkeys"
)

// A file of SQLite that loses commits when the power fails keeps no keys, nor
// does one that leaves deleted keys behind, from the first call on.
func TestSQLiteKeepsWhatItSaysAndForgetsWhatItIsTold(t *testing.T) {
	for pragmas, want := range map[string]error{
		"_pragma=secure_delete(1)&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)":    sqlkeys.ErrSynchronous,
		"_pragma=secure_delete(1)&_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)":       sqlkeys.ErrSynchronous,
		"_pragma=secure_delete(1)&_pragma=journal_mode(DELETE)&_pragma=synchronous(NORMAL)": sqlkeys.ErrSynchronous,
		"_pragma=secure_delete(1)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)":      nil,
		"_pragma=secure_delete(1)&_pragma=journal_mode(DELETE)&_pragma=synchronous(EXTRA)":  nil,
		"_pragma=secure_delete(1)":    nil, // FULL is the default of SQLite
		"_pragma=synchronous(FULL)":   sqlkeys.ErrSecureDelete,
		"_pragma=secure_delete(FAST)": sqlkeys.ErrSecureDelete,
	} {
		db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "keys.db")+"?"+pragmas)
		require.NoError(t, err)
		defer func() { require.NoError(t, db.Close()) }()
		require.ErrorIs(t, sqlkeys.Install(t.Context(), db), want, pragmas)
		_, err = sqlkeys.Open(t.Context(), db)
		if want == nil {
			require.NoError(t, err, pragmas)
		} else {
			require.ErrorIs(t, err, want, pragmas)
		}
	}
}

// Pragmas belong to connections, and a pool may have set one of them otherwise:
// nothing is changed through it, and all else goes on.
func TestAConnectionThatWasSetOtherwiseChangesNothing(t *testing.T) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "keys.db")+"?_pragma=secure_delete(1)")
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	db.SetMaxOpenConns(1)
	require.NoError(t, sqlkeys.Install(t.Context(), db))
	store, err := sqlkeys.Open(t.Context(), db)
	require.NoError(t, err)
	change := func(tx keystore.Tx) error {
		return tx.Write(t.Context(), keystore.Change{Put: keystore.Rows{Owners: []keystore.OwnerRow{{Tenant: "main", Owner: "p1", State: keystore.Live}}}})
	}
	update := func(ctx context.Context) error {
		_, err := store.Update(ctx, change)
		return err
	}
	for pragma, want := range map[string]error{`PRAGMA synchronous = NORMAL`: sqlkeys.ErrSynchronous, `PRAGMA secure_delete = FAST`: sqlkeys.ErrSecureDelete} {
		must(t, db, pragma)
		require.ErrorIs(t, update(t.Context()), want)
		require.ErrorIs(t, store.Create(t.Context(), change), want)
		state, err := store.State(t.Context())
		require.NoError(t, err, "reading goes on")
		require.Zero(t, state.Sequence)
		must(t, db, `PRAGMA synchronous = FULL`)
		must(t, db, `PRAGMA secure_delete = 1`)
	}
	require.NoError(t, store.Create(t.Context(), change))
	require.NoError(t, update(t.Context()))
}
