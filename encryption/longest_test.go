package encryption_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/internal/testdb"
)

// An operator's program, with a shorter longest transaction than the application has,
// waits for that of the application, whichever of the two was opened first.
func TestWhoWaitsForOthersWaitsForTheLongestTransactionOfAll(t *testing.T) {
	for name, appFirst := range map[string]bool{"the application first": true, "the operator first": false} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, 4)
			app := e.cfg
			app.LongestTransaction = 10 * time.Minute
			cfg, waits := e.waited()
			open := func(cfg encryption.Config) *encryption.Vault {
				v, err := encryption.Open(t.Context(), cfg)
				require.NoError(t, err)
				return v
			}
			if appFirst {
				open(app)
			}
			operator := open(cfg)
			if !appFirst {
				open(app)
			}
			longest := encryption.DefaultLease + app.LongestTransaction
			require.NoError(t, insertMail(t, e.db, e.table(t, e.vault, before()), "c1", "p1", false))
			people := e.table(t, operator, after())

			require.NoError(t, people.FenceOldWriters(t.Context(), tenant))
			require.Equal(t, []time.Duration{longest}, *waits)
			require.NoError(t, people.RebuildIndexes(e.db, tenant)(t.Context()))
			*waits = nil
			require.NoError(t, e.table(t, operator, before()).RetireIndex(t.Context(), tenant, "email_idx", 1))
			require.Equal(t, []time.Duration{longest}, *waits)

			old, err := operator.KeyVersions(t.Context(), tenant)
			require.NoError(t, err)
			_, err = operator.NewKeyVersion(t.Context(), tenant)
			require.NoError(t, err)
			_, err = people.Reseal(t.Context(), e.db, tenant, jobs.ResealOptions{})
			require.NoError(t, err)
			*waits = nil
			require.NoError(t, operator.DestroyKeyVersion(t.Context(), tenant, old[0].KeyVersion, people.Holder(e.db)))
			require.Equal(t, []time.Duration{longest, encryption.DefaultLease}, *waits)

			asked, err := people.LongestTransaction(t.Context())
			require.NoError(t, err)
			require.Equal(t, app.LongestTransaction, asked)
			require.Equal(t, app.LongestTransaction, people.Terms().LongestTransaction)
		})
	}
}

// On each database: a start writes only where nobody was opened with a longer one, and
// one call lowers what is waited for, until somebody is opened with a longer one.
func TestTheLongestTransactionIsLoweredByOneCall(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		w := newWorn(t, d)
		start := stateOfStore(t, w.store)
		require.Equal(t, encryption.DefaultLongestTransaction, start.LongestTransaction)
		open := func(longest time.Duration) *encryption.Vault {
			cfg := w.cfg
			cfg.LongestTransaction = longest
			v, err := encryption.Open(t.Context(), cfg)
			require.NoError(t, err)
			return v
		}
		v := open(time.Second)
		require.Equal(t, start, stateOfStore(t, w.store), "nothing was written")
		long := open(time.Hour + 1) // a row holds microseconds
		raised := stateOfStore(t, w.store)
		require.Equal(t, time.Hour+time.Microsecond, raised.LongestTransaction)
		require.Equal(t, start.Barrier, raised.Barrier, "nobody reads anything afresh for it")
		open(time.Hour + 1)
		require.Equal(t, raised, stateOfStore(t, w.store))

		require.ErrorIs(t, long.ChangeLongestTransaction(t.Context(), time.Minute), encryption.ErrDefinition)
		require.Equal(t, raised, stateOfStore(t, w.store))
		require.NoError(t, v.ChangeLongestTransaction(t.Context(), time.Minute))
		require.Equal(t, time.Minute, stateOfStore(t, w.store).LongestTransaction)
		require.Equal(t, raised.Lease, stateOfStore(t, w.store).Lease)
		open(2 * time.Minute)
		require.Equal(t, 2*time.Minute, stateOfStore(t, w.store).LongestTransaction)
	})
}
