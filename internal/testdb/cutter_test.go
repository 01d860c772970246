package testdb_test

import (
	"database/sql"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/testdb"
)

// The tests of faults prove nothing if nothing is cut.
func TestTheCutterCuts(t *testing.T) {
	each := func(t *testing.T, d testdb.Database, name string) {
		t.Helper()
		db, c := d.Cutting(t, name)
		_, err := db.ExecContext(t.Context(), `CREATE TABLE x (n INTEGER)`)
		require.NoError(t, err)
		for _, commits := range []bool{false, true} {
			tx, err := db.BeginTx(t.Context(), nil)
			require.NoError(t, err)
			_, err = tx.ExecContext(t.Context(), `INSERT INTO x VALUES (1)`)
			require.NoError(t, err)
			c.Arm(1, commits)
			require.Error(t, tx.Commit())
			require.True(t, c.Disarm())
			var n int
			require.NoError(t, db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM x`).Scan(&n))
			require.Equal(t, commits, n == 1, "what was cut after the commit is there, what was cut before is not")
		}
		outside := c.Outside()
		require.Subset(t, outside, []string{`CREATE TABLE x (n INTEGER)`, `SELECT COUNT(*) FROM x`})
		require.NotContains(t, outside, `INSERT INTO x VALUES (1)`)
	}
	eachDriver(t, each)
}

func eachDriver(t *testing.T, f func(t *testing.T, d testdb.Database, driver string)) {
	t.Helper()
	for _, name := range testdb.Names() {
		for _, driver := range name.Drivers() {
			t.Run(string(name)+"/"+driver, func(t *testing.T) { f(t, testdb.New(t, name), driver) })
		}
	}
}

// Whatever is asked of the server is a call of its own: to prepare, to run what
// was prepared, and to give the first row. Where a driver prepares by itself, it
// asks for no less.
func TestTheCutterCutsEveryCall(t *testing.T) {
	eachDriver(t, func(t *testing.T, d testdb.Database, name string) {
		db, c := d.Cutting(t, name)
		one := `SELECT 1 WHERE 1 = ` + map[bool]string{true: `$1`, false: `?`}[name == "pgx" || name == "postgres"]
		cuts := func(ask func(tx *sql.Tx) error) (n int) {
			for cut := true; cut; n++ {
				tx, err := db.BeginTx(t.Context(), nil)
				require.NoError(t, err)
				c.Arm(n+1, false)
				err = ask(tx)
				cut = c.Disarm()
				require.Equal(t, cut, err != nil, "at call %d: %v", n+1, err)
				_ = tx.Rollback() // where it was cut nothing is there
			}
			return n - 1
		}
		var got int
		prepared := cuts(func(tx *sql.Tx) error {
			statement, err := tx.PrepareContext(t.Context(), one)
			if err != nil {
				return err
			}
			defer statement.Close()
			return statement.QueryRowContext(t.Context(), 1).Scan(&got)
		})
		require.Equal(t, 3, prepared)
		asked := cuts(func(tx *sql.Tx) error { return tx.QueryRowContext(t.Context(), one, 1).Scan(&got) })
		require.Equal(t, map[bool]int{true: 3, false: 2}[d.Name == testdb.MariaDB], asked)
	})
}

// Connections that a test ends leave nothing in its output, where it would hide
// what a test has to say.
func TestCutConnectionsLeaveTheOutputAlone(t *testing.T) {
	testdb.New(t, testdb.MariaDB) // skips where the server is not installed
	out, err := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestTheCutterCuts$/^mariadb$", "-test.v").CombinedOutput()
	require.NoError(t, err)
	require.Contains(t, string(out), "--- PASS: TestTheCutterCuts/mariadb/mysql")
	require.NotContains(t, string(out), "[mysql]")
}
