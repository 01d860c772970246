package sqltrail_test

import (
	"context"
	"database/sql"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/internal/testdb"
)

// repeats begins a sale that repeats an event, and leaves it open.
func (s *shop) repeats(db *sql.DB, e audit.Event) *sql.Tx {
	s.t.Helper()
	require.NoError(s.t, s.trail.Prepare(s.t.Context(), "main", people(e)...))
	tx, err := db.BeginTx(s.t.Context(), nil)
	require.NoError(s.t, err)
	_, err = s.trail.Record(s.t.Context(), tx, e)
	require.NoError(s.t, err)
	return tx
}

// A sale that repeats an event and stands still stops neither passes nor erasures: its
// retry tag is dropped when it has ended.
func TestASaleThatStandsStillStopsNobody(t *testing.T) {
	for _, name := range []testdb.Name{testdb.PostgresC, testdb.MariaDB} {
		t.Run(string(name), func(t *testing.T) {
			db := testdb.New(t, name).Open(t)
			s := newShop(t, db, "crm.example/audit")
			var ahead atomic.Int64
			s.config.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
			s.trail = s.over(db)
			e, other := sale(t, "p"), sale(t, "r")
			require.NoError(t, s.sell(db, s.trail, e))
			require.NoError(t, s.sell(db, s.trail, other))
			s.sequence()
			tags := func() int {
				return s.count(`SELECT COUNT(*) FROM crmguard_audit_events WHERE LENGTH(retry) > 0`)
			}
			before := tags()
			require.GreaterOrEqual(t, before, 2)
			ahead.Add(int64(23*time.Hour + 59*time.Minute))
			tx := s.repeats(db, e)
			ahead.Add(int64(2 * time.Minute))
			short, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			_, err := s.trail.RunOnce(short)
			require.NoError(t, err)
			require.Equal(t, 1, tags(), "all but that of the open sale")
			require.NoError(t, s.sell(db, s.trail, sale(t, "q")))
			_, err = s.trail.RunOnce(short)
			require.NoError(t, err)
			require.Zero(t, s.count(`SELECT COUNT(*) FROM crmguard_audit_events WHERE idx IS NULL`))
			require.NoError(t, s.trail.Erase(short, "main", "q"), "of somebody else")
			require.ErrorIs(t, s.trail.Erase(short, "main", "p"), audit.ErrWaiting)
			_, err = s.trail.RunOnce(short)
			require.NoError(t, err, "an open erasure holds up no pass")
			require.NoError(t, tx.Rollback())
			require.NoError(t, s.trail.Erase(short, "main", "p"))
			_, err = s.trail.RunOnce(short)
			require.NoError(t, err)
			require.Zero(t, tags())
		})
	}
}
