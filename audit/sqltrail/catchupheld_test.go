package sqltrail_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/internal/testdb"
)

// saved copies the tables of a trail beside themselves; the func puts them back, as a
// backup does.
func (s *shop) saved(name testdb.Name) (back func()) {
	s.t.Helper()
	exec := func(query string) {
		_, err := s.db.ExecContext(s.t.Context(), query)
		require.NoError(s.t, err, query)
	}
	tables := []string{"log", "events", "entries", "found", "persons", "openings", "surrogates", "heads", "aside", "tiles", "state"}
	for _, table := range tables {
		exec(`CREATE TABLE saved_` + table + ` AS SELECT * FROM crmguard_audit_` + table)
	}
	own := ""
	if name == testdb.PostgresC {
		own = ` OVERRIDING SYSTEM VALUE`
	}
	return func() {
		for _, table := range tables {
			exec(`TRUNCATE TABLE crmguard_audit_` + table) // no row stands behind that waits to be purged, and is locked as one that is there
			exec(`INSERT INTO crmguard_audit_` + table + own + ` SELECT * FROM saved_` + table)
		}
	}
}

// A sale that repeats a published event on a restored database and stands still keeps
// CatchUp for seconds: what comes before it is back, and the event is named.
func TestCatchUpNamesWhatAnOpenSaleHolds(t *testing.T) {
	for _, name := range []testdb.Name{testdb.PostgresC, testdb.MariaDB} {
		for _, commits := range []bool{false, true} {
			t.Run(string(name)+map[bool]string{false: "/rolled back", true: "/committed"}[commits], func(t *testing.T) {
				db := testdb.New(t, name).Open(t)
				s := newShop(t, db, "crm.example/audit")
				require.NoError(t, s.sell(db, s.trail, sale(t, "p")))
				s.sequence()
				back := s.saved(name)
				published := []audit.Event{sale(t, "p"), sale(t, "q"), sale(t, "r")}
				for _, e := range published {
					require.NoError(t, s.sell(db, s.trail, e))
				}
				size := s.sequence().Size
				back()

				s.trail = s.over(db)
				had := s.count(`SELECT COUNT(*) FROM crmguard_audit_entries`)
				tx := s.repeats(db, published[1])
				defer func() { _ = tx.Rollback() }() // of one that has not committed
				begun := time.Now()
				short, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
				defer cancel()
				err := s.trail.CatchUp(short)
				require.ErrorIs(t, err, audit.ErrHeld)
				require.ErrorContains(t, err, published[1].ID)
				require.NotContains(t, err.Error(), published[2].ID)
				require.Less(t, time.Since(begun), time.Minute)
				require.Equal(t, had+1, s.count(`SELECT COUNT(*) FROM crmguard_audit_entries`), "the one before it")

				want := 0
				if commits {
					require.NoError(t, tx.Commit())
					want = 1
				} else {
					require.NoError(t, tx.Rollback())
				}
				require.NoError(t, s.trail.CatchUp(short))
				require.EqualValues(t, size, s.count(`SELECT COUNT(*) FROM crmguard_audit_entries`))
				require.Equal(t, want, s.count(`SELECT COUNT(*) FROM crmguard_audit_aside`), "the event is the published one")
				_, err = s.trail.RunOnce(short)
				require.NoError(t, err)
				if !commits {
					s.sound()
				}
			})
		}
	}
}
