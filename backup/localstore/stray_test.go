//go:build unix

package localstore

import (
	"crypto/rand"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/durable"
)

// Whatever else stands in a repository is listed by what it is, never
// followed, never entered, and reading it neither hangs nor succeeds.
func TestWhatIsNoFileIsListedWithItsType(t *testing.T) {
	dir := t.TempDir()
	s := made(t, dir)
	require.NoError(t, s.Put(t.Context(), "data/ab/cd", []byte("c")))
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "snapshots", "sub", "deeper"), 0o700))
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "lost+found"), 0))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "desktop.ini"), []byte("x"), 0o600))
	require.NoError(t, os.Symlink("../data", filepath.Join(dir, "index", "link")))
	require.NoError(t, syscall.Mkfifo(filepath.Join(dir, "keys", "pipe"), 0o600))
	got := map[string]fs.FileMode{}
	for info, err := range s.List(t.Context(), "") {
		require.NoError(t, err)
		got[info.Name] = info.Type
	}
	require.Equal(t, map[string]fs.FileMode{
		"data/ab/cd": 0, "desktop.ini": 0, "snapshots/sub": fs.ModeDir, "lost+found": fs.ModeDir, "index/link": fs.ModeSymlink, "keys/pipe": fs.ModeNamedPipe,
	}, got)
	for name, kind := range got {
		if kind != 0 {
			_, err := s.Read(t.Context(), name, 0, 1)
			require.Error(t, err, name)
			require.ErrorIs(t, s.Put(t.Context(), name, []byte("x")), fs.ErrExist)
		}
	}
}

// What a killed process left in the middle of a Put goes when the next job
// begins; what a living one writes, and what is not ours, stays.
func TestTheNextJobRemovesWhatAKilledOneLeft(t *testing.T) {
	dir := t.TempDir()
	s := made(t, dir)
	require.NoError(t, s.Put(t.Context(), "data/ab/cd", []byte("c")))
	temp := func() string { return "tmp-" + rand.Text() }
	left := []string{temp(), "data/" + temp(), "data/ab/" + temp(), "locks/" + temp()}
	stays := []string{"desktop.ini", "data/ab/other", "foreign/" + temp(), "tmp-notes.txt", "tmp-" + strings.Repeat("0", 32), temp() + ".txt"}
	require.NoError(t, os.Mkdir(filepath.Join(dir, "foreign"), 0o700))
	for _, name := range append(left, stays...) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("half"), 0o400))
	}
	require.NoError(t, os.Symlink(filepath.Join(dir, "data", "ab", "cd"), filepath.Join(dir, "index", "tmp-6")))
	f, err := durable.Open(dir, tmpPrefix)
	require.NoError(t, err)
	defer f.Close()
	writing, err := f.Begin("data/ab", 0o400)
	require.NoError(t, err)
	living := writing.Name()

	require.NoError(t, s.Put(t.Context(), "snapshots/x", []byte("x")))
	require.FileExists(t, filepath.Join(dir, left[0]), "only when a job begins")
	require.NoError(t, s.Put(t.Context(), "locks/x", []byte("x")))
	for _, name := range left {
		require.NoFileExists(t, filepath.Join(dir, name))
	}
	for _, name := range append(stays, living, "index/tmp-6", "data/ab/cd") {
		_, err := os.Lstat(filepath.Join(dir, name))
		require.NoError(t, err, name)
	}
	require.NoError(t, writing.Finish())
	require.NoError(t, s.Put(t.Context(), "locks/y", []byte("y")))
	require.NoFileExists(t, filepath.Join(dir, living), "its writer is gone")
}

// Sweeping at every moment of many Puts takes nothing from them.
func TestSweepingBesideWritersTakesNothingFromThem(t *testing.T) {
	s := made(t, t.TempDir())
	var all sync.WaitGroup
	for writer := range 4 {
		all.Go(func() {
			for i := range 100 {
				if err := s.Put(t.Context(), fmt.Sprintf("data/ab/%d-%d", writer, i), []byte("x")); err != nil {
					t.Errorf("a Put beside a sweep gave %v", err)
				}
			}
		})
	}
	f, err := durable.Open(s.dir, tmpPrefix)
	require.NoError(t, err)
	defer f.Close()
	for range 300 {
		cleanUp(f, ".")
	}
	all.Wait()
	n := 0
	for _, err := range s.List(t.Context(), "data") {
		require.NoError(t, err)
		n++
	}
	require.Equal(t, 400, n)
}
