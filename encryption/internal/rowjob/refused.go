package rowjob

import (
	"context"
	"database/sql"
	"errors"
	"strings"

	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// refusals counts rows, and lists the first of them.
type refusals struct {
	count  int
	listed []jobs.Refused
}

func (r *refusals) add(row jobs.Refused) {
	r.count++
	if len(r.listed) < jobs.Listed {
		r.listed = append(r.listed, row)
	}
}

// refusal is an answer of the database that concerns one row, and not whatever
// a hook has asked it.
type refusal struct{ err error }

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

// refusalOf marks what the database said about a row; all else stays as it is.
func refusalOf(err error) error {
	if _, ok := sqldb.Refused(err); ok {
		return &refusal{err}
	}
	return err
}

// doubt is an answer to a change that may be about one row, or about all of them: a
// trigger may raise any state.
type doubt struct {
	err     error
	columns []string // that the statement changes
}

func (d *doubt) Error() string { return d.err.Error() }
func (d *doubt) Unwrap() error { return d.err }

// doubtOf is refusalOf what was answered to an UPDATE of these columns.
func doubtOf(err error, columns ...string) error {
	if err = refusalOf(err); !isRefusal(err) && sqldb.Doubtful(err) {
		return &doubt{err, columns}
	}
	return err
}

// resolved makes a refusal of a doubt where the same change of no row passes: then
// the database has nothing against the statement.
func (s *storedTable) resolved(ctx context.Context, err error) error {
	d, ok := errors.AsType[*doubt](err)
	if !ok {
		return err
	}
	same := make([]string, len(d.columns))
	for i, c := range d.columns {
		same[i] = c + " = " + c
	}
	passes := s.db.Write(ctx, func(tx *sql.Tx) error {
		if len(same) == 0 {
			return nil
		}
		_, err := tx.ExecContext(ctx, `UPDATE `+s.sql+` SET `+strings.Join(same, ", ")+` WHERE 1 = 0`)
		return err
	})
	if passes == nil {
		return &refusal{d.err}
	}
	return err
}

func isRefusal(err error) bool {
	_, ok := errors.AsType[*refusal](err)
	return ok
}

// refused names a row of which err says that it was refused.
func (t *Table) refused(row dataRow, err error) jobs.Refused {
	out := jobs.Refused{Table: t.Name, Key: row.id, Err: err}
	if fault, ok := errors.AsType[*sqldb.DriverError](err); ok {
		out.Column, out.Code = fault.Column, fault.Code
	}
	return out
}

// oneByOne carries out what the database refused as a whole, each row in a
// transaction of its own. What it did not get to is lost, as what somebody else
// changed.
func (s *storedTable) oneByOne(ctx context.Context, tenant string, plans []rowPlan, options jobs.ResealOptions, report *jobs.ResealReport) (lost [][]any, err error) {
	for i := range plans {
		p := &plans[i]
		if len(p.changes) == 0 {
			continue
		}
		p.lost = true
		if err != nil {
			continue
		}
		one := plans[i : i+1]
		var again [][]any
		switch again, err = s.carryOut(ctx, tenant, one, options); {
		case isRefusal(err):
			refused := s.refused(p.row, err)
			p.refused, err = &refused, nil
		case errors.Is(err, errOverdue):
			report.Locked++
			err = nil
		case errors.Is(err, errRetired):
			again, err = allLost(one), nil
		}
		p.lost = p.lost || err != nil
		lost = append(lost, again...)
	}
	return lost, err
}

// clear sets columns to NULL in the rows of a condition, and looks at whether
// they are: a trigger may keep a column, or a row, and say nothing.
func (s *storedTable) clear(ctx context.Context, columns []string, where string, args []any) error {
	null, left := make([]string, len(columns)), make([]string, len(columns))
	for i, c := range columns {
		null[i], left[i] = c+" = NULL", c+" IS NOT NULL"
	}
	return s.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, s.db.Bind(`UPDATE `+s.sql+` SET `+strings.Join(null, ", ")+` WHERE `+where), args...)
		if err != nil {
			return doubtOf(s.failed("clear rows of", err), columns...)
		}
		if err := s.runDeferred(ctx, tx); err != nil {
			return err
		}
		err = sqldb.Each(ctx, tx, func(*sql.Rows) error {
			return s.leftAsItWas()
		}, s.db.Bind(`SELECT 1 FROM `+s.sql+` WHERE `+where+` AND (`+strings.Join(left, " OR ")+`) LIMIT 1`), args...)
		if err == nil {
			return s.whole(ctx, tx)
		}
		if isRefusal(err) {
			return err
		}
		return s.failed("clear rows of", err)
	})
}

// clearEach clears the rows of a person one by one, where the database refused
// to clear them together, and says which are left.
func (s *storedTable) clearEach(ctx context.Context, db *sql.DB, tenant string, columns []string, condition string, args []any) error {
	keyed, err := s.keyed(ctx, db)
	if err != nil {
		return err
	}
	var left refusals
	var after []any
	for {
		rows, err := keyed.page(ctx, tenant, after, condition, args, rebuildBatch)
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			break
		}
		after = rows[len(rows)-1].cursor
		for _, row := range rows {
			where, compared := keyed.unchanged(tenant, row, nil)
			err := keyed.clear(ctx, columns, where+" AND "+condition, append(compared, args...))
			if isRefusal(err) {
				left.add(keyed.refused(row, err))
				continue
			}
			if err != nil {
				return err
			}
		}
	}
	if left.count > 0 {
		return &jobs.RefusedError{Count: left.count, Rows: left.listed}
	}
	where, all := keyed.ofTenant(tenant)
	return keyed.clear(ctx, columns, where+" AND "+condition, append(all, args...)) // rows without a name, too
}
