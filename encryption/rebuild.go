package encryption

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"slices"

	"github.com/crmguard/crmguard/encryption/internal/format"
	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/encryption/jobs"
)

const rebuildBatch = 200

// RebuildIndexes is [SealedTable.Rebuild] in the shape that the steps of a restore
// take.
func (t *SealedTable) RebuildIndexes(db *sql.DB, tenant string) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		_, err := t.Rebuild(ctx, db, tenant)
		return err
	}
}

// Rebuild fills every index column of the table from the sealed columns, until a
// whole pass finds nothing to correct; then versions that were fenced before
// (FenceOldWriters) become live and are searched. It runs after a restore
// (snapshots carry no index columns), for an index that was added, and at any
// other time: writers may go on. What belongs to an erased person, or to a
// destroyed key version, loses its index value. A cell that does not open for
// another reason, or is not sealed, stops nothing: its index value stays as it is,
// and the report counts and lists it. Where such a cell is mended, a search finds
// it after the next Rebuild.
//
// Neither stops it that the database refuses a value, be it a trigger or a UNIQUE
// index column, in which two rows of one value, or of two that collide, have no
// place: all other rows are corrected, and the answer is ErrIncomplete with a
// *RefusedError that names what is left. What was not searched before is not
// searched then.
//
// Before a version becomes live, all who write to the table when Rebuild is called
// have ended, however long they take ([SealedTable.Holder] says how they are waited
// for), and one unchanging view of the table was compared with what the pass
// found: a row whose key changed meanwhile is not passed over. That takes eight
// bytes of memory a row.
func (t *SealedTable) Rebuild(ctx context.Context, db *sql.DB, tenant string) (jobs.RebuildReport, error) {
	var report jobs.RebuildReport
	if err := keyring.CheckTenant(tenant); err != nil {
		return report, err
	}
	s, err := t.counted(ctx, db, tenant)
	if err != nil {
		return report, err
	}
	if len(t.indexes) == 0 {
		return report, nil
	}
	fenced, err := t.fenced(ctx, tenant) // before the first row is read
	if err != nil {
		return report, err
	}
	if len(fenced) > 0 { // whoever has sealed before the fence may not have committed
		if err := t.awaitWriters(ctx, s.db, s.sql); err != nil {
			return report, err
		}
	}
	seed, again := maphash.MakeSeed(), map[uint64]bool{}
	for try := range conflictTries {
		pass := &rebuildPass{proof: t.newProof(seed, fenced), again: again, armed: try > 0}
		err := s.rebuildAll(ctx, tenant, pass)
		if err == nil && pass.report.Corrected+pass.refused.count == 0 && len(fenced) > 0 {
			err = s.recheck(ctx, tenant, pass.proof, pass)
		}
		corrected := report.Corrected + pass.report.Corrected
		report, report.Corrected = pass.report, corrected
		report.Refused, report.Refusals = pass.refused.count, pass.refused.listed
		switch {
		case err != nil:
			return report, err
		case pass.report.Corrected > 0:
		case report.Refused > 0:
			return report, fmt.Errorf("%w: rows lack their index value: %w", ErrIncomplete, &jobs.RefusedError{Count: report.Refused, Rows: report.Refusals})
		default:
			return report, t.promote(ctx, tenant, fenced)
		}
	}
	return report, fmt.Errorf("encryption: rebuild indexes of %s: rows change faster than they are corrected; try again", t.def.Name)
}

// unreadable counts and lists a cell that does not open.
func (p *rebuildPass) unreadable(u jobs.Unreadable) {
	p.report.Unreadable++
	if len(p.report.Listed) < jobs.Listed {
		p.report.Listed = append(p.report.Listed, u)
	}
}

func (t *SealedTable) hasIndex(column string) bool {
	return slices.ContainsFunc(t.indexes, func(x tableIndex) bool { return t.def.Columns[x.column].Name == column })
}

// rebuildPass is one pass over the rows of a table.
type rebuildPass struct {
	report  jobs.RebuildReport
	refused refusals
	proof   *indexProof
	again   map[uint64]bool // corrections of the pass before, from the second one on
	armed   bool
}

// repeated says of a correction that the pass before has made it, too: a trigger
// keeps the row as it is, and says nothing.
func (p *rebuildPass) repeated(fix indexFix) bool { return p.again[p.named(fix)] }

// corrected counts what the database took.
func (p *rebuildPass) corrected(fixes ...indexFix) {
	p.report.Corrected += len(fixes)
	for _, fix := range fixes {
		if p.armed {
			p.again[p.named(fix)] = true
		}
	}
}

func (p *rebuildPass) named(fix indexFix) uint64 {
	return p.proof.sum(fix.index, fix.cell, fmt.Sprint(fix.row.id, fix.row.values[fix.index]))
}

func (s *storedTable) rebuildAll(ctx context.Context, tenant string, pass *rebuildPass) error {
	err := s.nameless(ctx, tenant, func(u jobs.Unreadable) {
		if s.hasIndex(u.Column) {
			pass.unreadable(u)
		}
	})
	if err != nil {
		return err
	}
	var after []any
	for {
		rows, err := s.page(ctx, tenant, after, "", nil, rebuildBatch)
		if err != nil || len(rows) == 0 {
			return err
		}
		if err := s.rebuildRows(ctx, tenant, rows, pass); err != nil {
			return err
		}
		after = rows[len(rows)-1].cursor
		pass.report.Rows += len(rows)
		s.vault.cfg.Observe(ctx, "encryption.index.rows", float64(len(rows)), slog.String("table", s.def.Name))
	}
}

