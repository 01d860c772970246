package rowjob

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/encryption/internal/format"
	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/encryption/sealedvalue"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// dataRow is one row of a declared table as it is stored.
type dataRow struct {
	cursor []any      // of its key
	id     string     // the key as text: the row of the associated data
	owner  string     // as keys know it: keyring.Fold
	stored any        // the owner as it is stored
	cells  []dataCell // by column of the definition; streams stay empty
	values []any      // index columns, by index
}

// dataCell is one stored cell: as the database holds it, for comparing, and in
// binary form.
type dataCell struct {
	stored any
	sealed []byte
	err    error // holds something that is no sealed field
}

// ownerOf returns whose key seals a column of the row.
func (t *Table) ownerOf(col *Column, owner string) string {
	if col.Level == format.LevelTenant || t.Shared {
		return keyring.TenantOwner
	}
	return owner
}

// page reads rows of a tenant in the order of the key, from behind a cursor, with
// a further condition or none.
func (s *storedTable) page(ctx context.Context, tenant string, after []any, condition string, args []any, limit int) ([]dataRow, error) {
	return s.pageIn(ctx, s.db, tenant, after, condition, args, limit)
}

func (s *storedTable) pageIn(ctx context.Context, q sqldb.Querier, tenant string, after []any, condition string, args []any, limit int) (out []dataRow, err error) {
	query, all := s.pageQuery(tenant, after, condition, args, limit)
	err = sqldb.Each(ctx, q, func(rows *sql.Rows) error {
		row, err := s.scanRow(rows)
		if err == nil {
			out = append(out, row)
		}
		return err
	}, query, all...)
	if err != nil {
		return nil, s.failed("read", err)
	}
	return out, nil
}

func (s *storedTable) pageQuery(tenant string, after []any, condition string, args []any, limit int) (query string, all []any) {
	columns := make([]string, 0, len(s.named)+len(s.columns))
	for _, at := range s.named {
		columns = append(columns, s.db.Text(s.key.Columns[at]))
	}
	for _, c := range s.columns {
		columns = append(columns, s.db.Text(c))
	}
	where, all := s.pages(tenant)
	if condition != "" {
		where += " AND (" + condition + ")"
		all = append(all, args...)
	}
	return s.key.Page(sqldb.Page{Columns: columns, Where: where, Args: all, After: after, Limit: limit})
}

func (s *storedTable) scanRow(rows *sql.Rows) (dataRow, error) {
	values := make([]any, len(s.named)+len(s.columns))
	into := make([]any, len(values))
	for i := range values {
		into[i] = &values[i]
	}
	cursor, err := s.key.Scan(rows, into...)
	if err != nil {
		return dataRow{}, err
	}
	row := dataRow{cursor: cursor, owner: keyring.TenantOwner, cells: make([]dataCell, len(s.Columns))}
	row.id = s.idOf(values[:len(s.named)])
	values = values[len(s.named):]
	for i, c := range s.columns {
		values[i] = c.Read(values[i])
	}
	if s.owner != nil {
		row.stored = values[0]
		row.owner = keyring.Fold(ownerText(values[0]))
		values = values[1:]
	}
	for i := range s.Columns {
		if s.Columns[i].Stream {
			continue
		}
		cell := dataCell{stored: values[0]}
		if cell.sealed, _, cell.err = sealedvalue.Stored(values[0]); cell.err == nil && cell.sealed != nil {
			_, cell.err = sealedvalue.KeyVersion(cell.sealed)
		}
		row.cells[i] = cell
		values = values[1:]
	}
	row.values = values
	return row, nil
}

// idOf names a row by its key, as [RowText] does. A number with a fraction, which
// only SQLite has in a key, is named by its place.
func (s *storedTable) idOf(key []any) string {
	parts := make([]string, len(key))
	for i, at := range s.named {
		v := s.key.Columns[at].Read(key[i])
		text, err := keyText(v)
		if err != nil {
			text = placeText(v)
		}
		parts[i] = text
	}
	return joinKey(parts)
}

