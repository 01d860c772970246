package sqldb_test

import (
	"context"
	"database/sql"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
)

// waiting is a WaitForWriters that runs.
type waiting struct {
	open chan int
	done chan error
}

func waitFor(ctx context.Context, db *sqldb.DB, table string) waiting {
	w := waiting{make(chan int, 1000), make(chan error, 1)}
	go func() { w.done <- db.WaitForWriters(ctx, table, func(open int) { w.open <- open }) }()
	return w
}

// waits returns once the number of those who are waited for is told.
func (w waiting) waits(t *testing.T) int {
	t.Helper()
	select {
	case open := <-w.open:
		return open
	case err := <-w.done:
		require.FailNow(t, "it did not wait", "%v", err)
		return 0
	}
}

// still says that it has not returned, as far as it was heard.
func (w waiting) still(t *testing.T) {
	t.Helper()
	select {
	case err := <-w.done:
		require.FailNow(t, "it did not wait to the end", "%v", err)
	default:
	}
}

func begin(t *testing.T, db *sql.DB, statements ...string) *sql.Tx {
	t.Helper()
	tx, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	for _, statement := range statements {
		_, err := tx.ExecContext(t.Context(), statement)
		require.NoError(t, err, statement)
	}
	return tx
}

func run(t *testing.T, db *sql.DB, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err, statement)
	}
}

func count(t *testing.T, db *sql.DB, table string) (n int) {
	t.Helper()
	require.NoError(t, db.QueryRowContext(t.Context(), `SELECT count(*) FROM `+table).Scan(&n))
	return n
}

const aWord = `INSERT INTO crmguard_demo_word (tenant, word, n) VALUES ('main', 'late', 1)`

// What was written before the call is read after it, however long its
// transaction takes; who only reads is not waited for.
func TestWhoWritesIsWaitedFor(t *testing.T) {
	each(t, func(t *testing.T, db *sqldb.DB) {
		require.NoError(t, db.WaitForWriters(t.Context(), "crmguard_demo_word", nil), "nobody writes")
		reader := begin(t, db.DB)
		var n int
		require.NoError(t, reader.QueryRowContext(t.Context(), `SELECT count(*) FROM crmguard_demo_word`).Scan(&n))
		require.NoError(t, db.WaitForWriters(t.Context(), "crmguard_demo_word", nil), "a reader")
		require.NoError(t, reader.Rollback())

		writer := begin(t, db.DB, aWord)
		w := waitFor(t.Context(), db, "crmguard_demo_word")
		require.Equal(t, 1, w.waits(t))
		w.still(t)
		require.NoError(t, writer.Commit())
		require.NoError(t, <-w.done)
		require.Equal(t, []string{"late=1"}, words(t, db))
	})
}

// The wait has no other bound than the context, whose end says what was waited
// for; the transaction itself is left alone.
func TestTheContextEndsTheWaitForWriters(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		handle := d.Open(t)
		require.NoError(t, demo(2).Install(t.Context(), handle))
		db := open(t, handle)
		writer := begin(t, handle, aWord)
		ctx, stop := context.WithCancel(t.Context())
		w := waitFor(ctx, db, "crmguard_demo_word")
		w.waits(t)
		stop()
		err := <-w.done
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorContains(t, err, "crmguard_demo_word have not ended")
		require.NoError(t, writer.Commit())
		require.NoError(t, db.WaitForWriters(t.Context(), "crmguard_demo_word", nil))
		require.Len(t, words(t, db), 1)
	})
}

// Who begins to write later is not waited for: on a busy table the wait ends.
func TestWhoBeginsLaterIsNotWaitedFor(t *testing.T) {
	eachPostgres(t, func(t *testing.T, handle *sql.DB, _ sqldb.Dialect) {
		run(t, handle, `CREATE TABLE people (id bigint PRIMARY KEY)`)
		db := open(t, handle)
		first := begin(t, handle, `INSERT INTO people VALUES (1)`)
		w := waitFor(t.Context(), db, "people")
		require.Equal(t, 1, w.waits(t))
		second := begin(t, handle, `INSERT INTO people VALUES (2)`)
		require.NoError(t, first.Commit())
		require.NoError(t, <-w.done)
		require.NoError(t, second.Rollback())
		require.Equal(t, 1, count(t, handle, "people"))
	})
}

