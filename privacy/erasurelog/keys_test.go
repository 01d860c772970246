package erasurelog_test

import (
	"context"
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// secretDigests are stand-alone keys of a fresh secret.
func secretDigests(t *testing.T) erasurelog.Digests {
	t.Helper()
	path := filepath.Join(t.TempDir(), "crm.secret")
	require.NoError(t, erasurelog.NewKeysFile(path))
	keys, err := erasurelog.KeysFile(path)
	require.NoError(t, err)
	return keys
}

// A ledger begins under one secret and moves on to other keys.
func TestALedgerMovesOnToOtherKeys(t *testing.T) {
	f := newFixture(t)
	before, after := secretDigests(t), secretDigests(t)
	both := func(ctx context.Context, label string, data []byte) ([]uint32, [][]byte, error) {
		roots, all, err := after(ctx, label, data)
		if err != nil {
			return nil, nil, err
		}
		older, rest, err := before(ctx, label, data)
		return append(roots, older...), append(all, rest...), err
	}
	under := func(keys erasurelog.Digests) {
		f.cfg.Digests = keys
		var err error
		f.log, err = erasurelog.Open(f.cfg)
		require.NoError(t, err)
	}
	read := func() error {
		_, err := f.log.Read(t.Context())
		return err
	}
	under(before)
	f.erase("ann")
	under(after)
	require.ErrorIs(t, read(), erasurelog.ErrForeign)
	under(both)
	require.Len(t, f.read().Person(f.keys("ann")...).Erasures, 1)
	f.erase("bob")
	under(after)
	require.ErrorIs(t, read(), erasurelog.ErrForeign, "the older entries need the older root")
	under(both)
	require.Len(t, f.read().Person(f.keys("bob")...).Erasures, 1)
}

func TestKeysSayWhatIsWrongWithASecret(t *testing.T) {
	for _, secret := range [][]byte{nil, make([]byte, 31), make([]byte, 32), make([]byte, 64)} {
		_, err := erasurelog.KeysFrom(secret)
		require.ErrorIs(t, err, erasurelog.ErrConfig)
		require.ErrorContains(t, err, "32 random bytes")
	}
	path := filepath.Join(t.TempDir(), "crm.secret")
	_, err := erasurelog.KeysFile(path)
	require.ErrorIs(t, err, erasurelog.ErrConfig)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, erasurelog.NewKeysFile(path))
	require.ErrorIs(t, erasurelog.NewKeysFile(path), fs.ErrExist)
}
