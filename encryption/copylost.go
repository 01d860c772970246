package encryption

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/crmguard/crmguard/internal/durable"
)

// refuseLost refuses a folder in which a good copy lies that ends with a change
// which the key store does not know: the store was put back to an older state,
// and the copy may be all that is left of the keys that it lost. Copies are
// named by their sequence alone, so that writing there would replace that copy,
// delete it, or take it for the newer one.
func (v *Vault) refuseLost(ctx context.Context, dir string) error {
	files, err := copiesIn(dir)
	if err != nil {
		return err
	}
	for _, name := range files {
		path := filepath.Join(dir, name)
		last, err := lastMark(path)
		if err != nil || !isCopyName(name) {
			continue // damaged, or gone: another writer's work
		}
		known, err := v.knows(ctx, last) // read after the copy: in a sound system the store is never behind it
		if err != nil {
			return storeError(err)
		}
		if known {
			continue
		}
		if _, err := v.VerifyCopy(ctx, path); errors.Is(err, ErrCopy) {
			continue // nobody can restore it
		} else if err != nil {
			return err
		}
		return fmt.Errorf("%w: write: %w: %s in the folder holds changes that this key store lost: restore it, or keep it elsewhere and write into another folder", ErrCopy, ErrRewound, name)
	}
	return nil
}

// lastMark is the mark of the last change that a copy holds, not verified.
func lastMark(path string) (last MarkRow, err error) {
	file, err := durable.OpenPlain(path)
	if err != nil {
		return last, err
	}
	defer func() { _ = file.Close() }() // only read
	marks := map[int64]string{}
	header, _, err := scanCopy(file, func(row copyRow) error {
		if row.Kind == KindMark {
			marks[row.Sequence] = row.Mark
		}
		return nil
	})
	return MarkRow{Sequence: header.Sequence, Mark: marks[header.Sequence]}, err
}

// knows looks for a mark in the history of the store. One that is too old to be
// kept counts as known.
func (v *Vault) knows(ctx context.Context, mark MarkRow) (known bool, err error) {
	err = v.cfg.Keys.Snapshot(ctx, func(tx KeyTx) error {
		state, err := tx.State(ctx)
		if err != nil {
			return err
		}
		rows, err := tx.Page(ctx, Page{Kind: KindMark, After: []any{mark.Sequence - 1}, Limit: 1})
		if err != nil {
			return err
		}
		if len(rows.Marks) > 0 && rows.Marks[0].Sequence == mark.Sequence {
			known = rows.Marks[0].Mark == mark.Mark
		} else {
			known = state.Sequence-mark.Sequence >= keptMarks
		}
		return nil
	})
	return known, err
}
