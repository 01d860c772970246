package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"github.com/uptrace/bun"
	"gorm.io/gorm"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/internal/testdb"
)

// bench is a crm in a database of the test.
type bench struct {
	*crm
	t      *testing.T
	name   testdb.Name
	driver string
	dsn    string
	dir    string
	kept   []byte
}

// each runs a test on each database with each driver of database/sql.
func each(t *testing.T, f func(b *bench)) {
	t.Helper()
	for _, name := range testdb.Names() {
		for _, driver := range name.Drivers() {
			t.Run(string(name)+"/"+driver, func(t *testing.T) {
				d := testdb.New(t, name)
				b := &bench{t: t, name: name, driver: driver, dsn: d.DSN(driver), dir: t.TempDir()}
				var err error
				b.crm, err = newCRM(t.Context(), d.OpenWith(t, driver), b.dir)
				require.NoError(t, err)
				f(b)
			})
		}
	}
}

func (b *bench) count(query string) (n int) {
	b.t.Helper()
	require.NoError(b.t, b.db.QueryRowContext(b.t.Context(), query).Scan(&n))
	return n
}

// rows are what a trail writes in the caller's transaction.
func (b *bench) rows() string {
	b.t.Helper()
	return fmt.Sprint(b.count(`SELECT COUNT(*) FROM crmguard_audit_events`), " events, ", b.count(`SELECT COUNT(*) FROM crmguard_audit_openings`), " openings, ",
		b.count(`SELECT COUNT(*) FROM crmguard_audit_persons`), " persons, ", b.count(`SELECT COUNT(*) FROM crmguard_audit_surrogates`), " surrogates")
}

// add inserts a contact, whose keys are there when its transaction begins.
func (b *bench) add(id, email string) {
	b.t.Helper()
	_, err := b.db.ExecContext(b.t.Context(), fmt.Sprintf(`INSERT INTO contacts (id, email) VALUES ('%s', '%s')`, id, email))
	require.NoError(b.t, err)
	require.NoError(b.t, b.trail.Prepare(b.t.Context(), tenant, id))
}

// only leaves the error of a call that names its event, too.
func only(_ string, err error) error { return err }

func (b *bench) email(id string) (email string) {
	b.t.Helper()
	require.NoError(b.t, b.db.QueryRowContext(b.t.Context(), `SELECT email FROM contacts WHERE id = '`+id+`'`).Scan(&email))
	return email
}

func (b *bench) opened() *opened {
	b.t.Helper()
	o, err := open(b.driver, b.db)
	require.NoError(b.t, err)
	return o
}

// history is what is read back about a contact, the newest first: what it was
// changed to.
func (b *bench) history(id string) (to []any) {
	b.t.Helper()
	for e, err := range b.trail.History(b.t.Context(), tenant, audit.PersonRef("contact", id), audit.Page{}) {
		require.NoError(b.t, err)
		for _, c := range e.Changes {
			to = append(to, c.New)
		}
	}
	return to
}

// sequenced makes a pass and verifies the whole log.
func (b *bench) sequenced() int {
	b.t.Helper()
	done, err := b.trail.RunOnce(b.t.Context())
	require.NoError(b.t, err)
	require.Empty(b.t, done.Refused)
	b.kept, err = b.trail.Checkpoint(b.t.Context())
	require.NoError(b.t, err)
	report, err := auditlog.VerifyLog(b.t.Context(), os.DirFS(filepath.Join(b.dir, "log")), auditlog.Trust{Key: b.verifier, Kept: b.kept})
	require.NoError(b.t, err)
	require.Equal(b.t, auditlog.OK, report.Verdict)
	return done.Sequenced
}

// Through the handle of each library an event is there when its transaction has
// committed, can be read back, and is gone when it was rolled back.
func TestAnEventStandsAndFallsWithTheTransactionOfEachLibrary(t *testing.T) {
	each(t, func(b *bench) {
		ways, closeAll, err := b.ways(b.t.Context(), b.driver, b.dsn)
		require.NoError(b.t, err)
		defer closeAll()
		names := map[string]bool{}
		for i, w := range ways {
			names[w.name] = true
			id := fmt.Sprint("person-", i)
			b.add(id, "ann@a.example")
			before := b.rows()
			changed := errors.New("changed her mind")
			require.ErrorIs(b.t, w.move(b.t.Context(), id, "ann@b.example", func() error { return changed }), changed, w.name)
			require.Equal(b.t, "ann@a.example", b.email(id), w.name)
			require.Equal(b.t, before, b.rows(), "%s has rolled back", w.name)

			require.NoError(b.t, w.move(b.t.Context(), id, "ann@b.example", func() error { return nil }), w.name)
			require.Equal(b.t, "ann@b.example", b.email(id), w.name)
			require.Equal(b.t, 1, b.sequenced(), w.name)
			require.Equal(b.t, []any{"ann@b.example"}, b.history(id), w.name)
		}
		require.Contains(b.t, names, "bun")
		require.Equal(b.t, b.driver == "pgx", names["pgx"])
	})
}

