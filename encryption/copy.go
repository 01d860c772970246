package encryption

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/crmguard/crmguard/internal/canon"
	"github.com/crmguard/crmguard/internal/durable"
	"github.com/crmguard/crmguard/internal/frame"
)

// Copy is a verified key copy.
type Copy struct {
	Path     string    // of the file
	Store    string    // id of the key store
	Epoch    int64     // of the key store
	Sequence int64     // of the last change it holds
	Written  time.Time // when
	Rows     int       // rows it holds

	marks     map[int64]string // its history: mark by sequence
	positions int              // how many of them are positions
	first     int64            // sequence of the oldest position
}

// Position returns the last key position that the copy covers, in the form of
// Vault.Position.
func (c Copy) Position() ([]byte, error) {
	return marshalPosition(StoreState{Store: c.Store, Epoch: c.Epoch, Sequence: c.Sequence, Mark: c.marks[c.Sequence]})
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
	if p.Store != c.Store {
		return fmt.Errorf("%w: it is of another key store", ErrNotCovered)
	}
	mark, known := c.marks[p.Sequence]
	switch {
	case c.Sequence < p.Sequence:
		return fmt.Errorf("%w: the copy ends at sequence %d, %d is needed", ErrNotCovered, c.Sequence, p.Sequence)
	case !known:
		return fmt.Errorf("%w: its history does not know sequence %d any more", ErrNotCovered, p.Sequence)
	case mark != p.Mark:
		return fmt.Errorf("%w: the key store was put back to an older state after the position was taken; bring a copy that was written before", ErrNotCovered)
	}
	return nil
}

const (
	copyPattern  = "keys-*.jsonl"
	tempPrefix   = ".keys-" // until it is complete
	copyAttempts = 5
)

// copyHeader is the first line of a key copy.
type copyHeader struct {
	V        int      `json:"v"`
	Store    string   `json:"store"`
	Epoch    int64    `json:"epoch"`
	Sequence int64    `json:"sequence"`
	Written  string   `json:"written"`
	KEK      string   `json:"kek"`                // for new keysets
	Lease    int64    `json:"lease"`              // microseconds, the longest that a process could have
	Retiring []string `json:"retiring,omitempty"` // while an epoch is being closed
}

// copyRow is a line between the first and the last.
type copyRow struct {
	Kind       Kind     `json:"kind"`
	Tenant     string   `json:"tenant"`
	Purpose    string   `json:"purpose,omitempty"`
	Epoch      int64    `json:"epoch,omitzero"`
	KEK        string   `json:"kek,omitempty"`
	Version    int64    `json:"version,omitzero"`
	Former     []uint32 `json:"former,omitempty"`
	Wrapped    string   `json:"wrapped,omitempty"`
	Generation uint32   `json:"generation,omitzero"`
	Seals      int64    `json:"seals,omitzero"`
	State      string   `json:"state,omitempty"`
	Created    string   `json:"created,omitempty"`
	Owner      string   `json:"owner,omitempty"`
	Sequence   int64    `json:"sequence,omitzero"`
	Alias      string   `json:"alias,omitempty"`
	Table      string   `json:"table,omitempty"`
	Index      string   `json:"index,omitempty"`
	Root       uint32   `json:"root,omitzero"`
	Normaliser string   `json:"normaliser,omitempty"`
	Bits       int      `json:"bits,omitzero"`
	Mark       string   `json:"mark,omitempty"`
	Position   bool     `json:"position,omitzero"`
}

// copyEnd is the last line; its mac is over the line without it.
type copyEnd struct {
	Count  int    `json:"count"`
	SHA256 string `json:"sha256"`
	MAC    string `json:"mac,omitempty"`
}

func encode64(b []byte) string { return canon.FormatBytes(b) }

func decode64(s string) ([]byte, error) { return canon.ParseBytes(s) }

