package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"
)

// Locks are restic's: a file in locks/ says that somebody works. Shared locks
// live side by side, an exclusive one wants to be alone.
const (
	lockRefresh = 5 * time.Minute
	lockStale   = 30 * time.Minute // restic's bound
	// lockLimit is the age at which we give up a lock of our own. It leaves
	// time for a commit, and for clocks that differ, before others call the
	// lock stale.
	lockLimit = lockStale - lockRefresh*3/2
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

	mu     sync.Mutex // guards what follows
	name   string
	wall   time.Time // when the lock was written, by the job's clock,
	mono   time.Time // and by the one of the process
	strays []string  // locks of ours whose Put or removal failed: they may be there
}

// acquire writes a shared lock, unless an exclusive one is there. It looks
// before and after writing, so of two that come at a time at least one sees
// the other.
func acquire(ctx context.Context, r *Repository, now func() time.Time) (*lock, error) {
	if err := r.checkPlace(ctx); err != nil {
		return nil, err
	}
	l := &lock{repo: r, now: now}
	if err := l.look(ctx); err != nil {
		return nil, err
	}
	err := l.write(ctx)
	if err == nil {
		err = l.look(ctx)
	}
	if err != nil {
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

// write writes a lock with the present time, and removes the one before,
// which must still be there.
func (l *lock) write(ctx context.Context) error {
	// A suspended machine stops the clock of the process, and a clock that is
	// set moves the other: the lock is as old as the older of them says.
	wall, mono := l.now().Round(0), time.Now()
	document, err := json.Marshal(lockJSON{Time: wall, Hostname: nobody, Username: nobody, PID: os.Getpid()})
	if err != nil {
		return err
	}
	p, err := newPacker(l.repo.master)
	if err != nil {
		return err
	}
	sealed, err := p.file(document)
	if err != nil {
		return err
	}
	name := fileName(lockFolder, hashOf(sealed))
	if err := l.repo.store.Put(ctx, name, sealed); err != nil {
		l.keep(name)
		return &StoreError{Store: l.repo.store.Name(), Err: err}
	}
	l.mu.Lock()
	old := l.name
	l.name, l.wall, l.mono = name, wall, mono
	l.mu.Unlock()
	if old == "" {
		return nil
	}
	err = l.repo.store.Delete(ctx, old)
	if errors.Is(err, fs.ErrNotExist) {
		return l.lost(old, errRemoved)
	} else if err != nil {
		l.keep(old)
		return &StoreError{Store: l.repo.store.Name(), Err: err}
	}
	return nil
}

func (l *lock) keep(stray string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.strays = append(l.strays, stray)
}

// refresh renews a lock that is still held. One that was stale for a while is
// lost: others may have worked as if it were not there.
func (l *lock) refresh(ctx context.Context) error {
	if err := l.held(ctx); err != nil {
		return err
	}
	return l.write(ctx)
}

// keepFresh refreshes the lock until ctx ends, or until that fails.
func (l *lock) keepFresh(ctx context.Context) error {
	ticker := time.NewTicker(lockRefresh)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		one, cancel := context.WithTimeout(ctx, lockRefresh)
		err := l.refresh(one)
		cancel()
		if err != nil {
			return l.lost(l.current(), err)
		}
	}
}

var (
	errRemoved = errors.New("somebody removed it")
	errDamaged = errors.New("its file is damaged")
)

// held returns nil only while the lock is in the store and nobody can take it
// for stale.
func (l *lock) held(ctx context.Context) error {
	for {
		name := l.current()
		data, err := l.repo.store.Read(ctx, name, 0, maxSmallFile)
		if now := l.current(); now != name {
			continue // renewed meanwhile
		}
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return l.lost(name, errRemoved)
		case err != nil:
			return &StoreError{Store: l.repo.store.Name(), Err: err}
		}
		if id, ok := fileID(name); !ok || hashOf(data) != id {
			return l.lost(name, errDamaged) // others pass over it
		}
		// The age comes last: the store may have taken its time.
		if age := l.age(); age > lockLimit {
			return l.lost(name, fmt.Errorf("it was not renewed for %v", age.Round(time.Second)))
		}
		return nil
	}
}

func (l *lock) current() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.name
}

func (l *lock) age() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(l.now().Round(0).Sub(l.wall), time.Since(l.mono))
}

func (l *lock) lost(name string, why error) error {
	if errors.Is(why, ErrLockLost) {
		return why
	}
	return &FileError{Store: l.repo.store.Name(), File: name, Err: fmt.Errorf("%w: %w", ErrLockLost, why)}
}

// release removes the lock, also when the run was cancelled.
func (l *lock) release(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lockRefresh)
	defer cancel()
	l.mu.Lock()
	defer l.mu.Unlock()
	var err error
	for _, name := range append(l.strays, l.name) {
		if name != "" {
			err = errors.Join(err, remove(ctx, l.repo.store, name))
		}
	}
	return err
}
