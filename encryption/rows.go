package encryption

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// querier is what *sql.DB and *sql.Tx share.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// dataRow is one row of a declared table as it is stored.
type dataRow struct {
	key    any    // for statements
	id     string // the key as text: the row of the associated data
	owner  string
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
func (t *SealedTable) ownerOf(col *Column, owner string) string {
	if col.Level == LevelTenant || t.def.Shared {
		return tenantOwner
	}
	return owner
}

// readRows reads rows of a tenant in the order of their keys.
func (t *SealedTable) readRows(ctx context.Context, q querier, tenant, condition string, args []any, limit int) (out []dataRow, err error) {
	columns := []string{t.def.Key}
	if t.def.Owner != "" {
		columns = append(columns, t.def.Owner)
	}
	for _, col := range t.def.Columns {
		if !col.Stream {
			columns = append(columns, col.SQL)
		}
	}
	for _, index := range t.indexes {
		columns = append(columns, index.Column)
	}
	where, all := t.ofTenant(tenant)
	if condition != "" {
		where += " AND " + condition
		all = append(all, args...)
	}
	rows, err := q.QueryContext(ctx, `SELECT `+strings.Join(columns, ", ")+` FROM `+t.def.SQL+` WHERE `+where+` ORDER BY `+t.def.Key+` LIMIT `+strconv.Itoa(limit), all...)
	if err != nil {
		return nil, fmt.Errorf("encryption: read %s: %w", t.def.Name, err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		row, err := t.scanRow(rows, len(columns))
		if err != nil {
			return nil, fmt.Errorf("encryption: read %s: %w", t.def.Name, err)
		}
		out = append(out, row)
	}
	return out, rows.Err()
}

func (t *SealedTable) scanRow(rows *sql.Rows, n int) (dataRow, error) {
	values := make([]any, n)
	into := make([]any, n)
	for i := range values {
		into[i] = &values[i]
	}
	if err := rows.Scan(into...); err != nil {
		return dataRow{}, err
	}
	row := dataRow{key: values[0], id: textOf(values[0]), owner: tenantOwner, cells: make([]dataCell, len(t.def.Columns))}
	values = values[1:]
	if t.def.Owner != "" {
		row.owner = textOf(values[0])
		values = values[1:]
	}
	for i := range t.def.Columns {
		if t.def.Columns[i].Stream {
			continue
		}
		cell := dataCell{stored: values[0]}
		if cell.sealed, _, cell.err = cellOf(values[0]); cell.err == nil && cell.sealed != nil {
			_, cell.err = GenerationOf(cell.sealed)
		}
		row.cells[i] = cell
		values = values[1:]
	}
	row.values = values
	return row, nil
}

func textOf(key any) string {
	switch k := key.(type) {
	case string:
		return k
	case []byte:
		return string(k)
	case int64:
		return strconv.FormatInt(k, 10)
	}
	return ""
}

// storedForm returns a sealed value as its column stores it.
func (c *Column) storedForm(sealed []byte) (any, error) {
	switch {
	case sealed == nil:
		return nil, nil
	case c.Text:
		return FormatText(sealed)
	}
	return sealed, nil
}

// cellChange is one cell of an UPDATE that compares before it swaps.
type cellChange struct {
	column   string
	old, new any
}

// swap updates a row where all the cells still hold what was read. false says
// that someone else changed one of them.
func (t *SealedTable) swap(ctx context.Context, tx *sql.Tx, tenant string, key any, changes []cellChange) (bool, error) {
	set := make([]string, 0, len(changes))
	var args []any
	for _, c := range changes {
		set = append(set, c.column+" = ?")
		args = append(args, c.new)
	}
	where, tenantArgs := t.ofTenant(tenant)
	args = append(append(args, key), tenantArgs...)
	for _, c := range changes {
		if c.old == nil {
			where += " AND " + c.column + " IS NULL"
			continue
		}
		where += " AND " + c.column + " = ?"
		args = append(args, c.old)
	}
	result, err := tx.ExecContext(ctx, `UPDATE `+t.def.SQL+` SET `+strings.Join(set, ", ")+` WHERE `+t.def.Key+` = ? AND `+where, args...)
	if err != nil {
		return false, fmt.Errorf("encryption: update %s: %w", t.def.Name, err)
	}
	n, err := result.RowsAffected()
	if err != nil {
		return false, fmt.Errorf("encryption: update %s: %w", t.def.Name, err)
	}
	return n == 1, nil
}

// RowHook runs in the transaction that changes a row, with the key as text.
type RowHook = func(ctx context.Context, tx *sql.Tx, tenant, key string) error

// swapHooked is swap between the two hooks. When there are hooks, the row is
// first locked by an update that changes nothing, so that what BeforeRow
// verifies is what is then changed.
func (t *SealedTable) swapHooked(ctx context.Context, tx *sql.Tx, tenant string, row dataRow, changes []cellChange, before, after RowHook) (bool, error) {
	if before != nil {
		same := make([]cellChange, len(changes))
		for i, c := range changes {
			same[i] = cellChange{c.column, c.old, c.old}
		}
		if ok, err := t.swap(ctx, tx, tenant, row.key, same); err != nil || !ok {
			return false, err
		}
		if err := before(ctx, tx, tenant, row.id); err != nil {
			return false, fmt.Errorf("encryption: before row of %s: %w", t.def.Name, err)
		}
	}
	ok, err := t.swap(ctx, tx, tenant, row.key, changes)
	if err != nil || !ok {
		return false, err
	}
	if after != nil {
		if err := after(ctx, tx, tenant, row.id); err != nil {
			return false, fmt.Errorf("encryption: after row of %s: %w", t.def.Name, err)
		}
	}
	return true, nil
}

// checkDB refuses a database that nobody handed in, and one whose placeholders
// the statements here do not speak: PostgreSQL, unless its driver writes ? as
// $1 by itself.
func checkDB(ctx context.Context, db *sql.DB) error {
	if db == nil {
		return fmt.Errorf("%w: no database was handed in", ErrDefinition)
	}
	dialect, err := sqldb.Ask(ctx, db)
	if err != nil {
		return fmt.Errorf("encryption: %w", err)
	}
	var one int
	if dialect.Kind == sqldb.Postgres && sqldb.One(ctx, db, []any{&one}, `SELECT 1 WHERE 1 = ?`, 1) != nil {
		return fmt.Errorf("encryption: the rows of an application are not read and written on %s yet (Reseal, Redact, RebuildIndexes, ClearRows, Census, Counts, Holder); Writer, Reader, OpenAll and Lookup with Probes.Postgres work there: %w", dialect.Kind, errors.ErrUnsupported)
	}
	return nil
}

// inTx runs f in a transaction of db.
func inTx(ctx context.Context, db *sql.DB, f func(tx *sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("encryption: begin: %w", err)
	}
	if err := f(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("encryption: commit: %w", err)
	}
	return nil
}
