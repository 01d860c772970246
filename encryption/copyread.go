package encryption

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"path/filepath"
	"slices"
	"time"

	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/internal/canon"
	"github.com/crmguard/crmguard/internal/durable"
)

// maxCopyLine bounds a line of a key copy.
const maxCopyLine = 1 << 20

// copyReader reads the lines of a key copy: canonical, in order, complete.
type copyReader struct {
	lines  copyScanner
	before []byte
	count  int
	header copyHeader
	end    copyEnd // once all rows were read: count and digest are right
}

// newCopyReader reads the header.
func newCopyReader(src io.Reader) (*copyReader, error) {
	r := &copyReader{lines: copyScanner{lines: bufio.NewScanner(src), sum: sha256.New()}}
	r.lines.lines.Buffer(make([]byte, 0, 64<<10), maxCopyLine)
	r.lines.lines.Split(wholeLines)
	line, err := r.lines.next()
	if err != nil {
		return nil, err
	}
	if err := canon.Unmarshal(line, &r.header); err != nil {
		return nil, fmt.Errorf("%w: header: %w", ErrCopy, err)
	}
	if r.header.V != 1 || r.header.Store == "" || r.header.Sequence < 1 || checkLeaseOf(r.header.state()) != nil {
		return nil, fmt.Errorf("%w: header of another version, or incomplete", ErrCopy)
	}
	r.lines.sum.Write(append(line, '\n'))
	return r, nil
}

// next reads a row and its place in the order; none is left when ok is false.
func (r *copyReader) next() (row copyRow, order []byte, ok bool, err error) {
	line, err := r.lines.next()
	if err != nil {
		return row, nil, false, err
	}
	if !bytes.Contains(line, []byte(`"kind":`)) {
		return row, nil, false, r.last(line)
	}
	if err := canon.Unmarshal(line, &row); err != nil {
		return row, nil, false, fmt.Errorf("%w: row %d: %w", ErrCopy, r.count+1, err)
	}
	if order, err = row.order(); err != nil {
		return row, nil, false, err
	}
	if bytes.Compare(order, r.before) <= 0 {
		return row, nil, false, fmt.Errorf("%w: row %d is out of order or twice there", ErrCopy, r.count+1)
	}
	r.before = order
	r.lines.sum.Write(append(line, '\n'))
	r.count++
	return row, order, true, nil
}

func (r *copyReader) last(line []byte) error {
	if err := canon.Unmarshal(line, &r.end); err != nil {
		return fmt.Errorf("%w: last line: %w", ErrCopy, err)
	}
	if r.end.Count != r.count || r.end.Holes < 0 || r.end.SHA256 != encode64(r.lines.sum.Sum(nil)) {
		return fmt.Errorf("%w: count or digest differ from the last line", ErrCopy)
	}
	if r.lines.lines.Scan() || r.lines.lines.Err() != nil {
		return fmt.Errorf("%w: something follows the last line", ErrCopy)
	}
	return nil
}

// scanCopy calls visit for every row and returns header and last line.
func scanCopy(ctx context.Context, src io.Reader, visit func(copyRow) error) (copyHeader, copyEnd, error) {
	r, err := newCopyReader(src)
	if err != nil {
		return copyHeader{}, copyEnd{}, err
	}
	for {
		row, _, ok, err := r.next()
		if err != nil || !ok {
			return r.header, r.end, err
		}
		if err := ctx.Err(); err != nil {
			return r.header, r.end, err
		}
		if err := visit(row); err != nil {
			return r.header, r.end, err
		}
	}
}

// state returns the state row of a restored store. A lease that was being
// shortened begins as the longer one.
func (h copyHeader) state() keystore.State {
	lease := time.Duration(h.Lease) * time.Microsecond
	return keystore.State{
		Store: h.Store, Epoch: h.Epoch, Sequence: h.Sequence, KEK: h.KEK, Retiring: h.Retiring,
		Lease: lease, LeaseWait: lease, LeaseSince: h.Sequence,
	}
}

type copyScanner struct {
	lines *bufio.Scanner
	sum   hash.Hash
}

// wholeLines splits at newlines and refuses a last line without one.
func wholeLines(data []byte, atEOF bool) (int, []byte, error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i], nil
	}
	if atEOF && len(data) > 0 {
		return 0, nil, errors.New("no newline at the end")
	}
	return 0, nil, nil
}

func (s *copyScanner) next() ([]byte, error) {
	if s.lines.Scan() {
		return bytes.Clone(s.lines.Bytes()), nil
	}
	return nil, fmt.Errorf("%w: it is cut off, or a line is too long", ErrCopy)
}

