package main

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// plant puts a file into the folder that is none of the log.
func (l *keptLog) plant(name string, data []byte) {
	l.t.Helper()
	require.NoError(l.t, os.MkdirAll(l.path(path.Dir(name)), 0o755))
	l.write(name, data)
}

// What others leave in the folder of a log changes nothing, and is in nobody's way:
// files beside those of the log, and those of sizes that it has not, or not yet.
func TestStrangersFilesChangeNothing(t *testing.T) {
	l := grown(t, 600)
	tree := l.agree()
	for _, name := range []string{
		"index.html", ".state/treeState", "CHECKPOINT", "checkpoint.gz", "checkpoint.sig", "tile/index.html",
		"tile/0/000.gz", "tile/0/000.br", "tile/0/0", "tile/0/00", "tile/0/0000", "tile/0/-01", "tile/00/000", "tile/+0/000", "tile/ENTRIES/000", "TILE/0/000",
		"tile/0/x001/000", "tile/entries/x000/001", "tile/0/000.p/255", "tile/entries/000.p/255", "tile/0/000.p/256", "tile/1/000.p/1", "tile/1/000.p/3",
		"tile/1/000", "tile/2/000.p/1", "tile/2/000", "tile/0/003", "tile/0/003.p/35", "tile/entries/003", "tile/entries/003.p/35", "tile/entries/002.p/x",
	} {
		l.plant(name, []byte("of somebody else"))
	}
	for width := range 2000 {
		if width == int(tree.N%256) {
			continue
		}
		l.plant(fmt.Sprint("tile/0/002.p/", width), nil)
		l.plant(fmt.Sprint("tile/entries/002.p/", width), []byte{0, 1, 'x'})
	}
	require.NoError(t, os.Symlink(".", l.path("tile/0/loop")))
	require.NoError(t, os.Symlink("/", l.path("tile/root")))
	require.Equal(t, tree, l.agree())
	l.refuseEachChange(tree)
	for _, size := range []int64{603, 760, 768, 803, 1000, 1024, 1100} { // over each of these names, partial and full
		l.fill(int(size - tree.N))
		tree = l.agree()
		require.Equal(t, size, tree.N)
	}
	require.FileExists(t, l.path("tile/root/etc/hosts"), "nobody went that way")
	l.refuseEachChange(tree)
}

// A copy of hard links, as some keep one a day, stays as it was when it was made:
// nothing is ever written into a file that is there.
func TestACopyOfHardLinksStaysAsItWas(t *testing.T) {
	l := grown(t, 600)
	tree, names := l.agree(), l.current(l.agree())
	copied := filepath.Join(t.TempDir(), "copy")
	for _, name := range names {
		to := filepath.Join(copied, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(to), 0o755))
		require.NoError(t, os.Link(l.path(name), to))
	}
	then := *l
	then.dir = copied
	l.fill(300)
	require.Greater(t, l.agree().N, tree.N)
	require.Equal(t, tree, then.agree())
	l.prune()
	l.agree()
	then.kept = then.file("checkpoint")
	require.Equal(t, tree, then.agree(), "also what went with retention is there")
}
