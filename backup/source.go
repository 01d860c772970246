package backup

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/crmguard/crmguard/internal/frame"
)

// Source is something to back up: [Folder] and sqlitesource.New make some.
type Source interface {
	// Name is the source's folder in the snapshot: 1 to 64 letters, digits,
	// '.', '_' and '-', not beginning with '.', unique in a job.
	Name() string
	// Kind says what it is, for the manifest: "folder", "sqlite". The kind
	// "table" is reserved.
	Kind() string
	// Snapshot writes the content. Any error makes the snapshot impossible.
	Snapshot(ctx context.Context, w *Writer) error
}

// Tagger authenticates manifests with an installation key:
// vault.ManifestTagger() of package encryption is one, and without a vault
// [MachineKey.Manifests].
type Tagger interface {
	// Tag returns an authentication tag over data.
	Tag(ctx context.Context, data []byte) ([]byte, error)
	// Verify returns nil only when tag belongs to data.
	Verify(ctx context.Context, data, tag []byte) error
}

// Table is what a source says of one of its tables.
type Table struct {
	Name     string   // without the source's name
	Rows     int64    // number of rows
	Sum      [32]byte // SHA-256 of the rows as in formats.md, section 9
	Stripped []string // columns that were emptied and are not in Sum
}

// Writer takes what a source reads. It belongs to one goroutine, until
// Snapshot returns.
type Writer struct {
	pipe     *pipeline
	name     string // of the source
	root     *folderNode
	last     string
	files    int
	bytes    int64
	sum      hash.Hash
	tables   []Table
	versions map[string]string
	pending  sync.WaitGroup
	done     bool
	err      error
}

// folderNode is a folder of the snapshot until its listing is written.
type folderNode struct {
	info    fs.FileInfo
	files   map[string]*pendingFile
	folders map[string]*folderNode
}

type pendingFile struct {
	node *node
	ids  []*blobID
}

var errDone = errors.New("backup: the writer of a source was used after Snapshot returned")