// order returns bytes that sort as the lines must: kind by kind, then by
// primary key.
func (r copyRow) order() ([]byte, error) {
	kind := slices.Index(copyKinds(), r.Kind)
	if kind < 0 {
		return nil, fmt.Errorf("%w: a row of an unknown kind", ErrCopy)
	}
	out := append([]byte{byte(kind + 1)}, r.Tenant...)
	out = append(out, 0) // ids hold no NUL, so shorter ids sort first
	for _, part := range []string{r.Purpose, r.keyOwner(), r.Alias, r.Table, r.Index} {
		out = append(append(out, part...), 0)
	}
	return fmt.Appendf(out, "%010d.%020d", r.KeyVersion, r.keyVersion()), nil
}

func (r copyRow) keyOwner() string {
	if r.Kind == keystore.KindAlias {
		return "" // not part of its primary key
	}
	return r.Owner
}

func (r copyRow) keyVersion() int64 {
	switch r.Kind {
	case keystore.KindIndex:
		return r.Version
	case keystore.KindMark:
		return r.Sequence
	default:
		return 0
	}
}

// rows turns a line into a row.
func (r copyRow) rows() (keystore.Rows, error) {
	wrapped, err := decode64(r.Wrapped)
	if err != nil {
		return keystore.Rows{}, fmt.Errorf("%w: wrapped bytes", ErrCopy)
	}
	switch r.Kind {
	case keystore.KindKeyset:
		return keystore.Rows{Keysets: []keystore.KeysetRow{{Tenant: r.Tenant, Purpose: r.Purpose, Epoch: r.Epoch, KEK: r.KEK, Version: r.Version, Former: r.Former, Wrapped: wrapped}}}, nil
	case keystore.KindKeyVersion:
		created, err := canon.ParseTime(r.Created)
		if err != nil {
			return keystore.Rows{}, fmt.Errorf("%w: time of a key version", ErrCopy)
		}
		return keystore.Rows{KeyVersions: []keystore.KeyVersionRow{{Tenant: r.Tenant, KeyVersion: r.KeyVersion, State: keystore.KeyVersionState(r.State), Created: created}}}, nil
	case keystore.KindOwner:
		return keystore.Rows{Owners: []keystore.OwnerRow{{Tenant: r.Tenant, Owner: r.Owner, State: keystore.OwnerState(r.State), Sequence: r.Sequence}}}, nil
	case keystore.KindKey:
		if r.Seals < 0 || r.Seals > maxSeals {
			return keystore.Rows{}, fmt.Errorf("%w: the seals of a key", ErrCopy)
		}
		return keystore.Rows{Keys: []keystore.KeyRow{{Tenant: r.Tenant, Owner: r.Owner, KeyVersion: r.KeyVersion, Wrapped: wrapped, Seals: r.Seals}}}, nil
	case keystore.KindAlias:
		return keystore.Rows{Aliases: []keystore.AliasRow{{Tenant: r.Tenant, Alias: r.Alias, Owner: r.Owner}}}, nil
	case keystore.KindIndex:
		return keystore.Rows{Indexes: []keystore.IndexRow{{Tenant: r.Tenant, Table: r.Table, Index: r.Index, Version: uint32(r.Version), Root: r.Root, Normaliser: r.Normaliser, Bits: r.Bits, State: keystore.IndexState(r.State)}}}, nil
	case keystore.KindMark:
		return r.markRow()
	}
	return keystore.Rows{}, fmt.Errorf("%w: a row of an unknown kind", ErrCopy)
}

func (r copyRow) markRow() (keystore.Rows, error) {
	created, err := canon.ParseTime(r.Created)
	if err != nil {
		return keystore.Rows{}, fmt.Errorf("%w: time of a mark", ErrCopy)
	}
	if !keystore.IsMark(r.Mark) || r.Sequence < 1 {
		return keystore.Rows{}, fmt.Errorf("%w: a mark", ErrCopy)
	}
	return keystore.Rows{Marks: []keystore.MarkRow{{Sequence: r.Sequence, Mark: r.Mark, Created: created, Position: r.Position}}}, nil
}

// copyVerifier opens what a copy holds while its lines go by. It holds keysets
// and the history in memory, never owners or keys.
type copyVerifier struct {
	vault   *Vault
	known   map[[2]string]examinedKeyset // that were opened just now
	keysets map[[2]string]*openKeyset
	owners  owners
	history Copy // marks and what is known of them
}

