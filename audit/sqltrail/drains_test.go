package sqltrail_test

import (
	"fmt"
	"math"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/audittest"
	"github.com/crmguard/crmguard/audit/sqltrail"
	"github.com/crmguard/crmguard/audit/tilesink"
	"github.com/crmguard/crmguard/internal/testdb"
)

// The column that is the lock of the state row has no tag. Whatever somebody writes
// into it, the log goes on, in every database.
func TestTheLockCountsNothing(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := d.Open(t)
		require.NoError(t, sqltrail.Install(t.Context(), db))
		store, err := sqltrail.Open(t.Context(), db)
		require.NoError(t, err)
		key, _, err := audit.GenerateKey("crm.example/audit", 0)
		require.NoError(t, err)
		sink, err := tilesink.Open(filepath.Join(t.TempDir(), "log"))
		require.NoError(t, err)
		trail, err := audit.Open(t.Context(), store, audit.Config{Name: "crm.example/audit", Tenant: "main", Key: key, Sink: sink, Keys: audittest.NewKeys()})
		require.NoError(t, err)
		for _, n := range []int64{math.MaxInt64, math.MinInt64, 1, 0} {
			_, err = db.ExecContext(t.Context(), fmt.Sprintf(`UPDATE crmguard_audit_state SET drains = %d`, n))
			require.NoError(t, err)
			_, err := trail.Note(t.Context(), audit.Event{Tenant: "main", Actor: "u-1", Action: "a.b"})
			require.NoError(t, err)
			r, err := trail.RunOnce(t.Context())
			require.NoError(t, err)
			require.Equal(t, 1, r.Sequenced)
		}
	})
}
