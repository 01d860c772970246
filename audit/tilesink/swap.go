package tilesink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/internal/durable"
	"github.com/crmguard/crmguard/internal/filelock"
)

const (
	// lockFile is held by whoever replaces the checkpoint. It stands in the
	// folder itself, where all find it who write there.
	lockFile = ".lock"
	// patience is how long the lock is waited for.
	patience = 5 * time.Second
)

// ErrBusy says that another process holds the folder's lock: it is at work, or
// it stands still (stopped, or its disk hangs) and holds it until it goes on or
// ends. Temporary.
var ErrBusy = errors.New("tilesink: another process holds the lock of the folder")

// SwapFile stores a file as WriteFile does, but only where it still holds old
// (nil: where it is absent), else the error is [audit.ErrChanged]. A file system
// without locks is an error (errors.ErrUnsupported): nobody knows there who else
// is at work.
func (d *Dir) SwapFile(ctx context.Context, name string, old, data []byte) error {
	if err := check(ctx, name); err != nil {
		return err
	}
	f, lock, err := d.locked(ctx)
	if err != nil {
		return fmt.Errorf("tilesink: swap: %w", byHand(err))
	}
	defer f.Close()
	defer lock.Release()
	f = f.Over(d.over)
	there, err := read(f, name)
	absent := errors.Is(err, fs.ErrNotExist)
	switch {
	case err != nil && !absent:
		return fmt.Errorf("tilesink: swap: %w", byHand(err))
	case absent != (old == nil) || !bytes.Equal(there, old):
		return fmt.Errorf("tilesink: swap: %s: %w", name, audit.ErrChanged)
	}
	if !holds(f, lock) {
		return fmt.Errorf("tilesink: swap: %s: the lock was removed: %w", name, audit.ErrChanged)
	}
	if err := d.write(f, name, data); err != nil {
		return fmt.Errorf("tilesink: swap: %w", byHand(err))
	}
	if !holds(f, lock) { // another process may have written before this one did
		return fmt.Errorf("tilesink: swap: %s: the lock was removed meanwhile: %w", name, audit.ErrChanged)
	}
	return nil
}

// holds says whether the lock of the folder is still the one that is held: whoever
// copies files into the folder, and removes what is not among them, removes it.
func holds(f *durable.Folder, lock *filelock.Lock) bool {
	found, err := f.Lstat(lockFile)
	return err == nil && lock.Is(found)
}

// errReplaced is told of a folder that others keep replacing.
var errReplaced = errors.New("the folder was replaced while it was locked")

// locked opens the folder and takes its lock, that of the folder which is open:
// one that was removed and made anew meanwhile has another.
func (d *Dir) locked(ctx context.Context) (f *durable.Folder, lock *filelock.Lock, err error) {
	name := filepath.Join(d.root, lockFile)
	for range 3 {
		if f, err = d.open(); err != nil {
			return nil, nil, err
		}
		if d.opened != nil {
			d.opened()
		}
		if lock, err = d.lock(ctx, f, name); err == nil {
			if named, err := os.Lstat(name); err == nil && lock.Is(named) && holds(f, lock) {
				return f, lock, nil
			}
			lock.Release()
			err = errReplaced
		}
		_ = f.Close() // only looked at
		if !errors.Is(err, errReplaced) && !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return nil, nil, err
}

// lock takes the lock file, and makes it where it is missing. Nobody else may read
// it: to hold a lock, whoever mirrors the folder needs no more.
func (d *Dir) lock(ctx context.Context, f *durable.Folder, name string) (*filelock.Lock, error) {
	if _, err := f.Lstat(lockFile); errors.Is(err, fs.ErrNotExist) {
		if err := f.Create(lockFile, nil, 0o600); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
	}
	waited := time.NewTimer(d.patience)
	defer waited.Stop()
	for {
		lock, busy, err := filelock.Take(name)
		if err == nil || !busy {
			return lock, err
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ErrBusy, ctx.Err())
		case <-waited.C:
			return nil, ErrBusy
		case <-time.After(5 * time.Millisecond):
		}
	}
}
