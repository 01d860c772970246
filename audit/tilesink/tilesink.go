// Package tilesink publishes an audit log into a folder: checkpoint,
// tile/entries/…, tile/<level>/…; serve it as static files, or mirror it
// anywhere.
//
// # Promises
//
// A file is written under a temporary name, synced, renamed, and its folder
// synced: after a power cut it is there in full or not at all. Where folders
// cannot be synced (Windows, some network mounts) a name may be lost, and the
// next pass writes it again. A name never leads out of the folder.
//
// # Not promised
//
// Secrecy: files are readable by all (0644), for they hold no personal values.
// Protection against whoever owns the folder: that is what verification and a
// checkpoint kept elsewhere are for. Leftovers named .tmp-* after a crash may
// be deleted.
//
// # Which call first
//
// [Open], whose Dir goes into audit.Config.Sink; [Dir.FS] is what
// audit.VerifyLog reads.
//
// # Concurrency
//
// A [Dir] is safe for concurrent use by several processes: all write the same
// bytes under the same names, and the trail decides under its own lock who
// replaces the checkpoint.
//
// # Errors
//
// Those of package os, wrapped: an absent file is fs.ErrNotExist, a bad name
// fs.ErrInvalid. Full disks and the like are temporary, and the trail tries
// again.
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

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/internal/disk"
)

// Dir is a folder that receives the published log.
type Dir struct {
	root string
	sync func(folder string) error // replaced by tests of a disk that fails
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
	d := &Dir{root: dir, sync: disk.SyncFolder}
	if err := d.makeAll(dir); err != nil {
		return nil, fmt.Errorf("tilesink: open: %w", err)
	}
	return d, nil
}

// FS returns the folder for reading, for [audit.VerifyLog] and others.
func (d *Dir) FS() fs.FS { return os.DirFS(d.root) }

// ReadFile returns a published file.
func (d *Dir) ReadFile(ctx context.Context, name string) ([]byte, error) {
	file, err := d.file(ctx, name)
	if err != nil {
		return nil, err
	}
	return disk.ReadFile(file)
}

// WriteFile stores a file atomically and durably.
func (d *Dir) WriteFile(ctx context.Context, name string, data []byte) error {
	file, err := d.file(ctx, name)
	if err != nil {
		return err
	}
	dir := filepath.Dir(file)
	if err := d.makeAll(dir); err != nil {
		return fmt.Errorf("tilesink: write: %w", err)
	}
	temp, err := writeTemp(dir, data)
	if err != nil {
		return fmt.Errorf("tilesink: write: %w", err)
	}
	if err := os.Rename(temp, file); err != nil {
		return fmt.Errorf("tilesink: write: %w", errors.Join(err, os.Remove(temp)))
	}
	return d.sync(dir)
}

// RemoveAll removes a folder of partial tiles.
func (d *Dir) RemoveAll(ctx context.Context, name string) error {
	file, err := d.file(ctx, name)
	if err != nil {
		return err
	}
	if file == d.root {
		return errors.New("tilesink: remove: the log itself is never removed")
	}
	if err := os.RemoveAll(file); err != nil {
		return fmt.Errorf("tilesink: remove: %w", err)
	}
	return nil
}

func (d *Dir) file(ctx context.Context, name string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if !fs.ValidPath(name) || path.Clean(name) != name || !filepath.IsLocal(filepath.FromSlash(name)) {
		return "", &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	return filepath.Join(d.root, filepath.FromSlash(name)), nil
}

func writeTemp(dir string, data []byte) (string, error) {
	f, err := os.CreateTemp(dir, ".tmp-*")
	if err != nil {
		return "", err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}

// makeAll is os.MkdirAll that syncs each parent it adds a folder to.
func (d *Dir) makeAll(dir string) error {
	if info, err := os.Stat(dir); err == nil {
		if !info.IsDir() {
			return &fs.PathError{Op: "mkdir", Path: dir, Err: fs.ErrExist}
		}
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := d.makeAll(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) { //nolint:gosec // G301: the log is there to be read by all
		return err
	}
	if err := d.sync(parent); err != nil {
		return errors.Join(err, os.Remove(dir)) // made and flushed by the next call
	}
	return nil
}
