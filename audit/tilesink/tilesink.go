// Package tilesink publishes an audit log into a folder: checkpoint,
// tile/entries/…, tile/<level>/…; serve it as static files, or mirror it
// anywhere.
//
// # Promises
//
// A file is written under a temporary name, synced, renamed, and its folder
// synced: after a power cut it is there in full or not at all. Where folders
// cannot be synced (Windows, some network mounts) a name may be lost, and the
// next pass writes it again. A name never leads out of the folder, not even
// through symbolic links. What killed processes left unfinished (.tmp-…) goes
// when a folder is next written to, unless a living process holds it.
//
// # Not promised
//
// Secrecy: files are readable by all (0644), for they hold no personal values, but
// for .lock, which is its owner's (0600): a mirror leaves it out.
// Protection against whoever owns the folder: that is what verification and a
// checkpoint kept elsewhere are for.
//
// # Which call first
//
// [Open], whose Dir goes into audit.Config.Sink; [Dir.FS] is what
// auditlog.VerifyLog reads.
//
// # Concurrency
//
// A [Dir] is safe for concurrent use by several processes of one user: all
// write the same bytes under the same names, and whoever replaces the checkpoint
// holds the lock of the folder (.lock in it, which goes with its process; leave
// it there). On a network mount the locks must be those of all its clients. A
// process that is stopped while it holds the lock keeps the others from
// publishing, and nobody from recording.
//
// # Errors
//
// Those of package os, wrapped: an absent file is fs.ErrNotExist, a bad name
// fs.ErrInvalid. Full disks and the like, and [ErrBusy], are temporary, and the
// trail tries again. Where there are no locks, errors.ErrUnsupported.
//
// # Format and compatibility
//
// The folder is a C2SP tlog-tiles v1 log. Settling: the Go API may
// change until v0.1.0.
package tilesink

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sync"
	"time"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/internal/c2sp"
	"github.com/crmguard/crmguard/internal/durable"
)

// tmpPrefix marks files that are being written.
const tmpPrefix = ".tmp-"

// Dir is a folder that receives the published log.
type Dir struct {
	root     string
	patience time.Duration                   // how long the lock is waited for
	last     sync.Map                        // the file last written to each folder
	over     func(durable.Disk) durable.Disk // tests put disks there that fail
	opened   func()                          // tests come there between the folder and its lock
}

var (
	_ audit.Sink    = (*Dir)(nil)
	_ audit.Remover = (*Dir)(nil)
)

// Open makes the folder if it is missing.
func Open(dir string) (*Dir, error) {
	if dir == "" {
		return nil, errors.New("tilesink: open: no folder")
	}
	d := &Dir{root: dir, patience: patience}
	f, err := durable.Make(dir, tmpPrefix, 0o755)
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("tilesink: open: %w", err)
	}
	return d, nil
}

// open opens the log's folder, and makes it if it is missing.
func (d *Dir) open() (*durable.Folder, error) {
	f, err := durable.Open(d.root, tmpPrefix)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = durable.Make(d.root, tmpPrefix, 0o755)
	}
	return f, err
}

// FS returns the folder for reading, for auditlog.VerifyLog and others.
func (d *Dir) FS() fs.FS { return os.DirFS(d.root) }

// ReadFile returns a published file. Of one that is longer than any can be it
// returns one byte more than that, which is not what was published.
func (d *Dir) ReadFile(ctx context.Context, name string) ([]byte, error) {
	if err := check(ctx, name); err != nil {
		return nil, err
	}
	f, err := durable.Open(d.root, tmpPrefix)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := read(f.Over(d.over), name)
	return data, byHand(err)
}

func read(f *durable.Folder, name string) ([]byte, error) {
	return f.ReadFirst(name, int64(c2sp.MaxFile(name))+1)
}

// WriteFile stores a file atomically and durably.
func (d *Dir) WriteFile(ctx context.Context, name string, data []byte) error {
	if err := check(ctx, name); err != nil {
		return err
	}
	f, err := d.open()
	if err != nil {
		return fmt.Errorf("tilesink: write: %w", err)
	}
	defer f.Close()
	if err := d.write(f.Over(d.over), name, data); err != nil {
		return fmt.Errorf("tilesink: write: %w", byHand(err))
	}
	return nil
}

func (d *Dir) write(f *durable.Folder, name string, data []byte) (err error) {
	folder := path.Dir(name)
	f, done := f.Near(folder)
	defer done()
	if last, ok := d.last.Load(folder); !ok || !f.Stands(last.(string)) {
		err = f.MkdirAll(folder, 0o755)
		f.CleanUp(folder) // of what killed processes left
	}
	if err == nil {
		err = f.Replace(name, data, 0o644)
	}
	if err == nil {
		d.last.Store(folder, name)
	}
	return err
}

// RemoveAll removes a file, or a folder and what it holds.
func (d *Dir) RemoveAll(ctx context.Context, name string) error {
	if err := check(ctx, name); err != nil {
		return err
	}
	if name == "." {
		return errors.New("tilesink: remove: the log itself is never removed")
	}
	root, err := os.OpenRoot(d.root)
	if err != nil {
		return fmt.Errorf("tilesink: remove: %w", err)
	}
	defer root.Close()
	if err := root.RemoveAll(filepath.FromSlash(name)); err != nil {
		return fmt.Errorf("tilesink: remove: %w", err)
	}
	return nil
}

func check(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if name == lockFile || !fs.ValidPath(name) || !filepath.IsLocal(filepath.FromSlash(name)) {
		return &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	return nil
}