// ownerText is an owner column as text; "", which no owner is, for NULL and for
// what names nobody.
func ownerText(stored any) string {
	if stored == nil {
		return ""
	}
	text, err := keyText(stored)
	if err != nil {
		return ""
	}
	return text
}

// row finds one row by its text; nil says that there is none.
func (s *storedTable) row(ctx context.Context, tenant, id string) (*dataRow, error) {
	return s.rowIn(ctx, s.db, tenant, id)
}

func (s *storedTable) rowIn(ctx context.Context, q sqldb.Querier, tenant, id string) (*dataRow, error) {
	parts, ok := splitKey(id, len(s.named))
	if !ok {
		return nil, fmt.Errorf("%w: the key of table %s has %d columns, joined by / (RowText)", keyring.ErrDefinition, s.Name, len(s.named))
	}
	conditions := make([]string, len(parts))
	var args []any
	for i, at := range s.named {
		var more []any
		conditions[i], more = s.holds(s.key.Columns[at], parts[i])
		args = append(args, more...)
	}
	rows, err := s.pageIn(ctx, q, tenant, nil, strings.Join(conditions, " AND "), args, 2)
	switch {
	case err != nil || len(rows) == 0:
		return nil, err
	case len(rows) > 1:
		return nil, fmt.Errorf("%w: table %s has several rows whose key is written so: values of other classes in its key column", keyring.ErrDefinition, s.Name)
	}
	return &rows[0], nil
}

// holds is the condition that a column holds a value whose text is this one.
func (s *storedTable) holds(c sqldb.Column, text string) (string, []any) {
	var raw []byte
	if digits, ok := strings.CutPrefix(text, bytesPrefix); ok && c.Binary() {
		raw, _ = hex.DecodeString(digits) // what is none is text
	}
	if s.db.Kind != sqldb.SQLite {
		if raw != nil {
			return s.db.Equal(c, raw)
		}
		return s.db.Named(c, text)
	}
	// Each value has a class of its own there, and a type only prefers one.
	candidates := []any{text}
	if n, ok := integerOf(text); ok {
		candidates = append(candidates, n)
	}
	if raw == nil {
		raw = []byte(text)
	}
	candidates = append(candidates, raw)
	conditions := make([]string, len(candidates))
	var args []any
	for i, candidate := range candidates {
		var more []any
		conditions[i], more = s.db.Equal(c, candidate)
		args = append(args, more...)
	}
	return "(" + strings.Join(conditions, " OR ") + ")", args
}

// maxNamed bounds the keys of one statement: a database bounds how deep its
// conditions are nested, and how many arguments they have.
const maxNamed = 200

// these are the rows of other cursors, read again.
func (s *storedTable) these(ctx context.Context, tenant string, cursors [][]any) (rows []dataRow, err error) {
	for some := range slices.Chunk(cursors, maxNamed) {
		conditions := make([]string, len(some))
		var args []any
		for i, cursor := range some {
			var more []any
			conditions[i], more = s.key.Equal(cursor)
			args = append(args, more...)
		}
		page, err := s.page(ctx, tenant, nil, strings.Join(conditions, " OR "), args, len(some))
		if err != nil {
			return nil, err
		}
		rows = append(rows, page...)
	}
	return rows, nil
}

// storedForm returns a sealed value as its column stores it.
func (c *Column) storedForm(sealed []byte) (any, error) {
	switch {
	case sealed == nil:
		return nil, nil
	case c.Text:
		return sealedvalue.FormatText(sealed)
	}
	return sealed, nil
}

// cellChange is one cell of an UPDATE that compares before it swaps.
type cellChange struct {
	column   sqldb.Column
	old, new any
	keep     bool // compared, not written
}

// namesOf are the columns that the changes write.
func namesOf(changes []cellChange) (names []string) {
	for _, c := range changes {
		if !c.keep {
			names = append(names, c.column.Name)
		}
	}
	return names
}

// unchanged is the condition that a row still holds what was read.
func (s *storedTable) unchanged(tenant string, row dataRow, changes []cellChange) (where string, args []any) {
	where, args = s.key.Equal(row.cursor)
	more := func(condition string, values []any) {
		where += " AND " + condition
		args = append(args, values...)
	}
	more(s.ofTenant(tenant))
	for _, c := range changes {
		if c.old == nil {
			more(c.column.Name+" IS NULL", nil)
		} else {
			more(s.db.Equal(c.column, c.old))
		}
	}
	return where, args
}

