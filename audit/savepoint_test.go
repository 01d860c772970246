package audit

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
)

// The savepoint of an event that may be lost does not outlive it, whether it was
// written or not.
func TestNoSavepointIsLeft(t *testing.T) {
	eachTill(t, func(t *testing.T, s *till, _ testdb.Database, _ string) {
		s.classed(t)
		s.prepared("p1")
		for _, elsewhere := range []bool{false, true} {
			if elsewhere {
				s.exec(`ALTER TABLE crmguard_audit_events RENAME TO crmguard_audit_elsewhere`)
			}
			tx := s.begin()
			id, err := s.recordIn(t.Context(), tx, reading(t, "page.view"))
			require.NoError(t, err)
			require.Equal(t, elsewhere, id == "")
			_, err = tx.ExecContext(t.Context(), keepEvent)
			require.Error(t, err, "there is none")
			require.NoError(t, tx.Rollback())
		}
	})
}

// failing is a transaction in which some statements fail, by how they begin.
type failing struct {
	*sql.Tx
	at []string
}

func (f *failing) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if i := slices.IndexFunc(f.at, func(at string) bool { return strings.HasPrefix(query, at) }); i >= 0 {
		at := f.at[i]
		f.at = slices.Delete(slices.Clone(f.at), i, i+1) // once
		return nil, errors.New("refused: " + at)
	}
	return f.Tx.ExecContext(ctx, query, args...)
}

// Where the savepoint cannot be gone back to or given up, nobody knows what the
// transaction holds: the error of the event fails the change, and nothing is
// counted as lost.
func TestAnEventIsLostOnlyWhereTheRestIsWhole(t *testing.T) {
	s := newSQLiteTill(t)
	s.classed(t)
	s.prepared("p1")
	for _, at := range [][]string{{insertEvent[:11], withoutIt}, {insertEvent[:11], keepEvent}, {keepEvent, withoutIt}, {insertEvent[:11], withoutIt, keepEvent}} {
		tx := s.begin()
		_, err := s.recordIn(t.Context(), &failing{tx, at}, reading(t, "page.view"))
		require.ErrorContains(t, err, "refused: "+at[0], at)
		require.NoError(t, tx.Rollback())
		require.Zero(t, s.gaps.Number())
	}
	ended, cancel := context.WithCancel(t.Context())
	tx := s.begin()
	_, err := s.recordIn(ended, &cancelling{failing{tx, []string{insertEvent[:11]}}, cancel}, reading(t, "page.view"))
	require.Error(t, err, "whoever waits no longer decides for themselves")
	require.NoError(t, tx.Rollback())
	require.Zero(t, s.gaps.Number())
}

// cancelling ends the context of the call with the statement that fails, and heeds
// none.
type cancelling struct {
	failing
	cancel func()
}

func (c *cancelling) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	result, err := c.failing.ExecContext(context.WithoutCancel(ctx), query, args...)
	if err != nil {
		c.cancel()
	}
	return result, err
}

// A table whose numbers are used up says so on every server, in whatever code.
func TestNumbersThatAreUsedUpAreNamed(t *testing.T) {
	s := newSQLiteTill(t)
	for _, err := range []error{coded{"2200H"}, &MySQLError{Number: 167}, &MySQLError{Number: 1467}} {
		require.ErrorContains(t, s.putError(&queuedRow{}, sqldb.Safe(err)), "are used up")
	}
	require.NotContains(t, s.putError(&queuedRow{}, sqldb.Safe(coded{"22003"})).Error(), "used up")
}

// Each database has the text that is meant for it.
func TestTheTextOfEachDatabase(t *testing.T) {
	texts := map[string]bool{}
	for _, kind := range []sqldb.Kind{sqldb.SQLite, sqldb.Postgres, sqldb.MariaDB, sqldb.MySQL} {
		texts[insertText(sqldb.Dialect{Kind: kind})] = true
	}
	require.Len(t, texts, 4)
	require.True(t, texts[insertOrCompareMySQL] && texts[insertOrCompareMariaDB] && texts[insertOrCompare])
}
