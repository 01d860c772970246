//go:build unix

package sqltrail_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit/tilesink"
	"github.com/crmguard/crmguard/internal/killtest"
	"github.com/crmguard/crmguard/internal/testdb"
)

// stop is where the child stops: at a moment of its pass, or a while after it began.
type stop struct {
	Moment int
	After  time.Duration
}

const stands = "stands"

// stopsOnce makes passes and stops once (SIGSTOP); then it makes two passes more.
func stopsOnce(t *testing.T, dir string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "stop.json"))
	require.NoError(t, err)
	var at stop
	require.NoError(t, json.Unmarshal(data, &at))
	var stood atomic.Bool
	stand := sync.OnceFunc(func() {
		require.NoError(t, killtest.Stand(stands))
		stood.Store(true)
	})
	var m moments
	w := join(t, dir, func(w *works) {
		w.DSN = endedWhenIdle(w.where)
		watched(&m)(w)
	})
	if at.After > 0 {
		time.AfterFunc(at.After, stand)
	} else {
		m.arm(at.Moment, func(string, bool) { stand() })
	}
	for range 1000 {
		if _, err := w.trail.RunOnce(t.Context()); err != nil {
			passing(t, err)
		}
		if at.Moment > 0 || stood.Load() {
			break
		}
	}
	stand() // where the pass had fewer moments
	for range 2 {
		if _, err := w.trail.RunOnce(t.Context()); err != nil {
			passing(t, err)
		}
	}
}

// endedWhenIdle has the server end a process that stands still inside a transaction.
func endedWhenIdle(w where) string {
	switch w.Database {
	case testdb.SQLite:
		return w.DSN
	case testdb.MariaDB:
		return w.DSN + "&idle_write_transaction_timeout=1"
	default:
		return w.DSN + " idle_in_transaction_session_timeout=300"
	}
}

// A process that makes passes is stopped, at a step of its pass or at any moment,
// while another one records and makes passes: sales wait for nothing, the other
// one publishes, at the latest when the server has ended the transaction of the one
// that stands, and when that goes on it fails at nothing that does not pass, and
// nothing is forked. What nobody ends is the one writer of SQLite, and whoever holds
// the lock of the folder for the moment of a rename: others say so, and go on later.
func TestAStoppedProcessHoldsUpNobodyAndForksNothing(t *testing.T) {
	if dir := killtest.Dir(); dir != "" {
		stopsOnce(t, dir)
		return
	}
	for _, on := range []struct {
		name   testdb.Name
		driver string
	}{{testdb.SQLite, "sqlite"}, {testdb.PostgresC, "pgx"}, {testdb.PostgresICU, "postgres"}, {testdb.MariaDB, "mysql"}} {
		t.Run(string(on.name), func(t *testing.T) {
			d := testdb.New(t, on.name)
			w := begin(t, d, on.driver, quick(d, on.driver))
			other := join(t, w.dir, withMirror)
			other.busy()
			other.run()
			rounds, draw := killtest.Rounds(t)
			var n waited
			for round := range rounds {
				var at stop
				if round%2 == 0 {
					at.Moment = 1 + draw.IntN(160)
				} else {
					at.After = time.Duration(1+draw.IntN(60_000)) * time.Microsecond
				}
				whileStopped(t, other, at, &n)
			}
			got := other.agrees()
			t.Logf("%d rounds: %d entries, %d sales; stopped %d times as the one writer of SQLite, %d times with the lock of the folder: 0 forked, 0 backwards", rounds, got.leaves, len(got.events), n.writer, n.folder)
		})
	}
}

// waited counts what a process that is stopped can hold up.
type waited struct {
	writer int // sales, on SQLite
	folder int // publishing
}

// whileStopped stops a child, and does meanwhile what another process does.
func whileStopped(t *testing.T, other *works, at stop, n *waited) {
	t.Helper()
	data, err := json.Marshal(at)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(other.dir, "stop.json"), data, 0o600))
	for range 3 {
		other.busy()
	}
	var published []byte
	watched := killtest.Watch(filepath.Join(other.dir, "log", "checkpoint"))
	killtest.Pause(t, other.dir, stands, func() {
		_, err := other.sell(t.Context(), 1)
		if err != nil && other.Database == testdb.SQLite {
			require.ErrorContains(t, err, "SQLITE_BUSY", "%+v", at)
			n.writer++
			return
		}
		require.NoError(t, err, "%+v", at)
		r, err := other.trail.RunOnce(t.Context()) // tries for some seconds
		if errors.Is(err, tilesink.ErrBusy) {
			passing(t, err)
			n.folder++
			return
		}
		require.NoError(t, err, "%+v", at)
		require.Equal(t, r.Size, r.Published, "%+v", at)
		published = other.checkpoint()
	})
	last := int64(0)
	for _, checkpoint := range watched() {
		size := sizeOf(t, checkpoint)
		require.GreaterOrEqual(t, size, last, "%+v: a checkpoint went backwards", at)
		last = size
	}
	other.settle()
	if published == nil {
		published = other.checkpoint()
	}
	other.verified(published)
	other.agrees()
}

// A server that is told nothing ends no transaction on MariaDB: the pass of another
// process says so within the time that is waited for locks, and no sale waits.
func TestOnMariaDBAnotherPassSaysWhomItWaitsFor(t *testing.T) {
	d := testdb.New(t, testdb.MariaDB)
	w := begin(t, d, "mysql", quick(d, "mysql"))
	holder, err := w.db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	defer func() { _ = holder.Rollback() }()
	_, err = holder.ExecContext(t.Context(), `UPDATE crmguard_audit_state SET drains = 1 WHERE id = 1`)
	require.NoError(t, err)
	_, err = w.sell(t.Context(), 1)
	require.NoError(t, err, "a sale")
	soon, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	_, err = w.trail.RunOnce(soon)
	passing(t, err)
	require.True(t, strings.Contains(err.Error(), "mysql 1205") || soon.Err() != nil, "%v", err)
	require.NoError(t, holder.Rollback())
	require.Equal(t, 1, w.run().Sequenced)
	w.agrees()
}
