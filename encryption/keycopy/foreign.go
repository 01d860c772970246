package keycopy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/internal/canon"
	"github.com/crmguard/crmguard/internal/durable"
)

// refuseForeign refuses a folder in which a copy of another key store lies. A
// copy has its name from the sequence alone, so that writing there would
// replace or delete what may be the only copy of that store.
func (v *Copies) refuseForeign(dir string) error {
	files, err := copiesIn(dir)
	if err != nil {
		return err
	}
	own := v.storeID()
	for _, name := range files {
		if store := storeOf(filepath.Join(dir, name)); (isCopyFile(name) || isHolesName(name)) && store != "" && store != own {
			return fmt.Errorf("%w: write: %s in the folder is of another key store: each store needs a folder of its own", keyring.ErrCopy, name)
		}
	}
	return nil
}

// storeOf is the key store that the first line of a file names; empty where
// it is no header of a copy.
func storeOf(path string) string {
	file, err := durable.OpenPlain(path)
	if err != nil {
		return ""
	}
	defer func() { _ = file.Close() }() // only read
	line, err := bufio.NewReader(io.LimitReader(file, maxCopyLine)).ReadBytes('\n')
	var header copyHeader
	if err != nil || canon.Unmarshal(bytes.TrimSuffix(line, []byte("\n")), &header) != nil || header.V != 1 {
		return ""
	}
	return header.Store
}

// refuseLost answers ErrRewound where a good copy in the folder was written by a
// state that this store has lost: it was put back. That copy may be the only
// place where the lost keys still are, and a higher number makes it no newer.
func (v *Copies) refuseLost(ctx context.Context, dir string, written Copy) error {
	files, err := copiesIn(dir)
	if err != nil {
		return err
	}
	for _, name := range files {
		if !isCopyName(name) {
			continue
		}
		path := filepath.Join(dir, name)
		if mark := lastMark(path); mark.Mark != "" && written.marks[mark.Sequence] == mark.Mark {
			continue // what almost every copy shows by its end alone
		}
		other, err := v.Verify(ctx, path)
		switch {
		case errors.Is(err, keyring.ErrCopy):
			continue // damaged, forged or gone: it takes nothing with it
		case err != nil:
			return err
		case other.lostTo(written):
			return fmt.Errorf("%w: the copy %s holds a history that the key store has no more, because it was put back or replaced: restore that copy into an empty store (RestoreCopy), or take it out of the folder and keep it", keyring.ErrRewound, name)
		}
	}
	return nil
}

// lostTo reports whether neither of two copies of a store follows from the
// other. A copy ends with a position, and one that is older than all that are
// kept was pruned.
func (c Copy) lostTo(written Copy) bool {
	older, newer := c, written
	if c.Sequence > written.Sequence {
		older, newer = written, c
	}
	mark, known := newer.marks[older.Sequence]
	if !known && newer.positions >= keyring.KeptPositions && older.Sequence < newer.first {
		return false
	}
	return mark != older.marks[older.Sequence]
}

// lastMark is the mark with which a copy ends, in front of its last line; empty
// where there is none to be seen.
func lastMark(path string) (mark copyRow) {
	file, err := durable.OpenPlain(path)
	if err != nil {
		return mark
	}
	defer func() { _ = file.Close() }() // only read
	info, err := file.Stat()
	if err != nil {
		return mark
	}
	end := make([]byte, min(info.Size(), 4096))
	if _, err := file.ReadAt(end, info.Size()-int64(len(end))); err != nil {
		return mark
	}
	lines := bytes.Split(end, []byte("\n"))
	if len(lines) < 3 || canon.Unmarshal(lines[len(lines)-3], &mark) != nil || mark.Kind != keystore.KindMark {
		return copyRow{}
	}
	return mark
}
