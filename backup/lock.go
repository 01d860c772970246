package backup

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"time"
)

// Locks are restic's: a file in locks/ says that somebody works. Shared locks
// live side by side, an exclusive one wants to be alone.
const (
	lockRefresh = 5 * time.Minute
	lockStale   = 30 * time.Minute // restic's bound
)

type lockJSON struct {
	Time      time.Time `json:"time"`
	Exclusive bool      `json:"exclusive"`
	Hostname  string    `json:"hostname"`
	Username  string    `json:"username"`
	PID       int       `json:"pid"`
}

// lock is our shared lock in one store.
type lock struct {
	repo *Repository
	now  func() time.Time
	name string
}

// acquire writes a shared lock, unless an exclusive one is there. It looks
// before and after writing, so of two that come at a time at least one sees
// the other.
func acquire(ctx context.Context, r *Repository, now func() time.Time) (*lock, error) {
	l := &lock{repo: r, now: now}
	if err := l.look(ctx); err != nil {
		return nil, err
	}
	if err := l.refresh(ctx); err != nil {
		return nil, err
	}
	if err := l.look(ctx); err != nil {
		return nil, errors.Join(err, l.release(ctx))
	}
	return l, nil
}

// look refuses exclusive locks, however old: their holder may have been
// stopped in the middle of its work, and `restic unlock` is a human decision.
// Shared locks of our own that were not refreshed are removed.
func (l *lock) look(ctx context.Context) error {
	files, err := listIDs(ctx, l.repo.store, lockFolder)
	if err != nil {
		return err
	}
	for id := range files {
		name := fileName(lockFolder, id)
		document, err := l.repo.loadFile(ctx, lockFolder, id)
		if errors.Is(err, fs.ErrNotExist) {
			continue // released meanwhile
		} else if errors.Is(err, ErrCorrupt) {
			continue // nobody's: a lock that holds is written whole. Check names it
		} else if err != nil {
			return err
		}
		var other lockJSON
		if err := json.Unmarshal(document, &other); err != nil {
			return &FileError{Store: l.repo.store.Name(), File: name, Err: corrupt("a lock of another shape")}
		}
		if other.Exclusive {
			return &FileError{Store: l.repo.store.Name(), File: name, Err: ErrLocked}
		}
		if other.Hostname == nobody && l.now().Sub(other.Time) > lockStale {
			if err := l.repo.store.Delete(ctx, name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return &StoreError{Store: l.repo.store.Name(), Err: err}
			}
		}
	}
	return nil
}

// refresh writes a lock with the present time and removes the one before.
func (l *lock) refresh(ctx context.Context) error {
	document, err := json.Marshal(lockJSON{Time: l.now(), Hostname: nobody, Username: nobody, PID: os.Getpid()})
	if err != nil {
		return err
	}
	p, err := newPacker(l.repo.master)
	if err != nil {
		return err
	}
	sealed := p.file(document)
	name := fileName(lockFolder, hashOf(sealed))
	if err := l.repo.store.Put(ctx, name, sealed); err != nil {
		return &StoreError{Store: l.repo.store.Name(), Err: err}
	}
	old := l.name
	l.name = name
	if old == "" {
		return nil
	}
	return l.remove(ctx, old)
}

// release removes the lock, also when the run was cancelled.
func (l *lock) release(ctx context.Context) error {
	return l.remove(context.WithoutCancel(ctx), l.name)
}

func (l *lock) remove(ctx context.Context, name string) error {
	if err := l.repo.store.Delete(ctx, name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &StoreError{Store: l.repo.store.Name(), Err: err}
	}
	return nil
}
