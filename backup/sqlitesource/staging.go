package sqlitesource

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/crmguard/crmguard/internal/filelock"
)

// A job holds the lock of its staging folder, which goes with its process
// however that ends. Where there are no such locks, it shows that it lives by
// the modification time of the folder.
const (
	stagingPrefix  = "crmguard-backup-"
	stagingRefresh = 5 * time.Minute
	stagingStale   = 30 * time.Minute
	liveCopy       = "live.db"
	strippedCopy   = "stripped.db"
)

// stagingName is what [os.MkdirTemp] makes of the prefix.
var stagingName = regexp.MustCompile("^" + stagingPrefix + "[0-9]+$")

// makeStaging makes a folder that no other job takes away until release is
// called, which removes it.
func makeStaging(parent string) (dir string, release func() error, err error) {
	for {
		dir, err := os.MkdirTemp(parent, stagingPrefix)
		if err != nil {
			return "", nil, err
		}
		letGo, err := hold(dir)
		if errors.Is(err, filelock.ErrSwept) {
			continue
		}
		if err != nil {
			return "", nil, errors.Join(err, os.RemoveAll(dir))
		}
		stop := keepAlive(dir, stagingRefresh)
		return dir, func() error {
			stop()
			return errors.Join(os.RemoveAll(dir), letGo())
		}, nil
	}
}

// hold locks a folder that was just made.
func hold(dir string) (letGo func() error, err error) {
	if runtime.GOOS == "windows" { // no locks, and an open folder cannot be removed
		return func() error { return nil }, nil
	}
	lock, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, filelock.ErrSwept
	}
	if err != nil {
		return nil, err
	}
	if err := filelock.Hold(lock, func() (os.FileInfo, error) { return os.Lstat(dir) }); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock.Close, nil
}

// removeLeft removes the folders of jobs that were killed: they may hold the
// copy from which nothing was stripped yet. try is filelock.Try.
func removeLeft(staging string, try func(*os.File) (held bool, err error)) error {
	parent := cmp.Or(staging, os.TempDir())
	entries, err := os.ReadDir(parent)
	if err != nil {
		if path, ok := errors.AsType[*fs.PathError](err); ok { // names the folder here, and the operator named it
			err = path.Err
		}
		return fmt.Errorf("sqlitesource: Config.Staging, the folder %s (is its disk mounted?): %w", parent, err)
	}
	for _, entry := range entries {
		if !entry.IsDir() || !stagingName.MatchString(entry.Name()) {
			continue
		}
		err := removeUnheld(filepath.Join(parent, entry.Name()), try)
		if err != nil && staging != "" { // in the system's folder it may be anybody's
			return fmt.Errorf("sqlitesource: remove what a killed job left: %w", err)
		}
	}
	return nil
}

// removeUnheld removes a folder that certainly no living job works in.
func removeUnheld(dir string, try func(*os.File) (held bool, err error)) error {
	info, err := os.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // its job ended meanwhile
	}
	if err != nil {
		return err
	}
	dead := time.Since(info.ModTime()) > stagingStale
	if lock, err := os.Open(dir); err == nil {
		defer lock.Close()
		if held, err := try(lock); err == nil {
			dead = held
		}
	}
	if !dead {
		return nil
	}
	if ours, err := onlyOurs(dir); !ours {
		return err
	}
	for _, name := range stagingFiles() {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// onlyOurs says whether a folder holds nothing but what a job puts there:
// somebody may have named one of his own like that.
func onlyOurs(dir string) (bool, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // its job ended meanwhile
	}
	for _, entry := range entries {
		if !entry.Type().IsRegular() || !slices.Contains(stagingFiles(), entry.Name()) {
			return false, nil
		}
	}
	return err == nil, err
}

// stagingFiles are all that a job puts into its folder.
func stagingFiles() []string {
	var names []string
	for _, db := range []string{liveCopy, strippedCopy} {
		names = append(names, db, db+"-journal", db+"-wal", db+"-shm")
	}
	return names
}

// keepAlive refreshes the folder until the returned func is called. Where it
// cannot, another job may take the folder away, and this one fails.
func keepAlive(dir string, every time.Duration) (stop func()) {
	end := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			select {
			case <-end:
				return
			case now := <-ticker.C:
				_ = os.Chtimes(dir, now, now)
			}
		}
	})
	return func() {
		close(end)
		done.Wait()
	}
}
