package testdb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"
)

// A Cutter is a driver around a real one that ends connections at a chosen
// call, as an administrator or a network does: on the servers by killing the
// connection's process there, on SQLite by closing it.
type Cutter struct {
	inner driver.Connector
	kind  Name
	admin *sql.DB // of the same server

	mu      sync.Mutex
	calls   int
	at      int  // the call at which to cut, 0 for none
	commits bool // calls are commits that were done, and whose answer is lost
	cut     bool
	hold    hold
	outside []string
	counts  Counts

	watch func(inTx bool) // called before each call, where there is one
}

// A hold is where a commit stands still.
type hold struct {
	left int // commits until there, 0 for never
	done bool
	wait func() error
}

// Cutting opens the database through a Cutter, with the driver named.
func (d Database) Cutting(tb testing.TB, name string) (*sql.DB, *Cutter) {
	tb.Helper()
	admin := d.OpenWith(tb, name)
	inner, err := connector(name, d.DSN(name))
	if err != nil {
		tb.Fatalf("testdb: open %s: %v", d.Name, err)
	}
	c := &Cutter{inner: inner, kind: d.Name, admin: admin}
	db := sql.OpenDB(c)
	tb.Cleanup(func() { _ = db.Close() }) // some of its connections are broken
	return db, c
}

// Outside returns the statements that ran outside of any transaction since it
// was asked last.
func (c *Cutter) Outside() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := c.outside
	c.outside = nil
	return list
}

// Arm chooses the n-th call from now, or the n-th commit that was done.
func (c *Cutter) Arm(n int, commits bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls, c.at, c.commits, c.cut = 0, n, commits, false
}

// Disarm reports whether a connection was cut.
func (c *Cutter) Disarm() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = 0
	return c.cut
}

// Hold lets the n-th commit from now stand still until wait returns: before it
// is sent, or when it was done and its answer is on the way. An error of wait is
// what comes of it. Nothing else is cut.
func (c *Cutter) Hold(n int, done bool, wait func() error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at, c.hold = 0, hold{n, done, wait}
}

func (c *Cutter) held(done bool) error {
	c.mu.Lock()
	here := false
	if c.hold.left > 0 && c.hold.done == done {
		c.hold.left--
		here = c.hold.left == 0
	}
	c.mu.Unlock()
	if !here {
		return nil
	}
	return c.hold.wait()
}

func (c *Cutter) due(commit bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at == 0 || commit != c.commits {
		return false
	}
	c.calls++
	if c.calls == c.at {
		c.cut = true
		return true
	}
	return false
}

// Connect opens a connection and asks for its number on the server.
func (c *Cutter) Connect(ctx context.Context) (driver.Conn, error) {
	inner, err := c.inner.Connect(ctx)
	if err != nil {
		return nil, err
	}
	conn := &cutConn{Conn: inner, cutter: c}
	question := map[Name]string{PostgresC: `SELECT pg_backend_pid()`, PostgresICU: `SELECT pg_backend_pid()`, MariaDB: `SELECT CONNECTION_ID()`}[c.kind]
	if question == "" {
		return conn, nil
	}
	rows, err := inner.(driver.QueryerContext).QueryContext(ctx, question, nil)
	if err != nil {
		return nil, errors.Join(err, inner.Close())
	}
	number := make([]driver.Value, 1)
	err = errors.Join(rows.Next(number), rows.Close())
	if text, ok := number[0].([]byte); ok {
		number[0] = string(text)
	}
	conn.number = fmt.Sprint(number[0])
	return conn, err
}

// Driver is the real one.
func (c *Cutter) Driver() driver.Driver { return c.inner.Driver() }

// end ends a connection and waits until its transaction is gone.
func (c *Cutter) end(conn *cutConn) error {
	conn.broken = true
	kill, gone := `SELECT pg_terminate_backend(`+conn.number+`)`, `SELECT count(*) FROM pg_stat_activity WHERE pid = `+conn.number
	if c.kind == SQLite {
		return conn.Conn.Close()
	}
	if c.kind == MariaDB {
		kill, gone = `KILL CONNECTION `+conn.number, `SELECT count(*) FROM information_schema.processlist WHERE id = `+conn.number
	}
	if _, err := c.admin.Exec(kill); err != nil {
		return err
	}
	deadline := time.Now().Add(time.Minute)
	for n := 1; n > 0; time.Sleep(time.Millisecond) {
		if err := c.admin.QueryRow(gone).Scan(&n); err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return errors.New("testdb: a connection that was ended does not end")
		}
	}
	return nil
}

type cutConn struct {
	driver.Conn
	cutter *Cutter
	number string
	broken bool
	inTx   bool
	passed bool // a call that was counted wants its statement prepared
}

// note remembers what runs outside of any transaction.
func (c *cutConn) note(query string) {
	c.cutter.count(Counts{Statements: 1})
	if c.inTx {
		return
	}
	c.cutter.mu.Lock()
	defer c.cutter.mu.Unlock()
	c.cutter.outside = append(c.cutter.outside, query)
}

// before cuts the connection where it is time to. What comes of it is the
// driver's answer; SQLite has no connection to lose, so there it is said here.
func (c *cutConn) before() error {
	if c.cutter.watch != nil {
		c.cutter.watch(c.inTx)
	}
	if c.cutter.due(false) {
		if err := c.cutter.end(c); err != nil {
			return err
		}
	}
	if c.broken && c.cutter.kind == SQLite {
		return driver.ErrBadConn
	}
	return nil
}

