package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
)

// readFile reads a whole file of at most limit bytes.
func readFile(ctx context.Context, store Store, name string, limit int64) ([]byte, error) {
	data, err := store.Read(ctx, name, 0, limit+1)
	if err == nil && int64(len(data)) > limit {
		err = corrupt("a file of more than %d bytes", limit)
	}
	if err != nil {
		return nil, &FileError{Store: store.Name(), File: name, Err: missing(err)}
	}
	return data, nil
}

// missing makes the absence of a file that must be there a kind of damage.
func missing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return errors.Join(ErrCorrupt, err)
	}
	return err
}

// loadFile reads a file that is named by its hash, and opens it.
func (r *Repository) loadFile(ctx context.Context, folder string, id blobID) ([]byte, error) {
	name := fileName(folder, id)
	data, err := readFile(ctx, r.store, name, maxSmallFile)
	if err != nil {
		return nil, err
	}
	err = checkHash(data, id)
	if err == nil {
		data, err = r.unpack.file(data)
	}
	if err != nil {
		return nil, &FileError{Store: r.store.Name(), File: name, Err: err}
	}
	return data, nil
}

// index returns the blobs that the index files name, read again only when
// the set of files has changed. Snapshots must be listed before. An index file
// that cannot be read costs the blobs that it alone names.
func (r *Repository) index(ctx context.Context) (*blobIndex, error) {
	files, err := listIDs(ctx, r.store, indexFolder)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	cached := r.cached
	r.mu.Unlock()
	if cached != nil && len(cached.damaged) == 0 && sameIDs(cached.files, files) {
		return cached, nil
	}
	index := newBlobIndex(files)
	for id := range files {
		packs, err := r.loadIndex(ctx, id)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		} else if errors.Is(err, ErrGone) {
			return nil, err
		} else if err != nil {
			index.damaged = append(index.damaged, err)
		}
		for _, p := range packs {
			index.add(p)
		}
	}
	r.mu.Lock()
	r.cached = index
	r.mu.Unlock()
	return index, nil
}

// newerIndex returns the index when its files have changed since old was
// read: another program may have moved what old still names.
func (r *Repository) newerIndex(ctx context.Context, old *blobIndex) (index *blobIndex, newer bool) {
	files, err := listIDs(ctx, r.store, indexFolder)
	if err != nil || sameIDs(old.files, files) {
		return nil, false
	}
	index, err = r.index(ctx)
	return index, err == nil
}

func (r *Repository) loadIndex(ctx context.Context, id blobID) ([]indexedPack, error) {
	document, err := r.loadFile(ctx, indexFolder, id)
	if err != nil {
		return nil, err
	}
	packs, err := decodeIndex(document)
	if err != nil {
		return nil, &FileError{Store: r.store.Name(), File: fileName(indexFolder, id), Err: err}
	}
	return packs, nil
}

func sameIDs(a, b map[blobID]int64) bool {
	if len(a) != len(b) {
		return false
	}
	for id := range a {
		if _, ok := b[id]; !ok {
			return false
		}
	}
	return true
}

// loadBlob reads one blob and proves that it is the one asked for.
func (r *Repository) loadBlob(ctx context.Context, index *blobIndex, key blobKey) ([]byte, error) {
	plain, err := r.findBlob(ctx, index, key)
	if err == nil || ctx.Err() != nil || !errors.Is(err, ErrCorrupt) {
		return plain, err
	}
	if newer, ok := r.newerIndex(ctx, index); ok {
		return r.findBlob(ctx, newer, key)
	}
	return nil, err
}

// findBlob tries every place that the index names.
func (r *Repository) findBlob(ctx context.Context, index *blobIndex, key blobKey) (plain []byte, err error) {
	err = &FileError{Store: r.store.Name(), File: indexFolder, Err: corrupt("no index names blob %s", key.id)}
	if n := len(index.damaged); n > 0 {
		err = fmt.Errorf("%w; %d index files cannot be read, one of them: %w", err, n, index.damaged[0])
	}
	for _, at := range index.find(key) {
		if plain, err = r.readBlob(ctx, at); err == nil || ctx.Err() != nil {
			return plain, err
		}
	}
	return nil, err
}

func (r *Repository) readBlob(ctx context.Context, at located) ([]byte, error) {
	name := fileName(dataFolder, at.pack)
	sealed, err := r.store.Read(ctx, name, int64(at.offset), int64(at.length))
	if err == nil && len(sealed) != int(at.length) {
		err = corrupt("the pack ends early")
	}
	var plain []byte
	if err == nil {
		plain, err = r.unpack.blob(sealed, at.packedBlob)
	}
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = corrupt("the pack is missing") // not fs.ErrNotExist: the file that it is part of does exist
		}
		return nil, &FileError{Store: r.store.Name(), File: name, Err: err}
	}
	return plain, nil
}

func (r *Repository) loadTree(ctx context.Context, index *blobIndex, id blobID) ([]*node, error) {
	document, err := r.loadBlob(ctx, index, blobKey{id: id, tree: true})
	if err != nil {
		return nil, err
	}
	nodes, err := decodeTree(document)
	if err != nil {
		return nil, &FileError{Store: r.store.Name(), File: r.packOf(index, blobKey{id: id, tree: true}), Err: err}
	}
	return nodes, nil
}

// packOf names the file that holds a blob, for an error about its content.
func (r *Repository) packOf(index *blobIndex, key blobKey) string {
	if found := index.find(key); len(found) > 0 {
		return fileName(dataFolder, found[0].pack)
	}
	return dataFolder
}

// Blob is one decrypted piece of a repository.
type Blob struct {
	ID   string // SHA-256 of Data, hex
	Tree bool   // a folder listing, not file content
	Pack string // the file of the repository that holds it
	Data []byte // valid until the next step of the iteration
}

// Blobs decrypts every blob of every pack, whether an index names it or not.
// It holds one pack in memory. After an error the sequence ends.
func (r *Repository) Blobs(ctx context.Context) iter.Seq2[Blob, error] {
	return func(yield func(Blob, error) bool) {
		packs, err := listIDs(ctx, r.store, dataFolder)
		if err != nil {
			yield(Blob{}, err)
			return
		}
		for id, size := range packs {
			for b, err := range r.packBlobs(ctx, id, size) {
				if !yield(b, err) || err != nil {
					return
				}
			}
		}
	}
}

// packBlobs reads one pack whole, which has the listed size.
func (r *Repository) packBlobs(ctx context.Context, id blobID, size int64) iter.Seq2[Blob, error] {
	name := fileName(dataFolder, id)
	return func(yield func(Blob, error) bool) {
		if size > maxPackFile { // not even read
			yield(Blob{}, &FileError{Store: r.store.Name(), File: name, Err: corrupt("a file of %d bytes", size)})
			return
		}
		pack, err := readFile(ctx, r.store, name, maxPackFile)
		if err != nil {
			yield(Blob{}, err)
			return
		}
		var blobs []packedBlob
		if err = checkHash(pack, id); err == nil {
			blobs, err = openPack(pack, r.master)
		}
		for i := 0; err == nil && i < len(blobs); i++ {
			b := blobs[i]
			var plain []byte
			if plain, err = r.unpack.blob(pack[b.offset:b.offset+b.length], b); err != nil {
				break
			}
			if !yield(Blob{ID: b.id.String(), Tree: b.tree, Pack: name, Data: plain}, nil) {
				return
			}
		}
		if err != nil {
			yield(Blob{}, &FileError{Store: r.store.Name(), File: name, Err: err})
		}
	}
}
