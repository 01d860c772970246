package backup

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"time"
)

type scryptCost struct{ n, r, p int }

var (
	lightCost = scryptCost{1 << 10, 8, 1}
	heavyCost = scryptCost{1 << 15, 8, 6}
)

type blobID [32]byte

func (id blobID) String() string            { return "" }
func parseID(string) (id blobID, err error) { return id, errors.ErrUnsupported }

// Config says how a repository is opened.
type Config struct {
	// Key opens the repository.
	Key Key
	// Manifests authenticates manifests. Without one, jobs are refused and a
	// restore is not proved against its manifest (and takes no steps).
	Manifests Tagger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Repository is an opened repository in one store.
type Repository struct{ store Store }

// Create makes a repository in each store, which must hold none. All share
// one id and one master key, and receive the same bytes for ever after.
func Create(ctx context.Context, cfg Config, stores ...Store) ([]*Repository, error) {
	return nil, errors.ErrUnsupported
}

// Open opens the repository in a store.
func Open(ctx context.Context, store Store, cfg Config) (*Repository, error) {
	return nil, errors.ErrUnsupported
}

// ID returns the id of the repository, 64 hex digits.
func (r *Repository) ID() string { return "" }

// Snapshot is one snapshot of a repository.
type Snapshot struct {
	ID    string // 64 hex digits
	Time  time.Time
	Job   string // "" when another program made it
	Paths []string
	Tags  []string
}

// Snapshots lists the snapshots, oldest first.
func (r *Repository) Snapshots(ctx context.Context) ([]Snapshot, error) {
	return nil, errors.ErrUnsupported
}

// Manifest reads and verifies the manifest of a snapshot. id is an id, an
// unambiguous beginning of one, or "latest".
func (r *Repository) Manifest(ctx context.Context, id string) (*Manifest, error) {
	return nil, errors.ErrUnsupported
}

// Files returns the files of a snapshot as a read-only file system, read
// from the repository when they are opened.
func (r *Repository) Files(ctx context.Context, id string) (fs.FS, error) {
	return nil, errors.ErrUnsupported
}

// Blob is one decrypted piece of a repository.
type Blob struct {
	ID   string // SHA-256 of Data, hex
	Tree bool   // a folder listing, not file content
	Pack string // the file that holds it
	Data []byte // valid until the next step of the iteration
}

// Blobs decrypts every blob of every pack, indexed or not.
func (r *Repository) Blobs(ctx context.Context) iter.Seq2[Blob, error] {
	return func(yield func(Blob, error) bool) {}
}

// KeyHolders names the snapshots that need a key generation.
// It is what encryption's DestroyGeneration asks before it destroys one.
func (r *Repository) KeyHolders(ctx context.Context, tenant string, generation uint32) (count int, where string, err error) {
	return 0, "", errors.ErrUnsupported
}

// Depth says how much Check reads.
type Depth int

// The depths of a check.
const (
	Structure Depth = iota // everything but the content of packs
	ReadAll                // every byte
)

// CheckReport is what a check read, and what it did not.
type CheckReport struct {
	Snapshots, Packs, Blobs int
	Bytes                   int64 // read from the store
	Problems                []error
	NotRead                 []string // what this depth leaves unread
	Unused                  int      // packs that no index names
	Took                    time.Duration
}

// Check reads the repository back. known are ids of snapshots, kept
// elsewhere, that must be there. A report with problems comes with an error
// that wraps ErrCorrupt.
func (r *Repository) Check(ctx context.Context, depth Depth, known ...string) (*CheckReport, error) {
	return nil, errors.ErrUnsupported
}

// Step is work on a restored folder before it may serve: rebuild lookup
// indexes, catch up the audit trail, replay the erasure ledger.
type Step struct {
	Name string
	Run  func(ctx context.Context, dir string) error
}

// RestoreReport is what a restore did.
type RestoreReport struct {
	Snapshot string
	Manifest *Manifest // nil when the snapshot has none
	Verified bool      // the files on disk equal the manifest's digests
	Files    int
	Bytes    int64
	Steps    []StepReport
	Took     time.Duration
}

// StepReport is one step that ran.
type StepReport struct {
	Name string
	Took time.Duration
}

// Restore brings a snapshot into dir, which must be empty or missing,
// verifies the files on disk against the manifest, runs the steps in order
// and marks dir as open. After any error dir stays closed: see [Opened].
func (r *Repository) Restore(ctx context.Context, id, dir string, steps ...Step) (*RestoreReport, error) {
	return nil, errors.ErrUnsupported
}

// Opened returns nil when dir is a restore that went through all its steps,
// and ErrClosed otherwise.
func Opened(dir string) error { return ErrClosed }

// Folder is a source of the regular files below a directory of the disk.
func Folder(name, dir string) Source { return nil }

// Files is a source of the regular files of a file system.
func Files(name string, fsys fs.FS) Source { return nil }

// Writer takes what a source reads.
type Writer struct{}

// File stores one file.
func (w *Writer) File(path string, info fs.FileInfo, content io.Reader) error {
	return errors.ErrUnsupported
}

// Dir stores a directory, so that empty ones come back too.
func (w *Writer) Dir(path string, info fs.FileInfo) error { return errors.ErrUnsupported }

// Table adds the digest of one table to the manifest.
func (w *Writer) Table(t Table) error { return errors.ErrUnsupported }

// Table is what a source says of one of its tables.
type Table struct {
	Name     string   // without the source's name
	Rows     int64    // number of rows
	Sum      [32]byte // SHA-256 of the rows as in formats.md, section 9
	Stripped []string // columns that were emptied and are not in Sum
}

// Versions adds the versions of the source's engine to the manifest.
func (w *Writer) Versions(versions map[string]string) {}
