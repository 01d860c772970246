package sqldb_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
)

// person stands for what must never be in a text for a log.
const person = "Ann' for key 'Smith4711"

// harmful are statements that make a database or its driver quote what it was
// given, each with a word that its error must say.
func harmful(t *testing.T, db *sqldb.DB) map[string]func() error {
	t.Helper()
	ctx := t.Context()
	raise := map[sqldb.Kind][]string{
		sqldb.Postgres: {
			`CREATE FUNCTION crmguard_demo_raise() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused: %', OLD.word USING TABLE = OLD.word; END $$`,
			`CREATE TRIGGER crmguard_demo_raise BEFORE DELETE ON crmguard_demo_word FOR EACH ROW EXECUTE FUNCTION crmguard_demo_raise()`,
		},
		sqldb.MariaDB: {`CREATE TRIGGER crmguard_demo_raise BEFORE DELETE ON crmguard_demo_word FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = OLD.word`},
		sqldb.SQLite:  {`CREATE TRIGGER crmguard_demo_raise BEFORE DELETE ON crmguard_demo_word BEGIN SELECT RAISE(ABORT, 'refused'); END`},
	}
	for _, statement := range raise[db.Kind] {
		_, err := db.ExecContext(ctx, statement)
		require.NoError(t, err)
	}
	insert := `INSERT INTO crmguard_demo_word (tenant, word, n, body) VALUES (?, ?, ?, NULL)`
	exec := func(query string, args ...any) func() error {
		return func() error {
			_, err := db.ExecContext(ctx, db.Bind(query), args...)
			return err
		}
	}
	return map[string]func() error{
		"taken":     exec(insert, "main", person, 1),
		"type":      exec(insert, "main", "x", person),
		"null":      exec(`UPDATE crmguard_demo_word SET n = NULL WHERE word = ?`, person),
		"too long":  exec(insert, "main", strings.Repeat(person, 1000), "x"),
		"raised":    exec(`DELETE FROM crmguard_demo_word WHERE word = ?`, person),
		"statement": exec(`INSERT '` + strings.ReplaceAll(person, "'", "''") + `'`),
		"argument":  exec(insert, "main", struct{ Name string }{person}, 1),
		"scan": func() error {
			var n int
			return db.QueryRowContext(ctx, `SELECT word FROM crmguard_demo_word`).Scan(&n)
		},
	}
}

// Databases and drivers quote the values that they refuse, each in its own
// place. The code, the constraint and the table stay, the values do not.
func TestNoErrorQuotesAValue(t *testing.T) {
	says := map[sqldb.Kind]map[string]string{
		sqldb.Postgres: {
			"taken": "a row with this key is there already (SQLSTATE 23505, table crmguard_demo_word, constraint crmguard_demo_word_pkey)",
			"null":  "a value is missing (SQLSTATE 23502, table crmguard_demo_word, column n)", "raised": "the database refused (SQLSTATE P0001)",
			"statement": "the database does not understand the statement (SQLSTATE 42601)",
		},
		sqldb.MariaDB: {
			"taken": "a row with this key is there already (mysql 1062, constraint PRIMARY)",
			"type":  "a value is of another type than its column (mysql 1366, table crmguard_demo_word, column n)",
			"null":  "a value is missing (mysql 1048, column n)", "raised": "the database refused (mysql 1644)", "too long": "(mysql 1406, column word)",
			"statement": "the database does not understand the statement (mysql 1064)",
		},
		sqldb.SQLite: {
			"taken": "a row with this key is there already (sqlite 1555, table crmguard_demo_word, column tenant)",
			"type":  "a value is of another type than its column (sqlite 3091, table crmguard_demo_word, column n)",
			"null":  "a value is missing (sqlite 1299, table crmguard_demo_word, column n)", "raised": "the database refused (sqlite 1811)",
			"statement": "the database refused (sqlite 1)",
		},
	}
	each(t, func(t *testing.T, db *sqldb.DB) {
		require.NoError(t, db.Insert(t.Context(), db, insert(false), [][]any{{"main", person, 1, nil}}))
		quoted := 0
		for name, do := range harmful(t, db) {
			raw := do()
			if name == "too long" && raw == nil {
				continue // PostgreSQL and SQLite take it
			}
			require.Error(t, raw, name)
			err := sqldb.Safe(raw)
			if holdsPerson(fmt.Sprintf("%v %+v", raw, everything(raw))) {
				quoted++
			}
			require.False(t, holdsPerson(fmt.Sprintf("%v %+v %s %q", err, err, err, err)), "%s: %v", name, err)
			require.Contains(t, err.Error(), says[db.Kind][name], name)
			require.ErrorIs(t, err, raw, "the driver's error stays behind errors.As: %s", name)
			require.Equal(t, err, sqldb.Safe(err), "an error is made safe once")
			require.NotErrorIs(t, err, fs.ErrPermission)
		}
		require.NotZero(t, quoted, "a test of nothing: no driver quoted a value")

		// The floor's own verbs hand out nothing else.
		var n int
		query, args := db.Bind(`SELECT word FROM crmguard_demo_word WHERE word = ?`), []any{person}
		for name, err := range map[string]error{
			"insert": db.Insert(t.Context(), db, insert(false), [][]any{{"main", "x", person, nil}}),
			"delete": db.Delete(t.Context(), db, "crmguard_demo_word", []string{"word"}, [][]any{{person}}),
			"one":    sqldb.One(t.Context(), db, []any{&n}, query, args...),
		} {
			var fault *sqldb.DriverError
			require.ErrorAs(t, err, &fault, name)
			require.False(t, holdsPerson(err.Error()), "%s: %v", name, err)
		}
	})
}

