package keycopy

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

	"github.com/crmguard/crmguard/encryption/internal/keyring"
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

	sums  pageSums    // of the pages that were read
	from  *source     // what the file was when it was verified; nil while it is
	ready []copiedRow // of a page that is the same still
	ended bool        // no page is left
}

// copiedRow is a row of a copy and its place in the order.
type copiedRow struct {
	row   copyRow
	order []byte
}

// newCopyReader reads the header. Of a file that was verified (from) nothing is
// handed out before the page that holds it was compared with that; the header with
// the first one.
func newCopyReader(src io.Reader, from *source) (*copyReader, error) {
	r := &copyReader{from: from, lines: copyScanner{lines: bufio.NewScanner(src), sum: sha256.New()}}
	r.lines.lines.Buffer(make([]byte, 0, 64<<10), maxCopyLine)
	r.lines.lines.Split(wholeLines)
	line, err := r.lines.next()
	if err != nil {
		return nil, err
	}
	if err := canon.Unmarshal(line, &r.header); err != nil {
		return nil, fmt.Errorf("%w: header: %w", keyring.ErrCopy, err)
	}
	if r.header.V != 1 || r.header.Store == "" || r.header.Sequence < 1 || keyring.CheckLeaseOf(r.header.state()) != nil {
		return nil, fmt.Errorf("%w: header of another version, or incomplete", keyring.ErrCopy)
	}
	r.lines.sum.Write(append(line, '\n'))
	if from != nil {
		return r, r.page()
	}
	return r, nil
}

// next hands out a row and its place in the order; none is left when ok is false.
func (r *copyReader) next() (row copyRow, order []byte, ok bool, err error) {
	if r.from == nil {
		return r.read()
	}
	if len(r.ready) == 0 && !r.ended {
		if err := r.page(); err != nil {
			return row, nil, false, err
		}
	}
	if len(r.ready) == 0 {
		return row, nil, false, nil
	}
	one := r.ready[0]
	r.ready = r.ready[1:]
	return one.row, one.order, true, nil
}

// page reads the rows of the next page, and hands out none unless all are what was
// verified.
func (r *copyReader) page() error {
	r.ready = r.ready[:0]
	for {
		row, order, ok, err := r.read()
		if err != nil {
			return err
		}
		if !ok {
			if r.ended = true; r.end.SHA256 != r.from.digest {
				return errCopyChanged
			}
			return nil
		}
		r.ready = append(r.ready, copiedRow{row, order})
		if len(r.ready) == keyring.PageSize {
			if !r.from.sums.begin(r.sums) {
				r.ready = nil
				return errCopyChanged
			}
			return nil
		}
	}
}

// read reads a row and its place in the order; none is left when ok is false.
func (r *copyReader) read() (row copyRow, order []byte, ok bool, err error) {
	line, err := r.lines.next()
	if err != nil {
		return row, nil, false, err
	}
	if !bytes.Contains(line, []byte(`"kind":`)) {
		return row, nil, false, r.last(line)
	}
	if err := canon.Unmarshal(line, &row); err != nil {
		return row, nil, false, fmt.Errorf("%w: row %d: %w", keyring.ErrCopy, r.count+1, err)
	}
	if order, err = row.order(); err != nil {
		return row, nil, false, err
	}
	if bytes.Compare(order, r.before) <= 0 {
		return row, nil, false, fmt.Errorf("%w: row %d is out of order or twice there", keyring.ErrCopy, r.count+1)
	}
	r.before = order
	r.lines.sum.Write(append(line, '\n'))
	r.count++
	r.sums.add(r.count, r.lines.sum)
	return row, order, true, nil
}

func (r *copyReader) last(line []byte) error {
	if err := canon.Unmarshal(line, &r.end); err != nil {
		return fmt.Errorf("%w: last line: %w", keyring.ErrCopy, err)
	}
	if r.end.Count != r.count || r.end.Holes < 0 || r.end.SHA256 != encode64(r.lines.sum.Sum(nil)) {
		return fmt.Errorf("%w: count or digest differ from the last line", keyring.ErrCopy)
	}
	if r.lines.lines.Scan() || r.lines.lines.Err() != nil {
		return fmt.Errorf("%w: something follows the last line", keyring.ErrCopy)
	}
	return nil
}

// scanCopy calls visit for every row and returns header and last line.
func scanCopy(ctx context.Context, src io.Reader, visit func(copyRow) error) (copyHeader, copyEnd, pageSums, error) {
	r, err := newCopyReader(src, nil)
	if err != nil {
		return copyHeader{}, copyEnd{}, nil, err
	}
	err = r.each(ctx, visit)
	return r.header, r.end, r.sums, err
}

