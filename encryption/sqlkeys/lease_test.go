package sqlkeys_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/encryption/sqlkeys"
	"github.com/crmguard/crmguard/internal/testdb"
)

// counted counts how many owners are read.
type counted struct {
	*sqlkeys.Store
	owners atomic.Int64
}

func (c *counted) Owners(ctx context.Context, tenant string, owners []string) (keystore.Rows, error) {
	c.owners.Add(int64(len(owners)))
	return c.Store.Owners(ctx, tenant, owners)
}

// On every database: a hundred and fifty persons, merged ones among them, are
// erased with one wait, another process notices at its next comparison, and
// keeps what it has of everybody else; and the lease is the store's.
func TestManyErasuresWaitOnceAndNarrowNobodyElse(t *testing.T) {
	eachDriver(t, func(t *testing.T, d testdb.Database, driver string) {
		vault := installed(t, d, driver)
		var persons, stay []string
		for i := range 150 {
			persons, stay = append(persons, fmt.Sprintf("p%03d \u00e4'\"", i)), append(stay, fmt.Sprintf("P%03d \u00e4'\"", i))
		}
		require.NoError(t, vault.Ensure(t.Context(), tenant, append(stay, persons...)...))
		require.NoError(t, vault.AddAlias(t.Context(), tenant, persons[149], persons[0]))

		store, err := sqlkeys.Open(t.Context(), d.OpenWith(t, driver))
		require.NoError(t, err)
		now := time.Now()
		reads := &counted{Store: store}
		cfg := config(reads)
		cfg.Now = func() time.Time { return now }
		other, err := encryption.Open(t.Context(), cfg)
		require.NoError(t, err)
		require.NoError(t, other.Ensure(t.Context(), tenant, append(stay, persons[0])...))

		var waits []time.Duration
		cfg = config(store)
		cfg.Wait = func(_ context.Context, d time.Duration) error { waits = append(waits, d); return nil }
		eraser, err := encryption.Open(t.Context(), cfg)
		require.NoError(t, err)
		require.NoError(t, eraser.ChangeLease(t.Context(), 7*time.Second))
		receipts, err := eraser.EraseMany(t.Context(), tenant, persons[:149]...)
		require.NoError(t, err)
		require.Equal(t, []time.Duration{7 * time.Second}, waits)
		keys := 0
		for _, r := range receipts {
			keys += r.Keys
		}
		require.Equal(t, 150, keys)
		rows, err := store.Owners(t.Context(), tenant, persons)
		require.NoError(t, err)
		require.Empty(t, rows.Keys)

		now = now.Add(encryption.DefaultLease)
		before := reads.owners.Load()
		require.NoError(t, other.Ensure(t.Context(), tenant, stay...))
		require.LessOrEqual(t, reads.owners.Load()-before, int64(64), "nobody else's keys are read again, but for the youngest, which are looked for")
		require.ErrorIs(t, other.Ensure(t.Context(), tenant, persons[0]), encryption.ErrErased)
		require.ErrorIs(t, other.Ensure(t.Context(), tenant, persons[149]), encryption.ErrErased)
	})
}