func (c *copyVerifier) visit(ctx context.Context, line copyRow) error {
	rows, err := line.rows()
	if err != nil {
		return err
	}
	for _, row := range rows.Keysets {
		if c.keysets[[2]string{row.Tenant, row.Purpose}], err = c.keyset(ctx, row); err != nil {
			return err
		}
	}
	for _, row := range rows.Marks {
		c.history.marks[row.Sequence] = row.Mark
		if row.Position {
			c.history.positions++
			c.history.first = cmp.Or(c.history.first, row.Sequence) // they come in their order
		}
	}
	for _, row := range rows.Keys {
		wrap := c.keysets[[2]string{row.Tenant, purposeWrap}]
		if wrap == nil {
			return fmt.Errorf("%w: a key row without its tenant's keyset", ErrCopy)
		}
		owner, found, err := c.owners.find(row.Tenant, row.Owner)
		if err != nil {
			return err
		}
		if !found || owner.State == "" || owner.State == keystore.Tombstone {
			return fmt.Errorf("%w: a key row under a tombstone, or without owner", ErrCopy)
		}
		if _, _, err := wrap.unwrapKey(row); err != nil {
			return fmt.Errorf("%w: a key row does not unwrap", ErrCopy)
		}
	}
	return nil
}

// keyset opens a keyset of the copy, which has the branch key of each tenant in
// front of its other keysets.
func (c *copyVerifier) keyset(ctx context.Context, row keystore.KeysetRow) (*openKeyset, error) {
	if row.Purpose == purposeBranch {
		if open := c.known[[2]string{row.Tenant, row.Purpose}].open; open != nil && bytes.Equal(open.row.Wrapped, row.Wrapped) && open.row.KEK == row.KEK {
			return open, nil
		}
		return c.vault.openedOrUnwrap(ctx, row)
	}
	if err := checkUnder(row); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCopy, err)
	}
	branch := c.keysets[[2]string{row.Tenant, purposeBranch}]
	if branch == nil {
		return nil, fmt.Errorf("%w: a keyset without its branch key", ErrCopy)
	}
	open, err := branchKey{branch}.opens(row)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCopy, err)
	}
	return open, nil
}

// ownersIn reads the owners of a copy one by one, beside whoever reads the keys
// that follow them. What it reads is part of what that one compares with the mac.
func ownersIn(c *copyCursor) func() (keystore.OwnerRow, bool, error) {
	return func() (keystore.OwnerRow, bool, error) {
		for ; !c.done; c.done = c.advance() != nil || c.done {
			switch c.row.Kind {
			case keystore.KindKeyset, keystore.KindKeyVersion:
				continue
			case keystore.KindOwner:
				rows, err := c.row.rows()
				if err == nil {
					err = c.advance()
				}
				if err != nil {
					return keystore.OwnerRow{}, false, err
				}
				return rows.Owners[0], true, nil
			default:
				return keystore.OwnerRow{}, false, nil
			}
		}
		return keystore.OwnerRow{}, false, nil
	}
}

// openedOrUnwrap opens a branch key, and spares the call of the KEK when this
// vault has opened the very same bytes.
func (v *Vault) openedOrUnwrap(ctx context.Context, row keystore.KeysetRow) (*openKeyset, error) {
	v.mu.RLock()
	k := v.tenants[row.Tenant]
	v.mu.RUnlock()
	if k != nil {
		k.mu.Lock()
		open := k.open[row.Purpose]
		k.mu.Unlock()
		if open != nil && open.row.KEK == row.KEK && bytes.Equal(open.row.Wrapped, row.Wrapped) {
			return open, nil
		}
	}
	return v.unwrapKeyset(ctx, row)
}

// VerifyCopy reads a key copy in full: canonical lines in order, count,
// digest, mac, every branch key opened by its KEK, the other keysets by their
// branch key and every key row by its keyset. A damaged or forged one is ErrCopy, and so is one that is named
// keys-*.jsonl after another sequence than it holds: an old copy must not
// pass for the newest. A KEK that does not serve is ErrKEK.
func (v *Vault) VerifyCopy(ctx context.Context, path string) (Copy, error) {
	out, err := v.verifyOwn(ctx, path, nil)
	return out.Copy, err
}

// verifyOwn is VerifyCopy with keysets that were opened just now.
func (v *Vault) verifyOwn(ctx context.Context, path string, known map[[2]string]examinedKeyset) (verifiedCopy, error) {
	out, err := v.verifyCopy(ctx, path, known)
	if err != nil {
		return verifiedCopy{}, err
	}
	if own := v.storeID(); own != "" && own != out.Store {
		return verifiedCopy{}, fmt.Errorf("%w: it is of another key store", ErrCopy)
	}
	return out, nil
}

