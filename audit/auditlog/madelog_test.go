package auditlog

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/internal/c2sp"
	"github.com/crmguard/crmguard/audit/internal/merkle"
	"github.com/crmguard/crmguard/internal/canon"
)

// madeLog makes published logs out of leaves, with a key of their own.
type madeLog struct {
	signer note.Signer
	key    string // verifier key
	short  string // the same as an event of kind key names it
}

func newMadeLog(t testing.TB) *madeLog {
	t.Helper()
	secret, key, err := note.GenerateKey(nil, "crm.example/audit/0")
	require.NoError(t, err)
	signer, err := note.NewSigner(secret)
	require.NoError(t, err)
	return &madeLog{signer, key, key[len("crm.example/audit/0+"):]}
}

// sign makes a checkpoint.
func (m *madeLog) sign(t testing.TB, tree tlog.Tree) []byte {
	t.Helper()
	signed, err := note.Sign(&note.Note{Text: c2sp.FormatCheckpoint("crm.example/audit/0", tree)}, m.signer)
	require.NoError(t, err)
	return signed
}

// files are a published log of these leaves, and a checkpoint of its first kept.
func (m *madeLog) files(t testing.TB, leaves [][]byte, kept int) (files fstest.MapFS, checkpoint []byte) {
	t.Helper()
	files = make(fstest.MapFS)
	var b merkle.Builder
	put := func(tile tlog.Tile, data []byte) error {
		files[c2sp.TilePath(tile)] = &fstest.MapFile{Data: append([]byte(nil), data...)}
		return nil
	}
	var bundle []byte
	for i, leaf := range leaves {
		var err error
		bundle, err = c2sp.AppendEntry(bundle, leaf)
		require.NoError(t, err)
		require.NoError(t, b.Add(tlog.RecordHash(leaf), put))
		if i%c2sp.TileWidth == c2sp.TileWidth-1 || i == len(leaves)-1 {
			require.NoError(t, put(c2sp.Tile(-1, int64(i/c2sp.TileWidth), i%c2sp.TileWidth+1), bundle))
			bundle = bundle[:0]
		}
		if i+1 == kept {
			root, _ := b.Edge.Root()
			checkpoint = m.sign(t, tlog.Tree{N: int64(kept), Hash: root})
		}
	}
	require.NoError(t, b.Finish(put))
	root, ok := b.Edge.Root()
	require.True(t, ok)
	files[CheckpointFile] = &fstest.MapFile{Data: m.sign(t, tlog.Tree{N: int64(len(leaves)), Hash: root})}
	return files, checkpoint
}

// madeLeaf is entry number i of a log: an event about one person with one field, as
// most are; now and then a beat.
func madeLeaf(t testing.TB, i int) []byte {
	t.Helper()
	l := Leaf{
		ID: fmt.Sprintf("0196b3a0-1111-7222-8333-%012x", i), Kind: KindEvent, At: time.Date(2026, 11, 27, 4, 5, 6, 7000*(1+i%1000), time.UTC),
		Tenant: "main", Actor: "u-1", Action: "contact.update", Outcome: OutcomeOK, Object: Object{Kind: "deal", ID: "d-17"},
		Persons: []string{surrogate(byte(i))}, Request: "r-1",
	}
	var d [32]byte
	d[0], d[1], d[2] = byte(i), byte(i>>8), 77
	l.Changes = []LeafChange{{Path: "email", Old: canon.FormatBytes(d[:]), New: digest(byte(i)), Who: l.Persons[0]}}
	if i%1000 == 999 {
		l = Leaf{ID: l.ID, Kind: KindBeat, At: l.At, Size: int64(i), Heads: LeafHeads{Ledger: &LeafHead{N: 3, Hash: digest(1)}}}
	}
	data, err := AppendLeaf(nil, &l)
	require.NoError(t, err)
	return data
}

func madeLeaves(t testing.TB, n int) (out [][]byte) {
	t.Helper()
	for i := range n {
		out = append(out, madeLeaf(t, i))
	}
	return out
}

func writeFiles(t testing.TB, dir string, files fstest.MapFS) {
	t.Helper()
	for name, f := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, f.Data, 0o600))
	}
}

func BenchmarkReadingALog(b *testing.B) {
	const entries = 1 << 15
	m := newMadeLog(b)
	files, _ := m.files(b, madeLeaves(b, entries), 0)
	dir := b.TempDir()
	writeFiles(b, dir, files)
	for name, verify := range map[string]func(context.Context, fs.FS, Trust) (Report, error){"parsed": VerifyLog, "hashes": VerifyHashes} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r, err := verify(context.Background(), os.DirFS(dir), Trust{Key: m.key})
				require.NoError(b, err)
				require.Equal(b, Unanchored, r.Verdict)
			}
			b.ReportMetric(float64(b.Elapsed())/float64(b.N)/entries, "ns/entry")
		})
	}
}