// swap updates a row where all the cells still hold what was read. false says
// that someone else changed one of them. The row is read back: what a trigger kept
// as it was needs its old key version still, and its old owner.
func (s *storedTable) swap(ctx context.Context, tx *sql.Tx, tenant string, row dataRow, changes []cellChange) (bool, error) {
	var set []string
	var args []any
	moves := false
	for _, c := range changes {
		moves = moves || s.owner != nil && c.column.Name == s.owner.Name
		if c.keep {
			continue
		}
		set = append(set, c.column.Name+" = ?")
		args = append(args, c.new)
	}
	where, compared := s.unchanged(tenant, row, changes)
	result, err := tx.ExecContext(ctx, s.db.Bind(`UPDATE `+s.sql+` SET `+strings.Join(set, ", ")+` WHERE `+where), append(args, compared...)...)
	if err != nil {
		err = doubtOf(s.failed("update", err), namesOf(changes)...)
		if fault, ok := errors.AsType[*sqldb.DriverError](err); ok && moves && (fault.Code == "" || sqldb.Doubtful(err)) {
			err = &refusal{err} // the driver cannot write the new owner in the column's type, or nobody may
		}
		return false, err
	}
	n, err := result.RowsAffected()
	if err != nil {
		return false, s.failed("update", err)
	}
	if n != 1 { // who else has changed it, or a trigger that says nothing
		there, err := s.lock(ctx, tx, tenant, row, changes)
		if err == nil && there {
			err = s.leftAsItWas()
		}
		return false, err
	}
	err = s.stillWritten(ctx, tx, tenant, row, changes)
	return err == nil, err
}

// storedOtherwise is a row that does not hold what was written into it.
func (t *Table) storedOtherwise() error {
	return &refusal{&keyring.KeyError{Op: "the database stored something else than was written (a trigger, or a column that is too short):", Table: t.Name, Err: keyring.ErrDefinition}}
}

// leftAsItWas is a row that the database did not change, and said nothing.
func (t *Table) leftAsItWas() error {
	return &refusal{&keyring.KeyError{Op: "the database left the row as it was (a trigger, or a rule):", Table: t.Name, Err: keyring.ErrDefinition}}
}

// lock locks a row that still holds what was read. SQLite's transaction holds
// the lock of the file.
func (s *storedTable) lock(ctx context.Context, tx *sql.Tx, tenant string, row dataRow, changes []cellChange) (bool, error) {
	where, args := s.unchanged(tenant, row, changes)
	query := `SELECT 1 FROM ` + s.sql + ` WHERE ` + where
	if s.db.Kind != sqldb.SQLite {
		query += ` FOR UPDATE`
	}
	there := false
	err := sqldb.Each(ctx, tx, func(*sql.Rows) error {
		there = true
		return nil
	}, s.db.Bind(query), args...)
	if err != nil {
		return false, s.failed("lock a row of", err)
	}
	return there, nil
}

// swapHooked is swap between the two hooks. Where there is a hook before, the row
// is locked first, so that what it verifies is what is then changed.
func (s *storedTable) swapHooked(ctx context.Context, tx *sql.Tx, tenant string, row dataRow, changes []cellChange, before, after jobs.RowHook) (bool, error) {
	if before != nil {
		if ok, err := s.lock(ctx, tx, tenant, row, changes); err != nil || !ok {
			return false, err
		}
		if err := before(ctx, tx, tenant, row.id); err != nil {
			return false, fmt.Errorf("encryption: before row of %s: %w", s.Name, err)
		}
	}
	ok, err := s.swap(ctx, tx, tenant, row, changes)
	if err != nil || !ok {
		return false, err
	}
	if after != nil {
		if err := after(ctx, tx, tenant, row.id); err != nil {
			return false, fmt.Errorf("encryption: after row of %s: %w", s.Name, err)
		}
	}
	return true, nil
}
