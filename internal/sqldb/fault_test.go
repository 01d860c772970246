package sqldb

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

type sqliteError int

func (c sqliteError) Error() string { return "a fault" }
func (c sqliteError) Code() int     { return int(c) }

// A connection that ended tells nothing about tables: neither that they are
// missing nor that the database is another one.
func TestOnlyAnAnswerSaysThatATableIsAbsent(t *testing.T) {
	for _, c := range []struct {
		kind         Kind
		err          error
		absent, gone bool
	}{
		{Postgres, stated("42P01"), true, false},
		{Postgres, stated("42501"), true, false},
		{Postgres, stated("57P01"), false, true},
		{Postgres, stated("08006"), false, true},
		{Postgres, stated("53300"), false, true},
		{Postgres, stated("25P02"), false, false},
		{Postgres, io.ErrUnexpectedEOF, false, true},
		{Postgres, driver.ErrBadConn, false, true},
		{MariaDB, &numbered{1146}, true, false},
		{MariaDB, &numbered{1142}, true, false},
		{MariaDB, &numbered{1927}, false, true},
		{MariaDB, errors.New("invalid connection"), false, false},
		{SQLite, sqliteError(1), true, false},
		{SQLite, errors.New("no such table"), true, false},
		{SQLite, sqliteError(5), false, false},
		{SQLite, sqliteError(11), false, false},
		{SQLite, sqliteError(14), false, false},
	} {
		err := fmt.Errorf("wrapped: %w", c.err)
		require.Equal(t, c.absent, absent(c.kind, err), "%s %v", c.kind, c.err)
		require.Equal(t, c.gone, unreachable(context.Background(), err), "%s %#v", c.kind, c.err)
	}
}