// copyRows turns rows into lines.
func copyRows(rows Rows) []copyRow {
	var out []copyRow
	for _, r := range rows.Keysets {
		out = append(out, copyRow{Kind: KindKeyset, Tenant: r.Tenant, Purpose: r.Purpose, Epoch: r.Epoch, KEK: r.KEK, Version: r.Version, Former: r.Former, Wrapped: encode64(r.Wrapped)})
	}
	for _, r := range rows.Generations {
		out = append(out, copyRow{Kind: KindGeneration, Tenant: r.Tenant, Generation: r.Generation, State: string(r.State), Created: canon.FormatTime(r.Created)})
	}
	for _, r := range rows.Owners {
		out = append(out, copyRow{Kind: KindOwner, Tenant: r.Tenant, Owner: r.Owner, State: string(r.State), Sequence: r.Sequence})
	}
	for _, r := range rows.Keys {
		out = append(out, copyRow{Kind: KindKey, Tenant: r.Tenant, Owner: r.Owner, Generation: r.Generation, Seals: r.Seals, Wrapped: encode64(r.Wrapped)})
	}
	for _, r := range rows.Aliases {
		out = append(out, copyRow{Kind: KindAlias, Tenant: r.Tenant, Alias: r.Alias, Owner: r.Owner})
	}
	for _, r := range rows.Indexes {
		out = append(out, copyRow{Kind: KindIndex, Tenant: r.Tenant, Table: r.Table, Index: r.Index, Version: int64(r.Version), Root: r.Root, Normaliser: r.Normaliser, Bits: r.Bits, State: string(r.State)})
	}
	for _, r := range rows.Marks {
		out = append(out, copyRow{Kind: KindMark, Sequence: r.Sequence, Mark: r.Mark, Created: canon.FormatTime(r.Created), Position: r.Position})
	}
	return out
}

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
func (v *Vault) WriteCopy(ctx context.Context, dir string) (written Copy, err error) {
	defer func() { v.copies.took(written, err, v.cfg.Now()) }()
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
	folder, err := v.copyFolder(dir)
	if err != nil {
		return Copy{}, err
	}
	defer folder.Close()
	temp, err := folder.Begin(".", 0o600)
	if err != nil {
		return Copy{}, fmt.Errorf("%w: write: %w", ErrCopy, err)
	}
	name, err := v.fillCopy(ctx, temp, manifest)
	if err != nil {
		return Copy{}, discard(err, temp)
	}
	written, err := v.VerifyCopy(ctx, filepath.Join(dir, temp.Name()))
	if err != nil {
		return Copy{}, discard(err, temp)
	}
	if err := v.refuseLost(ctx, dir, written); err != nil {
		return Copy{}, discard(err, temp)
	}
	written.Path = filepath.Join(dir, name)
	if err := temp.Replace(name); err != nil {
		return Copy{}, discard(fmt.Errorf("%w: write: %w", ErrCopy, err), temp)
	}
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

// fillCopy writes and flushes all lines.
func (v *Vault) fillCopy(ctx context.Context, file *durable.Writer, manifest *openKeyset) (name string, err error) {
	w := &copyWriter{out: bufio.NewWriter(file), sum: sha256.New()}
	err = v.cfg.Keys.Snapshot(ctx, func(tx KeyTx) error {
		state, err := tx.State(ctx)
		if err != nil {
			return err
		}
		name = copyName(state.Sequence)
		err = w.line(copyHeader{V: 1, Store: state.Store, Epoch: state.Epoch, Sequence: state.Sequence, Written: canon.FormatTime(v.cfg.Now()), KEK: state.KEK, Lease: state.LeaseWait.Microseconds(), Retiring: state.Retiring})
		if err != nil {
			return err
		}
		for _, kind := range copyKinds() {
			if err := eachPage(ctx, tx, Page{Kind: kind, Limit: pageSize}, w.rows); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = w.end(manifest)
	}
	if err == nil {
		err = errors.Join(w.out.Flush(), file.Flush())
	}
	if err != nil {
		return "", fmt.Errorf("%w: write: %w", ErrCopy, err)
	}
	return name, nil
}

// copyKinds are the kinds of rows in their order in a copy.
func copyKinds() []Kind {
	return []Kind{KindKeyset, KindGeneration, KindOwner, KindKey, KindAlias, KindIndex, KindMark}
}

type copyWriter struct {
	out   *bufio.Writer
	sum   hash.Hash
	count int
}

func (w *copyWriter) line(v any) error {
	data, err := canon.Marshal(v)
	if err != nil {
		return err
	}
	data = append(data, '\n')
	w.sum.Write(data)
	_, err = w.out.Write(data)
	return err
}

func (w *copyWriter) rows(rows Rows) error {
	for _, row := range copyRows(rows) {
		if err := w.line(row); err != nil {
			return err
		}
		w.count++
	}
	return nil
}

func (w *copyWriter) end(manifest *openKeyset) error {
	end := copyEnd{Count: w.count, SHA256: encode64(w.sum.Sum(nil))}
	input, err := end.authenticated()
	if err != nil {
		return err
	}
	tag, err := tagWith(manifest, input)
	if err != nil {
		return err
	}
	end.MAC = encode64(tag)
	return w.line(end)
}

// authenticated returns what the mac of the last line is over.
func (e copyEnd) authenticated() ([]byte, error) {
	e.MAC = ""
	line, err := canon.Marshal(e)
	return append(frame.Join(copyDomain), line...), err
}

// keepNewest deletes all copies in the folder but the newest good one, once
// that one is durable under its name. It deletes only what stood there when it
// began: whoever brings a file later tidies up after itself.
func (v *Vault) keepNewest(ctx context.Context, folder *durable.Folder, dir string, written Copy) (Copy, error) {
	files, err := copiesIn(dir)
	if err != nil {
		return Copy{}, err
	}
	for _, name := range slices.Backward(files) {
		if name <= filepath.Base(written.Path) || !isCopyName(name) {
			continue
		}
		newer, err := v.VerifyCopy(ctx, filepath.Join(dir, name))
		if err == nil {
			written = newer // of another writer, who may not have flushed its name yet
			if err := syncCopies(folder); err != nil {
				return Copy{}, err
			}
			break
		}
		if !errors.Is(err, ErrCopy) {
			return Copy{}, err // it may be good
		}
	}
	others := slices.DeleteFunc(files, func(name string) bool { return name == filepath.Base(written.Path) })
	if err := folder.RemoveAll(".", others...); err != nil {
		return Copy{}, fmt.Errorf("%w: an older copy may still be there: %w", ErrCopy, err)
	}
	return written, nil
}

// syncCopies makes the names in a folder durable. An error of it says that the
// disk may yet lose a copy that got its name, or bring back one that was
// deleted.
func syncCopies(folder *durable.Folder) error {
	if err := folder.Sync("."); err != nil {
		return fmt.Errorf("%w: %w", ErrCopy, err)
	}
	return nil
}

// copiesIn lists the key copies of a folder, unfinished and misnamed ones
// too, by name.
func copiesIn(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCopy, err)
	}
	var names []string
	for _, entry := range entries {
		if !entry.IsDir() && (isCopyFile(entry.Name()) || durable.Unfinished(tempPrefix, entry.Name())) {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}

func copyName(sequence int64) string { return fmt.Sprintf("keys-%020d.jsonl", sequence) }

// isCopyName says whether WriteCopy could have given this name.
func isCopyName(name string) bool {
	digits := strings.TrimSuffix(strings.TrimPrefix(name, "keys-"), ".jsonl")
	sequence, err := strconv.ParseInt(digits, 10, 64)
	return err == nil && name == copyName(sequence)
}

// isCopyFile says whether a file counts as a key copy, misnamed ones too.
func isCopyFile(name string) bool {
	ok, err := path.Match(copyPattern, name)
	return ok && err == nil
}

// NewestCopy returns the path of the newest key copy in a folder, by name;
// VerifyCopy says whether it is good, and its name true.
func NewestCopy(dir string) (string, error) {
	files, err := copiesIn(dir)
	files = slices.DeleteFunc(files, func(name string) bool { return !isCopyName(name) })
	if err != nil || len(files) == 0 {
		return "", fmt.Errorf("%w: none in the folder %s", ErrCopy, strings.TrimSuffix(filepath.Base(dir), "/"))
	}
	return filepath.Join(dir, slices.Max(files)), nil
}

// Copier returns a func that writes a verified key copy into the folder: what
// Epoch.Copy takes.
func (v *Vault) Copier(dir string) func(ctx context.Context) error {
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
	older := func(name string) bool { return isCopyFile(name) && name != filepath.Base(path) }
	if err != nil || slices.ContainsFunc(files, older) {
		return false
	}
	have, err := v.VerifyCopy(ctx, path)
	return err == nil && have.Covers(position) == nil
}
