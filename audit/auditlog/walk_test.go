package auditlog

import (
	"bytes"
	"context"
	"io/fs"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/internal/c2sp"
	"github.com/crmguard/crmguard/audit/internal/merkle"
)

// endless is a log of n equal entries, whose bundles are made as they are read.
type endless struct {
	files  map[string][]byte // all but the bundles
	bundle []byte
	gone   string // a bundle that is not there
	key    string
	head   tlog.Tree
}

func newEndless(t testing.TB, n int64) *endless {
	t.Helper()
	l := aLeaf(KindEvent)
	leaf, err := AppendLeaf(nil, &l)
	require.NoError(t, err)
	e := &endless{files: make(map[string][]byte)}
	for range c2sp.TileWidth {
		e.bundle, err = c2sp.AppendEntry(e.bundle, leaf)
		require.NoError(t, err)
	}
	var b merkle.Builder
	keep := func(tile tlog.Tile, data []byte) error {
		e.files[c2sp.TilePath(tile)] = bytes.Clone(data)
		return nil
	}
	for range n {
		require.NoError(t, b.Add(tlog.RecordHash(leaf), keep))
	}
	require.NoError(t, b.Finish(keep))
	root, _ := b.Edge.Root()
	e.head = tlog.Tree{N: n, Hash: root}
	secret, public, err := note.GenerateKey(nil, "log.example/0")
	require.NoError(t, err)
	signer, err := note.NewSigner(secret)
	require.NoError(t, err)
	e.key = public
	e.files[CheckpointFile], err = note.Sign(&note.Note{Text: c2sp.FormatCheckpoint("log.example/0", e.head)}, signer)
	require.NoError(t, err)
	return e
}

func (e *endless) read(_ context.Context, name string) ([]byte, error) {
	if data, ok := e.files[name]; ok {
		return bytes.Clone(data), nil
	}
	if len(name) > len("tile/entries/") && name[:len("tile/entries/")] == "tile/entries/" && name != e.gone {
		return bytes.Clone(e.bundle), nil
	}
	return nil, fs.ErrNotExist
}

// However long a log is, what its verification holds on to is a bundle and the
// unfinished tiles.
func TestMemoryOfAWalkDoesNotGrowWithTheLog(t *testing.T) {
	const n = 100 * c2sp.TileWidth
	e := newEndless(t, n)
	live := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, most := live(), uint64(0)
	w := Walk{Read: e.read, Trust: Trust{Key: e.key, Kept: e.files[CheckpointFile]}, Each: func(index int64, _ []byte, _ *Leaf) error {
		if index%(10*c2sp.TileWidth) == 0 {
			most = max(most, live())
		}
		return nil
	}}
	require.False(t, w.Opened())
	report, err := w.Verify(t.Context())
	require.NoError(t, err)
	require.Equal(t, OK, report.Verdict, "%+v", report.Faults)
	require.EqualValues(t, n, report.Verified)
	require.True(t, w.Opened())
	root, ok := w.Root()
	require.True(t, ok)
	require.Equal(t, e.head.Hash, root)
	require.Less(t, most, before+uint64(4*len(e.bundle)), "bytes in use while the log is read")

	// It goes on behind the checkpoint.
	var edge merkle.Edge
	for range n + 1 {
		edge.Push(tlog.RecordHash(leafOf(t)))
	}
	w.Push(tlog.RecordHash(leafOf(t)))
	want, _ := edge.Root()
	got, ok := w.Root()
	require.True(t, ok)
	require.Equal(t, want, got)
}

func leafOf(t *testing.T) []byte {
	t.Helper()
	l := aLeaf(KindEvent)
	data, err := AppendLeaf(nil, &l)
	require.NoError(t, err)
	return data
}

// The entries that could not be read leave no root behind.
func TestAWalkWithAHoleKnowsNoRoot(t *testing.T) {
	e := newEndless(t, 2*c2sp.TileWidth)
	e.gone = c2sp.TilePath(c2sp.Tile(-1, 1, c2sp.TileWidth))
	delete(e.files, c2sp.TilePath(c2sp.Tile(0, 1, c2sp.TileWidth)))
	w := Walk{Read: e.read, Trust: Trust{Key: e.key}}
	report, err := w.Verify(t.Context())
	require.NoError(t, err)
	require.Equal(t, Incomplete, report.Verdict)
	require.EqualValues(t, c2sp.TileWidth, report.Verified)
	_, ok := w.Root()
	require.False(t, ok)
}

func BenchmarkVerifyLog(b *testing.B) {
	e := newEndless(b, 20*c2sp.TileWidth)
	for b.Loop() {
		w := Walk{Read: e.read, Trust: Trust{Key: e.key}}
		if report, err := w.Verify(context.Background()); err != nil || report.Verified != 20*c2sp.TileWidth {
			b.Fatal(report, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(20*c2sp.TileWidth), "ns/entry")
}
