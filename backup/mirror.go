package backup

import (
	"context"
	"errors"
	"slices"
)

// level brings stores that missed earlier runs up to date, in an order that
// keeps each valid at any moment: packs, indexes, snapshots. It copies only
// what was listed, and of that only what authenticates and is complete where
// it arrives, so nobody without the key changes one store through another.
// Keys and config are never copied: a key that was removed from one store
// would come back from the next.
func (f *fanout) level(ctx context.Context) error {
	if len(f.targets) == 1 {
		return nil
	}
	if err := f.each(ctx, func(ctx context.Context, t *target) error { return t.list(ctx) }); err != nil {
		return err
	}
	for _, folder := range []string{dataFolder, indexFolder, snapFolder} {
		if folder == snapFolder {
			if err := f.each(ctx, func(ctx context.Context, t *target) error { return t.prepareCheck(ctx) }); err != nil {
				return err
			}
		}
		if err := f.levelFolder(ctx, folder); err != nil {
			return err
		}
	}
	return nil
}

// list lists what the store holds, in the order in which a reader asks: all
// that a listed snapshot needs is there when its turn comes, whoever else is
// writing.
func (t *target) list(ctx context.Context) error {
	snapshots, err := listIDs(ctx, t.repo.store, snapFolder)
	if err != nil {
		return err
	}
	if t.index, err = t.readIndex(ctx); err != nil {
		return err
	}
	data, err := listIDs(ctx, t.repo.store, dataFolder)
	t.held = map[string]map[blobID]int64{snapFolder: snapshots, indexFolder: t.index.files, dataFolder: data}
	return err
}

func (f *fanout) levelFolder(ctx context.Context, folder string) error {
	holders := map[blobID][]*target{}
	for _, t := range f.alive() {
		for id := range t.held[folder] {
			holders[id] = append(holders[id], t)
		}
	}
	for id, from := range holders {
		lacks := func(t *target) bool { return !slices.Contains(from, t) }
		if !slices.ContainsFunc(f.alive(), lacks) || (folder == dataFolder && !f.indexed(id)) {
			continue
		}
		if err := f.levelFile(ctx, folder, id, from); err != nil {
			return err
		}
	}
	return nil
}

// indexed says whether an index names the pack. Others are under way or were
// left behind: nothing needs them.
func (f *fanout) indexed(pack blobID) bool {
	return slices.ContainsFunc(f.alive(), func(t *target) bool { return t.index.names(pack) })
}

// levelFile copies one file from the first store that holds a good one.
func (f *fanout) levelFile(ctx context.Context, folder string, id blobID, from []*target) error {
	for _, holder := range from {
		var file *original
		holder.try(ctx, func(ctx context.Context, t *target) (err error) {
			if file, err = t.repo.loadOriginal(ctx, folder, id); err != nil {
				t.blame(folder, id, err)
			}
			return nil
		})
		if file == nil {
			continue
		}
		return f.each(ctx, func(ctx context.Context, t *target) error {
			if slices.Contains(from, t) {
				return nil
			}
			return t.accept(ctx, folder, id, file)
		})
	}
	return nil
}

// blame reports a file that is not what its name promises, and leaves it
// alone.
func (t *target) blame(folder string, id blobID, err error) {
	switch {
	case !errors.Is(err, ErrCorrupt):
		t.fail(err)
	case folder == dataFolder && t.index.names(id):
		t.lose(id, err)
	default:
		t.problem(err)
	}
}

// original is a file as it is stored, and what it says.
type original struct {
	sealed   []byte
	packs    []indexedPack // of an index
	snapshot Snapshot
}

// loadOriginal reads a file and proves all of it.
func (r *Repository) loadOriginal(ctx context.Context, folder string, id blobID) (*original, error) {
	name := fileName(folder, id)
	limit := int64(maxSmallFile)
	if folder == dataFolder {
		limit = maxPackFile
	}
	sealed, err := readFile(ctx, r.store, name, limit)
	if err != nil {
		return nil, err
	}
	file := &original{sealed: sealed}
	err = checkHash(sealed, id)
	if err == nil {
		err = r.decodeOriginal(folder, id, slices.Clone(sealed), file)
	}
	if err != nil {
		return nil, &FileError{Store: r.store.Name(), File: name, Err: err}
	}
	return file, nil
}

