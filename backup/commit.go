package backup

import (
	"context"
	"errors"
)

// commit writes an index or a snapshot into one store, between two looks at
// the lock. Whoever took the lock for stale may have removed packs that
// nothing named yet; an index that names them, or a snapshot that needs them,
// must not stay. packs are those that an index names, nil with a snapshot.
func (t *target) commit(ctx context.Context, name string, data []byte, packs []indexedPack) error {
	if err := t.lock.held(ctx); err != nil {
		return err
	}
	if err := t.repo.store.Put(ctx, name, data); err != nil {
		return err
	}
	err := t.lock.held(ctx)
	if err == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lockRefresh)
	defer cancel()
	return errors.Join(err, t.takeBack(ctx, name, packs))
}

// takeBack removes what commit wrote without a lock. An index whose packs are
// all there stays: another job may count on it already. Where somebody works
// exclusively, none does.
func (t *target) takeBack(ctx context.Context, name string, packs []indexedPack) error {
	if packs != nil && t.lock.look(ctx) == nil {
		data, err := listIDs(ctx, t.repo.store, dataFolder)
		if err == nil && holdsAll(data, packs) {
			return nil
		}
	}
	if err := remove(ctx, t.repo.store, name); err != nil {
		return &FileError{Store: t.repo.store.Name(), File: name, Err: errors.Join(errNotTakenBack, err)}
	}
	return nil
}

var errNotTakenBack = errors.New("backup: a file that was written without the lock could not be removed; run Check")

// holdsAll says whether all packs are there in full length.
func holdsAll(data map[blobID]int64, packs []indexedPack) bool {
	for _, p := range packs {
		if size, ok := data[p.id]; !ok || size != p.size() {
			return false
		}
	}
	return true
}