// What is no transaction of its library is refused, and nothing is written.
func TestWhatIsNoTransactionIsRefused(t *testing.T) {
	each(t, func(b *bench) {
		ctx, o := b.t.Context(), b.opened()
		b.add("person-1", "ann@a.example")
		event := b.moved(&Contact{ID: "person-1"}, &Contact{ID: "person-1", Email: "ann@b.example"})
		before := b.rows()
		refused := func(what string, tx audit.HandoverTx) {
			b.t.Helper()
			require.ErrorIs(b.t, only(b.trail.Record(ctx, tx, event)), audit.ErrNoTransaction, "%s, a %T", what, tx)
			require.ErrorIs(b.t, b.trail.Recorder("user-7")(ctx, tx, tenant, "contact.update"), audit.ErrNoTransaction, "%s, a %T", what, tx)
			require.Equal(b.t, before, b.rows(), "%s, a %T", what, tx)
		}
		refused("sql.DB", o.sql)
		refused("sqlx.DB", o.sqlx)
		refused("GORM", o.gorm.Statement.ConnPool)
		refused("GORM, PrepareStmt", o.prepared.Statement.ConnPool)
		refused("GORM, a session of its own", o.gorm.Session(&gorm.Session{PrepareStmt: true, NewDB: true}).Statement.ConnPool)
		refused("bun.DB", o.bun)
		refused("bun's sql.DB", o.bun.DB)
		conn, err := o.sql.Conn(ctx)
		require.NoError(b.t, err)
		refusedConn := func(what string, tx audit.Tx) {
			b.t.Helper()
			require.ErrorIs(b.t, only(b.trail.Record(ctx, tx, event)), audit.ErrNoTransaction, "%s, a %T", what, tx)
		}
		refusedConn("sql.Conn", conn)
		require.NoError(b.t, conn.Close())
		connx, err := o.sqlx.Connx(ctx)
		require.NoError(b.t, err)
		refusedConn("sqlx.Conn", connx)
		require.NoError(b.t, connx.Close())
		connb, err := o.bun.Conn(ctx)
		require.NoError(b.t, err)
		refusedConn("bun.Conn", connb)
		require.NoError(b.t, connb.Close())
		require.NoError(b.t, o.gorm.Connection(func(tx *gorm.DB) error { refusedConn("GORM's connection", tx.Statement.ConnPool); return nil }))
		require.Equal(b.t, before, b.rows())
	})
}

// A transaction that is over takes no event, whichever way it has ended.
func TestATransactionThatIsOverIsRefused(t *testing.T) {
	each(t, func(b *bench) {
		ctx, o := b.t.Context(), b.opened()
		b.add("person-1", "ann@a.example")
		event := b.moved(&Contact{ID: "person-1"}, &Contact{ID: "person-1", Email: "ann@b.example"})
		before := b.rows()
		var over []audit.Tx
		for _, end := range []func(*sql.Tx) error{(*sql.Tx).Commit, (*sql.Tx).Rollback} {
			tx, err := o.sql.BeginTx(ctx, nil)
			require.NoError(b.t, err)
			require.NoError(b.t, end(tx))
			txx, err := o.sqlx.BeginTxx(ctx, nil)
			require.NoError(b.t, err)
			require.NoError(b.t, end(txx.Tx))
			txb, err := o.bun.BeginTx(ctx, nil)
			require.NoError(b.t, err)
			require.NoError(b.t, end(txb.Tx))
			over = append(over, tx, txx, txb, txb.Tx)
		}
		for _, db := range []*gorm.DB{o.gorm, o.prepared} {
			require.NoError(b.t, db.Transaction(func(tx *gorm.DB) error { over = append(over, tx.Statement.ConnPool); return nil }))
		}
		if b.driver == "pgx" {
			pool, err := pgxpool.New(ctx, b.dsn)
			require.NoError(b.t, err)
			defer pool.Close()
			tx, err := pool.Begin(ctx)
			require.NoError(b.t, err)
			require.NoError(b.t, tx.Commit(ctx))
			over = append(over, handle{tx})
		}
		for _, tx := range over {
			err := only(b.trail.Record(ctx, tx, event))
			require.Error(b.t, err, "a %T", tx)
			require.True(b.t, errors.Is(err, sql.ErrTxDone) || errors.Is(err, pgx.ErrTxClosed), "a %T: %v", tx, err)
		}
		require.Equal(b.t, before, b.rows())
	})
}

