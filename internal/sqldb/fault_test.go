package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/testdb"
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

// busy is a file of SQLite that cannot be opened the first times, as where
// another process turns its log on.
type busy struct {
	dsn    string
	driver driver.Driver
	left   *int
}

func (b busy) Driver() driver.Driver { return b.driver }

func (b busy) Connect(context.Context) (driver.Conn, error) {
	if *b.left--; *b.left >= 0 {
		return nil, sqliteError(5)
	}
	return b.driver.Open(b.dsn)
}

func TestADatabaseThatIsBusyIsAskedAgain(t *testing.T) {
	d := testdb.New(t, testdb.SQLite)
	for left := range 6 {
		db := sql.OpenDB(busy{d.DSN("sqlite"), d.Open(t).Driver(), &left})
		t.Cleanup(func() { _ = db.Close() })
		asked, err := Ask(t.Context(), db)
		require.NoError(t, err)
		require.Equal(t, SQLite, asked.Kind)
	}
}
