package tilehttp_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"io/fs"
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/internal/c2sp"
)

// published is a source in memory.
type published map[string][]byte

func (p published) Published(_ context.Context, name string) ([]byte, error) {
	data, ok := p[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return data, nil
}

// asked is a source that does what it is told.
type asked func(ctx context.Context, name string) ([]byte, error)

func (f asked) Published(ctx context.Context, name string) ([]byte, error) { return f(ctx, name) }

// newLog is a published log of so many entries, and who can check its signature.
func newLog(t *testing.T, size int64) (published, note.Verifier) {
	t.Helper()
	files, stored := published{}, []tlog.Hash{}
	reader := tlog.HashReaderFunc(func(indexes []int64) (out []tlog.Hash, err error) {
		for _, index := range indexes {
			out = append(out, stored[index])
		}
		return out, nil
	})
	bundles := map[int64][]byte{}
	for i := range size {
		leaf := []byte(strings.Repeat("x", int(i%7)) + fmt.Sprint(i))
		more, err := tlog.StoredHashes(i, leaf, reader)
		require.NoError(t, err)
		stored = append(stored, more...)
		bundles[i/c2sp.TileWidth], err = c2sp.AppendEntry(bundles[i/c2sp.TileWidth], leaf)
		require.NoError(t, err)
	}
	for _, tile := range tlog.NewTiles(c2sp.TileHeight, 0, size) {
		data, err := tlog.ReadTileData(tile, reader)
		require.NoError(t, err)
		files[c2sp.TilePath(tile)] = data
		if tile.L == 0 {
			tile.L = -1
			files[c2sp.TilePath(tile)] = bundles[tile.N]
		}
	}
	secret, key, err := note.GenerateKey(rand.Reader, "crm.example/audit/0")
	require.NoError(t, err)
	signer, err := note.NewSigner(secret)
	require.NoError(t, err)
	verifier, err := note.NewVerifier(key)
	require.NoError(t, err)
	root, err := tlog.TreeHash(size, reader)
	require.NoError(t, err)
	files["checkpoint"], err = note.Sign(&note.Note{Text: c2sp.FormatCheckpoint(signer.Name(), tlog.Tree{N: size, Hash: root})}, signer)
	require.NoError(t, err)
	return maps.Clone(files), verifier
}
