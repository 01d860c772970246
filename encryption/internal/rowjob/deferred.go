package rowjob

import (
	"context"
	"database/sql"
	"slices"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// A trigger of PostgreSQL may be deferred to COMMIT, which is behind all that is
// read back in the transaction: what it puts back then, nobody would notice, and
// where that is the owner of a row that has gone over to another one, the value
// would stand under keys that do not open it. So what is deferred runs before the
// rows are looked at for the last time: at the end of the transaction and not
// sooner, so that nothing is refused that COMMIT would not have refused.

// mayDefer says whether anybody's trigger may be deferred, on whatever table: one
// may write into the next. Constraints that the database makes itself are none:
// deferred, they refuse, and change nothing.
const mayDefer = `EXISTS (SELECT FROM pg_catalog.pg_trigger WHERE tgdeferrable AND NOT tgisinternal)`

// runDeferred lets everything run that is deferred.
func (s *storedTable) runDeferred(ctx context.Context, tx *sql.Tx) error {
	if s.db.Kind != sqldb.Postgres {
		return nil
	}
	if _, err := tx.ExecContext(ctx, `SET CONSTRAINTS ALL IMMEDIATE`); err != nil {
		return doubtOf(s.failed("write", err)) // as at COMMIT
	}
	return nil
}

// settled lets run what is deferred, where there may be such a thing, and looks at
// the rows that were changed once more.
func (s *storedTable) settled(ctx context.Context, tx *sql.Tx, tenant string, groups []*group, singly []*rowPlan) error {
	if s.db.Kind != sqldb.Postgres {
		return nil
	}
	defers := slices.ContainsFunc(groups, func(g *group) bool { return g.mayDefer })
	if !s.places || len(groups) == 0 { // nobody was asked yet
		if err := sqldb.One(ctx, tx, []any{&defers}, `SELECT `+mayDefer); err != nil {
			return s.failed("read", err)
		}
	}
	if !defers {
		return nil
	}
	if err := s.runDeferred(ctx, tx); err != nil {
		return err
	}
	for _, g := range groups {
		if err := s.holdsWritten(ctx, tx, tenant, g); err != nil {
			return err
		}
	}
	for _, p := range singly {
		if p.lost {
			continue
		}
		if err := s.stillWritten(ctx, tx, tenant, p.row, p.changes); err != nil {
			return err
		}
	}
	return nil
}

// stillWritten looks at a row that was changed.
func (s *storedTable) stillWritten(ctx context.Context, tx *sql.Tx, tenant string, row dataRow, changes []cellChange) error {
	there, err := s.lock(ctx, tx, tenant, row, writtenBy(changes))
	if err == nil && !there {
		err = s.storedOtherwise()
	}
	return err
}

// writtenBy are the cells as changes leave them, to be compared.
func writtenBy(changes []cellChange) []cellChange {
	written := slices.Clone(changes)
	for i, c := range written {
		if !c.keep {
			written[i].old = c.new
		}
	}
	return written
}
