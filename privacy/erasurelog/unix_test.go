//go:build unix

package erasurelog_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// holdLock has another process hold the lock file until it is released.
func holdLock(t *testing.T, dir string) (release func()) {
	t.Helper()
	other := exec.CommandContext(t.Context(), "python3", "-c", `import fcntl, sys
f = open(sys.argv[1], "w"); fcntl.flock(f, fcntl.LOCK_EX); print("held", flush=True); sys.stdin.read()`, filepath.Join(dir, "ledger.lock"))
	in, err := other.StdinPipe()
	require.NoError(t, err)
	out, err := other.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, other.Start())
	_, err = out.Read(make([]byte, 4))
	require.NoError(t, err)
	return func() {
		require.NoError(t, in.Close())
		require.NoError(t, other.Wait())
	}
}

// While another process holds the lock, an append waits, no longer than its
// context and no longer than two seconds.
func TestTheLedgerHasOneWriter(t *testing.T) {
	f := newFixture(t)
	release := holdLock(t, f.dir)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	_, err := f.log.Append(ctx, nil, always(f.entry(erasurelog.Intent, newID(), "ann")))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	err = f.try(f.entry(erasurelog.Intent, newID(), "ann"))
	require.ErrorIs(t, err, erasurelog.ErrBusy)
	require.ErrorContains(t, err, f.path())
	require.Empty(t, f.lines())
	require.Equal(t, int64(0), f.read().Head().N, "reading needs no lock")
	release()
	f.append(f.entry(erasurelog.Intent, newID(), "ann"))
}

// What is no plain file keeps nobody waiting.
func TestAPipeInThePlaceOfTheLedger(t *testing.T) {
	f := newFixture(t)
	f.erase("ann")
	require.NoError(t, os.Remove(f.path()))
	require.NoError(t, syscall.Mkfifo(f.path(), 0o600))
	_, err := f.log.Read(t.Context())
	require.ErrorIs(t, err, erasurelog.ErrUnreachable)
	require.ErrorIs(t, f.try(f.entry(erasurelog.Intent, newID(), "bob")), erasurelog.ErrUnreachable)
	f.open()
	_, err = f.log.Read(t.Context())
	require.ErrorIs(t, err, erasurelog.ErrUnreachable)
}
