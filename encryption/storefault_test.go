package encryption_test

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/keystore"
)

func makeFolder(path string) error { return os.Mkdir(path, 0o700) }

// countingTenants counts how often a tenant is read.
type countingTenants struct {
	keystore.Store
	reads int
}

func (c *countingTenants) Tenant(ctx context.Context, tenant string) (keystore.Rows, error) {
	c.reads++
	return c.Store.Tenant(ctx, tenant)
}

// failingPages answers an error where rows of a kind are read in a view.
type failingPages struct {
	keystore.Store
	kind keystore.Kind
	err  error
}

func (f *failingPages) Snapshot(ctx context.Context, do func(keystore.Tx) error) error {
	return f.Store.Snapshot(ctx, func(tx keystore.Tx) error { return do(failingPagesTx{tx, f}) })
}

type failingPagesTx struct {
	keystore.Tx
	*failingPages
}

func (f failingPagesTx) Page(ctx context.Context, page keystore.Page) (keystore.Rows, error) {
	if page.Kind == f.kind {
		return keystore.Rows{}, f.err
	}
	return f.Tx.Page(ctx, page)
}

// A key store that fails while a copy is written is no key copy that is damaged.
func TestAStoreThatFailsIsNoDamagedCopy(t *testing.T) {
	for _, kind := range []keystore.Kind{keystore.KindKeyset, keystore.KindKeyVersion, keystore.KindOwner, keystore.KindKey, keystore.KindAlias, keystore.KindIndex, keystore.KindMark} {
		e := newEnv(t, 1)
		e.insert(t, "c1", "p1")
		fault := errors.New("connection reset")
		cfg := e.cfg
		store := &failingPages{Store: e.store, err: fault}
		cfg.Keys = store
		v, err := encryption.Open(t.Context(), cfg)
		require.NoError(t, err)
		store.kind = kind
		_, err = v.WriteCopy(t.Context(), t.TempDir())
		require.ErrorIs(t, err, encryption.ErrStore, kind)
		require.ErrorIs(t, err, fault, kind)
		require.NotErrorIs(t, err, encryption.ErrCopy, kind)
	}
}