// A table is also its partitions and heirs, by whichever name they are written.
func TestWritersOfPartitionsAndHeirsAreWaitedFor(t *testing.T) {
	eachPostgres(t, func(t *testing.T, handle *sql.DB, _ sqldb.Dialect) {
		run(t, handle, `CREATE TABLE people (id bigint PRIMARY KEY)`, `CREATE TABLE staff () INHERITS (people)`, `CREATE TABLE board () INHERITS (staff)`,
			`CREATE SCHEMA crm`, `CREATE TABLE crm.events (id bigint, at bigint) PARTITION BY RANGE (at)`, `CREATE TABLE events_1 PARTITION OF crm.events FOR VALUES FROM (1) TO (100) PARTITION BY RANGE (id)`,
			`CREATE TABLE events_1_1 PARTITION OF events_1 FOR VALUES FROM (1) TO (100)`)
		db := open(t, handle)
		for _, one := range []struct{ table, writes string }{
			{"people", `INSERT INTO board VALUES (1)`},
			{"crm.events", `INSERT INTO events_1_1 VALUES (1, 1)`},
			{"crm.events", `INSERT INTO crm.events VALUES (1, 1)`},
			{"events_1_1", `INSERT INTO crm.events VALUES (1, 1)`}, // a row of the part, by the name of the whole
		} {
			before := count(t, handle, one.table)
			writer := begin(t, handle, one.writes)
			w := waitFor(t.Context(), db, one.table)
			w.waits(t)
			require.NoError(t, writer.Commit())
			require.NoError(t, <-w.done, one)
			require.Equal(t, before+1, count(t, handle, one.table), one)
		}
		run(t, handle, `CREATE VIEW everybody AS SELECT * FROM people`)
		for _, table := range []string{"everybody", "nowhere", "crm.nowhere"} {
			var fault *sqldb.KeyError
			require.ErrorAs(t, db.WaitForWriters(t.Context(), table, nil), &fault, table)
		}
	})
}

// A statement that stands in line for the table has sealed its value already.
func TestAStatementThatWaitsForTheTableIsWaitedFor(t *testing.T) {
	handle := testdb.New(t, testdb.PostgresC).Open(t)
	run(t, handle, `CREATE TABLE people (id bigint PRIMARY KEY)`)
	db := open(t, handle)
	altering := begin(t, handle, `LOCK TABLE people IN SHARE MODE`) // no writer itself
	written := make(chan error, 1)
	go func() {
		_, err := handle.ExecContext(t.Context(), `INSERT INTO people VALUES (1)`)
		written <- err
	}()
	waits := func() (n int) {
		require.NoError(t, handle.QueryRowContext(t.Context(), `SELECT count(*) FROM pg_locks WHERE NOT granted`).Scan(&n))
		return n
	}
	for waits() == 0 {
		require.NoError(t, t.Context().Err())
	}
	w := waitFor(t.Context(), db, "people")
	require.Equal(t, 1, w.waits(t))
	w.still(t)
	require.NoError(t, altering.Commit())
	require.NoError(t, <-w.done)
	require.NoError(t, <-written)
	require.Equal(t, 1, count(t, handle, "people"))
}

