package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"

	"filippo.io/torchwood"
	"github.com/stretchr/testify/require"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/client"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/auditlog"
)

// Three programs read the folder of a log whole: tessera's fsck, torchwood and our
// own verification. What one of them says of its size and root the others say, too.

// agree has all three read the log under each key that verifies it, and has them
// refuse those that do not.
func (l *keptLog) agree() tlog.Tree {
	l.t.Helper()
	var tree tlog.Tree
	for i, key := range l.readers {
		theirs, err := l.torchwood(key)
		require.NoError(l.t, err)
		others, err := l.tessera(key)
		require.NoError(l.t, err)
		require.Equal(l.t, theirs, others)
		r, err := l.ours(key)
		require.NoError(l.t, err)
		require.Equal(l.t, auditlog.OK, r.Verdict, "%+v", r.Faults)
		require.Equal(l.t, theirs, tlog.Tree{N: r.Size, Hash: r.Root})
		require.Equal(l.t, l.gone, r.Pruned)
		require.Equal(l.t, r.Size, r.Verified+r.Pruned)
		if i > 0 {
			require.Equal(l.t, tree, theirs, "whoever reads it")
		}
		tree = theirs
	}
	for _, key := range l.strangers {
		l.refused(key, "the key counts no more")
	}
	return tree
}

// refused says that none of the three takes the log for sound.
func (l *keptLog) refused(key, why string) {
	l.t.Helper()
	_, err := l.torchwood(key)
	require.Error(l.t, err, why)
	_, err = l.tessera(key)
	require.Error(l.t, err, why)
	r, err := l.ours(key)
	require.NoError(l.t, err)
	require.NotContains(l.t, []auditlog.Verdict{auditlog.OK, auditlog.Unanchored}, r.Verdict, why)
}

// refuseEachChange changes a byte of each file that the log has by itself now, one
// after the other: were one of them not read, agreeing would say nothing about it.
func (l *keptLog) refuseEachChange(tree tlog.Tree) {
	l.t.Helper()
	for _, name := range l.current(tree) {
		sound := l.file(name)
		changed := bytes.Clone(sound)
		at := len(sound) / 2
		if name == "checkpoint" {
			at = bytes.Index(sound, []byte("\n\n")) / 2 // not in a signature, which may be of another key
		}
		changed[at] ^= 1
		l.write(name, changed)
		l.refused(l.readers[0], "a byte of "+name+" is changed")
		l.write(name, sound)
	}
}

// current are the names of all files that a log of this size consists of.
func (l *keptLog) current(tree tlog.Tree) []string {
	names := []string{"checkpoint"}
	for _, tile := range tlog.NewTiles(torchwood.TileHeight, 0, tree.N) {
		names = append(names, torchwood.TilePath(tile))
		if tile.L == 0 && tile.N >= l.gone/torchwood.TileWidth {
			tile.L = -1
			names = append(names, torchwood.TilePath(tile))
		}
	}
	return names
}

// ours is the verdict of package auditlog under a key, against the kept checkpoint.
// A kept one may be older than the key.
func (l *keptLog) ours(key string) (auditlog.Report, error) {
	former := slices.DeleteFunc(slices.Clone(l.readers), func(k string) bool { return k == key })
	if slices.Contains(l.strangers, key) {
		return auditlog.VerifyLog(l.t.Context(), os.DirFS(l.dir), auditlog.Trust{Key: key})
	}
	return auditlog.VerifyLog(l.t.Context(), os.DirFS(l.dir), auditlog.Trust{Key: key, Former: former, Kept: l.kept})
}

// torchwood reads every entry that is there, and the hashes of those that are gone.
func (l *keptLog) torchwood(key string) (tlog.Tree, error) {
	ctx := l.t.Context()
	tiles, err := torchwood.NewTileFS(os.DirFS(l.dir))
	require.NoError(l.t, err)
	signed, err := tiles.ReadEndpoint(ctx, "checkpoint")
	if err != nil {
		return tlog.Tree{}, err
	}
	checkpoint, _, err := torchwood.VerifyCheckpoint(signed, torchwoodPolicy(l.t, key))
	if err != nil {
		return tlog.Tree{}, err
	}
	hashes := torchwood.TileHashReaderWithContext(ctx, checkpoint.Tree, tiles)
	for i := int64(0); i < l.gone; i += torchwood.TileWidth {
		if _, err := tlog.ProveRecord(checkpoint.N, i, hashes); err != nil {
			return tlog.Tree{}, err
		}
	}
	client, err := torchwood.NewClient(tiles)
	require.NoError(l.t, err)
	n := l.gone
	for i, raw := range client.AllEntries(ctx, checkpoint.Tree, n) {
		if _, err := auditlog.ParseLeaf(raw); err != nil || i != n {
			return tlog.Tree{}, fmt.Errorf("entry %d comes as %d: %w", n, i, err)
		}
		n++
	}
	if err := client.Err(); err != nil {
		return tlog.Tree{}, err
	}
	if n != checkpoint.N {
		return tlog.Tree{}, fmt.Errorf("%d of %d entries", n, checkpoint.N)
	}
	return checkpoint.Tree, nil
}

// tessera is the verdict of fsck. It knows no retention: where entries went it
// refuses the folder as it is, and is given their hashes in the place of bundles.
func (l *keptLog) tessera(key string) (tlog.Tree, error) {
	files := &withHashes{FileFetcher: client.FileFetcher{Root: l.dir}, gone: uint64(l.gone) / torchwood.TileWidth}
	err := fsckVerdict(l.t, l.dir, key)
	if l.gone > 0 {
		require.Error(l.t, err, "to it a bundle that is gone is missing")
		err = fsckOf(l.t, files, key, files.leafHashes)
	}
	if err != nil {
		return tlog.Tree{}, err
	}
	verifier, err := note.NewVerifier(key)
	require.NoError(l.t, err)
	checkpoint, _, _, err := client.FetchCheckpoint(l.t.Context(), files.ReadCheckpoint, verifier, verifier.Name())
	if err != nil {
		return tlog.Tree{}, err
	}
	return tlog.Tree{N: int64(checkpoint.Size), Hash: tlog.Hash(checkpoint.Hash)}, nil
}

// withHashes reads a tile of hashes where the bundle of its entries went.
type withHashes struct {
	client.FileFetcher
	gone  uint64 // bundles
	tiles sync.Map
}

func (f *withHashes) ReadEntryBundle(ctx context.Context, i uint64, p uint8) ([]byte, error) {
	data, err := f.FileFetcher.ReadEntryBundle(ctx, i, p)
	if i >= f.gone {
		return data, err
	}
	if err == nil {
		return nil, fs.ErrExist
	}
	if data, err = f.ReadTile(ctx, 0, i, p); err == nil {
		f.tiles.Store(string(data), true)
	}
	return data, err
}

func (f *withHashes) leafHashes(bundle []byte) ([][]byte, error) {
	if _, ok := f.tiles.Load(string(bundle)); !ok {
		return leafHashes(bundle)
	}
	var tile api.HashTile
	err := tile.UnmarshalText(bundle)
	return tile.Nodes, err
}
