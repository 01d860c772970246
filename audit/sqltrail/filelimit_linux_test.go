package sqltrail_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/killtest"
	"github.com/crmguard/crmguard/internal/testdb"
)

// A process that may write no larger file, as one with a quota: what it cannot
// publish waits, what it cannot record is refused, and both go on when it may. It
// needs nobody's rights.
func TestNothingIsLostWhereFilesMayNotGrow(t *testing.T) {
	if dir := killtest.Dir(); dir != "" {
		withinLimit(t, dir)
		return
	}
	for _, on := range []struct {
		name   testdb.Name
		driver string
	}{{testdb.SQLite, "sqlite"}, {testdb.PostgresC, "pgx"}} {
		t.Run(string(on.name), func(t *testing.T) {
			d := testdb.New(t, on.name)
			w := begin(t, d, on.driver, d.DSN(on.driver))
			w.busy()
			w.run()
			kept := w.checkpoint()
			require.NoError(t, w.db.Close()) // the child writes the file of SQLite alone
			said, killed := killtest.Kill(t, w.dir, killtest.At{Count: -1})
			require.False(t, killed)
			w = join(t, w.dir, nil)
			w.settle()
			w.verified(kept)
			got := w.agrees()
			require.NotEmpty(t, said)
			for _, id := range said {
				require.Equal(t, 1, got.events[id])
			}
		})
	}
}

// withinLimit records and publishes until the limit is met, and then without it.
func withinLimit(t *testing.T, dir string) {
	t.Helper()
	w := join(t, dir, nil)
	limit := uint64(16 << 10) // for bundles; the files of a server are its own
	if w.Database == testdb.SQLite {
		limit = 1 << 20
	}
	var was syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_FSIZE, &was))
	now := was
	now.Cur = limit
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &now))
	refused := 0
	for n := 0; refused < 10; n++ {
		id, err := w.sell(t.Context(), n)
		if err == nil {
			killtest.Say(id)
		} else {
			passing(t, err)
			refused++
		}
		if n%8 == 0 || refused > 0 {
			if _, err := w.trail.RunOnce(t.Context()); err != nil {
				passing(t, err)
				refused++
			}
		}
		require.Less(t, n, 20_000, "the limit is never met")
	}
	before, err := os.ReadFile(filepath.Join(dir, "log", "checkpoint"))
	require.NoError(t, err)
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &was))
	require.Empty(t, strays(t, dir), "what was not finished is not left")
	w.contains(before)
	for n := range 10 {
		id, err := w.sell(t.Context(), n)
		require.NoError(t, err)
		killtest.Say(id)
		r, err := w.trail.RunOnce(t.Context())
		require.NoError(t, err)
		require.Equal(t, r.Size, r.Published)
	}
	w.verified(before)
}