// decodeOriginal opens sealed in place.
func (r *Repository) decodeOriginal(folder string, id blobID, sealed []byte, into *original) error {
	if folder == dataFolder {
		blobs, err := openPack(sealed, r.master)
		for _, b := range blobs {
			if err == nil {
				_, err = r.unpack.blob(sealed[b.offset:b.offset+b.length], b)
			}
		}
		return err
	}
	document, err := r.unpack.file(sealed)
	if err != nil {
		return err
	}
	if folder == indexFolder {
		into.packs, err = decodeIndex(document)
	} else {
		into.snapshot, err = decodeSnapshot(id, document)
	}
	return err
}

// accept takes a good file from another store, unless what it names has not
// come along: the store that has neither fails or was reported.
func (t *target) accept(ctx context.Context, folder string, id blobID, file *original) error {
	name := fileName(folder, id)
	var err error
	switch folder {
	case dataFolder:
		if err = t.repo.store.Put(ctx, name, file.sealed); err == nil {
			t.held[dataFolder][id] = int64(len(file.sealed))
		}
	case indexFolder:
		if !holdsAll(t.held[dataFolder], file.packs) {
			return nil
		}
		err = t.commit(ctx, name, file.sealed, file.packs)
	case snapFolder:
		if err = t.check(ctx, file.snapshot); err != nil {
			return err
		}
		if len(t.checker.report.Problems) > 0 {
			t.problem(&FileError{
				Store: t.repo.store.Name(), File: name,
				Err: corrupt("a snapshot of another store was not copied: %w", t.checker.report.Problems[0]),
			})
			return nil
		}
		err = t.commit(ctx, name, file.sealed, nil)
	}
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.result.Copied++
	return nil
}

// prepareCheck loads the index as it is once packs and indexes were copied.
func (t *target) prepareCheck(ctx context.Context) error {
	index, err := t.sure(ctx)
	t.checker = &checker{repo: t.repo, index: index}
	return err
}

// check reads all folder listings of a snapshot in this store.
func (t *target) check(ctx context.Context, s Snapshot) error {
	if t.checker.report == nil || len(t.checker.report.Problems) > 0 {
		t.checker.report, t.checker.trees = &CheckReport{}, map[blobID]bool{}
	}
	return t.checker.walk(ctx, s.tree, 0)
}

// readIndex reads the index of a store. A file of it that is damaged costs
// what it names, and is reported. One that the store does not give is another
// matter: it may be whole.
func (t *target) readIndex(ctx context.Context) (*blobIndex, error) {
	index, err := t.repo.index(ctx)
	if err != nil {
		return nil, err
	}
	for _, err := range index.damaged {
		if !errors.Is(err, ErrCorrupt) {
			return nil, err
		}
		t.problem(err)
	}
	return index, nil
}

// sure returns the blobs that are sure to be in the store: deduplication
// against a pack that is gone would make a snapshot that does not restore.
func (t *target) sure(ctx context.Context) (*blobIndex, error) {
	index, err := t.readIndex(ctx)
	if err != nil {
		return nil, err
	}
	missing := index.missing(t.held[dataFolder])
	if len(missing) > 0 { // the index may be newer than the list of packs
		data, err := listIDs(ctx, t.repo.store, dataFolder)
		if err != nil {
			return nil, err
		}
		missing = index.missing(data)
	}
	for _, pack := range missing {
		t.lose(pack, &FileError{
			Store: t.repo.store.Name(), File: fileName(dataFolder, pack),
			Err: corrupt("the pack is missing or cut; bring it back from a mirror, or run restic rebuild-index"),
		})
	}
	return index.without(t.lost), nil
}

// lose notes a pack that the index names and the store does not hold whole.
func (t *target) lose(pack blobID, err error) {
	if t.lost == nil {
		t.lost = map[blobID]bool{}
	}
	t.lost[pack] = true
	t.problem(err)
}