func (s *storedTable) rebuildRows(ctx context.Context, tenant string, rows []dataRow, pass *rebuildPass) error {
	keys, err := s.tenantIndexes(ctx, tenant)
	if err != nil {
		return err
	}
	if _, _, err := s.vault.ring.Owners(ctx, tenant, s.ownersOf(rows), true); err != nil {
		return err // one key query for the batch
	}
	var wrong []indexFix
	for _, row := range rows {
		seen := map[int]error{} // cells that do not open
		for i, index := range s.SealedTable.indexes {
			want, err := s.wantedIndex(ctx, tenant, keys, i, row)
			switch {
			case err != nil && aboutOneValue(err):
				seen[index.column] = err
				pass.proof.right(s.SealedTable, row, i) // it stays so
			case err != nil:
				return err
			case sameIndex(row.values[i], want):
				pass.proof.right(s.SealedTable, row, i)
			default:
				wrong = append(wrong, indexFix{row, i, row.cells[index.column].stored, want})
			}
		}
		for column, err := range seen {
			pass.unreadable(s.unreadable(row, column, err))
		}
	}
	return s.fixIndexes(ctx, tenant, wrong, pass)
}

// fixIndexes corrects index columns, all in one transaction, and where the
// database refuses that, one by one.
func (s *storedTable) fixIndexes(ctx context.Context, tenant string, wrong []indexFix, pass *rebuildPass) error {
	wrong = slices.DeleteFunc(wrong, func(fix indexFix) bool {
		repeated := pass.repeated(fix)
		if repeated {
			err := &KeyError{Op: "the database left the index value as it was (a trigger, or a rule):", Table: s.def.Name, Column: s.SealedTable.indexes[fix.index].Name, Err: ErrDefinition}
			pass.refused.add(s.refused(fix.row, err))
		}
		return repeated
	})
	if len(wrong) == 0 {
		return nil
	}
	err := s.write(ctx, func(tx *sql.Tx) error {
		for _, fix := range wrong {
			if err := s.fixIndex(ctx, tx, tenant, fix, fix.want); err != nil {
				return err
			}
		}
		return nil
	})
	if !isRefusal(err) {
		if err == nil {
			pass.corrected(wrong...)
		}
		return err
	}
	for _, fix := range wrong {
		if err := s.fixAlone(ctx, tenant, fix, pass); err != nil {
			return err
		}
	}
	return nil
}

// fixAlone corrects one index column. Where the value is refused, because another
// row has it, the wrong one goes all the same: that row may wait for it.
func (s *storedTable) fixAlone(ctx context.Context, tenant string, fix indexFix, pass *rebuildPass) error {
	try := func(value IndexValue) error {
		return s.write(ctx, func(tx *sql.Tx) error { return s.fixIndex(ctx, tx, tenant, fix, value) })
	}
	err := try(fix.want)
	if refused := err; isRefusal(err) {
		pass.refused.add(s.refused(fix.row, refused))
		if fix.row.values[fix.index] == nil || fix.want.IsNull() {
			return nil
		}
		if err = try(IndexValue{}); isRefusal(err) {
			return nil
		}
	}
	if err == nil {
		pass.corrected(fix)
	}
	return err
}

// indexFix is one index column to correct, as long as its sealed column holds
// what the value was computed from.
type indexFix struct {
	row   dataRow
	index int
	cell  any // of the index, as it is stored
	want  IndexValue
}

// wantedIndex computes what an index column should hold: NULL where there is
// no value, or none that will ever be read again.
func (s *storedTable) wantedIndex(ctx context.Context, tenant string, keys *tenantIndexes, i int, row dataRow) (IndexValue, error) {
	column := s.SealedTable.indexes[i].column
	col, cell := &s.def.Columns[column], row.cells[column]
	if cell.err != nil { // what is damaged in its first bytes may be mended, too
		return IndexValue{}, &KeyError{Op: "open: not sealed", Err: ErrOpen}
	}
	if cell.sealed == nil {
		return IndexValue{}, nil
	}
	value, err := s.openCell(ctx, tenant, row.id, col, s.ownerOf(col, row.owner), cell.sealed)
	if errors.Is(err, ErrErased) || errors.Is(err, ErrDestroyed) {
		return IndexValue{}, nil
	}
	if err != nil {
		return IndexValue{}, err
	}
	if col.Pad != 0 {
		if value, err = format.Unpad(value); err != nil {
			return IndexValue{}, &KeyError{Op: "open: padding", Err: ErrOpen}
		}
	}
	return keys.rebuilt(s.SealedTable, i, string(value))
}

// sameIndex compares with what a column holds: a database may give an integer as
// its digits.
func sameIndex(stored any, want IndexValue) bool {
	switch s := stored.(type) {
	case nil:
		return want.IsNull()
	case int64:
		n, ok := want.Int64()
		return ok && n == s
	case string:
		have, is := integerOf(s)
		n, ok := want.Int64()
		return is && ok && n == have
	case []byte:
		return want.Bytes() != nil && bytes.Equal(s, want.Bytes())
	}
	return false
}

func (s *storedTable) fixIndex(ctx context.Context, tx *sql.Tx, tenant string, fix indexFix, value IndexValue) error {
	source := cellChange{column: s.cells[s.SealedTable.indexes[fix.index].column], old: fix.cell}
	where, args := s.unchanged(tenant, fix.row, []cellChange{source})
	_, err := tx.ExecContext(ctx, s.db.Bind(`UPDATE `+s.sql+` SET `+s.indexes[fix.index].Name+` = ? WHERE `+where), append([]any{value}, args...)...)
	if err != nil {
		return refusalOf(s.failed("rebuild indexes of", err))
	}
	return nil
}
