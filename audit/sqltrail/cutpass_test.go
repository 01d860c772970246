package sqltrail_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
)

// The connection is ended at every single call of a pass that fills a mirror and a
// copy, writes gaps, files captured rows and drops the tags of retries; and of a sale
// that may go on without its event. Nothing is lost or there twice, and what was
// lost is counted.
func TestACutConnectionInAPassOfEverything(t *testing.T) {
	testdb.EachDriver(t, func(t *testing.T, d testdb.Database, driver string) {
		if d.Name == testdb.PostgresICU {
			return // the order of text has no part in it
		}
		w := begin(t, d, driver, d.DSN(driver))
		db, c := d.Cutting(t, driver)
		cut := join(t, w.dir, func(w *works) {
			withMirror(w)
			var err error
			w.db, err = sqldb.Open(t.Context(), db)
			require.NoError(t, err)
		})
		for _, commits := range []bool{false, true} {
			again := false
			cuts := everyCut(t, c, commits, func() error {
				if !again {
					w.busy()
				}
				_, err := cut.trail.RunOnce(t.Context())
				again = err != nil
				return err
			})
			require.GreaterOrEqual(t, cuts, map[bool]int{false: 40, true: 3}[commits], "of a pass")
			before := w.count(`SELECT COUNT(*) FROM views`)
			cuts = everyCut(t, c, commits, func() error { return cut.view(t.Context()) })
			require.GreaterOrEqual(t, cuts, map[bool]int{false: 5, true: 1}[commits], "of a sale that may lose its event")
			require.Greater(t, w.count(`SELECT COUNT(*) FROM views`), before)
			cut.settle()
		}
		w.settle()
		w.verified(w.checkpoint())
		got := w.agrees()
		require.GreaterOrEqual(t, got.lost, int64(w.count(`SELECT COUNT(*) FROM views`)), "what was lost is counted, and some whose transaction was cut afterwards")
	})
}
