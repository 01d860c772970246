package sqltrail_test

import (
	"context"
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/internal/testdb"
)

// bare is a handle whose type says nothing.
type bare struct{ audit.Tx }

// The handles of libraries, by what their types say: pools that begin
// transactions of types of their own, and transactions that commit in their own
// way and begin others within.
type (
	poolOfGORM struct{ bare }
	poolOfBun  struct{ bare }
	txOfBun    struct {
		bare
		commit func() error
	}
	txOfPgx struct{ bare }
)

func (p poolOfGORM) BeginTx(context.Context, *sql.TxOptions) (audit.Tx, error) { return p, nil }
func (p *poolOfBun) Begin() (txOfBun, error)                                   { return txOfBun{}, nil }

func (t txOfBun) Commit() error                                            { return t.commit() }
func (t txOfBun) BeginTx(context.Context, *sql.TxOptions) (txOfBun, error) { return t, nil }
func (t *txOfPgx) Commit(context.Context) error                            { return nil }
func (t *txOfPgx) Begin(context.Context) (*txOfPgx, error)                 { return t, nil }

// unit is a unit of work that begins when it is first needed, over a database or
// a connection: it has Commit from the beginning.
type (
	unit       struct{ *sql.DB }
	connUnit   struct{ *sql.Conn }
	nestedUnit struct{ *unit }
	aroundNil  struct{ *sql.Tx }
	begunUnit  struct {
		*sql.DB
		tx *sql.Tx
	}
	// openUnit takes what may be either, as code that is generated from queries does.
	openUnit struct{ audit.Tx }
)

func (unit) Commit() error      { return nil }
func (connUnit) Commit() error  { return nil }
func (begunUnit) Commit() error { return nil }
func (openUnit) Commit() error  { return nil }

func (u begunUnit) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return u.tx.ExecContext(ctx, query, args...)
}

// A handle that commits and holds a database may not have begun; a struct around
// nothing is nothing.
func TestAUnitOfWorkThatHasNotBegunIsNoTransaction(t *testing.T) {
	testdb.EachDriver(t, func(t *testing.T, d testdb.Database, driver string) {
		s := newShop(t, d.OpenWith(t, driver), "crm.example/audit")
		ctx := t.Context()
		require.NoError(t, s.trail.Prepare(ctx, "main", "p1"))
		conn, err := s.db.Conn(ctx)
		require.NoError(t, err)
		for what, handle := range map[string]audit.Tx{
			"unit": unit{s.db.DB}, "its pointer": &unit{s.db.DB}, "over a connection": connUnit{conn}, "nested": nestedUnit{&unit{s.db.DB}},
			"around nil": aroundNil{}, "a pointer around nil": &aroundNil{}, "bare": bare{}, "bare around nil": bare{(*sql.Tx)(nil)}, "nested nil": bare{&aroundNil{}}, "nil unit": nestedUnit{},
			"behind an interface": openUnit{s.db.DB}, "its pointer, behind one": &openUnit{s.db.DB}, "a connection behind one": openUnit{conn}, "a unit behind one": openUnit{unit{s.db.DB}},
			"behind two": openUnit{bare{s.db.DB}}, "a library's pool behind one": openUnit{poolOfGORM{bare{s.db.DB}}}, "nil behind one": openUnit{},
		} {
			require.ErrorIs(t, only(s.trail.Record(ctx, handle, sale(t, "p1"))), audit.ErrNoTransaction, what)
		}
		require.NoError(t, conn.Close())
		require.Zero(t, s.count(`SELECT COUNT(*) FROM crmguard_audit_events`))

		tx, err := s.db.BeginTx(ctx, nil)
		require.NoError(t, err)
		defer func() { _ = tx.Rollback() }() // of one that has not committed
		err = only(s.trail.Record(ctx, begunUnit{s.db.DB, tx}, sale(t, "p1")))
		if d.Name == testdb.SQLite {
			require.ErrorIs(t, err, audit.ErrNoTransaction)
			require.ErrorContains(t, err, "hand in the transaction itself")
		} else {
			require.NoError(t, err)
		}
		for what, handle := range map[string]audit.Tx{"around it": aroundNil{tx}, "behind an interface": openUnit{tx}, "behind two": &openUnit{bare{tx}}, "a library's, behind one": openUnit{&txOfPgx{bare{tx}}}} {
			require.NoError(t, only(s.trail.Record(ctx, handle, sale(t, "p1"))), what)
		}
		require.NoError(t, tx.Commit())
	})
}