// A prepared transaction belongs to no process, and its commit may come from
// anywhere: it is waited for under whichever name it has then.
func TestPreparedTransactionsOfPostgreSQLAreWaitedFor(t *testing.T) {
	server := testdb.Own(t, testdb.PostgresC, "max_prepared_transactions=4")
	handle := server.New(t).Open(t)
	run(t, handle, `CREATE TABLE people (id bigint PRIMARY KEY)`)
	db := open(t, handle)
	conn, err := handle.Conn(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	do := func(statements ...string) {
		for _, statement := range statements {
			_, err := conn.ExecContext(t.Context(), statement)
			require.NoError(t, err, statement)
		}
	}
	do(`BEGIN`, `INSERT INTO people VALUES (1)`, `PREPARE TRANSACTION 'a'`)
	w := waitFor(t.Context(), db, "people")
	require.Equal(t, 1, w.waits(t))
	w.still(t)
	do(`COMMIT PREPARED 'a'`)
	require.NoError(t, <-w.done)
	require.Equal(t, 1, count(t, handle, "people"))

	// Prepared while it is waited for.
	do(`BEGIN`, `INSERT INTO people VALUES (2)`)
	w = waitFor(t.Context(), db, "people")
	require.Equal(t, 1, w.waits(t))
	do(`PREPARE TRANSACTION 'b'`)
	require.Equal(t, 0, w.waits(t), "the process has none any more")
	require.Equal(t, 1, w.waits(t), "the prepared one has its lock")
	w.still(t)
	do(`COMMIT PREPARED 'b'`)
	require.NoError(t, <-w.done)
	require.Equal(t, 2, count(t, handle, "people"))

	do(`BEGIN`, `INSERT INTO people VALUES (3)`, `PREPARE TRANSACTION 'c'`)
	ctx, stop := context.WithCancel(t.Context())
	w = waitFor(ctx, db, "people")
	w.waits(t)
	stop()
	require.ErrorContains(t, <-w.done, "and 1 prepared")
	do(`ROLLBACK PREPARED 'c'`)
}

// prepare leaves a prepared transaction of MariaDB behind, whose connection is gone.
func prepare(t *testing.T, handle *sql.DB, id, statement string) {
	t.Helper()
	conn, err := handle.Conn(t.Context())
	require.NoError(t, err)
	var number int64
	require.NoError(t, conn.QueryRowContext(t.Context(), `SELECT CONNECTION_ID()`).Scan(&number))
	for _, statement := range []string{`XA START '` + id + `'`, statement, `XA END '` + id + `'`, `XA PREPARE '` + id + `'`} {
		_, err := conn.ExecContext(t.Context(), statement)
		require.NoError(t, err, statement)
	}
	run(t, handle, fmt.Sprint(`KILL `, number))
	_ = conn.Close() // what it says of its end is nobody's concern
}

// ended ends a prepared transaction, once the server has noticed that its connection
// is gone: before that it is nobody else's.
func ended(t *testing.T, handle *sql.DB, statement string) {
	t.Helper()
	for {
		if _, err := handle.ExecContext(t.Context(), statement); err == nil {
			return
		}
		require.NoError(t, t.Context().Err())
	}
}

// The same on MariaDB, where it keeps no lock of the server's once its connection is
// gone, but InnoDB's.
func TestPreparedTransactionsOfMariaDBAreWaitedFor(t *testing.T) {
	handle := testdb.New(t, testdb.MariaDB).Open(t)
	run(t, handle, `CREATE TABLE people (id BIGINT PRIMARY KEY)`, `CREATE TABLE parts (id BIGINT PRIMARY KEY) PARTITION BY HASH (id) PARTITIONS 3`)
	db := open(t, handle)
	for _, table := range []string{"people", "parts"} {
		prepare(t, handle, "writers", `INSERT INTO `+table+` VALUES (1)`)
		w := waitFor(t.Context(), db, table)
		w.waits(t)
		w.still(t)
		ended(t, handle, `XA COMMIT 'writers'`)
		require.NoError(t, <-w.done)
		require.Equal(t, 1, count(t, handle, table))
	}
}

// One that has written to other tables only, of this database or another one, holds
// nobody up. Where one is waited for, the error says what rolls it back.
func TestPreparedTransactionsOfOtherTablesAreNotWaitedFor(t *testing.T) {
	handle := testdb.New(t, testdb.MariaDB).Open(t)
	other := testdb.New(t, testdb.MariaDB).Open(t)
	run(t, handle, `CREATE TABLE people (id BIGINT PRIMARY KEY)`, `CREATE TABLE letters (id BIGINT PRIMARY KEY)`)
	run(t, other, `CREATE TABLE people (id BIGINT PRIMARY KEY)`)
	db := open(t, handle)
	prepare(t, handle, "letters", `INSERT INTO letters VALUES (1)`)
	prepare(t, other, "elsewhere", `INSERT INTO people VALUES (1)`)
	require.NoError(t, db.WaitForWriters(t.Context(), "people", nil))
	ctx, stop := context.WithCancel(t.Context())
	w := waitFor(ctx, db, "letters")
	w.waits(t)
	stop()
	err := <-w.done
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "XA ROLLBACK X'6c657474657273',X'',1")
	ended(t, handle, `XA ROLLBACK X'6c657474657273',X'',1`)
	ended(t, other, `XA ROLLBACK 'elsewhere'`)
	require.NoError(t, db.WaitForWriters(t.Context(), "letters", nil))
}

