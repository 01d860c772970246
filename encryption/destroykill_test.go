package encryption_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/insecurekeys"
	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/encryption/sqlkeys"
	"github.com/crmguard/crmguard/internal/killtest"
)

// sayingStore says each change that it has made to whoever kills this process.
type sayingStore struct{ keystore.Store }

func (s sayingStore) Update(ctx context.Context, f func(keystore.Tx) error) (keystore.State, error) {
	state, err := s.Store.Update(ctx, f)
	killtest.Say("changed")
	return state, err
}

// A process that destroys a key version is killed at any moment. Whatever is left
// can be finished, and passes for whole only while it is.
func TestADestructionThatIsKilledAnywhereGoesOn(t *testing.T) {
	const persons = 1100
	config := func(dir string) encryption.Config {
		store, err := sqlkeys.Open(t.Context(), openDB(t, filepath.Join(dir, "keys.db"), 2))
		require.NoError(t, err)
		c := &clock{t: time.Now()}
		return encryption.Config{Keys: store, Now: c.Now, Wait: c.Wait, KEK: func(context.Context, string, string) (tink.AEADWithContext, error) {
			return insecurekeys.KEK(make([]byte, 32))
		}}
	}
	retired := func(v *encryption.Vault) uint32 {
		all, err := v.KeyVersions(t.Context(), tenant)
		require.NoError(t, err)
		for _, g := range all {
			if g.State != keystore.Active {
				return g.KeyVersion
			}
		}
		return 0
	}
	if dir := killtest.Dir(); dir != "" {
		cfg := config(dir)
		cfg.Keys = sayingStore{cfg.Keys}
		v, err := encryption.Open(t.Context(), cfg)
		require.NoError(t, err)
		killtest.Say("open")
		require.NoError(t, v.DestroyKeyVersion(t.Context(), tenant, retired(v), holds(0)))
		return
	}
	rounds, moments := killtest.Rounds(t)
	for range min(rounds, 10) {
		dir := t.TempDir()
		require.NoError(t, sqlkeys.Install(t.Context(), openDB(t, filepath.Join(dir, "keys.db"), 1)))
		v, err := encryption.Create(t.Context(), config(dir))
		require.NoError(t, err)
		require.NoError(t, v.AddTenant(t.Context(), tenant))
		everybody := make([]string, persons)
		for i := range everybody {
			everybody[i] = fmt.Sprintf("p%04d", i)
		}
		require.NoError(t, v.Ensure(t.Context(), tenant, everybody...))
		_, err = v.NewKeyVersion(t.Context(), tenant)
		require.NoError(t, err)
		old := retired(v)

		killtest.Kill(t, dir, killtest.At{Count: 1 + moments.IntN(5), Pause: time.Duration(moments.IntN(3000)) * time.Microsecond})
		cfg := config(dir)
		left := 0
		require.NoError(t, cfg.Keys.Snapshot(t.Context(), func(tx keystore.Tx) error {
			rows, err := tx.Page(t.Context(), keystore.Page{Kind: keystore.KindKey, Tenant: tenant, KeyVersion: old, Limit: 2 * persons})
			left = len(rows.Keys)
			return err
		}))
		v, err = encryption.Open(t.Context(), cfg)
		require.NoError(t, err)
		was := stateOf(t, v, old)
		require.Equal(t, left < persons, was == keystore.Deleting || was == keystore.Destroyed, "%d keys are left of a key version that is %s", left, was)
		err = v.DestroyKeyVersion(t.Context(), tenant, old, holds(1))
		switch {
		case was == keystore.Destroyed:
			require.NoError(t, err)
		case left == persons:
			require.ErrorIs(t, err, encryption.ErrInUse)
			require.Equal(t, keystore.Retired, stateOf(t, v, old))
		default:
			require.ErrorIs(t, err, encryption.ErrInUse)
			require.Equal(t, keystore.Deleting, stateOf(t, v, old))
		}
		require.NoError(t, v.DestroyKeyVersion(t.Context(), tenant, old, holds(0)))
		require.Equal(t, keystore.Destroyed, stateOf(t, v, old))
	}
}
