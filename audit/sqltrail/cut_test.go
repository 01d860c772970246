package sqltrail_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/sqltrail"
	"github.com/crmguard/crmguard/internal/testdb"
)

// everyCut does something with the connection cut at the first call, the
// second, and so on, until none is cut any more, each time until it succeeds. It
// returns at how many calls it was.
func everyCut(t *testing.T, c *testdb.Cutter, commits bool, do func() error) int {
	t.Helper()
	for call := 1; ; call++ {
		c.Arm(call, commits)
		err := do()
		if !c.Disarm() {
			require.NoError(t, err)
			return call - 1
		}
		if err != nil {
			passing(t, err)
			require.NoError(t, do(), "after a cut at call %d", call)
		}
	}
}

// The connection is ended at every single call to the database, before it, and
// while rows come, and after each commit was done and before its answer came.
// Whoever tries again has everything once.
func TestACutConnectionLosesAndDoublesNothing(t *testing.T) {
	testdb.EachDriver(t, func(t *testing.T, d testdb.Database, driver string) {
		s := newShop(t, d.OpenWith(t, driver), "crm.example/audit")
		db, c := d.Cutting(t, driver)
		trail := s.over(db)
		for _, commits := range []bool{false, true} {
			least := func(cuts int) int { // so that a counter that counts nothing is found
				if commits {
					return 1
				}
				return cuts
			}
			e := sale(t, "p1")
			cuts := everyCut(t, c, commits, func() error {
				err := s.sell(db, trail, e)
				if err == nil {
					e = sale(t, persons(3)[s.count(`SELECT COUNT(*) FROM sales`)%3])
				}
				return err
			})
			require.GreaterOrEqual(t, cuts, least(6), "recording")

			again := false
			cuts = everyCut(t, c, commits, func() error {
				if !again {
					require.NoError(t, s.sell(s.db.DB, s.trail, sale(t, "p2")))
				}
				_, err := trail.RunOnce(t.Context())
				if again = err != nil; !again {
					require.Equal(t, s.count(`SELECT size FROM crmguard_audit_state`), s.count(`SELECT published FROM crmguard_audit_state`),
						"what is published is known, or a lost folder would pass for a new one")
				}
				return err
			})
			require.GreaterOrEqual(t, cuts, least(20), "sequencing and publishing")
			require.Zero(t, s.count(`SELECT COUNT(*) FROM crmguard_audit_events WHERE idx IS NULL`))
			s.sound()

			const recorded = `SELECT COUNT(*) FROM crmguard_audit_surrogates WHERE state IN (1, 3)`
			before, erased := s.count(recorded), 0
			cuts = everyCut(t, c, commits, func() error {
				person := fmt.Sprintf("e%d-%t", erased, commits)
				if s.count(recorded) == before+erased { // otherwise it was done, and only the answer is missing
					require.NoError(t, s.sell(s.db.DB, s.trail, sale(t, person)))
				}
				err := trail.Erase(t.Context(), "main", person)
				if err == nil {
					erased++
				}
				return err
			})
			require.GreaterOrEqual(t, cuts, least(8), "erasing")
			require.Equal(t, before+erased, s.count(recorded))
			s.sequence()
			require.Equal(t, before+erased, s.erasures(), "each erasure is recorded once")
			s.sound()
		}
	})
}

// The first opening claims the log, and asks what the database is: a cut is
// never taken for an answer.
func TestACutWhileOpening(t *testing.T) {
	testdb.EachDriver(t, func(t *testing.T, d testdb.Database, driver string) {
		s := newShop(t, d.OpenWith(t, driver), "crm.example/audit")
		db, c := d.Cutting(t, driver)
		_, err := s.db.ExecContext(t.Context(), `DELETE FROM crmguard_audit_state`)
		require.NoError(t, err)
		for _, commits := range []bool{false, true} {
			cuts := everyCut(t, c, commits, func() error {
				store, err := sqltrail.Open(t.Context(), db)
				if err != nil {
					return err
				}
				_, err = audit.Open(t.Context(), store, s.config)
				return err
			})
			require.True(t, commits || cuts >= 4)
		}
		require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM crmguard_audit_state`))
		require.NoError(t, s.sell(s.db.DB, s.trail, sale(t, "p1")))
		s.sequence()
		s.sound()
	})
}

// erasures counts the erasures in the published log.
func (s *shop) erasures() (n int) {
	s.t.Helper()
	for e, err := range auditlog.Entries(s.t.Context(), s.sink.FS()) {
		require.NoError(s.t, err)
		leaf, err := auditlog.ParseLeaf(e.Leaf)
		require.NoError(s.t, err)
		if leaf.Kind == auditlog.KindErase {
			n++
		}
	}
	return n
}