// What an inner transaction has recorded goes with it, where the outer one goes
// on and commits.
func TestASavepointTakesItsEventWithIt(t *testing.T) {
	each(t, func(b *bench) {
		ctx, o := b.t.Context(), b.opened()
		nothing, failed := func() error { return nil }, errors.New("failed")
		failing := func() error { return failed }
		type nesting struct {
			name  string
			outer func(inner func(move func(id, email string, rest func() error) error) error) error
		}
		all := []nesting{
			{"bun", func(inner func(func(string, string, func() error) error) error) error {
				return o.bun.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
					return inner(func(id, email string, rest func() error) error { return b.withBun(ctx, tx, id, email, rest) })
				})
			}},
		}
		for name, db := range map[string]*gorm.DB{"GORM": o.gorm, "GORM, PrepareStmt": o.prepared} {
			all = append(all, nesting{name, func(inner func(func(string, string, func() error) error) error) error {
				return db.Transaction(func(tx *gorm.DB) error {
					return inner(func(id, email string, rest func() error) error { return b.withGORM(ctx, tx, id, email, rest) })
				})
			}})
		}
		if b.driver == "pgx" {
			pool, err := pgxpool.New(ctx, b.dsn)
			require.NoError(b.t, err)
			defer pool.Close()
			all = append(all, nesting{"pgx", func(inner func(func(string, string, func() error) error) error) error {
				return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
					return inner(func(id, email string, rest func() error) error { return b.withPgx(ctx, tx, id, email, rest) })
				})
			}})
		}
		for _, n := range all {
			one, two := n.name+" 1", n.name+" 2"
			b.add(one, "ann@a.example")
			b.add(two, "eve@a.example")
			require.NoError(b.t, n.outer(func(move func(id, email string, rest func() error) error) error {
				require.NoError(b.t, move(one, "ann@b.example", nothing), n.name)
				require.ErrorIs(b.t, move(two, "eve@b.example", failing), failed, n.name)
				return nil
			}), n.name)
			require.Equal(b.t, 1, b.sequenced(), n.name)
			require.Equal(b.t, []any{"ann@b.example"}, b.history(one), n.name)
			require.Empty(b.t, b.history(two), n.name)
			require.Equal(b.t, "eve@a.example", b.email(two), n.name)
		}
	})
}

// A bun.Tx writes arguments into the text of a statement: it records where
// statements have question marks, and writes nothing where they have not.
func TestABunTxItself(t *testing.T) {
	each(t, func(b *bench) {
		ctx, o := b.t.Context(), b.opened()
		b.add("person-1", "ann@a.example")
		before := b.rows()
		err := o.bun.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
			return only(b.trail.Record(ctx, tx, b.moved(&Contact{ID: "person-1"}, &Contact{ID: "person-1", Email: "ann?@\\'b.example"})))
		})
		if o.numbered {
			require.Error(b.t, err)
			require.Equal(b.t, before, b.rows())
			return
		}
		require.NoError(b.t, err)
		require.Equal(b.t, 1, b.sequenced())
		require.Equal(b.t, []any{"ann?@\\'b.example"}, b.history("person-1"))
	})
}

// A retry through another library than the first attempt is the same event.
func TestARetryThroughAnotherLibrary(t *testing.T) {
	each(t, func(b *bench) {
		ctx, o := b.t.Context(), b.opened()
		b.add("person-1", "ann@a.example")
		event := b.moved(&Contact{ID: "person-1"}, &Contact{ID: "person-1", Email: "ann@b.example"})
		var err error
		event.ID, err = audit.NewID()
		require.NoError(b.t, err)
		record := map[string]func(audit.Event) error{
			"sqlx": func(e audit.Event) error {
				tx, err := o.sqlx.BeginTxx(ctx, nil)
				require.NoError(b.t, err)
				defer func() { _ = tx.Rollback() }()
				return errors.Join(only(b.trail.Record(ctx, tx, e)), tx.Commit())
			},
			"GORM": func(e audit.Event) error {
				return o.prepared.Transaction(func(tx *gorm.DB) error { return only(b.trail.Record(ctx, tx.Statement.ConnPool, e)) })
			},
			"bun": func(e audit.Event) error {
				return o.bun.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error { return only(b.trail.Record(ctx, tx.Tx, e)) })
			},
		}
		if b.driver == "pgx" {
			conn, err := pgx.Connect(ctx, b.dsn)
			require.NoError(b.t, err)
			defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
			record["pgx"] = func(e audit.Event) error {
				return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error { return only(b.trail.Record(ctx, handle{tx}, e)) })
			}
		}
		for name, through := range record {
			require.NoError(b.t, through(event), name)
			other := event
			other.Action = "contact.delete"
			require.ErrorIs(b.t, through(other), audit.ErrConflict, name)
		}
		require.Equal(b.t, 1, b.sequenced())
	})
}

func TestTheProgramRuns(t *testing.T) {
	require.NoError(t, run(t.Context(), nil))
	for _, name := range []testdb.Name{testdb.PostgresC, testdb.PostgresICU} {
		t.Run(string(name), func(t *testing.T) {
			require.NoError(t, run(t.Context(), []string{testdb.New(t, name).DSN("pgx")}))
		})
	}
}
