package keycopy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"

	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/internal/durable"
)

const (
	copyPattern  = "keys-*.jsonl"
	holesPrefix  = "damaged-keys-" // of copies that lack rows
	tempPrefix   = ".keys-"        // until it is complete
	copyAttempts = 5
)

// Write does what Vault.WriteCopy promises.
func (v *Copies) Write(ctx context.Context, dir string) (written Copy, err error) {
	defer func() { v.record.took(written, err, v.cfg.Now()) }()
	v.record.into(dir)
	manifest, err := v.ring.Keyset(ctx, "", keyring.PurposeManifest)
	if err != nil {
		return Copy{}, err
	}
	if err := v.ring.Prune(ctx); err != nil {
		return Copy{}, err
	}
	for range copyAttempts {
		if written, err = v.writeCopy(ctx, dir, manifest); !errors.Is(err, errOvertaken) {
			break
		}
	}
	if err != nil {
		return Copy{}, err
	}
	v.cfg.Observe(ctx, "encryption.copy.rows", float64(written.Rows), slog.Int64("sequence", written.Sequence))
	return written, nil
}

// errOvertaken is not exported: another writer was faster and took the
// unfinished file away.
var errOvertaken = errors.New("other writers keep finishing first")

func (v *Copies) writeCopy(ctx context.Context, dir string, manifest *keyring.Keyset) (Copy, error) {
	if err := v.refuseForeign(dir); err != nil {
		return Copy{}, err
	}
	// Creations do not raise the sequence, by which copies are named and
	// compared. Behind a mark of its own two copies of one sequence have the same
	// history, so either may replace the other.
	if _, err := v.ring.Mark(ctx); err != nil {
		return Copy{}, err
	}
	before, err := v.newestCopy(ctx, dir, manifest)
	if err != nil {
		return Copy{}, err
	}
	folder, err := v.copyFolder(dir)
	if err != nil {
		return Copy{}, err
	}
	defer folder.Close()
	temp, err := folder.Begin(".", 0o600)
	if err != nil {
		return Copy{}, fmt.Errorf("%w: write: %w", keyring.ErrCopy, err)
	}
	name, e, err := v.fillCopy(ctx, temp, manifest, before)
	if err != nil {
		return Copy{}, discard(err, temp)
	}
	if damaged := e.found.err(); damaged != nil && e.keysets[[2]string{"", keyring.PurposeManifest}].open == nil {
		v.record.examined(e.found)
		return Copy{}, discard(fmt.Errorf("%w: nothing would verify one without the installation's keysets: %w", keyring.ErrCopy, damaged), temp)
	}
	verified, err := v.verifyOwn(ctx, filepath.Join(dir, temp.Name()), e.keysets)
	if err != nil {
		return Copy{}, discard(err, temp)
	}
	written := verified.Copy
	if err := v.refuseLost(ctx, dir, written); err != nil {
		return Copy{}, discard(err, temp)
	}
	v.record.examined(e.found)
	written.Path = filepath.Join(dir, name)
	if err := temp.Replace(name); err != nil {
		return Copy{}, discard(fmt.Errorf("%w: write: %w", keyring.ErrCopy, err), temp)
	}
	if damaged := e.found.err(); damaged != nil {
		damaged.Copy = written.Path
		return Copy{}, errors.Join(fmt.Errorf("%w: %w", keyring.ErrCopy, damaged), v.keepHoles(folder, dir, name))
	}
	v.record.holds(verified)
	return v.keepNewest(ctx, folder, dir, written)
}

// copyFolder opens a folder of key copies.
func (v *Copies) copyFolder(dir string) (*durable.Folder, error) {
	folder, err := durable.Open(dir, tempPrefix)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", keyring.ErrCopy, err)
	}
	return folder.Over(v.over), nil
}

// discard removes an unfinished file; one that is not there any more was
// taken away by another writer.
func discard(err error, temp *durable.Writer) error {
	gone := temp.Discard()
	if errors.Is(gone, fs.ErrNotExist) {
		gone = errOvertaken
	}
	return errors.Join(err, gone)
}

// Copier does what Vault.Copier promises.
func (v *Copies) Copier(dir string) func(ctx context.Context) error {
	v.record.into(dir)
	return func(ctx context.Context) error {
		_, err := v.Write(ctx, dir)
		return err
	}
}

// KeyCopy does what Vault.KeyCopy promises.
func (v *Copies) KeyCopy(dir string) func(ctx context.Context, position []byte) error {
	v.record.into(dir)
	return func(ctx context.Context, position []byte) error {
		if _, err := keyring.ParsePosition(position); err != nil {
			return err
		}
		if v.covered(ctx, dir, position) {
			folder, err := v.copyFolder(dir)
			if err != nil {
				return err
			}
			return errors.Join(syncCopies(folder), folder.Close()) // whoever wrote the copy may have failed at that
		}
		written, err := v.Write(ctx, dir)
		if err != nil {
			return err
		}
		return written.Covers(position)
	}
}

// covered reports whether the newest copy of the folder is good and covers the
// position, and no run that failed has left an older one.
func (v *Copies) covered(ctx context.Context, dir string, position []byte) bool {
	path, err := Newest(dir)
	if err != nil {
		return false
	}
	files, err := copiesIn(dir)
	older := func(name string) bool {
		return isCopyFile(name) && name != filepath.Base(path) || isHolesName(name) && sequenceOf(name) <= sequenceOf(path)
	}
	if err != nil || slices.ContainsFunc(files, older) {
		return false
	}
	have, err := v.verifyOwn(ctx, path, nil)
	if err != nil || have.Covers(position) != nil {
		return false
	}
	v.record.holds(have)
	return true
}