var sourceName = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$`)

func newWriter(pipe *pipeline, name string) *Writer {
	return &Writer{pipe: pipe, name: name, root: newFolderNode(), sum: sha256.New()}
}

func newFolderNode() *folderNode {
	return &folderNode{files: map[string]*pendingFile{}, folders: map[string]*folderNode{}}
}

// File stores one regular file. Paths are slash-separated, below the source,
// and come in ascending order of their bytes. Exactly info.Size() bytes must
// follow; fewer or more mean that the file changed while it was read.
func (w *Writer) File(path string, info fs.FileInfo, content io.Reader) error {
	parent, name, err := w.folder(path, 0)
	if err == nil && (!info.Mode().IsRegular() || info.Size() < 0) {
		err = errors.New("neither a regular file nor a folder")
	}
	if err == nil && w.files > 0 && path <= w.last {
		err = errors.New("files of a source are not in ascending order")
	}
	if err == nil && (parent.files[name] != nil || parent.folders[name] != nil) {
		err = errors.New("two entries with one name")
	}
	if err != nil {
		return w.fail(err)
	}
	size := info.Size()
	w.last = path
	writeFileHead(w.sum, path, size)
	// One byte more shows a file that grew; one without end is not read on.
	counted := &countReader{r: io.TeeReader(io.LimitReader(content, max(size, size+1)), w.sum)}
	ids, err := w.pipe.stream(counted, &w.pending)
	if err != nil {
		return w.fail(err)
	}
	if counted.n != size {
		return w.fail(ErrChanged)
	}
	n := newNode(nodeFile, info.Mode().Perm(), info.ModTime())
	n.Size = uint64(size)
	parent.files[name] = &pendingFile{node: n, ids: ids}
	w.files++
	w.bytes += size
	return nil
}

// writeFileHead begins a file in the digest of a source; content follows.
func writeFileHead(sum hash.Hash, path string, size int64) {
	sum.Write(binary.BigEndian.AppendUint64(frame.Append(nil, path), uint64(size)))
}

type countReader struct {
	r io.Reader
	n int64
}

func (c *countReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// Dir stores a folder, so that empty ones come back too. Folders that hold
// files need no Dir.
func (w *Writer) Dir(path string, info fs.FileInfo) error {
	parent, name, err := w.folder(path, 1)
	if err == nil && parent.files[name] != nil {
		err = errors.New("two entries with one name")
	}
	if err != nil {
		return w.fail(err)
	}
	if parent.folders[name] == nil {
		parent.folders[name] = newFolderNode()
	}
	parent.folders[name].info = info
	return nil
}

// Table adds the digest of one table to the manifest.
func (w *Writer) Table(t Table) error {
	if w.done {
		return w.fail(errDone)
	}
	w.tables = append(w.tables, t)
	return nil
}

// Versions adds versions of the source's engine and schema to the manifest.
func (w *Writer) Versions(versions map[string]string) { w.versions = versions }

// fail keeps the first error, so that a source that ignores it fails all the
// same.
func (w *Writer) fail(err error) error {
	if w.err == nil {
		w.err = err
	}
	return err
}

// folder finds the folder of a path and makes those on the way; below is how
// many folders the path's last name adds.
func (w *Writer) folder(path string, below int) (*folderNode, string, error) {
	if w.done {
		return nil, "", errDone
	}
	at := w.root
	parts := strings.Split(path, "/")
	if n := len(parts) + below; n > maxDepth { // the source's own folder included
		return nil, "", tooLarge("a path", n, maxDepth, "folders")
	}
	for i, part := range parts {
		if !safeName(part) {
			return nil, "", ErrUnsafeName
		}
		if len(part) > maxName {
			return nil, "", tooLarge("a name", len(part), maxName, "bytes")
		}
		if i == len(parts)-1 {
			break
		}
		if at.files[part] != nil {
			return nil, "", errors.New("two entries with one name")
		}
		if at.folders[part] == nil {
			at.folders[part] = newFolderNode()
		}
		at = at.folders[part]
	}
	return at, parts[len(parts)-1], nil
}

// close waits for the chunks that are under way and stores the listings.
func (w *Writer) close() (*node, error) {
	w.done = true
	w.pending.Wait()
	if w.err != nil {
		return nil, w.err
	}
	if err := context.Cause(w.pipe.ctx); err != nil {
		return nil, err
	}
	return w.saveFolder(w.root, "")
}

func (w *Writer) saveFolder(f *folderNode, path string) (*node, error) {
	nodes := make(map[string]*node, len(f.files)+len(f.folders))
	var newest time.Time
	for name, file := range f.files {
		file.node.Content = make([]blobID, len(file.ids))
		for i, id := range file.ids {
			file.node.Content[i] = *id
		}
		nodes[name] = file.node
		if file.node.ModTime.After(newest) {
			newest = file.node.ModTime
		}
	}
	for name, sub := range f.folders {
		n, err := w.saveFolder(sub, strings.TrimPrefix(path+"/"+name, "/"))
		if err != nil {
			return nil, err
		}
		nodes[name] = n
	}
	id, err := w.pipe.saveTree(nodes)
	if errors.Is(err, ErrLimit) {
		return nil, &SourceError{Source: w.name, Path: path, Err: err}
	} else if err != nil {
		return nil, err
	}
	perm := fs.FileMode(0o700)
	if f.info != nil {
		perm, newest = f.info.Mode().Perm(), f.info.ModTime()
	}
	n := newNode(nodeDir, fs.ModeDir|perm, newest)
	n.Subtree = &id
	return n, nil
}

// newNode fills what all entries have. Owner and group are those of the
// process; access and change times say nothing that a restore needs.
func newNode(kind string, mode fs.FileMode, modified time.Time) *node {
	modified = modified.UTC()
	if y := modified.Year(); y < 1 || y > 9999 {
		modified = time.Unix(0, 0).UTC()
	}
	return &node{
		Type: kind, Mode: mode, ModTime: modified, AccessTime: modified, ChangeTime: modified,
		UID: uint32(max(os.Getuid(), 0)), GID: uint32(max(os.Getgid(), 0)),
	}
}

// readSource runs one source and returns its folder and manifest entries.
func readSource(ctx context.Context, s Source, pipe *pipeline, tagger Tagger) (*Writer, *node, []ManifestSource, error) {
	w := newWriter(pipe, s.Name())
	err := s.Snapshot(ctx, w)
	n, closeErr := w.close()
	if err == nil {
		err = closeErr
	}
	var entries []ManifestSource
	if err == nil {
		entries, err = w.entries(ctx, s, tagger)
	}
	if err != nil {
		return nil, nil, nil, asSourceError(s.Name(), err)
	}
	return w, n, entries, nil
}

func asSourceError(name string, err error) error {
	if _, ok := errors.AsType[*SourceError](err); ok {
		return err
	}
	if _, ok := errors.AsType[*StoreError](err); ok {
		return err // a store failed under the source's hands
	}
	return &SourceError{Source: name, Err: err}
}

func (w *Writer) entries(ctx context.Context, s Source, tagger Tagger) ([]ManifestSource, error) {
	digest, err := tagDigest(ctx, tagger, [32]byte(w.sum.Sum(nil)))
	if err != nil {
		return nil, err
	}
	entries := []ManifestSource{{Name: s.Name(), Kind: s.Kind(), Rows: int64(w.files), Digest: digest, Versions: w.versions}}
	seen := map[string]bool{}
	for _, t := range w.tables {
		if t.Name == "" || seen[t.Name] {
			return nil, fmt.Errorf("a table without name, or twice: %w", ErrConfig)
		}
		seen[t.Name] = true
		digest, err := tagDigest(ctx, tagger, t.Sum)
		if err != nil {
			return nil, err
		}
		entries = append(entries, ManifestSource{
			Name: s.Name() + "/" + t.Name, Kind: KindTable, Rows: t.Rows, Digest: digest, Stripped: t.Stripped,
		})
	}
	return entries, nil
}
