package encryption_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/keycopy"
)

// A process that goes to the KEK for what it has read is overtaken by one that closes
// the epoch and destroys that KEK: it reads the store once more before it says that the
// KEK does not serve.
func TestAnEpochThatEndsMeanwhileIsNoKEKThatFails(t *testing.T) {
	for name, call := range map[string]func(e *env, cfg encryption.Config, ready func()) error{
		"a start": func(_ *env, cfg encryption.Config, ready func()) error {
			ready()
			_, err := encryption.Open(context.Background(), cfg)
			return err
		},
		"a tenant's first use": func(_ *env, cfg encryption.Config, ready func()) error {
			v, err := encryption.Open(context.Background(), cfg)
			if err != nil {
				return err
			}
			ready()
			return v.Ensure(context.Background(), tenant, "p1", "p2")
		},
		"a new tenant": func(_ *env, cfg encryption.Config, ready func()) error {
			v, err := encryption.Open(context.Background(), cfg)
			if err != nil {
				return err
			}
			ready()
			return v.AddTenant(context.Background(), "t2")
		},
		"a key copy": func(e *env, cfg encryption.Config, ready func()) error {
			v, err := encryption.Open(context.Background(), cfg)
			if err != nil {
				return err
			}
			ready()
			_, err = v.WriteCopy(context.Background(), e.keysPath+".copies")
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, 4)
			e.insert(t, "c1", "p1")
			require.NoError(t, makeFolder(e.keysPath+".copies"))
			cfg := e.cfg
			armed, ended := false, false
			cfg.KEK = func(ctx context.Context, of, name string) (tink.AEADWithContext, error) {
				if armed && name == "kek-1" {
					armed, ended = false, true
					_, err := e.vault.RewrapKeys(ctx, keycopy.Rewrap{KEK: "kek-2", Copy: func(context.Context) error { return nil }, Destroy: e.kms.destroy})
					if err != nil {
						return nil, errors.Join(errors.New("the epoch"), err)
					}
				}
				return e.kms.get(ctx, of, name)
			}
			require.NoError(t, call(e, cfg, func() { armed = true }))
			require.True(t, ended)
		})
	}
}

// A KEK that fails, and whose keyset is what it was, is named, and while it is left
// alone nobody asks the key store for its sake.
func TestAKEKThatRestsCostsTheStoreNothing(t *testing.T) {
	e := newEnv(t, 1)
	store := &countingTenants{Store: e.store}
	cfg := e.cfg
	cfg.Keys = store
	v, err := encryption.Open(t.Context(), cfg)
	require.NoError(t, err)
	require.NoError(t, e.kms.destroy(t.Context(), "kek-1"))
	require.ErrorIs(t, v.Ensure(t.Context(), tenant, "p1"), encryption.ErrKEK)
	before := store.reads
	for range 10 {
		require.ErrorIs(t, v.Ensure(t.Context(), tenant, "p1"), encryption.ErrKEK)
	}
	require.Equal(t, before, store.reads)
}
