package sqltrail_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/testdb"
)

// While a sink hangs, sales, sequencers and erasures of others go on, on every
// database: whoever would have to wait fails here, by a limit of the database.
func TestASinkThatHangsHoldsUpNobody(t *testing.T) {
	testdb.EachDriver(t, func(t *testing.T, d testdb.Database, driver string) {
		dsn := d.DSN(driver)
		if d.Name == testdb.SQLite {
			dsn = strings.Replace(dsn, "busy_timeout(10000)", "busy_timeout(0)", 1)
			require.Contains(t, dsn, "busy_timeout(0)")
		} else {
			dsn = with(d, driver, map[testdb.Name]string{testdb.PostgresC: "lock_timeout=300", testdb.MariaDB: "innodb_lock_wait_timeout=1"})
		}
		s := newShop(t, openAt(t, driver, dsn), "crm.example/audit")
		for _, at := range []string{"tile/", "checkpoint"} {
			require.NoError(t, s.sell(s.db.DB, s.trail, sale(t, "p1")))
			reached, goOn, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
			hanging := true
			s.sink.Fail = func(op, name string) error {
				if hanging && op == "swap" && strings.HasPrefix(name, at) {
					hanging = false
					close(reached)
					<-goOn
				}
				return nil
			}
			go func() {
				_, err := s.trail.RunOnce(t.Context())
				done <- err
			}()
			select {
			case <-reached:
			case err := <-done:
				t.Fatal("the pass never came to that file", at, err)
			}
			require.NoError(t, s.sell(s.db.DB, s.trail, sale(t, "p2")), at)
			r := s.sequence()
			require.Equal(t, r.Size, r.Published, at)
			require.NoError(t, s.trail.Erase(t.Context(), "main", "p1"), at)
			close(goOn)
			require.NoError(t, <-done, at)
			s.sequence()
			s.sound()
		}
	})
}
