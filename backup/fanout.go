package backup

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"slices"
	"sync"
)

// fanout writes the same files to several stores. A store that fails once
// gets nothing more: its index must never name a pack that it lacks.
type fanout struct {
	targets []*target
}

// target is one store of a run.
type target struct {
	repo   *Repository
	lock   *lock
	result StoreResult
	mu     sync.Mutex      // guards result, which the refresher of the lock may fail
	over   context.Context //nolint:containedctx // ends when the store fails, or the run
	end    context.CancelFunc

	held    map[string]map[blobID]int64 // files it held when levelling began, by folder
	index   *blobIndex                  // as it was then
	checker *checker                    // of snapshots that come from other stores
	lost    map[blobID]bool             // packs that its index names and it does not hold whole
}

func newTarget(repo *Repository) *target {
	t := &target{repo: repo, result: StoreResult{Store: repo.Name()}}
	t.over, t.end = context.WithCancel(context.Background())
	return t
}

func (t *target) fail(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.result.Err == nil {
		t.result.Err = err
	}
	t.end()
}

// problem notes what is wrong with a file, once.
func (t *target) problem(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	file, ok := errors.AsType[*FileError](err)
	known := func(err error) bool { f, same := errors.AsType[*FileError](err); return same && f.File == file.File }
	if !ok || !slices.ContainsFunc(t.result.Problems, known) {
		t.result.Problems = append(t.result.Problems, err)
	}
}

func (t *target) failed() error { return t.report().Err }

func (t *target) report() StoreResult {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.result
}

// count adds a new file to the result.
func (t *target) count(data []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.result.Files++
	t.result.Bytes += int64(len(data))
}

// alive returns the stores that have not failed.
func (f *fanout) alive() []*target {
	var alive []*target
	for _, t := range f.targets {
		if t.failed() == nil {
			alive = append(alive, t)
		}
	}
	return alive
}

// errs joins what the stores failed with.
func (f *fanout) errs() error {
	errs := make([]error, 0, len(f.targets))
	for _, t := range f.targets {
		if err := t.failed(); err != nil {
			errs = append(errs, asStoreError(t.repo.store, err))
		}
	}
	return errors.Join(errs...)
}

func asStoreError(s Store, err error) error {
	if _, ok := errors.AsType[*StoreError](err); ok {
		return err
	}
	return &StoreError{Store: s.Name(), Err: err}
}

// each runs do for every store that has not failed, at the same time. It
// returns an error when none is left.
func (f *fanout) each(ctx context.Context, do func(ctx context.Context, t *target) error) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	var all sync.WaitGroup
	for _, t := range f.alive() {
		all.Go(func() {
			t.try(ctx, do)
		})
	}
	all.Wait()
	if len(f.alive()) == 0 {
		return f.errs()
	}
	return nil
}

// tellApart fails a store that shows the lock of another one: both are one
// place under two names (a link, a disk mounted twice), and two copies there
// would be one.
func (f *fanout) tellApart(ctx context.Context) {
	for i, t := range f.targets {
		for _, other := range f.targets[:i] {
			if t.failed() != nil || other.failed() != nil {
				continue
			}
			t.try(ctx, func(ctx context.Context, t *target) error {
				_, err := t.repo.store.Read(ctx, other.lock.current(), 0, 1)
				if errors.Is(err, fs.ErrNotExist) {
					return nil
				} else if err == nil {
					err = badConfig("this store and " + other.repo.Name() + " are the same place")
				}
				return err
			})
		}
	}
}

// try runs do until the store fails, or ends by itself: one that hangs loses
// its lock, and must not hold up the others for longer.
func (t *target) try(ctx context.Context, do func(ctx context.Context, t *target) error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(t.over, cancel)() //nolint:contextcheck // it ends with the store, not with the call
	if err := do(ctx, t); err != nil {
		t.fail(err)
	}
}

// commit writes an index or a snapshot, named by its hash, and returns the
// hash.
func (f *fanout) commit(ctx context.Context, folder string, data []byte, packs []indexedPack) (blobID, error) {
	id := hashOf(data)
	return id, f.each(ctx, func(ctx context.Context, t *target) error {
		if err := t.commit(ctx, fileName(folder, id), data, packs); err != nil {
			return err
		}
		t.count(data)
		return nil
	})
}

// putPack writes a pack and reads its header back: a damaged one passes
// restic's plain check and restore, and would be found too late.
func (f *fanout) putPack(ctx context.Context, pack indexedPack, data []byte) error {
	name := fileName(dataFolder, pack.id)
	size := packHeaderSize(pack.blobs)
	return f.each(ctx, func(ctx context.Context, t *target) error {
		s := t.repo.store
		if err := s.Put(ctx, name, data); err != nil {
			return err
		}
		tail, err := s.Read(ctx, name, int64(len(data))-size, size+1)
		if errors.Is(err, fs.ErrNotExist) { // removed by somebody for whom our lock was stale?
			return errors.Join(err, t.lock.held(ctx))
		} else if err != nil {
			return err
		}
		if !bytes.Equal(tail, data[int64(len(data))-size:]) {
			return &FileError{Store: s.Name(), File: name, Err: corrupt("the pack that was written reads back differently")}
		}
		t.count(data)
		return nil
	})
}