// The lock outlives the server.
func TestPreparedTransactionsOutliveTheServer(t *testing.T) {
	server := testdb.Own(t, testdb.MariaDB)
	d := server.New(t)
	handle := d.Open(t)
	run(t, handle, `CREATE TABLE people (id BIGINT PRIMARY KEY)`)
	prepare(t, handle, "writers", `INSERT INTO people VALUES (1)`)
	server.Kill(t)
	server.Restart(t)
	handle = d.Open(t)
	db := open(t, handle)
	w := waitFor(t.Context(), db, "people")
	w.waits(t)
	w.still(t)
	ended(t, handle, `XA COMMIT 'writers'`)
	require.NoError(t, <-w.done)
	require.Equal(t, 1, count(t, handle, "people"))
}

// Whoever may read the table may wait for its writers; what has to be granted
// where even that is closed, the error says.
func TestWhichRightsTheWaitForWritersNeeds(t *testing.T) {
	t.Run("postgres", func(t *testing.T) {
		d := testdb.New(t, testdb.PostgresC)
		owner := d.Open(t)
		run(t, owner, `CREATE TABLE people (id bigint PRIMARY KEY)`)
		role, as := d.Role(t)
		run(t, owner, `GRANT SELECT ON people TO `+role)
		db := open(t, as.Open(t))
		through := func() {
			writer := begin(t, owner, `INSERT INTO people SELECT count(*) FROM people`)
			w := waitFor(t.Context(), db, "people")
			w.waits(t)
			w.still(t)
			require.NoError(t, writer.Commit())
			require.NoError(t, <-w.done)
		}
		through()
		run(t, owner, `REVOKE SELECT ON pg_catalog.pg_locks FROM PUBLIC`)
		require.ErrorContains(t, db.WaitForWriters(t.Context(), "people", nil), "grant SELECT on pg_catalog.pg_locks")
		run(t, owner, `GRANT UPDATE ON people TO `+role)
		require.NoError(t, db.WaitForWriters(t.Context(), "people", nil))
		through()
	})
	t.Run("mariadb", func(t *testing.T) {
		d := testdb.New(t, testdb.MariaDB)
		owner := d.Open(t)
		run(t, owner, `CREATE TABLE people (id BIGINT PRIMARY KEY)`)
		role, as := d.Role(t)
		run(t, owner, `GRANT SELECT ON people TO `+role)
		db := open(t, as.Open(t))
		require.ErrorContains(t, db.WaitForWriters(t.Context(), "people", nil), "GRANT LOCK TABLES")
		var name string
		require.NoError(t, owner.QueryRowContext(t.Context(), `SELECT DATABASE()`).Scan(&name))
		run(t, owner, "GRANT LOCK TABLES ON "+name+".* TO "+role)
		handle := as.Open(t) // the rights are read when a session begins
		writer := begin(t, owner, `INSERT INTO people VALUES (1)`)
		w := waitFor(t.Context(), open(t, handle), "people")
		w.waits(t)
		require.NoError(t, writer.Commit())
		require.NoError(t, <-w.done)
		run(t, handle, `SELECT 1`) // no connection of the pool kept the lock
		run(t, owner, `INSERT INTO people VALUES (2)`)
	})
}

// On SQLite the application's own time-out is what it was before.
func TestTheWaitForWritersLeavesTheTimeoutAlone(t *testing.T) {
	handle := testdb.New(t, testdb.SQLite).Open(t)
	handle.SetMaxOpenConns(1)
	db := open(t, handle)
	require.NoError(t, db.WaitForWriters(t.Context(), "people", nil))
	var timeout int
	require.NoError(t, handle.QueryRowContext(t.Context(), `PRAGMA busy_timeout`).Scan(&timeout))
	require.Equal(t, 10_000, timeout)
}
