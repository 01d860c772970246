package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/internal/c2sp"
)

// Below the mark of the state row, which bears a tag, entries went with retention
// ([Trail.Prune]): their leaves, what they were found by and what was sealed about
// them. Their hashes stay, so that the tree is whole and every proof holds, and their
// stubs, so that no id is used a second time and each says what became of its event.

// ErrPruned is wrapped by a [PrunedError].
var ErrPruned = errors.New("audit: entries went with retention")

// PrunedError says that what was asked for went with retention, or may have.
type PrunedError struct {
	Entries int64 // how many of the oldest entries are gone: the first that is there has this index
}

// Error says how many entries are gone.
func (e *PrunedError) Error() string {
	return fmt.Sprintf("%v: the first %d are gone", ErrPruned, e.Entries)
}

// Unwrap makes errors.Is(err, ErrPruned) true.
func (e *PrunedError) Unwrap() error { return ErrPruned }

// goneAt says why the leaf of an entry is not there.
func (t *Trail) goneAt(ctx context.Context, index int64) error {
	s, err := t.state(ctx, t.db)
	switch {
	case err != nil:
		return err
	case index < s.pruned:
		return &PrunedError{s.pruned}
	}
	return fmt.Errorf("%w: entry %d is gone from the database", auditlog.ErrTampered, index)
}

// unlessPruned is an error of reading entries, or other where retention took some of
// them meanwhile.
func (t *Trail) unlessPruned(ctx context.Context, s state, err, other error) error {
	if now, stateErr := t.state(ctx, t.db); errors.Is(err, auditlog.ErrTampered) && stateErr == nil && now.pruned > s.pruned {
		return other
	}
	return err
}

// absentFile is a bundle that went with retention: to whoever reads the log it is a
// file that is not there.
func absentFile(pruned int64) error {
	return fmt.Errorf("audit: published: %w: %w", &PrunedError{pruned}, fs.ErrNotExist)
}

// bundlePruned says whether a tile is a bundle that retention took.
func (s state) bundlePruned(tile tlog.Tile) bool {
	return tile.L < 0 && tile.N*c2sp.TileWidth < s.pruned
}

// lastTold is up to where the newest entry of kind prune says that retention goes,
// as far as entries are found: whoever may write the tables can make none.
func (t *Trail) lastTold(ctx context.Context, s state) (to int64, err error) {
	rows, err := t.ownEntries(ctx, t.config.Tenant, pruneAction, s.N)
	if err != nil {
		return 0, err
	}
	reader := t.rows(t.db).Reader(ctx, s.Tree)
	for i := len(rows) - 1; i >= 0; i-- {
		if _, ok := prunedTo(rows[i].idx, rows[i].leaf); !ok {
			continue // the application's own, or changed, as VerifyStore says
		}
		if _, err := t.provenLeaf(reader, &rows[i]); err != nil {
			return 0, err
		}
		to, _ = prunedTo(rows[i].idx, rows[i].leaf)
		return to, nil
	}
	return 0, nil
}

// provenLeaf is the leaf of a row, if it is the one that the tree has there.
func (t *Trail) provenLeaf(reader tlog.HashReader, r *entryRow) (*auditlog.Leaf, error) {
	hash, err := hashAt(reader, r.idx)
	if err != nil {
		return nil, err
	}
	leaf, err := auditlog.ParseLeaf(r.leaf)
	if err != nil || hash != tlog.RecordHash(r.leaf) {
		return nil, fmt.Errorf("%w: entry %d was changed in the database", auditlog.ErrTampered, r.idx)
	}
	return &leaf, nil
}

// toldAmong is the same of entries of the database, all of which are read: of
// [0, size), where the state row is lost and nothing else is believed.
func (t *Trail) toldAmong(ctx context.Context, size int64) (to int64, err error) {
	for from := int64(0); from < size; {
		rows, err := t.entryRows(ctx, t.db, from, size, batch)
		if err != nil || len(rows) == 0 {
			return to, err
		}
		from = rows[len(rows)-1].idx + 1
		for i := range rows {
			if n, ok := prunedTo(rows[i].idx, rows[i].leaf); ok {
				to = n
			}
		}
	}
	return to, nil
}

// prunedTo is what an entry says about retention, if it does.
func prunedTo(index int64, raw []byte) (to int64, ok bool) {
	if !mayPrune(raw) {
		return 0, false
	}
	leaf, err := auditlog.ParseLeaf(raw)
	if err != nil {
		return 0, false
	}
	what, to, ok := leaf.Pruned()
	return to, ok && what == auditlog.PruneEntries && to <= index
}
