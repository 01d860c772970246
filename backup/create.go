package backup

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// founding is what makes a store a repository: key files, and the config,
// which is written last and decides. A store without one holds no repository,
// and of several that want to write one the store lets only one.
type founding struct {
	keys   map[string][]byte
	config []byte
}

// occupyAll goes by the names of the stores, so that two which want the same
// ones meet at the first, and one of them gets all.
func (f founding) occupyAll(ctx context.Context, stores []Store) error {
	var made []string
	byName := slices.SortedFunc(slices.Values(stores), func(a, b Store) int { return cmp.Compare(a.Name(), b.Name()) })
	for _, store := range byName {
		if err := f.occupy(ctx, store); err != nil {
			if len(made) > 0 {
				err = fmt.Errorf("%w; the repository was made in %s: Open it there, and Mirror it to the others", err, strings.Join(made, ", "))
			}
			return err
		}
		made = append(made, store.Name())
	}
	return nil
}

func (f founding) occupy(ctx context.Context, store Store) error {
	// Key files that are there before the config belong to nothing, once the
	// config is ours: to a Create that was interrupted, or one that loses.
	left, err := listIDs(ctx, store, keyFolder)
	if err != nil {
		return err
	}
	for name, data := range f.keys {
		if err := store.Put(ctx, name, data); err != nil {
			return &StoreError{Store: store.Name(), Err: err}
		}
	}
	err = store.Put(ctx, configFile, f.config)
	if err == nil {
		var have []byte
		if have, err = store.Read(ctx, configFile, 0, maxSmallFile); err == nil && !bytes.Equal(have, f.config) {
			err = fs.ErrExist // a store that let two have it
		}
	}
	switch {
	case errors.Is(err, fs.ErrExist):
		return errors.Join(existsError(store), f.withdraw(ctx, store, left))
	case err != nil: // the config may be there: the keys stay
		return &StoreError{Store: store.Name(), Err: err}
	}
	for id := range left {
		name := fileName(keyFolder, id)
		if f.keys[name] == nil {
			err = errors.Join(err, remove(ctx, store, name))
		}
	}
	return err
}

// withdraw removes the key files that lost, and none that was there before.
func (f founding) withdraw(ctx context.Context, store Store, left map[blobID]int64) (err error) {
	for name := range f.keys {
		if id, ok := fileID(name); ok {
			if _, before := left[id]; !before {
				err = errors.Join(err, remove(ctx, store, name))
			}
		}
	}
	return err
}

func remove(ctx context.Context, store Store, name string) error {
	if err := store.Delete(ctx, name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &StoreError{Store: store.Name(), Err: err}
	}
	return nil
}

func existsError(store Store) error {
	return &FileError{
		Store: store.Name(), File: configFile,
		Err: fmt.Errorf("%w: Open it, and Mirror it to stores that lack it", ErrExists),
	}
}