func holdsPerson(text string) bool {
	return strings.Contains(text, "Smith") || strings.Contains(text, "4711") || strings.Contains(text, "Ann")
}

// everything is each error of a chain as Go prints its fields.
func everything(err error) (out []string) {
	for ; err != nil; err = errors.Unwrap(err) {
		out = append(out, fmt.Sprintf("%#v", err))
	}
	return out
}

func TestWhatHoldsNoValueIsSaidAsItIs(t *testing.T) {
	for _, err := range []error{nil, sql.ErrNoRows, context.Canceled, driver.ErrBadConn, io.ErrUnexpectedEOF, fmt.Errorf("begin: %w", context.DeadlineExceeded)} {
		require.Equal(t, err, sqldb.Safe(err))
	}
	for text, want := range map[string]string{
		"invalid connection": "the driver failed: invalid connection",
		`failed to encode args[0]: unable to encode "Ann" into binary format`: "the driver failed: failed to encode args …; the rest is left out, because it may hold values",
		`"Ann" is no number`: "the driver failed; its words are left out, because they may hold values",
	} {
		require.Equal(t, want, sqldb.Safe(errors.New(text)).Error())
	}
	require.False(t, holdsPerson(sqldb.Safe(errors.Join(io.EOF, errors.New(`unable to encode "Ann"`))).Error()))
}

// A missing right is told apart from missing tables, names its table, and is
// found by the standard library's sentinel.
func TestAMissingRightIsSaidToBeOne(t *testing.T) {
	for _, name := range testdb.Names() {
		if name == testdb.SQLite {
			continue
		}
		for _, driver := range name.Drivers() {
			t.Run(string(name)+"/"+driver, func(t *testing.T) {
				d := testdb.New(t, name)
				owner := d.Open(t)
				require.NoError(t, demo(2).Install(t.Context(), owner))
				role, as := d.Role(t)
				must := func(statement string) {
					_, err := owner.ExecContext(t.Context(), statement)
					require.NoError(t, err)
				}
				must(`GRANT SELECT ON crmguard_demo_word TO ` + role)
				db, err := sqldb.Open(t.Context(), as.OpenWith(t, driver))
				require.NoError(t, err)
				err = demo(2).Check(t.Context(), db)
				require.ErrorIs(t, err, fs.ErrPermission, "not a version of 0")
				require.ErrorContains(t, err, "demo: read the version of the tables: this role lacks a right")
				require.ErrorContains(t, err, "table crmguard_schema")
				must(`GRANT SELECT ON crmguard_schema TO ` + role)
				require.NoError(t, demo(2).Check(t.Context(), db))
				require.NoError(t, demo(2).Install(t.Context(), as.OpenWith(t, driver)), "nothing is missing, so no further right is needed")
				err = db.Write(t.Context(), func(tx *sql.Tx) error {
					return db.Insert(t.Context(), tx, insert(false), [][]any{{"main", person, 1, nil}})
				})
				require.ErrorIs(t, err, fs.ErrPermission)
				require.ErrorContains(t, err, "table crmguard_demo_word")
				require.False(t, holdsPerson(err.Error()))
				err = demo(3).Install(t.Context(), as.OpenWith(t, driver))
				require.ErrorIs(t, err, fs.ErrPermission)
				require.ErrorContains(t, err, "demo: install: ")

				// Where nothing is installed yet, what is missing is the right to create.
				must(`DROP TABLE crmguard_schema`)
				must(`DROP TABLE crmguard_demo_word`)
				must(`CREATE TABLE other (a INTEGER)`)
				must(`GRANT SELECT ON other TO ` + role)
				lacks := "(mysql 1142, table crmguard_schema)"
				if name != testdb.MariaDB {
					lacks = "this role lacks a right: schema public (SQLSTATE 42501)"
					must(`REVOKE CREATE ON SCHEMA public FROM PUBLIC`) // the default since version 15
				}
				err = demo(2).Install(t.Context(), as.OpenWith(t, driver))
				require.ErrorIs(t, err, fs.ErrPermission)
				require.ErrorContains(t, err, lacks)
			})
		}
	}
}

