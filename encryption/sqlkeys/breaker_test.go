package sqlkeys_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/testdb"
)

// A breaker stands between database/sql and a driver. At the call of a chosen
// number it has the server end the session, or it drops the connection when the
// server has committed and its answer is on the way.
type breaker struct {
	driver.Connector
	end func(session string) error // has the server end a session

	mu       sync.Mutex
	left     int // calls until it acts, counted down; 0 is never
	atCommit bool
	fired    bool
}

// breakable opens the database through a breaker.
func breakable(t *testing.T, d testdb.Database, name string) (*breaker, *sql.DB) {
	t.Helper()
	plain := d.OpenWith(t, name)
	b := &breaker{Connector: connectorOf{d.DSN(name), plain.Driver()}}
	if with, ok := plain.Driver().(driver.DriverContext); ok {
		connector, err := with.OpenConnector(d.DSN(name))
		require.NoError(t, err)
		b.Connector = connector
	}
	b.end = func(session string) error { return endSession(t.Context(), plain, d.Name, session) }
	db := sql.OpenDB(b)
	t.Cleanup(func() { _ = db.Close() }) // some of its connections are broken
	return b, db
}

type connectorOf struct {
	dsn    string
	driver driver.Driver
}

func (c connectorOf) Connect(context.Context) (driver.Conn, error) { return c.driver.Open(c.dsn) }
func (c connectorOf) Driver() driver.Driver                        { return c.driver }

// endSession returns when the session is gone.
func endSession(ctx context.Context, admin *sql.DB, name testdb.Name, session string) error {
	end, count := "SELECT pg_terminate_backend("+session+")", "SELECT COUNT(*) FROM pg_stat_activity WHERE pid = "+session
	if name == testdb.MariaDB {
		end, count = "KILL CONNECTION "+session, "SELECT COUNT(*) FROM information_schema.processlist WHERE id = "+session
	}
	if _, err := admin.ExecContext(ctx, end); err != nil {
		return err
	}
	for range 2000 {
		var n int
		if err := admin.QueryRowContext(ctx, count).Scan(&n); err != nil || n == 0 {
			return err
		}
		time.Sleep(5 * time.Millisecond)
	}
	return errors.New("the session does not end")
}

// arm lets the call of that number fail, or the commit of that number.
func (b *breaker) arm(call int, atCommit bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left, b.atCommit, b.fired = call, atCommit, false
}

// disarm says whether it has acted.
func (b *breaker) disarm() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left = 0
	return b.fired
}

// due counts a call down.
func (b *breaker) due(commit bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left == 0 || b.atCommit && !commit {
		return false
	}
	b.left--
	b.fired = b.fired || b.left == 0
	return b.left == 0
}

func (b *breaker) Connect(ctx context.Context) (driver.Conn, error) {
	inner, err := b.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	c := &brokenConn{Conn: inner, breaker: b}
	ask := "SELECT pg_backend_pid()"
	switch {
	case strings.Contains(fmt.Sprintf("%T", inner), "mysql"):
		ask = "SELECT CONNECTION_ID()"
	case strings.Contains(fmt.Sprintf("%T", inner), "sqlite"):
		return c, nil
	}
	rows, err := inner.(driver.QueryerContext).QueryContext(ctx, ask, nil)
	if err != nil {
		return nil, err
	}
	row := make([]driver.Value, 1)
	if err := errors.Join(rows.Next(row), rows.Close()); err != nil {
		return nil, err
	}
	if text, ok := row[0].([]byte); ok {
		row[0] = string(text)
	}
	c.session = fmt.Sprint(row[0])
	return c, nil
}

type brokenConn struct {
	driver.Conn
	breaker *breaker
	session string
}

// step ends the session when its call has come. The call itself is made then,
// and must fail by itself.
func (c *brokenConn) step() error {
	if c.breaker.atCommit || !c.breaker.due(false) {
		return nil
	}
	return c.breaker.end(c.session)
}

func (c *brokenConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	if err := c.step(); err != nil {
		return nil, err
	}
	tx, err := c.Conn.(driver.ConnBeginTx).BeginTx(ctx, opts)
	if err != nil {
		return nil, err
	}
	return brokenTx{tx, c}, nil
}

func (c *brokenConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if err := c.step(); err != nil {
		return nil, err
	}
	return c.Conn.(driver.ExecerContext).ExecContext(ctx, query, args)
}

func (c *brokenConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if err := c.step(); err != nil {
		return nil, err
	}
	return c.Conn.(driver.QueryerContext).QueryContext(ctx, query, args)
}

func (c *brokenConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	if err := c.step(); err != nil {
		return nil, err
	}
	stmt, err := c.Conn.(driver.ConnPrepareContext).PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	return brokenStmt{stmt, c}, nil
}

func (c *brokenConn) CheckNamedValue(v *driver.NamedValue) error {
	if checker, ok := c.Conn.(driver.NamedValueChecker); ok {
		return checker.CheckNamedValue(v)
	}
	return driver.ErrSkip
}

func (c *brokenConn) ResetSession(ctx context.Context) error {
	if resetter, ok := c.Conn.(driver.SessionResetter); ok {
		return resetter.ResetSession(ctx)
	}
	return nil
}

func (c *brokenConn) IsValid() bool {
	validator, ok := c.Conn.(driver.Validator)
	return !ok || validator.IsValid()
}

type brokenTx struct {
	driver.Tx
	conn *brokenConn
}

func (t brokenTx) Commit() error {
	b := t.conn.breaker
	if b.atCommit && b.due(true) {
		return errors.Join(t.Tx.Commit(), t.conn.Close(), io.ErrUnexpectedEOF)
	}
	if err := t.conn.step(); err != nil {
		return err
	}
	return t.Tx.Commit()
}

type brokenStmt struct {
	driver.Stmt
	conn *brokenConn
}

func (s brokenStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	if err := s.conn.step(); err != nil {
		return nil, err
	}
	return s.Stmt.(driver.StmtExecContext).ExecContext(ctx, args)
}

func (s brokenStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	if err := s.conn.step(); err != nil {
		return nil, err
	}
	return s.Stmt.(driver.StmtQueryContext).QueryContext(ctx, args)
}
