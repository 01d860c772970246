package encryption

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// ResealOptions says how a table is resealed. The zero value is good.
type ResealOptions struct {
	// Batch is the number of rows a transaction; 0 is 100.
	Batch int
	// After resumes behind this key; "" begins.
	After string
	// BeforeRow runs in the transaction before a row changes: verify its seal.
	BeforeRow RowHook
	// AfterRow runs in the transaction after a row changed: seal the row anew,
	// record the event.
	AfterRow RowHook
	// Progress is called after each batch.
	Progress func(ResealReport)
	// Pause is kept between batches.
	Pause time.Duration
}

// ResealReport says what Reseal did.
type ResealReport struct {
	Rows      int    // rows read
	Cells     int    // cells resealed
	Conflicts int    // rows that someone else changed meanwhile; they were read again
	Erased    int    // cells of erased owners, left as they are
	Unsealed  int    // cells that hold no sealed field, left as they are
	Last      string // key of the last row, for ResealOptions.After
}

const conflictTries = 5

// Reseal brings every sealed cell of a tenant under the active generation, in
// batches by primary key. A cell is swapped only if it still holds the bytes
// that were read, so a change that falls between reading and writing
// survives. It may be interrupted anywhere, resumed with Last, and run in
// several processes; what is already under the active generation is left
// alone.
func (t *SealedTable) Reseal(ctx context.Context, db *sql.DB, tenant string, options ResealOptions) (ResealReport, error) {
	report := ResealReport{Last: options.After}
	if err := checkDB(ctx, db); err != nil {
		return report, err
	}
	if err := checkTenant(tenant); err != nil {
		return report, err
	}
	if options.Batch <= 0 {
		options.Batch = 100
	}
	var after any
	if options.After != "" {
		after = options.After
	}
	for {
		condition, args := "", []any(nil)
		if after != nil {
			condition, args = t.def.Key+" > ?", []any{after}
		}
		rows, err := t.readRows(ctx, db, tenant, condition, args, options.Batch)
		if err != nil || len(rows) == 0 {
			return report, err
		}
		if err := t.resealBatch(ctx, db, tenant, rows, options, &report); err != nil {
			return report, err
		}
		after = rows[len(rows)-1].key
		report.Rows += len(rows)
		report.Last = rows[len(rows)-1].id
		t.vault.cfg.Observe(ctx, "encryption.reseal.rows", float64(len(rows)), slog.String("table", t.def.Name))
		if options.Progress != nil {
			options.Progress(report)
		}
		if options.Pause > 0 {
			if err := t.vault.cfg.Wait(ctx, options.Pause); err != nil {
				return report, err
			}
		}
	}
}

