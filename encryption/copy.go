package encryption

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/internal/durable"
)

// Copy is a verified key copy.
type Copy struct {
	Path     string    // of the file
	Store    string    // id of the key store
	Epoch    int64     // of the key store
	Sequence int64     // of the last change it holds
	Written  time.Time // when
	Rows     int       // rows it holds
	Holes    int       // rows that it lacks because they were damaged or lost; such a copy covers nothing

	marks     map[int64]string // its history: mark by sequence
	positions int              // how many of them are positions
	first     int64            // sequence of the oldest position
}

// Position returns the last key position that the copy covers, in the form of
// Vault.Position.
func (c Copy) Position() ([]byte, error) {
	return marshalPosition(keystore.State{Store: c.Store, Epoch: c.Epoch, Sequence: c.Sequence, Mark: c.marks[c.Sequence]})
}

// Covers returns nil when a data snapshot of this key position can be read
// with the copy: it is of the same store, and the mark of the position is in
// its history. Otherwise it answers ErrNotCovered: the copy is older than the
// position, or the store was put back and used on after the position was
// taken, so that a higher sequence says nothing.
func (c Copy) Covers(position []byte) error {
	p, err := parsePosition(position)
	if err != nil {
		return err
	}
	if c.Holes > 0 {
		return fmt.Errorf("%w: the copy lacks %d rows that were damaged when it was written: bring them back (RepairFromCopy), then write one", ErrNotCovered, c.Holes)
	}
	if p.Store != c.Store {
		return fmt.Errorf("%w: it is of another key store: bring one of the store that the position names", ErrNotCovered)
	}
	mark, known := c.marks[p.Sequence]
	switch {
	case c.Sequence < p.Sequence:
		return fmt.Errorf("%w: the copy ends at sequence %d, %d is needed: write a new one (WriteCopy), or bring a newer one", ErrNotCovered, c.Sequence, p.Sequence)
	case !known:
		return fmt.Errorf("%w: its history does not know sequence %d any more: it goes back 20,000 changes; bring a copy that was written nearer to the position", ErrNotCovered, p.Sequence)
	case mark != p.Mark:
		return fmt.Errorf("%w: the key store was put back to an older state after the position was taken; bring a copy that was written before", ErrNotCovered)
	}
	return nil
}

const (
	copyPattern  = "keys-*.jsonl"
	holesPrefix  = "damaged-keys-" // of copies that lack rows
	tempPrefix   = ".keys-"        // until it is complete
	copyAttempts = 5
)

// WriteCopy writes a key copy into a folder, latest only: the file is
// complete, on disk and verified in full before it gets its name, and only
// when the name is on disk, too, all others in the folder are deleted: older
// copies, and what writers that were killed left unfinished (.keys-…). A
// disk that fails on the way costs no older copy. When it returns, the folder
// holds no older key copy, and no writer that began earlier can bring one: it
// finds its file gone and starts again. It returns the copy that stays, which
// is another writer's where that one is newer. The folder is a place of its
// own, apart from data backups, without versions of old files; one that holds a
// copy of another key store is refused (ErrCopy) and left as it is, for that
// may be the only one that store has, and so is one with a copy of a history that
// this store lost when it was put back (ErrRewound). The copy holds every key that was
// committed before the call: it begins with a mark of its own, as Position
// does. Where folders cannot be flushed (Windows, some network mounts) a power cut may still lose
// the name.
//
// Rows that are damaged do not keep the others from being copied: a copy without
// them is written as damaged-keys-*.jsonl, beside the newest whole copy, which
// stays and is the one to bring them back from (RepairFromCopy). The error is a
// *DamagedError then, which names them. A row that the newest copy in the folder
// has, and that is gone or was put back without a reason, is damaged, too. No
// other call takes a copy with holes for one: NewestCopy does not see it, and
// it covers no position.
func (v *Vault) WriteCopy(ctx context.Context, dir string) (written Copy, err error) {
	defer func() { v.copies.took(written, err, v.cfg.Now()) }()
	v.copies.into(dir)
	manifest, err := v.keyset(ctx, "", purposeManifest)
	if err != nil {
		return Copy{}, err
	}
	if err := v.prune(ctx); err != nil {
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

func (v *Vault) writeCopy(ctx context.Context, dir string, manifest *openKeyset) (Copy, error) {
	if err := v.refuseForeign(dir); err != nil {
		return Copy{}, err
	}
	// Creations do not raise the sequence, by which copies are named and
	// compared. Behind a mark of its own two copies of one sequence have the same
	// history, so either may replace the other.
	if _, err := v.mark(ctx); err != nil {
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
		return Copy{}, fmt.Errorf("%w: write: %w", ErrCopy, err)
	}
	name, e, err := v.fillCopy(ctx, temp, manifest, before)
	if err != nil {
		return Copy{}, discard(err, temp)
	}
	if damaged := e.found.err(); damaged != nil && e.keysets[[2]string{"", purposeManifest}].open == nil {
		v.copies.examined(e.found)
		return Copy{}, discard(fmt.Errorf("%w: nothing would verify one without the installation's keysets: %w", ErrCopy, damaged), temp)
	}
	verified, err := v.verifyOwn(ctx, filepath.Join(dir, temp.Name()), e.keysets)
	if err != nil {
		return Copy{}, discard(err, temp)
	}
	written := verified.Copy
	if err := v.refuseLost(ctx, dir, written); err != nil {
		return Copy{}, discard(err, temp)
	}
	v.copies.examined(e.found)
	written.Path = filepath.Join(dir, name)
	if err := temp.Replace(name); err != nil {
		return Copy{}, discard(fmt.Errorf("%w: write: %w", ErrCopy, err), temp)
	}
	if damaged := e.found.err(); damaged != nil {
		damaged.Copy = written.Path
		return Copy{}, errors.Join(fmt.Errorf("%w: %w", ErrCopy, damaged), v.keepHoles(folder, dir, name))
	}
	v.copies.holds(verified)
	return v.keepNewest(ctx, folder, dir, written)
}

// copyFolder opens a folder of key copies.
func (v *Vault) copyFolder(dir string) (*durable.Folder, error) {
	folder, err := durable.Open(dir, tempPrefix)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCopy, err)
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

// Copier returns a func that writes a verified key copy into the folder: what
// Epoch.Copy takes.
func (v *Vault) Copier(dir string) func(ctx context.Context) error {
	v.copies.into(dir)
	return func(ctx context.Context) error {
		_, err := v.WriteCopy(ctx, dir)
		return err
	}
}

// KeyCopy returns a func that answers nil once a verified and durable key copy
// in the folder covers the position, and no other copy is left there; it writes
// a copy where that is not so yet. A data snapshot commits only after it. The
// folder must be there.
func (v *Vault) KeyCopy(dir string) func(ctx context.Context, position []byte) error {
	v.copies.into(dir)
	return func(ctx context.Context, position []byte) error {
		if _, err := parsePosition(position); err != nil {
			return err
		}
		if v.covered(ctx, dir, position) {
			folder, err := v.copyFolder(dir)
			if err != nil {
				return err
			}
			return errors.Join(syncCopies(folder), folder.Close()) // whoever wrote the copy may have failed at that
		}
		written, err := v.WriteCopy(ctx, dir)
		if err != nil {
			return err
		}
		return written.Covers(position)
	}
}

// covered reports whether the newest copy of the folder is good and covers the
// position, and no run that failed has left an older one.
func (v *Vault) covered(ctx context.Context, dir string, position []byte) bool {
	path, err := NewestCopy(dir)
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
	v.copies.holds(have)
	return true
}
