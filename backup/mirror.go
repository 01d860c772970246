package backup

import (
	"context"
	"errors"
)

// level brings stores that missed earlier runs up to date, in an order that
// keeps each valid at any moment: packs, indexes, snapshots. Afterwards all
// that are alive hold the same files.
func (f *fanout) level(ctx context.Context) error {
	for _, folder := range []string{keyFolder, dataFolder, indexFolder, snapFolder} {
		if err := f.levelFolder(ctx, folder); err != nil {
			return err
		}
	}
	return nil
}

func (f *fanout) levelFolder(ctx context.Context, folder string) error {
	lists := make(map[*target]map[blobID]int64, len(f.targets))
	holders := map[blobID][]*target{}
	for _, t := range f.alive() {
		ids, err := listIDs(ctx, t.repo.store, folder)
		if err != nil {
			t.fail(err)
			continue
		}
		lists[t] = ids
		if folder == dataFolder {
			t.data = ids
		}
		for id := range ids {
			holders[id] = append(holders[id], t)
		}
	}
	for id, from := range holders {
		if len(from) == len(lists) && sameSize(from, lists, id) {
			continue
		}
		if err := f.levelFile(ctx, folder, id, from, lists); err != nil {
			return err
		}
	}
	if len(f.alive()) == 0 {
		return f.errs()
	}
	return nil
}

func sameSize(from []*target, lists map[*target]map[blobID]int64, id blobID) bool {
	for _, t := range from[1:] {
		if lists[t][id] != lists[from[0]][id] {
			return false
		}
	}
	return true
}

// levelFile copies one file from a store that holds it whole. A store whose
// own copy is damaged fails: it needs an operator, not silence.
func (f *fanout) levelFile(ctx context.Context, folder string, id blobID, from []*target, lists map[*target]map[blobID]int64) error {
	name := fileName(folder, id)
	var good []byte
	for _, t := range from {
		data, err := readFile(ctx, t.repo.store, name, maxPackFile)
		if err == nil {
			err = checkHash(data, id)
		}
		if err != nil {
			t.fail(&FileError{Store: t.repo.store.Name(), File: name, Err: err})
			continue
		}
		good = data
	}
	if good == nil {
		return nil // every holder failed; whoever is left never had the file
	}
	return f.each(ctx, func(t *target) error {
		if _, ok := lists[t][id]; ok || lists[t] == nil {
			return nil
		}
		if err := t.repo.store.Put(ctx, name, good); err != nil {
			return err
		}
		t.result.Copied++
		if folder == dataFolder {
			t.data[id] = int64(len(good))
		}
		return nil
	})
}

// whole compares the packs that the index names with those that are there,
// and returns the blobs that are sure to be: deduplication against a pack that
// is gone would make a snapshot that does not restore. What is damaged is
// stored anew, if a source still has it, and reported. An index file that the
// store does not give is another matter: it may be whole.
func (t *target) whole(index *blobIndex) (*blobIndex, error) {
	for _, err := range index.damaged {
		if !errors.Is(err, ErrCorrupt) {
			return nil, err
		}
	}
	t.result.Damaged = append(t.result.Damaged, index.damaged...)
	bad := map[blobID]bool{}
	for _, pack := range index.packs {
		if size, ok := t.data[pack]; (!ok || size != index.sizes[pack]) && !bad[pack] {
			bad[pack] = true
			t.result.Damaged = append(t.result.Damaged, &FileError{
				Store: t.repo.store.Name(), File: fileName(dataFolder, pack),
				Err: corrupt("the pack is missing or cut; bring it back from a mirror, or run restic rebuild-index"),
			})
		}
	}
	if len(bad) == 0 {
		return index, nil
	}
	return index.leanOn(func(pack blobID) bool { return !bad[pack] }), nil
}