func (r *copyReader) each(ctx context.Context, visit func(copyRow) error) error {
	for {
		row, _, ok, err := r.next()
		if err != nil || !ok {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := visit(row); err != nil {
			return err
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
	return nil, fmt.Errorf("%w: it is cut off, or a line is too long", keyring.ErrCopy)
}

// order returns bytes that sort as the lines must: kind by kind, then by
// primary key.
func (r copyRow) order() ([]byte, error) {
	kind := slices.Index(copyKinds(), r.Kind)
	if kind < 0 {
		return nil, fmt.Errorf("%w: a row of an unknown kind", keyring.ErrCopy)
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
		return keystore.Rows{}, fmt.Errorf("%w: wrapped bytes", keyring.ErrCopy)
	}
	switch r.Kind {
	case keystore.KindKeyset:
		return keystore.Rows{Keysets: []keystore.KeysetRow{{Tenant: r.Tenant, Purpose: r.Purpose, Epoch: r.Epoch, KEK: r.KEK, Version: r.Version, Former: r.Former, Wrapped: wrapped}}}, nil
	case keystore.KindKeyVersion:
		created, err := canon.ParseTime(r.Created)
		if err != nil {
			return keystore.Rows{}, fmt.Errorf("%w: time of a key version", keyring.ErrCopy)
		}
		return keystore.Rows{KeyVersions: []keystore.KeyVersionRow{{Tenant: r.Tenant, KeyVersion: r.KeyVersion, State: keystore.KeyVersionState(r.State), Created: created}}}, nil
	case keystore.KindOwner:
		return keystore.Rows{Owners: []keystore.OwnerRow{{Tenant: r.Tenant, Owner: r.Owner, State: keystore.OwnerState(r.State), Sequence: r.Sequence}}}, nil
	case keystore.KindKey:
		if r.Seals < 0 || r.Seals > keyring.MaxSeals {
			return keystore.Rows{}, fmt.Errorf("%w: the seals of a key", keyring.ErrCopy)
		}
		return keystore.Rows{Keys: []keystore.KeyRow{{Tenant: r.Tenant, Owner: r.Owner, KeyVersion: r.KeyVersion, Wrapped: wrapped, Seals: r.Seals}}}, nil
	case keystore.KindAlias:
		return keystore.Rows{Aliases: []keystore.AliasRow{{Tenant: r.Tenant, Alias: r.Alias, Owner: r.Owner}}}, nil
	case keystore.KindIndex:
		return keystore.Rows{Indexes: []keystore.IndexRow{{Tenant: r.Tenant, Table: r.Table, Index: r.Index, Version: uint32(r.Version), Root: r.Root, Normaliser: r.Normaliser, Bits: r.Bits, State: keystore.IndexState(r.State)}}}, nil
	case keystore.KindMark:
		return r.markRow()
	}
	return keystore.Rows{}, fmt.Errorf("%w: a row of an unknown kind", keyring.ErrCopy)
}

func (r copyRow) markRow() (keystore.Rows, error) {
	created, err := canon.ParseTime(r.Created)
	if err != nil {
		return keystore.Rows{}, fmt.Errorf("%w: time of a mark", keyring.ErrCopy)
	}
	if !keystore.IsMark(r.Mark) || r.Sequence < 1 {
		return keystore.Rows{}, fmt.Errorf("%w: a mark", keyring.ErrCopy)
	}
	return keystore.Rows{Marks: []keystore.MarkRow{{Sequence: r.Sequence, Mark: r.Mark, Created: created, Position: r.Position}}}, nil
}

// copyVerifier opens what a copy holds while its lines go by. It holds keysets,
// indexes and the history in memory, never owners or keys.
type copyVerifier struct {
	copies  *Copies
	known   map[[2]string]examinedKeyset // that were opened just now
	keysets map[[2]string]*keyring.Keyset
	owners  owners
	indexes map[string][]keystore.IndexRow // by tenant
	history Copy                           // marks and what is known of them
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
	for _, row := range rows.Indexes {
		c.indexes[row.Tenant] = append(c.indexes[row.Tenant], row)
	}
	for _, row := range rows.Marks {
		c.history.marks[row.Sequence] = row.Mark
		if row.Position {
			c.history.positions++
			c.history.first = cmp.Or(c.history.first, row.Sequence) // they come in their order
		}
	}
	for _, row := range rows.Keys {
		wrap := c.keysets[[2]string{row.Tenant, keyring.PurposeWrap}]
		if wrap == nil {
			return fmt.Errorf("%w: a key row without its tenant's keyset", keyring.ErrCopy)
		}
		owner, found, err := c.owners.find(row.Tenant, row.Owner)
		if err != nil {
			return err
		}
		if !found || owner.State == "" || owner.State == keystore.Tombstone {
			return fmt.Errorf("%w: a key row under a tombstone, or without owner", keyring.ErrCopy)
		}
		if _, _, err := wrap.UnwrapKey(row); err != nil {
			return fmt.Errorf("%w: a key row does not unwrap", keyring.ErrCopy)
		}
	}
	return nil
}

// keyset opens a keyset of the copy, which has the branch key of each tenant in
// front of its other keysets.
func (c *copyVerifier) keyset(ctx context.Context, row keystore.KeysetRow) (*keyring.Keyset, error) {
	if row.Purpose == keyring.PurposeBranch {
		if open := c.known[[2]string{row.Tenant, row.Purpose}].open; open != nil && bytes.Equal(open.Row.Wrapped, row.Wrapped) && open.Row.KEK == row.KEK {
			return open, nil
		}
		return c.copies.ring.OpenedOrUnwrap(ctx, row)
	}
	if err := keyring.CheckUnder(row); err != nil {
		return nil, fmt.Errorf("%w: %w", keyring.ErrCopy, err)
	}
	branch := c.keysets[[2]string{row.Tenant, keyring.PurposeBranch}]
	if branch == nil {
		return nil, fmt.Errorf("%w: a keyset without its branch key", keyring.ErrCopy)
	}
	open, err := branch.OpenUnder(row)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", keyring.ErrCopy, err)
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

// Verify does what Vault.VerifyCopy promises.
func (v *Copies) Verify(ctx context.Context, path string) (Copy, error) {
	out, err := v.verifyOwn(ctx, path, nil)
	return out.Copy, err
}

// verifyOwn is VerifyCopy with keysets that were opened just now.
func (v *Copies) verifyOwn(ctx context.Context, path string, known map[[2]string]examinedKeyset) (verifiedCopy, error) {
	out, err := v.verifyCopy(ctx, path, known)
	if err != nil {
		return verifiedCopy{}, err
	}
	if own := v.storeID(); own != "" && own != out.Store {
		return verifiedCopy{}, fmt.Errorf("%w: it is of another key store", keyring.ErrCopy)
	}
	return out, nil
}

// verifiedCopy is a Copy with what RestoreCopy compares and writes.
type verifiedCopy struct {
	Copy
	header  copyHeader
	file    source
	keysets map[[2]string]*keyring.Keyset
	indexes map[string][]keystore.IndexRow
}

func (v *Copies) verifyCopy(ctx context.Context, path string, known map[[2]string]examinedKeyset) (out verifiedCopy, err error) {
	file, err := durable.OpenPlain(path)
	if err != nil {
		return out, fmt.Errorf("%w: %w", keyring.ErrCopy, err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	owners, err := openCursor(source{path: path})
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, owners.close()) }()
	c := &copyVerifier{copies: v, known: known, keysets: map[[2]string]*keyring.Keyset{}, indexes: map[string][]keystore.IndexRow{}, history: Copy{marks: map[int64]string{}}}
	c.owners.next = ownersIn(owners)
	header, end, sums, err := scanCopy(ctx, file, func(row copyRow) error { return c.visit(ctx, row) })
	if err != nil {
		return out, err
	}
	if base := filepath.Base(path); isCopyFile(base) && (base != copyName(header.Sequence) || end.Holes > 0) {
		return out, fmt.Errorf("%w: it is not the copy that its name says", keyring.ErrCopy)
	}
	if c.history.marks[header.Sequence] == "" {
		return out, fmt.Errorf("%w: its history does not end with its own sequence", keyring.ErrCopy)
	}
	manifest := c.keysets[[2]string{"", keyring.PurposeManifest}]
	if manifest == nil {
		return out, fmt.Errorf("%w: the installation's keysets are missing", keyring.ErrCopy)
	}
	if err := end.verify(manifest); err != nil {
		return out, err
	}
	written, err := canon.ParseTime(header.Written)
	if err != nil {
		return out, fmt.Errorf("%w: time", keyring.ErrCopy)
	}
	out = verifiedCopy{Copy: c.history, header: header, file: source{path, sums, end.SHA256}, keysets: c.keysets, indexes: c.indexes}
	out.Path, out.Store, out.Epoch, out.Sequence, out.Written, out.Rows, out.Holes = path, header.Store, header.Epoch, header.Sequence, written, end.Count, end.Holes
	return out, nil
}

// Restore verifies a key copy and loads it into a store that is empty. agree is
// asked what it says to the state that the store will have.
func (v *Copies) Restore(ctx context.Context, path string, agree func(keystore.State) error, need ...[]byte) error {
	verified, err := v.verifyCopy(ctx, path, nil)
	if err != nil {
		return err
	}
	if err := agree(verified.header.state()); err != nil {
		return err
	}
	for _, position := range need {
		if err := verified.Covers(position); err != nil {
			return err
		}
	}
	_, err = v.cfg.Keys.Update(ctx, func(tx keystore.Tx) error { return v.loadCopy(ctx, tx, verified) })
	return keyring.StoreError(err)
}

func (v *Copies) loadCopy(ctx context.Context, tx keystore.Tx, verified verifiedCopy) (err error) {
	if err := keyring.CheckEmpty(ctx, tx); err != nil {
		return err
	}
	h := verified.header
	var put keystore.Rows
	err = verified.file.each(ctx, func(line copyRow) error {
		rows, err := line.rows()
		if err != nil {
			return err
		}
		if put.Append(rows); put.Len() < keyring.PageSize {
			return nil
		}
		full := put
		put = keystore.Rows{}
		return tx.Write(ctx, keystore.Change{Put: keyring.Restored(full)})
	})
	if err == nil && put.Len() > 0 {
		err = tx.Write(ctx, keystore.Change{Put: keyring.Restored(put)})
	}
	if err != nil {
		return err
	}
	state := h.state()
	state.LongestTransaction = v.ring.LongestOf(state) // others state theirs when they open it
	return tx.Write(ctx, keystore.Change{Narrows: true, Returns: true, Store: &state})
}
