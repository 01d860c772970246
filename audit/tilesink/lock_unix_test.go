//go:build unix

package tilesink_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/tilesink"
	"github.com/crmguard/crmguard/internal/durable/durabletest"
)

// Whoever may read the published files cannot hold the lock, also that of a folder
// which was copied with other rights.
func TestAReaderCannotHoldTheLock(t *testing.T) {
	base, err := os.MkdirTemp("", "log") //nolint:usetesting // what t.TempDir makes is closed to others
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	require.NoError(t, os.Chmod(base, 0o755))
	dir := filepath.Join(base, "log")
	sink, err := tilesink.Open(dir)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, ".lock"), nil, 0o644))
	require.NoError(t, os.Chmod(filepath.Join(dir, ".lock"), 0o666))
	require.NoError(t, sink.SwapFile(t.Context(), "checkpoint", nil, []byte("1")))
	info, err := os.Stat(filepath.Join(dir, ".lock"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	info, err = os.Stat(filepath.Join(dir, "checkpoint"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o644), info.Mode().Perm())
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: only root can be another user")
	}
	read := func(name string) error {
		cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", `exec 9<"$0"`, filepath.Join(dir, name))
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		return cmd.Run()
	}
	if read("checkpoint") != nil {
		t.Skip("SKIPPED: the folder of temporary files is closed to other users")
	}
	require.Error(t, read(".lock"))
}

// The lock is removed while it is held, and another process publishes: the one that
// held it does not say that what it wrote stands.
func TestTheLockIsRemovedWhileItIsHeld(t *testing.T) {
	for _, at := range []string{"open", "rename"} {
		dir := filepath.Join(t.TempDir(), "log")
		sink, err := tilesink.Open(dir)
		require.NoError(t, err)
		require.NoError(t, sink.SwapFile(t.Context(), "checkpoint", nil, []byte("1")))
		other, err := tilesink.Open(dir)
		require.NoError(t, err)
		done := false
		sink.Over(durabletest.Ask(func(step, _ string) error {
			if step == at && !done {
				done = true
				require.NoError(t, os.Remove(filepath.Join(dir, ".lock")))
				require.NoError(t, other.SwapFile(t.Context(), "checkpoint", []byte("1"), []byte("3")))
			}
			return nil
		}))
		require.ErrorIs(t, sink.SwapFile(t.Context(), "checkpoint", []byte("1"), []byte("2")), audit.ErrChanged)
		require.True(t, done)
		sink.Over(nil)
		data, err := sink.ReadFile(t.Context(), "checkpoint")
		require.NoError(t, err)
		require.NoError(t, sink.SwapFile(t.Context(), "checkpoint", data, []byte("4")), "the next comparison is sound")
	}
}

// What is no file lies in the place of one: the error says what to do, and nothing
// that it leads to is touched.
func TestWhatIsInTheWayIsNamed(t *testing.T) {
	for name, spoil := range map[string]func(file string) error{
		"a folder":         func(f string) error { return os.Mkdir(f, 0o755) },
		"a pipe":           func(f string) error { return syscall.Mkfifo(f, 0o644) },
		"a link outside":   func(f string) error { return os.Symlink("/etc/hostname", f) },
		"a link to itself": func(f string) error { return os.Symlink(filepath.Base(f), f) },
	} {
		dir := filepath.Join(t.TempDir(), "log")
		sink, err := tilesink.Open(dir)
		require.NoError(t, err)
		require.NoError(t, spoil(filepath.Join(dir, "checkpoint")))
		_, err = sink.ReadFile(t.Context(), "checkpoint")
		require.ErrorContains(t, err, "by hand", name)
		require.ErrorContains(t, err, "checkpoint", name)
		require.ErrorContains(t, sink.SwapFile(t.Context(), "checkpoint", []byte("1"), []byte("2")), "by hand", name)
		require.NoError(t, spoil(filepath.Join(dir, "tile")))
		if name == "a folder" {
			continue // as it should be
		}
		require.ErrorContains(t, sink.WriteFile(t.Context(), "tile/0/000", []byte("x")), "by hand", name)
		_, err = sink.ReadFile(t.Context(), "tile/0/000")
		require.ErrorContains(t, err, "by hand", name)
	}
}
