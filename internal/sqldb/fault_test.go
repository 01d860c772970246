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

// A connection that ended, or that nothing may be asked on, does not tell that
// the database is another one.
func TestOnlyAnAnswerTellsOneDatabaseFromAnother(t *testing.T) {
	for _, c := range []struct {
		err  error
		gone bool
	}{
		{stated("42P01"), false},
		{stated("25P02"), false},
		{stated("42501"), true},
		{stated("57P01"), true},
		{stated("08006"), true},
		{stated("53300"), true},
		{io.ErrUnexpectedEOF, true},
		{driver.ErrBadConn, true},
		{&numbered{1146}, false},
		{&numbered{1142}, true},
		{&numbered{1927}, true},
		{errors.New("invalid connection"), false},
		{errors.New("no such table"), false},
		{sqliteError(1), false},
		{sqliteError(11), false},
	} {
		require.Equal(t, c.gone, unreachable(context.Background(), fmt.Errorf("wrapped: %w", c.err)), "%#v", c.err)
	}
}
