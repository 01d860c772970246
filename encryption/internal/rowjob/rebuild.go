package rowjob

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"slices"

	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/encryption/sealedvalue"
)

const rebuildBatch = 200

// Rebuild does what SealedTable.Rebuild promises.
func (t *Table) Rebuild(ctx context.Context, db *sql.DB, tenant string) (jobs.RebuildReport, error) {
	var report jobs.RebuildReport
	if err := keyring.CheckTenant(tenant); err != nil {
		return report, err
	}
	s, err := t.counted(ctx, db, tenant)
	if err != nil {
		return report, err
	}
	if len(t.Indexes) == 0 {
		return report, nil
	}
	fenced, returned, err := s.fencedNow(ctx, tenant) // before the first row is read
	if err != nil {
		return report, err
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
			return report, fmt.Errorf("%w: rows lack their index value: %w", keyring.ErrIncomplete, &jobs.RefusedError{Count: report.Refused, Rows: report.Refusals})
		default:
			if err = t.Promote(ctx, tenant, fenced, returned); !errors.Is(err, keyring.ErrStale) {
				return report, err
			}
			// Keys came back, perhaps of rows that this pass could not open.
			if fenced, returned, err = s.fencedNow(ctx, tenant); err != nil {
				return report, err
			}
		}
	}
	return report, fmt.Errorf("encryption: rebuild indexes of %s: rows change, or keys come back, faster than they are looked at; try again", t.Name)
}

// fencedNow is Table.Fenced once nobody is left who sealed before the fence and has
// not committed.
func (s *storedTable) fencedNow(ctx context.Context, tenant string) ([]keystore.IndexRow, int64, error) {
	fenced, returned, err := s.Fenced(ctx, tenant)
	if err == nil && len(fenced) > 0 {
		err = s.awaitWriters(ctx, s.db, s.sql)
	}
	return fenced, returned, err
}

// unreadable counts and lists a cell that does not open.
func (p *rebuildPass) unreadable(u jobs.Unreadable) {
	p.report.Unreadable++
	if len(p.report.Listed) < jobs.Listed {
		p.report.Listed = append(p.report.Listed, u)
	}
}

func (t *Table) hasIndex(column string) bool {
	return slices.ContainsFunc(t.Indexes, func(x Index) bool { return t.Columns[x.Of].Name == column })
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
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			return s.whole(ctx, s.db)
		}
		if err := s.rebuildRows(ctx, tenant, rows, pass); err != nil {
			return err
		}
		after = rows[len(rows)-1].cursor
		pass.report.Rows += len(rows)
		s.Vault.Config.Observe(ctx, "encryption.index.rows", float64(len(rows)), slog.String("table", s.Name))
	}
}

func (s *storedTable) rebuildRows(ctx context.Context, tenant string, rows []dataRow, pass *rebuildPass) error {
	value, err := s.IndexValues(ctx, tenant)
	if err != nil {
		return err
	}
	if _, _, err := s.Vault.Ring.Owners(ctx, tenant, s.ownersOf(rows), true); err != nil {
		return err // one key query for the batch
	}
	var wrong []indexFix
	for _, row := range rows {
		seen := map[int]error{} // cells that do not open
		for i, index := range s.Indexes {
			want, err := s.wantedIndex(ctx, tenant, value, i, row)
			switch {
			case err != nil && AboutOneValue(err):
				seen[index.Of] = err
				pass.proof.right(s.Table, row, i) // it stays so
			case err != nil:
				return err
			case sameIndex(row.values[i], want):
				pass.proof.right(s.Table, row, i)
			default:
				wrong = append(wrong, indexFix{row, i, row.cells[index.Of].stored, want})
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
			err := &keyring.KeyError{Op: "the database left the index value as it was (a trigger, a rule, or a column that is too narrow):", Table: s.Name, Column: s.Indexes[fix.index].Name, Err: keyring.ErrDefinition}
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
	try := func(value any) error {
		return s.write(ctx, func(tx *sql.Tx) error { return s.fixIndex(ctx, tx, tenant, fix, value) })
	}
	err := try(fix.want)
	if refused := err; isRefusal(err) {
		pass.refused.add(s.refused(fix.row, refused))
		if fix.row.values[fix.index] == nil || fix.want == nil {
			return nil
		}
		if err = try(nil); isRefusal(err) {
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
	want  any // nil, int64 or bytes
}

// wantedIndex computes what an index column should hold: NULL where there is
// no value, or none that will ever be read again, for its key is gone. While the key
// stands, a row that says erased or destroyed may be put right, and the value is
// unreadable till then.
func (s *storedTable) wantedIndex(ctx context.Context, tenant string, indexed func(i int, value string) (any, error), i int, row dataRow) (any, error) {
	column := s.Indexes[i].Of
	col, cell := &s.Columns[column], row.cells[column]
	if cell.err != nil { // what is damaged in its first bytes may be mended, too
		return nil, &keyring.KeyError{Op: "open: not sealed", Err: keyring.ErrOpen}
	}
	if cell.sealed == nil {
		return nil, nil
	}
	owner := s.ownerOf(col, row.owner)
	value, err := s.openValue(ctx, tenant, row.id, col, owner, cell.sealed)
	if errors.Is(err, keyring.ErrErased) || errors.Is(err, keyring.ErrDestroyed) {
		keyVersion, _ := sealedvalue.KeyVersion(cell.sealed)
		stands, asked := s.Vault.Ring.Stands(ctx, tenant, owner, keyVersion)
		if asked != nil || !stands {
			return nil, asked
		}
	}
	if err != nil {
		return nil, err
	}
	return indexed(i, string(value))
}

// sameIndex compares with what a column holds: a database may give an integer as
// its digits.
func sameIndex(stored, want any) bool {
	switch s := stored.(type) {
	case nil:
		return want == nil
	case int64:
		n, ok := want.(int64)
		return ok && n == s
	case string:
		have, is := integerOf(s)
		n, ok := want.(int64)
		return is && ok && n == have
	case []byte:
		wide, ok := want.([]byte)
		return ok && bytes.Equal(s, wide)
	}
	return false
}

func (s *storedTable) fixIndex(ctx context.Context, tx *sql.Tx, tenant string, fix indexFix, value any) error {
	source := cellChange{column: s.cells[s.Indexes[fix.index].Of], old: fix.cell}
	where, args := s.unchanged(tenant, fix.row, []cellChange{source})
	_, err := tx.ExecContext(ctx, s.db.Bind(`UPDATE `+s.sql+` SET `+s.indexes[fix.index].Name+` = ? WHERE `+where), append([]any{value}, args...)...)
	if err != nil {
		return doubtOf(s.failed("rebuild indexes of", err), s.indexes[fix.index].Name)
	}
	return nil
}
