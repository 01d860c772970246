package backup

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"
)

// Files returns the files of a snapshot as a read-only file system. Blobs
// are read, and proved, when they are needed; ctx bounds all of that.
// Entries that are neither files nor folders are listed and do not open.
func (r *Repository) Files(ctx context.Context, id string) (fs.FS, error) {
	s, index, err := r.findWithIndex(ctx, id)
	if err != nil {
		return nil, err
	}
	return r.snapshotFS(ctx, index, s), nil
}

func (r *Repository) snapshotFS(ctx context.Context, index *blobIndex, s Snapshot) *snapshotFS {
	return &snapshotFS{ctx: ctx, repo: r, index: index, root: s.tree, taken: s.Time, trees: map[blobID][]*node{}}
}

// maxTrees bounds the folder listings that are kept.
const maxTrees = 256

type snapshotFS struct {
	ctx   context.Context //nolint:containedctx // fs.FS leaves no other way
	repo  *Repository
	index *blobIndex
	root  blobID
	taken time.Time

	mu    sync.Mutex
	trees map[blobID][]*node
}

func (f *snapshotFS) tree(id blobID) ([]*node, error) {
	f.mu.Lock()
	nodes, ok := f.trees[id]
	f.mu.Unlock()
	if ok {
		return nodes, nil
	}
	nodes, err := f.repo.loadTree(f.ctx, f.index, id)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(nodes, func(a, b *node) int { return strings.Compare(a.Name, b.Name) })
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.trees) >= maxTrees {
		clear(f.trees)
	}
	f.trees[id] = nodes
	return nodes, nil
}

func (f *snapshotFS) find(name string) (*node, error) {
	at := &node{Name: ".", Type: nodeDir, Mode: fs.ModeDir | 0o700, ModTime: f.taken, Subtree: &f.root}
	if name == "." {
		return at, nil
	}
	for part := range strings.SplitSeq(name, "/") {
		if at.Type != nodeDir {
			return nil, fs.ErrNotExist
		}
		nodes, err := f.tree(*at.Subtree)
		if err != nil {
			return nil, err
		}
		i, ok := slices.BinarySearchFunc(nodes, part, func(n *node, name string) int { return strings.Compare(n.Name, name) })
		if !ok {
			return nil, fs.ErrNotExist
		}
		at = nodes[i]
	}
	return at, nil
}

// Open opens a file or folder of the snapshot.
func (f *snapshotFS) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	n, err := f.find(name)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	switch n.Type {
	case nodeFile:
		return &openFile{fsys: f, node: n}, nil
	case nodeDir:
		nodes, err := f.tree(*n.Subtree)
		if err != nil {
			return nil, &fs.PathError{Op: "open", Path: name, Err: err}
		}
		return &openDir{node: n, rest: nodes}, nil
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: errors.ErrUnsupported}
}

// openFile reads one blob at a time.
type openFile struct {
	fsys *snapshotFS
	node *node
	next int // blob
	rest bytes.Reader
}

func (o *openFile) Stat() (fs.FileInfo, error) { return nodeInfo{o.node}, nil }
func (o *openFile) Close() error               { return nil }

func (o *openFile) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for o.rest.Len() == 0 {
		if o.next == len(o.node.Content) {
			return 0, io.EOF
		}
		plain, err := o.fsys.repo.loadBlob(o.fsys.ctx, o.fsys.index, blobKey{id: o.node.Content[o.next]})
		if err != nil {
			return 0, err
		}
		o.next++
		o.rest.Reset(plain)
	}
	return o.rest.Read(p)
}

type openDir struct {
	node *node
	rest []*node
}

func (o *openDir) Stat() (fs.FileInfo, error) { return nodeInfo{o.node}, nil }
func (o *openDir) Close() error               { return nil }

func (o *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: o.node.Name, Err: errors.New("is a directory")}
}

func (o *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 {
		n = len(o.rest)
	} else if len(o.rest) == 0 {
		return nil, io.EOF
	}
	n = min(n, len(o.rest))
	entries := make([]fs.DirEntry, 0, n)
	for _, child := range o.rest[:n] {
		entries = append(entries, fs.FileInfoToDirEntry(nodeInfo{child}))
	}
	o.rest = o.rest[n:]
	return entries, nil
}

// nodeInfo shows a node as a fs.FileInfo.
type nodeInfo struct{ n *node }

func (i nodeInfo) Name() string       { return i.n.Name }
func (i nodeInfo) Size() int64        { return int64(i.n.Size) }
func (i nodeInfo) ModTime() time.Time { return i.n.ModTime }
func (i nodeInfo) IsDir() bool        { return i.n.Type == nodeDir }
func (i nodeInfo) Sys() any           { return nil }

// Mode takes the kind from the type: writers differ in the mode of folders.
func (i nodeInfo) Mode() fs.FileMode {
	switch i.n.Type {
	case nodeFile:
		return i.n.Mode.Perm()
	case nodeDir:
		return fs.ModeDir | i.n.Mode.Perm()
	case nodeLink:
		return fs.ModeSymlink | i.n.Mode.Perm()
	}
	return fs.ModeIrregular | i.n.Mode.Perm()
}