// verifiedCopy is a Copy with what RestoreCopy compares and writes.
type verifiedCopy struct {
	Copy
	header  copyHeader
	digest  string
	keysets map[[2]string]*openKeyset
}

func (v *Vault) verifyCopy(ctx context.Context, path string, known map[[2]string]examinedKeyset) (out verifiedCopy, err error) {
	file, err := durable.OpenPlain(path)
	if err != nil {
		return out, fmt.Errorf("%w: %w", ErrCopy, err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	owners, err := openCursor(path)
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, owners.close()) }()
	c := &copyVerifier{vault: v, known: known, keysets: map[[2]string]*openKeyset{}, history: Copy{marks: map[int64]string{}}}
	c.owners.next = ownersIn(owners)
	header, end, err := scanCopy(ctx, file, func(row copyRow) error { return c.visit(ctx, row) })
	if err != nil {
		return out, err
	}
	if base := filepath.Base(path); isCopyFile(base) && (base != copyName(header.Sequence) || end.Holes > 0) {
		return out, fmt.Errorf("%w: it is not the copy that its name says", ErrCopy)
	}
	if c.history.marks[header.Sequence] == "" {
		return out, fmt.Errorf("%w: its history does not end with its own sequence", ErrCopy)
	}
	manifest := c.keysets[[2]string{"", purposeManifest}]
	if manifest == nil {
		return out, fmt.Errorf("%w: the installation's keysets are missing", ErrCopy)
	}
	if err := end.verify(manifest); err != nil {
		return out, err
	}
	written, err := canon.ParseTime(header.Written)
	if err != nil {
		return out, fmt.Errorf("%w: time", ErrCopy)
	}
	out = verifiedCopy{Copy: c.history, header: header, digest: end.SHA256, keysets: c.keysets}
	out.Path, out.Store, out.Epoch, out.Sequence, out.Written, out.Rows, out.Holes = path, header.Store, header.Epoch, header.Sequence, written, end.Count, end.Holes
	return out, nil
}

// RestoreCopy verifies a key copy, loads it into an empty key store in one
// transaction and opens the vault. need are the key positions of the data
// snapshots that are to be read: a copy that does not cover one of them is
// refused (ErrNotCovered). The lease is the one of the copy, and Config.Lease is 0
// or the same. The store keeps its id, so keep one store only:
// what was left of the lost one must not be used beside it.
//
// Whoever was erased after the copy was written is back with it: erase them again
// (package privacy replays its ledger) before anybody reads. No index is searched
// (ErrIncomplete) before RebuildIndexes has shown that the rows of today have it.
func RestoreCopy(ctx context.Context, cfg Config, path string, need ...[]byte) (*Vault, error) {
	v, state, err := prepare(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if state.Store != "" {
		return nil, ErrNotEmpty
	}
	verified, err := v.verifyCopy(ctx, path, nil)
	if err != nil {
		return nil, err
	}
	if err := v.agree(verified.header.state()); err != nil {
		return nil, err
	}
	for _, position := range need {
		if err := verified.Covers(position); err != nil {
			return nil, err
		}
	}
	if _, err := v.cfg.Keys.Update(ctx, func(tx keystore.Tx) error { return loadCopy(ctx, tx, verified) }); err != nil {
		return nil, storeError(err)
	}
	return Open(ctx, cfg)
}

func loadCopy(ctx context.Context, tx keystore.Tx, verified verifiedCopy) (err error) {
	if state, err := tx.State(ctx); err != nil || state.Store != "" {
		return errors.Join(err, ErrNotEmpty)
	}
	file, err := durable.OpenPlain(verified.Path)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCopy, err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	h := verified.header
	var put keystore.Rows
	_, end, err := scanCopy(ctx, file, func(line copyRow) error {
		rows, err := line.rows()
		if err != nil {
			return err
		}
		if put.Append(rows); put.Len() < pageSize {
			return nil
		}
		full := put
		put = keystore.Rows{}
		return tx.Write(ctx, keystore.Change{Put: restored(full)})
	})
	if err == nil && put.Len() > 0 {
		err = tx.Write(ctx, keystore.Change{Put: restored(put)})
	}
	if err != nil {
		return err
	}
	if end.SHA256 != verified.digest {
		return fmt.Errorf("%w: the file changed while it was read", ErrCopy)
	}
	state := h.state()
	return tx.Write(ctx, keystore.Change{Narrows: true, Store: &state})
}
