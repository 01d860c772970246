package sqltrail_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/testdb"
)

const smallDisk = "CRMGUARD_SMALL_DISK"

// onSmallDisk runs the calling test once more, in a process to which all temporary
// files are on a file system of that size: its own, which goes with it. Whoever may
// not mount one has no such process, and done is false.
func onSmallDisk(t *testing.T, size string) (child, done bool) {
	t.Helper()
	if os.Getenv(smallDisk) != "" {
		require.NoError(t, syscall.Mount("tmpfs", os.TempDir(), "tmpfs", 0, "size="+size+",mode=1777"))
		return true, true
	}
	program, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), program, "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), smallDisk+"=1", "GOTMPDIR=")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	if errors.Is(err, syscall.EPERM) {
		t.Log("no file system of its own: this needs root")
		return false, false
	}
	require.NoError(t, err, out.String())
	for line := range bytes.Lines(out.Bytes()) {
		if bytes.Contains(line, []byte("rounds:")) {
			t.Log(string(bytes.TrimSpace(line)))
		}
	}
	return false, true
}

// ballast fills a file system until it is let go of.
func ballast(t *testing.T, dir string) (lighten func()) {
	t.Helper()
	name := filepath.Join(dir, "ballast")
	f, err := os.Create(name)
	require.NoError(t, err)
	stop := make(chan struct{})
	var work sync.WaitGroup
	work.Go(func() {
		block := make([]byte, 1<<16)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := f.Write(block); err == nil {
				continue
			}
			if len(block) > 512 {
				block = block[:len(block)/2]
			} else { // others may let go of something
				block = block[:cap(block)]
				time.Sleep(time.Millisecond)
			}
		}
	})
	return func() {
		close(stop)
		work.Wait()
		require.NoError(t, errors.Join(f.Close(), os.Remove(name)))
	}
}

// The disk of database and folder is full under load, again and again, and has room
// again: nothing that was answered for is lost, nothing is there twice, and the
// sequencer that runs goes on by itself. A server that ended is started again, as
// whoever made room does.
func TestNothingIsLostWhenTheDiskIsFull(t *testing.T) {
	const rounds = 2
	for _, on := range []struct {
		name         testdb.Name
		driver, size string
	}{{testdb.SQLite, "sqlite", "96m"}, {testdb.PostgresC, "pgx", "160m"}, {testdb.MariaDB, "mysql", "240m"}} {
		t.Run(string(on.name), func(t *testing.T) {
			if child, _ := onSmallDisk(t, on.size); !child {
				return
			}
			var server *testdb.Server
			var d testdb.Database
			if on.name == testdb.SQLite {
				d = testdb.New(t, on.name)
			} else {
				server = testdb.Own(t, on.name)
				d = server.New(t)
			}
			var s *shift
			w := join(t, begin(t, d, on.driver, d.DSN(on.driver)).dir, runs(&s))
			s = w.works(2)
			revive := func() { // a server may end a moment after there is room again
				if server != nil && !answers(w) {
					server.Kill(t)
					server.Restart(t)
				}
			}
			sells := func(what string) {
				sold := s.sold.Load()
				s.await(what, func() bool {
					revive()
					return s.sold.Load() >= sold+30 && w.published() > 0
				})
			}
			for range rounds {
				sells("sales")
				kept := w.checkpoint()
				lighten := ballast(t, os.TempDir())
				refused := s.refused.Load()
				s.await("no room", func() bool { return s.refused.Load() >= refused+10 })
				w.contains(kept)
				lighten()
				require.Empty(t, strays(t, w.dir), "what was not finished is not left")
				revive()
			}
			sells("sales go on")
			revive()
			got := s.end(w.checkpoint())
			t.Logf("%d rounds: %d sales, %d refused, %d passes failed, %d entries: 0 lost, 0 twice", rounds, len(got.events), s.refused.Load(), s.failed.Load(), got.leaves)
		})
	}
}

// answers says whether the server of an application comes back by itself.
func answers(w *works) bool {
	for range 100 {
		if w.db.PingContext(w.t.Context()) == nil {
			return true
		}
		time.Sleep(50 * time.Millisecond)
	}
	return false
}

// strays are files of the published folder that are none of the log.
func strays(t *testing.T, dir string) (out []string) {
	t.Helper()
	root := filepath.Join(dir, "log")
	require.NoError(t, filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		name, _ := filepath.Rel(root, path)
		if err == nil && !e.IsDir() && name != ".lock" && name != "checkpoint" && filepath.Dir(name)[:4] != "tile" {
			out = append(out, name)
		}
		if base := filepath.Base(name); err == nil && !e.IsDir() && base[0] == '.' && base != ".lock" {
			out = append(out, name)
		}
		return nil
	}))
	return out
}
