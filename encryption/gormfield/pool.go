package gormfield

import (
	"context"
	"database/sql"

	"gorm.io/gorm"
)

// pool stands between one statement and its connection: nothing runs that was
// not looked at, and no row comes back unopened.
type pool struct {
	gorm.ConnPool
	plugin *Plugin
	stmt   *gorm.Statement
	record *record
	only   *sql.DB // whose only connection is held while keys are fetched
}

// look refuses what may not run.
func (p *pool) look(query string) (reads bool, err error) {
	if p.record.refused != nil {
		return false, p.record.refused
	}
	reads, err = p.plugin.check(p.record, query)
	p.record.refused = err
	return reads, err
}

// ExecContext runs what may run.
func (p *pool) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if _, err := p.look(query); err != nil {
		return nil, err
	}
	args = unmasked(args)
	if b := p.record.bound; b != nil {
		return b.execute(ctx, p.ConnPool, query, args)
	}
	return p.ConnPool.ExecContext(ctx, query, args...)
}

// QueryContext opens the rows that come back.
func (p *pool) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	reads, err := p.look(query)
	if err != nil {
		return nil, err
	}
	if b := p.record.bound; b != nil {
		query += ", " + b.list // behind RETURNING, which ends the statement
	}
	args = unmasked(args)
	rows, err := p.ConnPool.QueryContext(ctx, query, args...) //nolint:sqlclosecheck // handed on
	if err != nil || !reads {
		return rows, err
	}
	source, err := p.open(ctx, rows)
	if err != nil || source == nil {
		return rows, err
	}
	db := sql.OpenDB(oneResult{source})
	defer db.Close()
	return db.QueryContext(ctx, "") //nolint:sqlclosecheck // handed on
}

// QueryRowContext opens the row that comes back. What is refused is the error of
// its Scan.
func (p *pool) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	reads, err := p.look(query)
	args = unmasked(args)
	source := &openedRows{err: err}
	if err == nil {
		if !reads {
			return p.ConnPool.QueryRowContext(ctx, query, args...)
		}
		rows, err := p.ConnPool.QueryContext(ctx, query, args...)
		if err != nil {
			source.err = err
		} else if opening, err := p.open(ctx, rows); err != nil {
			source.err = err
		} else if opening != nil {
			opening.one = true
			source = opening
		} else if source, err = passed(rows); err != nil {
			source = &openedRows{err: err}
		}
	}
	db := sql.OpenDB(oneResult{source})
	defer db.Close()
	return db.QueryRowContext(ctx, "")
}
