package sqldb

import (
	"database/sql"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/testdb"
)

type signalled struct {
	Number   uint16
	SQLState [5]byte
}

func (s *signalled) Error() string { return "a fault" }

// A refusal is about one row: whoever goes over many may go on with the next.
// What all rows would meet alike is none.
func TestARefusalOfOneRowIsToldFromAFaultOfAll(t *testing.T) {
	for _, c := range []struct {
		err     error
		refused bool
	}{
		{stated("22001"), true},
		{stated("23505"), true},
		{stated("23514"), true},
		{stated("27000"), true},
		{stated("44000"), true},
		{stated("45000"), true},
		{stated("P0001"), true},
		{stated("MY001"), true}, // a trigger's own
		{stated("53100"), false},
		{stated("57014"), false},
		{stated("42501"), false},
		{stated("42703"), false},
		{stated("40001"), false},
		{stated("25006"), false},
		{stated("XX001"), false},
		{stated("08006"), false},
		{sqliteError(19), true},
		{sqliteError(1811), true},
		{sqliteError(2067), true},
		{sqliteError(18), true},
		{sqliteError(5), false},
		{sqliteError(8), false},
		{sqliteError(1), false},
		{&numbered{1644}, true},
		{&numbered{4025}, true},
		{&numbered{1366}, true},
		{&numbered{1205}, false},
		{&numbered{1142}, false},
		{&signalled{1062, [5]byte{'2', '3', '0', '0', '0'}}, true},
		{&signalled{1690, [5]byte{'2', '2', '0', '0', '3'}}, true},
		{&signalled{1213, [5]byte{'4', '0', '0', '0', '1'}}, false},
		{io.ErrUnexpectedEOF, false},
		{errors.New("invalid connection"), false},
		{nil, false},
	} {
		for _, err := range []error{c.err, Safe(c.err), fmt.Errorf("update: %w", Safe(c.err))} {
			fault, refused := Refused(err)
			require.Equal(t, c.refused, refused && c.err != nil, "%#v", c.err)
			if refused {
				require.NotEmpty(t, fault.Code)
			}
		}
	}
}

// The same with what the databases answer.
func TestWhatDatabasesRefuseOfOneRow(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := d.Open(t)
		exec := func(statement string) error {
			_, err := db.ExecContext(t.Context(), statement)
			return err
		}
		require.NoError(t, exec(`CREATE TABLE crmguard_demo_refused (id INTEGER NOT NULL PRIMARY KEY, n INTEGER NOT NULL UNIQUE CHECK (n < 10))`))
		require.NoError(t, exec(`INSERT INTO crmguard_demo_refused VALUES (1, 1), (2, 2)`))
		for statement, refused := range map[string]bool{
			`UPDATE crmguard_demo_refused SET n = 11 WHERE id = 1`:   true,
			`UPDATE crmguard_demo_refused SET n = 2 WHERE id = 1`:    true,
			`UPDATE crmguard_demo_refused SET n = NULL WHERE id = 1`: true,
			`UPDATE crmguard_demo_refused SET no = 1 WHERE id = 1`:   false,
			`UPDATE crmguard_demo_nowhere SET n = 1`:                 false,
			`UPDATE crmguard_demo_refused SET`:                       false,
		} {
			err := exec(statement)
			require.Error(t, err)
			_, is := Refused(err)
			require.Equal(t, refused, is, "%s: %v", statement, Safe(err))
		}
	})
}

// A state that a trigger may have raised as well as the database is about a row
// where the same change of no row passes, and about all of them where it does not.
func TestADoubtIsResolvedByTheSameChangeOfNoRow(t *testing.T) {
	for _, name := range []testdb.Name{testdb.PostgresC, testdb.PostgresICU} {
		t.Run(string(name), func(t *testing.T) {
			d := testdb.New(t, name)
			owner := d.Open(t)
			exec := func(db *sql.DB, statement string) error {
				_, err := db.ExecContext(t.Context(), statement)
				return err
			}
			role, as := d.Role(t)
			require.NoError(t, exec(owner, `CREATE TABLE crmguard_demo_doubt (id integer PRIMARY KEY, n integer, m integer)`))
			require.NoError(t, exec(owner, `INSERT INTO crmguard_demo_doubt VALUES (1, 1, 1)`))
			require.NoError(t, exec(owner, `GRANT SELECT, UPDATE (n) ON crmguard_demo_doubt TO `+role))
			theirs := as.Open(t)
			db, err := Open(t.Context(), theirs)
			require.NoError(t, err)
			asked := func(err error, columns ...string) bool {
				require.Error(t, err)
				return db.RefusesRow(t.Context(), fmt.Errorf("update: %w", Safe(err)), "crmguard_demo_doubt", columns...)
			}
			trigger := func(each, state string) {
				require.NoError(t, exec(owner, `DROP TRIGGER IF EXISTS frozen ON crmguard_demo_doubt`))
				require.NoError(t, exec(owner, `CREATE OR REPLACE FUNCTION frozen() RETURNS trigger LANGUAGE plpgsql AS
					'BEGIN RAISE EXCEPTION USING MESSAGE = ''frozen'', ERRCODE = ''`+state+`''; END'`))
				require.NoError(t, exec(owner, `CREATE TRIGGER frozen BEFORE UPDATE ON crmguard_demo_doubt FOR EACH `+each+` EXECUTE FUNCTION frozen()`))
			}
			for state, refused := range map[string]bool{
				"P0001": true, "23514": true, "42501": true, "0A000": true, "55000": true, "38000": true, "25006": true,
				"25P02": false, "53100": false, "XX000": false, "08006": false,
			} {
				trigger("ROW", state)
				require.Equal(t, refused, asked(exec(theirs, `UPDATE crmguard_demo_doubt SET n = 2`), "n"), state)
			}
			trigger("STATEMENT", "42501")
			require.False(t, asked(exec(theirs, `UPDATE crmguard_demo_doubt SET n = 2`), "n"), "whatever the rows")
			trigger("ROW", "42501")
			require.False(t, asked(exec(theirs, `UPDATE crmguard_demo_doubt SET n = 2, m = 2`), "n", "m"), "a right to a column")
			require.True(t, asked(exec(theirs, `UPDATE crmguard_demo_doubt SET n = 2`)), "of what COMMIT answers, no column is known")
			require.False(t, db.RefusesRow(t.Context(), nil, "crmguard_demo_doubt", "n"))
		})
	}
}