// A login that is refused is said at once: whatever else were asked would only
// be further failed logins.
func TestALoginThatIsRefusedIsSaidAtOnce(t *testing.T) {
	for _, name := range testdb.Names() {
		if name == testdb.SQLite {
			continue
		}
		for _, driver := range name.Drivers() {
			role, as := testdb.New(t, name).Role(t)
			refused := strings.ReplaceAll(as.DSN(driver), role, "nobody_"+role)
			handle, err := sql.Open(driver, refused)
			require.NoError(t, err)
			counted := &counting{driver: handle.Driver(), dsn: refused}
			require.NoError(t, handle.Close())
			db := sql.OpenDB(counted)
			t.Cleanup(func() { _ = db.Close() })
			_, err = sqldb.Open(t.Context(), db)
			require.ErrorContains(t, err, "the login was refused (", driver)
			require.NotErrorIs(t, err, errors.ErrUnsupported)
			require.Equal(t, 1, counted.logins, driver)
		}
	}
}

// counting counts how often a login is tried.
type counting struct {
	driver driver.Driver
	dsn    string
	logins int
}

func (c *counting) Driver() driver.Driver { return c.driver }

func (c *counting) Connect(context.Context) (driver.Conn, error) {
	c.logins++
	return c.driver.Open(c.dsn)
}

// readOnly opens the database so that nothing can be written: by the file, or
// by the default of the session, as on a standby.
func readOnly(t *testing.T, d testdb.Database, driver string) *sql.DB {
	t.Helper()
	suffix := map[testdb.Name]string{testdb.SQLite: "&mode=ro", testdb.MariaDB: "&tx_read_only=1"}[d.Name]
	if suffix == "" {
		suffix = " default_transaction_read_only=on"
	}
	handle, err := sql.Open(driver, d.DSN(driver)+suffix)
	require.NoError(t, err)
	t.Cleanup(func() { _ = handle.Close() })
	return handle
}

func TestAReadOnlyDatabaseIsReadAndSaysWhyItIsNotWritten(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		for i, driver := range d.Name.Drivers() {
			fresh := readOnly(t, d, driver)
			if i == 0 && d.Name != testdb.SQLite { // a file that is not there is another fault
				err := demo(2).Install(t.Context(), fresh)
				require.ErrorContains(t, err, "demo: install: ")
				require.ErrorContains(t, err, "the database is read-only (")
			}
			require.NoError(t, demo(2).Install(t.Context(), d.Open(t)))
			db, err := sqldb.Open(t.Context(), fresh)
			require.NoError(t, err)
			require.NoError(t, demo(2).Check(t.Context(), db))
			require.NoError(t, db.Snapshot(t.Context(), func(tx *sql.Tx) error {
				var n int
				return sqldb.One(t.Context(), tx, []any{&n}, `SELECT count(*) FROM crmguard_demo_word`)
			}))
			err = db.Write(t.Context(), func(tx *sql.Tx) error {
				return db.Insert(t.Context(), tx, insert(false), [][]any{{"main", "a", 1, nil}})
			})
			require.ErrorContains(t, err, "the database is read-only (")
			err = demo(3).Install(t.Context(), fresh)
			require.ErrorContains(t, err, "the database is read-only (")
			var old *sqldb.SchemaError
			require.ErrorAs(t, demo(3).Check(t.Context(), db), &old)
			require.Equal(t, sqldb.SchemaError{Package: "demo", Have: 2, Want: 3}, *old)
		}
	})
}

// MariaDB's and MySQL's own switch, which a failover sets.
func TestAServerSetToReadOnlySaysSo(t *testing.T) {
	d := testdb.New(t, testdb.MariaDB)
	if os.Getenv("CRMGUARD_MARIADB") != "" {
		t.Log("a server that others use is left as it is")
		return
	}
	owner := d.Open(t)
	require.NoError(t, demo(2).Install(t.Context(), owner))
	role, as := d.Role(t)
	for _, statement := range []string{`GRANT SELECT ON crmguard_schema TO ` + role, `GRANT SELECT, INSERT, UPDATE ON crmguard_demo_word TO ` + role, `SET GLOBAL read_only = ON`} {
		_, err := owner.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
	t.Cleanup(func() {
		_, err := owner.Exec(`SET GLOBAL read_only = OFF`) // the test's context is over
		require.NoError(t, err)
	})
	db, err := sqldb.Open(t.Context(), as.Open(t))
	require.NoError(t, err)
	err = db.Write(t.Context(), func(tx *sql.Tx) error {
		return db.Insert(t.Context(), tx, insert(false), [][]any{{"main", "a", 1, nil}})
	})
	require.ErrorIs(t, err, sqldb.ErrStandby)
	require.ErrorContains(t, err, "set read_only to 0 if this is it")
}