// Whatever a library calls its handle, an event goes into a transaction or
// nowhere. Where the type does not tell the database is asked, on the
// connection of the handle.
func TestAnEventGoesIntoATransactionOrNowhere(t *testing.T) {
	testdb.EachDriver(t, func(t *testing.T, d testdb.Database, driver string) {
		s := newShop(t, d.OpenWith(t, driver), "crm.example/audit")
		ctx := t.Context()
		conn, err := s.db.Conn(ctx)
		require.NoError(t, err)
		for name, pool := range map[string]audit.Tx{
			"GORM": poolOfGORM{bare{s.db.DB}}, "bun": &poolOfBun{bare{s.db.DB}}, "database": bare{s.db.DB}, "connection": bare{conn},
			"nil": (*txOfPgx)(nil), "sql.DB": s.db.DB, "sql.Conn": conn,
		} {
			require.ErrorIs(t, only(s.trail.Record(ctx, pool, sale(t, "p1"))), audit.ErrNoTransaction, name)
		}
		require.NoError(t, conn.Close())
		require.Zero(t, s.count(`SELECT COUNT(*) FROM crmguard_audit_events`))
		require.Zero(t, s.count(`SELECT COUNT(*) FROM crmguard_audit_surrogates`))

		require.NoError(t, s.trail.Prepare(ctx, "main", "p1"))
		tx, err := s.db.BeginTx(ctx, nil)
		require.NoError(t, err)
		defer func() { _ = tx.Rollback() }() // of one that has not committed
		for name, pool := range map[string]audit.Tx{"GORM": poolOfGORM{bare{tx}}, "bun": &poolOfBun{bare{tx}}} {
			require.ErrorIs(t, only(s.trail.Record(ctx, pool, sale(t, "p1"))), audit.ErrNoTransaction, "%s, whatever its connection is doing", name)
		}
		// The first statement of the transaction, which has written nothing yet.
		err = only(s.trail.Record(ctx, bare{tx}, sale(t, "p1")))
		want := 3
		if d.Name == testdb.SQLite {
			require.ErrorIs(t, err, audit.ErrNoTransaction)
			require.ErrorContains(t, err, "what has Commit")
			want = 2
		} else {
			require.NoError(t, err)
		}
		require.NoError(t, only(s.trail.Record(ctx, txOfBun{bare{tx}, tx.Commit}, sale(t, "p1"))))
		require.NoError(t, only(s.trail.Record(ctx, &txOfPgx{bare{tx}}, sale(t, "p1"))))
		require.NoError(t, tx.Commit())
		require.Equal(t, want, s.sequence().Sequenced)
	})
}

// The question leaves nothing behind: a savepoint of the application that has
// its name is still the application's, and a transaction that failed is one.
func TestAskingForATransactionLeavesNoTrace(t *testing.T) {
	for _, driver := range testdb.PostgresC.Drivers() {
		t.Run(driver, func(t *testing.T) {
			s := newShop(t, testdb.New(t, testdb.PostgresC).OpenWith(t, driver), "crm.example/audit")
			ctx := t.Context()
			require.NoError(t, s.trail.Prepare(ctx, "main", "p1"))
			tx, err := s.db.BeginTx(ctx, nil)
			require.NoError(t, err)
			defer func() { _ = tx.Rollback() }() // of one that has not committed
			for _, statement := range []string{`INSERT INTO sales (id) VALUES ('before')`, `SAVEPOINT crmguard_audit`, `INSERT INTO sales (id) VALUES ('within')`} {
				_, err = tx.ExecContext(ctx, statement)
				require.NoError(t, err)
			}
			require.NoError(t, only(s.trail.Record(ctx, bare{tx}, sale(t, "p1"))))
			_, err = tx.ExecContext(ctx, `ROLLBACK TO SAVEPOINT crmguard_audit`)
			require.NoError(t, err)
			require.NoError(t, tx.Commit())
			require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM sales`))
			require.Zero(t, s.count(`SELECT COUNT(*) FROM crmguard_audit_events`))

			failed, err := s.db.BeginTx(ctx, nil)
			require.NoError(t, err)
			defer func() { _ = failed.Rollback() }()
			_, err = failed.ExecContext(ctx, `INSERT INTO sales (id) VALUES ('before')`)
			require.Error(t, err)
			err = only(s.trail.Record(ctx, bare{failed}, sale(t, "p1")))
			require.Error(t, err)
			require.NotErrorIs(t, err, audit.ErrNoTransaction)
		})
	}
}
