package backup

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/crmguard/crmguard/internal/durable/durabletest"
)

// FailRestores lets the steps of restores end as ask says.
func FailRestores(r *Repository, ask func(step, name string) error) { r.over = durabletest.Ask(ask) }

// MasterKey returns the key that all data is sealed with.
func MasterKey(r *Repository) []byte { return r.master.parts().encrypt[:] }

// PutSnapshot writes a snapshot of whatever listings the test makes: an
// attacker with the password.
func PutSnapshot(ctx context.Context, r *Repository, build func(save func(content string, tree bool) string) (root string)) (string, error) {
	held, err := acquire(ctx, r, time.Now)
	if err != nil {
		return "", err
	}
	defer func() { _ = held.release(ctx) }()
	fan := &fanout{targets: []*target{newTarget(r)}}
	fan.targets[0].lock = held
	index, err := r.index(ctx)
	if err != nil {
		return "", err
	}
	pipe, err := newPipeline(ctx, fan, r.master, []*blobIndex{index})
	if err != nil {
		return "", err
	}
	defer pipe.close()
	root := build(func(content string, tree bool) string {
		id, _ := pipe.save(pipe.own, []byte(content), tree)
		return id.String()
	})
	if err := pipe.finish(); err != nil {
		return "", err
	}
	tree, err := parseID(root)
	if err != nil {
		return "", err
	}
	document, err := json.Marshal(snapshotJSON{Time: time.Now(), Tree: &tree, Paths: []string{"/x"}, Hostname: "h"})
	if err != nil {
		return "", err
	}
	sealed, err := pipe.own.file(document)
	if err != nil {
		return "", err
	}
	id, err := fan.commit(ctx, snapFolder, sealed, nil)
	return id.String(), err
}

// PutLock writes a lock as another program would.
func PutLock(ctx context.Context, r *Repository, exclusive bool, host string, at time.Time) error {
	document, err := json.Marshal(lockJSON{Time: at, Exclusive: exclusive, Hostname: host, PID: 1})
	if err != nil {
		return err
	}
	p, err := newPacker(r.master)
	if err != nil {
		return err
	}
	sealed, err := p.file(document)
	if err != nil {
		return err
	}
	return r.store.Put(ctx, fileName(lockFolder, hashOf(sealed)), sealed)
}

// IVs returns the IV of everything sealed with the master key.
func IVs(ctx context.Context, r *Repository) (ivs []string, err error) {
	for _, folder := range []string{indexFolder, snapFolder} {
		files, err := listIDs(ctx, r.store, folder)
		if err != nil {
			return nil, err
		}
		for id := range files {
			data, err := readFile(ctx, r.store, fileName(folder, id), maxSmallFile)
			if err != nil {
				return nil, err
			}
			ivs = append(ivs, string(data[:ivSize]))
		}
	}
	config, err := readFile(ctx, r.store, configFile, maxSmallFile)
	if err != nil {
		return nil, err
	}
	ivs = append(ivs, string(config[:ivSize]))
	packs, err := listIDs(ctx, r.store, dataFolder)
	if err != nil {
		return nil, err
	}
	for id := range packs {
		pack, err := readFile(ctx, r.store, fileName(dataFolder, id), maxPackFile)
		if err != nil {
			return nil, err
		}
		blobs, err := openPack(pack, r.master)
		if err != nil {
			return nil, err
		}
		end := uint32(0)
		for _, b := range blobs {
			ivs = append(ivs, string(pack[b.offset:b.offset+ivSize]))
			end = b.offset + b.length
		}
		ivs = append(ivs, string(pack[end:end+ivSize]))
	}
	return ivs, nil
}

// SwapPlaces makes the index name one blob's place for another: both are
// sealed with the right key, and nothing but the hash tells them apart.
func SwapPlaces(ctx context.Context, r *Repository, a, b string) error {
	index, err := r.index(ctx)
	if err != nil {
		return err
	}
	one, err := parseID(a)
	if err != nil {
		return err
	}
	other, err := parseID(b)
	if err != nil {
		return err
	}
	x, y := blobKey{id: one}, blobKey{id: other}
	index.blobs[x], index.blobs[y] = index.blobs[y], index.blobs[x]
	return nil
}

// HashName is the name of a file with this content.
func HashName(data []byte) string { return hashOf(data).String() }

// CostlyKeyFile is a well-formed key file of somebody else, which costs as
// much to try as any may.
func CostlyKeyFile(tb testing.TB, salt byte) []byte {
	tb.Helper()
	f := keyFile{KDF: "scrypt", N: maxKDFMemory / 128 / 8, R: 8, P: maxKDFWork / maxKDFMemory, Salt: make([]byte, saltSize), Data: make([]byte, 100)}
	f.Salt[0] = salt
	data, err := json.Marshal(f)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := decodeKeyFile(data); err != nil {
		tb.Fatal(err)
	}
	return data
}

// Prune does what `restic prune` does: it keeps the packs that a snapshot
// needs, names them in one new index, and removes everything else.
func Prune(ctx context.Context, r *Repository) error {
	snapshots, err := r.Snapshots(ctx)
	if err != nil {
		return err
	}
	files, err := listIDs(ctx, r.store, indexFolder)
	if err != nil {
		return err
	}
	index, err := r.index(ctx)
	if err != nil {
		return err
	}
	used := map[blobID]bool{}
	use := func(key blobKey) {
		for _, at := range index.find(key) {
			used[at.pack] = true
		}
	}
	var walk func(id blobID) error
	walk = func(id blobID) error {
		use(blobKey{id: id, tree: true})
		nodes, err := r.loadTree(ctx, index, id)
		if err != nil {
			return err
		}
		for _, n := range nodes {
			for _, content := range n.Content {
				use(blobKey{id: content})
			}
			if n.Subtree != nil {
				err = errors.Join(err, walk(*n.Subtree))
			}
		}
		return err
	}
	for _, s := range snapshots {
		if err := walk(s.tree); err != nil {
			return err
		}
	}
	var kept []indexedPack
	for id := range files {
		packs, err := r.loadIndex(ctx, id)
		if err != nil {
			return err
		}
		for _, p := range packs {
			if used[p.id] {
				kept = append(kept, p)
			}
		}
	}
	document, err := encodeIndex(kept)
	if err != nil {
		return err
	}
	p, err := newPacker(r.master)
	if err != nil {
		return err
	}
	sealed, err := p.file(document)
	if err != nil {
		return err
	}
	err = r.store.Put(ctx, fileName(indexFolder, hashOf(sealed)), sealed)
	for id := range files {
		err = errors.Join(err, r.store.Delete(ctx, fileName(indexFolder, id)))
	}
	packs, listErr := listIDs(ctx, r.store, dataFolder)
	for id := range packs {
		if !used[id] {
			err = errors.Join(err, r.store.Delete(ctx, fileName(dataFolder, id)))
		}
	}
	return errors.Join(err, listErr)
}
