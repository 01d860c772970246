package sqlkeys_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/encryption/sqlkeys"
	"github.com/crmguard/crmguard/internal/testdb"
)

// A standby still has the keys of persons erased a moment ago: it is refused at
// Open, and when the pool comes to it during the life of a store.
func TestKeysAreNotReadFromAStandby(t *testing.T) {
	primary := testdb.Own(t, testdb.PostgresC)
	d := primary.New(t)
	require.NoError(t, sqlkeys.Install(t.Context(), d.Open(t)))
	standby := primary.Standby(t)
	here := standby.Follow(t, d)
	for _, driver := range d.Name.Drivers() {
		_, err := sqlkeys.Open(t.Context(), here.OpenWith(t, driver))
		require.ErrorIs(t, err, sqlkeys.ErrStandby)
		require.ErrorIs(t, sqlkeys.Install(t.Context(), here.OpenWith(t, driver)), sqlkeys.ErrStandby)
	}

	handle := standby.Before(d).Open(t)
	handle.SetMaxIdleConns(0)
	store, err := sqlkeys.Open(t.Context(), handle)
	require.NoError(t, err)
	_, err = store.State(t.Context())
	require.NoError(t, err)
	primary.Stop(t)
	_, err = store.State(t.Context())
	require.ErrorIs(t, err, sqlkeys.ErrStandby, "no lease is granted on what a standby says")
	_, err = store.Tenant(t.Context(), "main")
	require.ErrorIs(t, err, sqlkeys.ErrStandby)
	_, err = store.Update(t.Context(), func(keystore.Tx) error { return nil })
	require.ErrorIs(t, err, sqlkeys.ErrStandby)
	require.ErrorIs(t, store.Snapshot(t.Context(), func(tx keystore.Tx) error {
		_, err := tx.State(context.Background())
		return err
	}), sqlkeys.ErrStandby)
}
