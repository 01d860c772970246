package gormfield

import (
	"context"
	"database/sql"
	"errors"
	"strings"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/crmguard/crmguard/encryption/internal/format"
)

// bound is what the rows that a statement writes are sealed for, to be compared
// with what the database has made of it: a column of type uuid writes it in lower
// case, one of char(n) fills it up, a trigger may do anything. What is sealed for
// something else than can be read would open for nobody.
type bound struct {
	table   *sealedTable
	columns []string // that values are bound to: the owner, the tenant, the key
	list    string   // of them, as SQL
	left    map[string]int
	alike   bool            // all rows are bound to the same
	again   *gorm.Statement // reads what was written, where the database does not return it
}

// newBound is nil where nothing is written that is bound to a column.
func newBound(stmt *gorm.Statement, t *sealedTable, bindings []binding) *bound {
	if len(bindings) == 0 {
		return nil
	}
	b := &bound{table: t, left: map[string]int{}}
	if bindings[0].owner != "" {
		b.columns = append(b.columns, t.owner)
	}
	if t.tenant != "" {
		b.columns = append(b.columns, t.tenant)
	}
	if bindings[0].row != "" {
		b.columns = append(b.columns, t.keys...)
	}
	if len(b.columns) == 0 {
		return nil
	}
	quoted := make([]string, len(b.columns))
	for i, column := range b.columns {
		quoted[i] = stmt.Quote(clause.Column{Name: column})
	}
	b.list = strings.Join(quoted, ", ")
	for _, each := range bindings {
		b.left[b.said(each)]++
	}
	return b
}

func (b *bound) said(of binding) string {
	if b.table.tenant == "" {
		of.tenant = "" // is in no column
	}
	return of.tenant + "\x00" + format.Fold(of.owner) + "\x00" + format.FoldRow(of.row)
}

// check compares what one row gives back, in the order of the columns.
func (b *bound) check(values []any) error {
	var of binding
	rest := b.columns
	take := func(column string) (text string) {
		if column != "" && len(rest) > 0 && rest[0] == column {
			text, _ = idText(values[0])
			rest, values = rest[1:], values[1:]
		}
		return text
	}
	of.owner, of.tenant = take(b.table.owner), take(b.table.tenant)
	if len(rest) > 0 {
		of.row, _ = idText(values...)
	}
	said := b.said(of)
	if b.left[said] == 0 {
		return b.fail()
	}
	if !b.alike {
		b.left[said]--
	}
	return nil
}

func (b *bound) fail() error {
	return b.table.fail(b.columns[0], "the database stores something else than the values are sealed for (its type, its length or a trigger); write it as the column gives it back", ErrOwner)
}

// execute runs a statement that would return nothing, and looks at what it wrote.
func (b *bound) execute(ctx context.Context, pool gorm.ConnPool, query string, args []any) (sql.Result, error) {
	if b.again == nil {
		n, err := b.read(ctx, pool, query+" RETURNING "+b.list, args)
		return rowsWritten(n), err
	}
	result, err := pool.ExecContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		return result, err
	}
	n, err := b.read(ctx, pool, b.again.SQL.String(), b.again.Vars)
	if err == nil && n == 0 {
		err = b.fail()
	}
	return result, err
}

func (b *bound) read(ctx context.Context, pool gorm.ConnPool, query string, args []any) (n int64, err error) {
	rows, err := pool.QueryContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	values, targets := make([]any, len(b.columns)), make([]any, len(b.columns))
	for i := range values {
		targets[i] = &values[i]
	}
	for ; rows.Next(); n++ {
		if err := rows.Scan(targets...); err != nil {
			return n, err
		}
		if err := b.check(values); err != nil {
			return n, err
		}
	}
	return n, rows.Err()
}

// rowsWritten is the result of such a statement.
type rowsWritten int64

// LastInsertId is for databases that have no RETURNING.
func (rowsWritten) LastInsertId() (int64, error) {
	return 0, errors.New("gormfield: the statement does not say which id it drew")
}

// RowsAffected is how many rows it returned.
func (n rowsWritten) RowsAffected() (int64, error) { return int64(n), nil }