// resealBatch reseals rows in one transaction; rows that someone else changed
// are read again and tried again.
func (t *SealedTable) resealBatch(ctx context.Context, db *sql.DB, tenant string, rows []dataRow, options ResealOptions, report *ResealReport) error {
	for try := 0; ; try++ {
		changes, err := t.resealCells(ctx, tenant, rows, report)
		if err != nil || len(changes) == 0 {
			return err
		}
		var lost []any
		done := 0
		err = inTx(ctx, db, func(tx *sql.Tx) error {
			for i, row := range rows {
				if len(changes[i]) == 0 {
					continue
				}
				ok, err := t.swapHooked(ctx, tx, tenant, row, changes[i], options.BeforeRow, options.AfterRow)
				if err != nil {
					return err
				}
				if ok {
					done += len(changes[i])
				} else {
					lost = append(lost, row.key)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		report.Cells += done
		if len(lost) == 0 {
			return nil
		}
		report.Conflicts += len(lost)
		t.vault.cfg.Observe(ctx, "encryption.reseal.conflicts", float64(len(lost)), slog.String("table", t.def.Name))
		if try == conflictTries {
			return nil // the census says what is left
		}
		if rows, err = t.readRows(ctx, db, tenant, t.def.Key+" IN ("+marks(len(lost))+")", lost, len(lost)); err != nil {
			return err
		}
	}
}

func marks(n int) string { return strings.TrimSuffix(strings.Repeat("?, ", n), ", ") }

// resealCells opens and seals anew, outside of any transaction, what is not
// under the active generation. The result maps row index -> changes.
func (t *SealedTable) resealCells(ctx context.Context, tenant string, rows []dataRow, report *ResealReport) (map[int][]cellChange, error) {
	k, err := t.vault.tenant(ctx, tenant)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, row := range rows {
		for i := range t.def.Columns {
			if row.cells[i].sealed != nil {
				all = append(all, t.ownerOf(&t.def.Columns[i], row.owner))
			}
		}
	}
	found, _, err := t.vault.lookup(ctx, tenant, all, true)
	if err != nil {
		return nil, err
	}
	changes := map[int][]cellChange{}
	stale := t.staleCells(rows, k.active, found, report)
	if len(stale) == 0 {
		return changes, nil
	}
	owners := make([]string, 0, len(stale))
	for _, s := range stale {
		owners = append(owners, s.owner)
	}
	found, generation, _, err := t.vault.sealKeys(ctx, tenant, owners)
	if err != nil {
		return nil, err
	}
	for _, s := range stale {
		col := &t.def.Columns[s.column]
		change, err := t.resealCell(ctx, tenant, rows[s.row], col, s, found[s.owner].key(generation), generation)
		if err != nil {
			return nil, err
		}
		changes[s.row] = append(changes[s.row], change)
	}
	return changes, nil
}

// staleCell points to a cell that is not under the active generation.
type staleCell struct {
	row, column int
	owner       string
}

func (t *SealedTable) staleCells(rows []dataRow, active uint32, found map[string]*ownerKeys, report *ResealReport) []staleCell {
	var stale []staleCell
	for r, row := range rows {
		for c := range t.def.Columns {
			cell := row.cells[c]
			if cell.err != nil {
				report.Unsealed++
				continue
			}
			if cell.sealed == nil {
				continue
			}
			if generation, _ := GenerationOf(cell.sealed); generation == active {
				continue
			}
			owner := t.ownerOf(&t.def.Columns[c], row.owner)
			if o := found[owner]; o != nil && o.state == Tombstone {
				report.Erased++
				continue
			}
			stale = append(stale, staleCell{r, c, owner})
		}
	}
	return stale
}

func (t *SealedTable) resealCell(ctx context.Context, tenant string, row dataRow, col *Column, s staleCell, to *personKey, generation uint32) (cellChange, error) {
	cell := row.cells[s.column]
	padded, ad, err := t.openCell(ctx, tenant, row.id, col, s.owner, cell.sealed)
	if err != nil {
		return cellChange{}, t.detail(err, col.Name)
	}
	stored, err := col.storedForm(to.appendSeal(nil, generation, padded, ad))
	if err != nil {
		return cellChange{}, err
	}
	return cellChange{column: col.SQL, old: cell.stored, new: stored}, nil
}

// openCell opens a cell and leaves its padding on.
func (t *SealedTable) openCell(ctx context.Context, tenant, id string, col *Column, owner string, sealed []byte) (padded, ad []byte, err error) {
	generation, err := GenerationOf(sealed)
	if err != nil || len(sealed) < overhead || sealed[0] != fieldMark {
		return nil, nil, &KeyError{Op: "open", Err: ErrOpen}
	}
	if err := checkOwner(owner); err != nil {
		return nil, nil, &KeyError{Op: "owner column", Err: err}
	}
	key, _, err := t.vault.openKey(ctx, tenant, owner, generation)
	if err != nil {
		return nil, nil, err
	}
	ad = t.ad(nil, col, tenant, owner, id)
	padded, err = key.gcm.Open(nil, nil, sealed[prefixSize:], ad)
	if err != nil {
		return nil, nil, &KeyError{Op: "open", Generation: generation, Err: ErrOpen}
	}
	return padded, ad, nil
}

// Redaction says what stays of a record of several persons when one of them
// is erased.
type Redaction struct {
	// Edit returns what stays of a value; nil becomes NULL.
	Edit func(column string, plaintext []byte) ([]byte, error)
	// BeforeRow and AfterRow run as those of ResealOptions.
	BeforeRow, AfterRow RowHook
}

// Redact reseals one record of several persons under a new record owner, with
// only what Edit leaves, and then erases the old record owner: without that
// the unredacted text would stay readable in backups. Old copies of the
// record become unreadable for all of its persons. It returns the new owner.
//
// If it fails after the row was changed, a *RedactedError names the old owner:
// erase it with EraseRecord.
func (t *SealedTable) Redact(ctx context.Context, db *sql.DB, tenant, key string, redaction Redaction) (owner string, err error) {
	if err := checkDB(ctx, db); err != nil {
		return "", err
	}
	if err := checkTenant(tenant); err != nil {
		return "", err
	}
	if t.def.Shared || redaction.Edit == nil {
		return "", &KeyError{Op: "redact needs an owner column and Edit", Table: t.def.Name, Err: ErrDefinition}
	}
	rows, err := t.readRows(ctx, db, tenant, t.def.Key+" = ?", []any{key}, 1)
	if err != nil {
		return "", err
	}
	if len(rows) == 0 {
		return "", fmt.Errorf("encryption: redact: %w", sql.ErrNoRows)
	}
	row := rows[0]
	if err := checkRecordOwner(row.owner); err != nil {
		return "", fmt.Errorf("encryption: redact: the row belongs to one person: %w", err)
	}
	if owner, err = NewRecordOwner(); err != nil {
		return "", err
	}
	changes, err := t.redacted(ctx, tenant, owner, row, redaction.Edit)
	if err != nil {
		return "", err
	}
	changes = append(changes, cellChange{column: t.def.Owner, old: row.owner, new: owner})
	err = inTx(ctx, db, func(tx *sql.Tx) error {
		ok, err := t.swapHooked(ctx, tx, tenant, row, changes, redaction.BeforeRow, redaction.AfterRow)
		if err == nil && !ok {
			err = fmt.Errorf("encryption: redact: the row of %s changed meanwhile; try again", t.def.Name)
		}
		return err
	})
	if err != nil {
		return "", err
	}
	if _, err := t.vault.EraseRecord(ctx, tenant, row.owner); err != nil {
		return owner, &RedactedError{Old: row.owner, Err: err}
	}
	return owner, nil
}

func (t *SealedTable) redacted(ctx context.Context, tenant, owner string, row dataRow, edit func(string, []byte) ([]byte, error)) ([]cellChange, error) {
	w, err := t.RecordWriter(ctx, tenant, owner)
	if err != nil {
		return nil, err
	}
	if w, err = w.Row(row.id); err != nil {
		return nil, err
	}
	r, err := t.Reader(ctx, tenant, row.owner)
	if err != nil {
		return nil, err
	}
	var changes []cellChange
	for i := range t.def.Columns {
		col, cell := &t.def.Columns[i], row.cells[i]
		if cell.sealed == nil || col.Stream || col.Level == LevelTenant {
			continue
		}
		plaintext, err := r.Open(ctx, row.owner, row.id, col.Name, cell.sealed)
		if err != nil {
			return nil, err
		}
		kept, err := edit(col.Name, plaintext)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("encryption: redact %s.%s", t.def.Name, col.Name), err)
		}
		value, err := w.Bytes(col.Name, kept).Value()
		if err != nil {
			return nil, err
		}
		changes = append(changes, cellChange{column: col.SQL, old: cell.stored, new: value})
		for _, index := range t.indexes {
			if index.column == i {
				changes = append(changes, cellChange{column: index.Column, old: row.values[t.indexAt(index.Column)], new: w.Index(index.Column, string(kept))})
			}
		}
	}
	return changes, nil
}

func (t *SealedTable) indexAt(column string) int {
	for i, index := range t.indexes {
		if index.Column == column {
			return i
		}
	}
	return -1
}
