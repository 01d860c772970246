package sqltrail_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/internal/killtest"
	"github.com/crmguard/crmguard/internal/testdb"
)

// quick is a data source name through which nobody waits for a lock: where one is
// held, the statement fails.
func quick(d testdb.Database, driver string) string {
	if d.Name == testdb.SQLite {
		return strings.Replace(d.DSN(driver), "busy_timeout(10000)", "busy_timeout(0)", 1)
	}
	return with(d, driver, map[testdb.Name]string{testdb.PostgresC: "lock_timeout=300", testdb.MariaDB: "innodb_lock_wait_timeout=1"})
}

// dealID are numbers of deals, each once.
var dealID atomic.Int64 //nolint:gochecknoglobals // of the tests

// busy puts into the application what a pass has to do. On SQLite, where nobody
// waits for a lock here, what an ended transaction of this process still holds
// for a moment is waited for: nobody stands still yet.
func (w *works) busy() {
	w.t.Helper()
	done := func(work func() error) {
		w.t.Helper()
		err := work()
		for tries := 0; err != nil && w.Database == testdb.SQLite && strings.Contains(err.Error(), "SQLITE_BUSY") && tries < 500; tries++ {
			time.Sleep(10 * time.Millisecond)
			err = work()
		}
		require.NoError(w.t, err)
	}
	done(func() error { _, err := w.sell(w.t.Context(), 1); return err })
	done(func() error { return w.view(w.t.Context()) })
	id := dealID.Add(1)
	done(func() error { return w.deal(w.t.Context(), id, !w.captures()) })
}

// At whatever moment of its pass a sequencer stands still, at each statement and
// around each call of a sink, a mirror, a copy, the keys and the signer: sales
// commit without waiting and, outside of a transaction, another sequencer publishes.
// When the first one goes on it moves nothing backwards, and nothing is forked. On
// SQLite a transaction is one of all who write, and sales fail while it stands.
func TestASequencerStandsStillAtEachMomentOfItsPass(t *testing.T) {
	testdb.EachDriver(t, func(t *testing.T, d testdb.Database, driver string) {
		w := begin(t, d, driver, quick(d, driver))
		var m moments
		stands := join(t, w.dir, watched(&m))
		other := join(t, w.dir, withMirror)
		other.busy()
		other.run()
		stands.busy() // its gaps are its own
		m.arm(-1, nil)
		stands.run()
		all := m.disarm()
		require.Greater(t, len(all), 60, "what a pass does")
		rounds, draw := killtest.Rounds(t)
		which := draw.Perm(len(all) + 5)
		if rounds < 100 { // of all there are, some each time, and those on which most depends
			which = which[:min(len(which), 2*rounds)]
		}
		seen := map[string]int{}
		for _, n := range which {
			if what := standAt(t, &m, func(stand func(string, bool)) { m.arm(n+1, stand) }, stands, other); what != "" {
				seen[strings.SplitN(what, ":", 2)[0]]++
			}
		}
		for _, name := range []string{"sign", "sink: before swap checkpoint", "sink: after swap checkpoint", "mirror: before swap openings/", "keys: tag"} {
			what := standAt(t, &m, func(stand func(string, bool)) { m.armFirst(name, stand) }, stands, other)
			require.True(t, what != "" && strings.HasPrefix(what, name), "%s: %s", name, what)
		}
		t.Logf("%d of %d moments: %v", len(which), len(all), seen)
	})
}

// standAt has a sequencer stand still at the moment that arm chooses, and says which
// that was.
func standAt(t *testing.T, m *moments, arm func(stand func(string, bool)), stands, other *works) (what string) {
	t.Helper()
	stands.busy()
	var inTx bool
	reached, goOn, done := make(chan string, 1), make(chan struct{}), make(chan error, 1)
	arm(func(what string, in bool) {
		inTx = in
		reached <- what
		<-goOn
	})
	go func() {
		_, err := stands.trail.RunOnce(t.Context())
		done <- err
	}()
	select {
	case what = <-reached:
	case err := <-done:
		require.NoError(t, err)
		m.disarm()
		return ""
	}
	at := fmt.Sprintf("%s, in a transaction: %t", what, inTx)
	_, err := other.sell(t.Context(), 1)
	if inTx && other.Database == testdb.SQLite {
		if err != nil {
			passing(t, err)
		}
	} else {
		require.NoError(t, err, at)
	}
	if inTx { // it may hold the lock of sequencers
		soon, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		if _, err := other.trail.RunOnce(soon); err != nil {
			passing(t, err)
		}
		cancel()
	} else {
		r, err := other.trail.RunOnce(t.Context())
		require.NoError(t, err, at)
		require.Equal(t, r.Size, r.Published, at)
	}
	published := other.checkpoint()
	close(goOn)
	if err := <-done; err != nil {
		passing(t, err)
	}
	m.disarm()
	other.contains(published) // it is not behind, not for a moment either
	r := other.run()
	require.Equal(t, r.Size, r.Published, at)
	report, err := other.trail.VerifyStore(t.Context(), published)
	require.NoError(t, err)
	require.Equal(t, auditlog.OK, report.Verdict, "%s: %+v", at, report.Faults)
	other.agrees()
	return what
}
