package sqldb_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
)

// installerDies names how many statements an installer executes before it is
// killed in place of the next one.
const installerDies = "CRMGUARD_INSTALLER_DIES"

// dying opens connections of a driver that kill their process in place of a
// statement.
type dying struct {
	driver driver.Driver
	dsn    string
	left   atomic.Int64
}

func (d *dying) Driver() driver.Driver { return d.driver }

func (d *dying) Connect(context.Context) (driver.Conn, error) {
	conn, err := d.driver.Open(d.dsn)
	return &dyingConn{conn, &d.left}, err
}

type dyingConn struct {
	driver.Conn
	left *atomic.Int64
}

func (c *dyingConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if c.left.Add(-1) < 0 {
		self, err := os.FindProcess(os.Getpid())
		if err == nil {
			err = self.Kill()
		}
		if err != nil {
			return nil, err
		}
		select {} // until the signal is there
	}
	return c.Conn.(driver.ExecerContext).ExecContext(ctx, query, args)
}

func (c *dyingConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	return c.Conn.(driver.QueryerContext).QueryContext(ctx, query, args)
}

// dyingHandle is the handle of a process that dies by itself.
func dyingHandle(name, dsn, statements string) (*sql.DB, error) {
	left, err := strconv.ParseInt(statements, 10, 64)
	if err != nil {
		return nil, err
	}
	db, err := sql.Open(name, dsn)
	if err != nil {
		return nil, err
	}
	d := &dying{driver: db.Driver(), dsn: dsn}
	d.left.Store(left)
	return sql.OpenDB(d), db.Close()
}

// An installer that is killed, at whatever statement, leaves what the next one
// finishes: nothing where a migration is a transaction, and on MariaDB, where
// each statement is one, what may be said again.
func TestAnInstallerKilledAtAnyStatementIsFollowedByTheNext(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		for _, name := range d.Name.Drivers() {
			t.Run(name, func(t *testing.T) {
				killed := 0
				for done := false; !done; killed++ {
					require.Less(t, killed, 50)
					one := testdb.New(t, d.Name)
					cmd := exec.Command(os.Args[0])
					cmd.Env = append(os.Environ(), installerDSN+"="+one.DSN(name), installerDriver+"="+name, installerDies+"="+strconv.Itoa(killed))
					var said strings.Builder
					cmd.Stderr = &said
					done = cmd.Run() == nil
					require.Empty(t, said.String(), "killed, and not ended by an error")
					handle := one.OpenWith(t, name)
					db, err := sqldb.Open(t.Context(), handle)
					require.NoError(t, err)
					if err := demo(3).Check(t.Context(), db); err != nil { // or only the lock was left to give back
						require.Less(t, found(t, err).Have, 3)
					}
					require.NoError(t, demo(3).Install(t.Context(), handle), "after %d statements", killed)
					require.NoError(t, demo(3).Check(t.Context(), db))
					require.NoError(t, db.Insert(t.Context(), db, insert(false), [][]any{{"main", "a", 1, nil}}))
					var n int
					require.NoError(t, db.QueryRowContext(t.Context(), `SELECT count(*) FROM crmguard_schema`).Scan(&n))
					require.Equal(t, 3, n)
				}
				require.Greater(t, killed, 5, "it was killed at each statement")
			})
		}
	})
}
