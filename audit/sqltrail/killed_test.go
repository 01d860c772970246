package sqltrail_test

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/testdb"
)

// The server is killed at any moment while sales are recorded, sequenced and
// published, and comes back: each sale that was committed, answered or not, has
// exactly one event in the log, no event is without its sale, and the published
// log and the database agree.
func TestAKilledServerLosesAndDoublesNothing(t *testing.T) {
	const rounds, writers = 3, 4
	for _, of := range []struct {
		name   testdb.Name
		driver string
	}{{testdb.PostgresC, "pgx"}, {testdb.PostgresICU, "postgres"}, {testdb.MariaDB, "mysql"}} {
		t.Run(string(of.name), func(t *testing.T) {
			server := testdb.Own(t, of.name)
			d := server.New(t)
			s := newShop(t, d.OpenWith(t, of.driver), "crm.example/audit")
			for round := range rounds {
				acknowledged, published := s.untilKilled(t, server, writers, round)
				server.Restart(t)
				s.db.SetMaxIdleConns(0) // the next process has no connections of the last one's
				s.db.SetMaxIdleConns(2)
				s.trail = s.over(s.db.DB)
				s.sequence()
				s.sound()
				require.Zero(t, s.count(`SELECT COUNT(*) FROM crmguard_audit_events WHERE idx IS NULL`))
				for _, id := range acknowledged {
					require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM sales WHERE id = '`+id+`'`), "what was answered for stays, and sound finds its event")
				}
				require.GreaterOrEqual(t, len(acknowledged), 2*writers)
				require.NotZero(t, published, "the sequencer was killed at its work")
			}
		})
	}
}

// untilKilled sells with several writers and publishes with one sequencer until
// the server is killed under them, and says which sales were answered for, and
// how many passes published something.
func (s *shop) untilKilled(t *testing.T, server *testdb.Server, writers, round int) (acknowledged []string, published int) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var mu sync.Mutex
	var faults []error
	enough := make(chan struct{})
	var once sync.Once
	count := func(ids ...string) {
		mu.Lock()
		defer mu.Unlock()
		acknowledged = append(acknowledged, ids...)
		if len(acknowledged) >= 2*writers+7*round && published > round {
			once.Do(func() { close(enough) })
		}
	}
	var down atomic.Bool
	fault := func(err error) {
		if !down.Load() {
			t.Errorf("the server is up: %v", err)
		}
		mu.Lock()
		defer mu.Unlock()
		faults = append(faults, err)
	}
	var work sync.WaitGroup
	for w := range writers {
		work.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				e := sale(t, fmt.Sprintf("p%d", (w+n)%3))
				if err := s.trail.Prepare(ctx, "main", e.Object.ID); err != nil {
					fault(err)
					continue
				}
				if err := tried(ctx, s.db.DB, func(tx *sql.Tx) error {
					if _, err := tx.ExecContext(ctx, s.db.Bind(`INSERT INTO sales (id) VALUES (?)`), e.ID); err != nil {
						return err
					}
					return only(s.trail.Record(ctx, tx, e))
				}); err != nil {
					fault(err) // whether it was committed is not known, and asked afterwards
					continue
				}
				count(e.ID)
			}
		})
	}
	work.Go(func() {
		for ctx.Err() == nil {
			switch r, err := s.trail.RunOnce(ctx); {
			case err != nil:
				fault(err)
			case r.Sequenced > 0:
				mu.Lock()
				published++
				mu.Unlock()
				count()
			}
		}
	})
	select {
	case <-enough:
	case <-time.After(time.Minute):
		t.Error("nothing is recorded and published")
	}
	down.Store(true)
	server.Kill(t)
	stop()
	work.Wait()
	for _, err := range faults {
		passing(t, err)
	}
	return acknowledged, published
}
