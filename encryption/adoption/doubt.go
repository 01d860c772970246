package adoption

import (
	"context"
	"errors"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// doubt is an answer to a change that may be about one row, or about all of them: a
// trigger may raise any state, also that of a missing right.
type doubt struct {
	err     error
	columns []string // that the statement changes
}

func (d *doubt) Error() string { return d.err.Error() }
func (d *doubt) Unwrap() error { return d.err }

// doubted marks what was answered to a change of these columns. What is answered to
// all else, the stage's own row for one, is in no doubt.
func doubted(err error, columns []string) error {
	if err != nil && sqldb.Doubtful(err) {
		return &doubt{err, columns}
	}
	return err
}

// refuses says that the database refuses what is written because of the row, also by
// a state that usually means something else. It is asked when the transaction is over.
func (l *live) refuses(ctx context.Context, err error) bool {
	if refusedRow(err) {
		return true
	}
	d, ok := errors.AsType[*doubt](err)
	return ok && l.db.RefusesRow(ctx, d.err, l.sql, d.columns...)
}

// columnsOf are the columns that plans change.
func columnsOf(plans []plan) (out []string) {
	seen := map[string]bool{}
	for _, one := range plans {
		for _, c := range one.changes {
			if !c.keep && !seen[c.column.Name] {
				seen[c.column.Name], out = true, append(out, c.column.Name)
			}
		}
	}
	return out
}
