package keycopy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/internal/canon"
	"github.com/crmguard/crmguard/internal/durable"
)

// copyCursor stands on a row of a key copy and goes forward only. A nil one
// stands behind all rows.
type copyCursor struct {
	file  *os.File
	read  *copyReader
	row   copyRow
	order []byte
	done  bool
}

// openCursor stands on the first row.
func openCursor(from source) (*copyCursor, error) {
	file, err := durable.OpenPlain(from.path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", keyring.ErrCopy, err)
	}
	c := &copyCursor{file: file}
	if c.read, err = newCopyReader(file, from.verified()); err == nil {
		err = c.advance()
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return c, nil
}

func (c *copyCursor) advance() (err error) {
	var ok bool
	c.row, c.order, ok, err = c.read.next()
	c.done = !ok
	return err
}

// ahead reports whether there is a row in front of this place; nil is the end.
func (c *copyCursor) ahead(order []byte) bool {
	return c != nil && !c.done && (order == nil || bytes.Compare(c.order, order) < 0)
}

// at reports whether it stands on the row of this place.
func (c *copyCursor) at(order []byte) bool { return c != nil && !c.done && bytes.Equal(c.order, order) }

// pass goes beyond the row of this place, if it stands there.
func (c *copyCursor) pass(order []byte) error {
	if c == nil || c.done || !bytes.Equal(c.order, order) {
		return nil
	}
	return c.advance()
}

func (c *copyCursor) close() error {
	if c == nil {
		return nil
	}
	return c.file.Close()
}

// takenBack says how a row of the store is older than the same row of the copy,
// or another one; "" where it follows from it.
func (c *copyCursor) takenBack(now copyRow, order []byte) string {
	if c == nil || c.done || !bytes.Equal(c.order, order) {
		return ""
	}
	before := c.row
	switch now.Kind {
	case keystore.KindKeyset:
		switch {
		case now.Version < before.Version:
			return "it is older than in a key copy"
		case now.Version == before.Version && now.Wrapped != before.Wrapped:
			return "it is another one than in a key copy"
		}
	case keystore.KindKeyVersion:
		was, is := keystore.KeyVersionState(before.State), keystore.KeyVersionState(now.State)
		if was == keystore.Destroyed && is != keystore.Destroyed || was != keystore.Active && is == keystore.Active {
			return "it was " + before.State + " when a key copy was written"
		}
	case keystore.KindOwner:
		if keystore.OwnerState(before.State) == keystore.Tombstone && keystore.OwnerState(now.State) != keystore.Tombstone {
			return "it was a tombstone when a key copy was written"
		}
	case keystore.KindKey:
		if now.Wrapped != before.Wrapped && sameWrapKey(now.Wrapped, before.Wrapped) {
			return "it is another key than in a key copy"
		}
	case keystore.KindIndex:
		if now.Root != before.Root || now.Normaliser != before.Normaliser || now.Bits != before.Bits {
			return "its root, normaliser or width is another one than in a key copy"
		}
	case keystore.KindAlias, keystore.KindMark: // may change
	}
	return ""
}

// sameWrapKey reports whether two wrapped keys name the same wrap key: whoever
// wraps a key anew takes another one.
func sameWrapKey(a, b string) bool {
	left, err := decode64(a)
	right, err2 := decode64(b)
	return err == nil && err2 == nil && keyring.WrapID(left) != 0 && keyring.WrapID(left) == keyring.WrapID(right)
}

// newestCopy returns the newest copy of the folder that this store has written,
// and whole; the zero source where there is none. Its rows were opened when it was written:
// here its mac says that it is the same.
func (v *Copies) newestCopy(ctx context.Context, dir string, manifest *keyring.Keyset) (source, error) {
	files, err := copiesIn(dir)
	if err != nil {
		return source{}, err
	}
	for _, name := range slices.Backward(files) {
		if !isCopyName(name) {
			continue
		}
		header, end, sums, err := authentic(ctx, filepath.Join(dir, name), manifest)
		if err == nil && end.Holes == 0 && name == copyName(header.Sequence) && header.Store == v.storeID() {
			return source{filepath.Join(dir, name), sums, end.SHA256}, nil
		}
		if ctx.Err() != nil {
			return source{}, ctx.Err()
		}
	}
	return source{}, nil
}

// newestKnown is the newest copy in the folders that this process was told of;
// empty where there is none. Folders that are not there any more hold none.
func (v *Copies) newestKnown(ctx context.Context) (newest source, err error) {
	folders := v.record.told()
	if len(folders) == 0 {
		return newest, nil
	}
	manifest, err := v.ring.Keyset(ctx, "", keyring.PurposeManifest)
	if err != nil {
		return newest, err
	}
	for _, dir := range folders {
		found, err := v.newestCopy(ctx, dir, manifest)
		if ctx.Err() != nil {
			return source{}, ctx.Err()
		}
		if err == nil && sequenceOf(found.path) > sequenceOf(newest.path) {
			newest = found
		}
	}
	return newest, nil
}

func (v *Copies) storeID() string { return v.ring.Known().Store }

// authentic compares a file with its last line, and that with its mac, without
// a look at the rows between.
func authentic(ctx context.Context, path string, manifest *keyring.Keyset) (header copyHeader, end copyEnd, sums pageSums, err error) {
	file, err := durable.OpenPlain(path)
	if err != nil {
		return header, end, nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	sum := sha256.New()
	lines := bufio.NewReaderSize(file, 64<<10)
	var last []byte
	for count := -1; ; count++ { // of rows; the header is none
		line, err := readLine(lines)
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return header, end, nil, err
		}
		if last != nil && header.V == 0 {
			if err := canon.Unmarshal(bytes.TrimSuffix(last, []byte("\n")), &header); err != nil {
				return header, end, nil, err
			}
		}
		sum.Write(last)
		if count > 0 {
			sums.add(count, sum)
		}
		last = append(last[:0], line...)
	}
	if err := canon.Unmarshal(bytes.TrimSuffix(last, []byte("\n")), &end); err != nil {
		return header, end, nil, err
	}
	if header.V != 1 || end.SHA256 != encode64(sum.Sum(nil)) || end.verify(manifest) != nil {
		return header, end, nil, keyring.ErrCopy
	}
	return header, end, sums, nil
}

// readLine reads one line with its newline; one that is too long, or the rest
// of a file without a newline, is an error.
func readLine(lines *bufio.Reader) ([]byte, error) {
	var out []byte
	for {
		part, err := lines.ReadSlice('\n')
		if err == nil && out == nil {
			return part, nil
		}
		out = append(out, part...)
		switch {
		case err == nil:
			return out, nil
		case errors.Is(err, io.EOF) && len(out) > 0 || len(out) > maxCopyLine:
			return nil, keyring.ErrCopy
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
}