func (c *cutConn) Close() error {
	if c.broken && c.cutter.kind == SQLite {
		return nil
	}
	return c.Conn.Close()
}

func (c *cutConn) IsValid() bool {
	v, ok := c.Conn.(driver.Validator)
	return !c.broken && (!ok || v.IsValid())
}

func (c *cutConn) ResetSession(ctx context.Context) error {
	if c.broken {
		return driver.ErrBadConn
	}
	if r, ok := c.Conn.(driver.SessionResetter); ok {
		return r.ResetSession(ctx)
	}
	return nil
}

func (c *cutConn) CheckNamedValue(v *driver.NamedValue) error {
	if checker, ok := c.Conn.(driver.NamedValueChecker); ok {
		return checker.CheckNamedValue(v)
	}
	return driver.ErrSkip
}

// PrepareContext is a call of its own where the caller prepares, and not where
// the driver wants to have prepared what it was called with: nothing was sent
// between the two.
func (c *cutConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	if !c.passed {
		c.note(query)
		if err := c.before(); err != nil {
			return nil, err
		}
	}
	c.passed = false
	stmt, err := c.Conn.(driver.ConnPrepareContext).PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	return &cutStmt{stmt, c}, nil
}

func (c *cutConn) BeginTx(ctx context.Context, options driver.TxOptions) (driver.Tx, error) {
	if err := c.before(); err != nil {
		return nil, err
	}
	tx, err := c.Conn.(driver.ConnBeginTx).BeginTx(ctx, options)
	if err != nil {
		return nil, err
	}
	c.inTx = true
	return &cutTx{tx, c}, nil
}

func (c *cutConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	c.note(query)
	if err := c.before(); err != nil {
		return nil, err
	}
	result, err := c.Conn.(driver.ExecerContext).ExecContext(ctx, query, args)
	c.passed = errors.Is(err, driver.ErrSkip)
	return result, err
}

func (c *cutConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	c.note(query)
	if err := c.before(); err != nil {
		return nil, err
	}
	rows, err := c.Conn.(driver.QueryerContext).QueryContext(ctx, query, args)
	c.passed = errors.Is(err, driver.ErrSkip)
	if err != nil {
		return nil, err
	}
	return &cutRows{Rows: rows, conn: c}, nil
}

// cutStmt is a statement that was prepared, and that the server has still to be
// told to run.
type cutStmt struct {
	driver.Stmt
	conn *cutConn
}

func (s *cutStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	if err := s.conn.before(); err != nil {
		return nil, err
	}
	return s.Stmt.(driver.StmtExecContext).ExecContext(ctx, args)
}

func (s *cutStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	if err := s.conn.before(); err != nil {
		return nil, err
	}
	rows, err := s.Stmt.(driver.StmtQueryContext).QueryContext(ctx, args)
	if err != nil {
		return nil, err
	}
	return &cutRows{Rows: rows, conn: s.conn}, nil
}

func (s *cutStmt) Close() error {
	if s.conn.broken && s.conn.cutter.kind == SQLite {
		return nil
	}
	return s.Stmt.Close()
}

func (s *cutStmt) CheckNamedValue(v *driver.NamedValue) error {
	if checker, ok := s.Stmt.(driver.NamedValueChecker); ok {
		return checker.CheckNamedValue(v)
	}
	return s.conn.CheckNamedValue(v)
}

// cutRows loses the connection before the first row has come: no row came, and
// there is one.
type cutRows struct {
	driver.Rows
	conn   *cutConn
	asked  bool
	closed bool
}

func (r *cutRows) Close() error {
	if r.closed {
		return nil
	}
	r.closed = true
	return r.Rows.Close()
}

func (r *cutRows) Next(dest []driver.Value) error {
	if !r.asked {
		r.asked = true
		if r.conn.cutter.due(false) {
			return errors.Join(driver.ErrBadConn, r.Close(), r.conn.cutter.end(r.conn))
		}
	}
	err := r.Rows.Next(dest)
	if err == nil {
		r.conn.cutter.count(Counts{Rows: 1})
	}
	return err
}

type cutTx struct {
	driver.Tx
	conn *cutConn
}

func (tx *cutTx) Commit() error {
	err := tx.conn.before()
	tx.conn.inTx = false
	if err != nil {
		return err
	}
	if err := tx.conn.cutter.held(false); err != nil {
		return err
	}
	if err := tx.Tx.Commit(); err != nil {
		return err
	}
	tx.conn.cutter.count(Counts{Commits: 1})
	if tx.conn.cutter.due(true) {
		return errors.Join(driver.ErrBadConn, tx.conn.cutter.end(tx.conn))
	}
	return tx.conn.cutter.held(true)
}

func (tx *cutTx) Rollback() error {
	tx.conn.inTx = false
	if tx.conn.broken && tx.conn.cutter.kind == SQLite {
		return nil
	}
	return tx.Tx.Rollback()
}

var (
	_ driver.Connector          = (*Cutter)(nil)
	_ driver.Validator          = (*cutConn)(nil)
	_ driver.SessionResetter    = (*cutConn)(nil)
	_ driver.NamedValueChecker  = (*cutConn)(nil)
	_ driver.ConnPrepareContext = (*cutConn)(nil)
	_ driver.ConnBeginTx        = (*cutConn)(nil)
	_ driver.ExecerContext      = (*cutConn)(nil)
	_ driver.QueryerContext     = (*cutConn)(nil)
	_ driver.StmtExecContext    = (*cutStmt)(nil)
	_ driver.StmtQueryContext   = (*cutStmt)(nil)
)
