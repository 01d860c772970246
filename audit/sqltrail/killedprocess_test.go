package sqltrail_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/internal/killtest"
	"github.com/crmguard/crmguard/internal/testdb"
)

// untilKilled records and publishes, and says what has committed, until the parent
// ends it.
func untilKilled(t *testing.T, dir string) {
	t.Helper()
	w := join(t, dir, nil)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	for writer := range 2 {
		wg.Go(func() {
			for n := writer; ctx.Err() == nil; n++ {
				if id, err := w.sell(ctx, n); err == nil {
					killtest.Say("sale " + id)
				}
			}
		})
	}
	wg.Go(func() {
		for ctx.Err() == nil {
			if w.view(ctx) == nil {
				w.sayLost(ctx)
			}
		}
	})
	wg.Go(func() {
		for ctx.Err() == nil {
			id := rand.Int64N(1 << 62)
			if w.deal(ctx, id, id%2 == 0 || !w.captures()) == nil {
				killtest.Say(fmt.Sprint("deal ", id))
			}
		}
	})
	for range 2 {
		wg.Go(func() {
			for ctx.Err() == nil {
				_, _ = w.trail.RunOnce(ctx) // the parent looks at what comes of it
			}
		})
	}
	wg.Wait()
}

// sayLost says that what was lost so far is on the way into the log, where it is.
func (w *works) sayLost(ctx context.Context) {
	all, err := w.trail.Status(ctx)
	if err != nil {
		return
	}
	for _, f := range all {
		if f.Name == "audit.gap" && f.Value == 0 {
			killtest.Say("lost")
		}
	}
}

// survivor is a process that nobody kills: it records and publishes beside those
// that are killed, and fails at nothing that does not pass.
func (w *works) survivor(ctx context.Context) (sold func() []string) {
	var ids []string
	done := make(chan struct{})
	ctx, stop := context.WithCancel(ctx)
	go func() {
		defer close(done)
		for n := 0; ctx.Err() == nil; n++ {
			if id, err := w.sell(ctx, n); err == nil {
				ids = append(ids, id)
			} else if ctx.Err() == nil {
				passing(w.t, err)
			}
			if _, err := w.trail.RunOnce(ctx); err != nil && ctx.Err() == nil {
				passing(w.t, err)
			}
			time.Sleep(10 * time.Millisecond) // others have their turn
		}
	}()
	return func() []string {
		stop()
		<-done
		return ids
	}
}

// Whenever processes are killed that record and sequence, on whichever database,
// beside one that goes on: what they said had committed is in the log, once; each
// sale has one event; each captured row one entry; what was lost is counted, and
// not twice; all checkpoints that anybody saw are of one history.
func TestKilledProcessesLoseAndDoubleNothing(t *testing.T) {
	if dir := killtest.Dir(); dir != "" {
		untilKilled(t, dir)
		return
	}
	for _, on := range []struct {
		name   testdb.Name
		driver string
	}{{testdb.SQLite, "sqlite"}, {testdb.PostgresC, "pgx"}, {testdb.PostgresICU, "postgres"}, {testdb.MariaDB, "mysql"}} {
		t.Run(string(on.name), func(t *testing.T) {
			d := testdb.New(t, on.name)
			killRounds(t, begin(t, d, on.driver, d.DSN(on.driver)))
		})
	}
}

func killRounds(t *testing.T, w *works) {
	t.Helper()
	rounds, moments := killtest.Rounds(t)
	const checked = 10 // rounds after which all is read
	var (
		acknowledged []string
		counted      int
		witness      = auditlog.Trust{Key: w.Verifier}
		seen, size   = 0, int64(0)
	)
	for round := range rounds {
		watched := killtest.Watch(filepath.Join(w.dir, "log", "checkpoint"))
		survivor := w.survivor(t.Context())
		said, killed := killtest.Kill(t, w.dir, killtest.At{Count: 1 + moments.IntN(40), Pause: time.Duration(moments.IntN(8000)) * time.Microsecond})
		require.True(t, killed, "it never ends by itself")
		acknowledged = append(acknowledged, survivor()...)
		lost := 0
		for _, one := range said {
			what, id, _ := strings.Cut(one, " ")
			switch what {
			case "lost":
				lost++
			default:
				acknowledged = append(acknowledged, id)
			}
		}
		counted += lost
		for _, checkpoint := range watched() { // each extends the one before
			witness.Kept = checkpoint
			report, err := auditlog.VerifyLog(t.Context(), w.log.FS(), witness)
			require.NoError(t, err)
			require.Equal(t, auditlog.OK, report.Verdict, "round %d: %+v", round, report.Faults)
			require.GreaterOrEqual(t, report.KeptSize, size, "round %d: a checkpoint went backwards", round)
			size, seen = report.KeptSize, seen+1
		}
		if (round+1)%checked != 0 && round+1 != rounds {
			continue
		}
		w.settle()
		w.verified(w.checkpoint())
		got := w.agrees()
		for _, id := range acknowledged {
			require.Equal(t, 1, got.events[id]+got.captured[id]+got.told[id], "what was said to be committed is in the log")
		}
		views := w.count(`SELECT COUNT(*) FROM views`)
		require.GreaterOrEqual(t, got.lost, int64(counted), "what was lost, and written as lost, is counted")
		require.LessOrEqual(t, got.lost, int64(views+round+1), "and once: but for the one in hand when its process was killed")
		require.Zero(t, w.count(`SELECT COUNT(*) FROM crmguard_audit_aside`))
		t.Logf("%d rounds: %d entries, %d sales, %d deals captured and %d told of, %d of %d lost events counted, %d said to be committed, %d checkpoints seen: 0 lost, 0 twice, 0 forked",
			round+1, got.leaves, len(got.events), len(got.captured), len(got.told), got.lost, views, len(acknowledged), seen)
	}
}

// settle makes passes until nothing waits: what a process that was killed held
// is let go of when its connections end.
func (w *works) settle() {
	w.t.Helper()
	waits := func() (n int) {
		n = w.count(`SELECT COUNT(*) FROM crmguard_audit_events WHERE idx IS NULL`)
		if w.captures() {
			n += w.count(`SELECT COUNT(*) FROM crmguard_audit_captured`)
		}
		return n
	}
	for range 200 {
		var r audit.Result
		var err error
		if r, err = w.trail.RunOnce(w.t.Context()); err != nil {
			passing(w.t, err)
			continue
		}
		if waits() == 0 && r.Published == r.Size {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	require.Zero(w.t, waits(), "the queue comes to its end")
}
