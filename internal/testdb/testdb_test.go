package testdb_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/testdb"
)

func TestEachDatabaseIsEmptyAndOpensWithItsDrivers(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		for i, driver := range d.Name.Drivers() {
			db := d.OpenWith(t, driver)
			_, err := db.ExecContext(t.Context(), fmt.Sprintf(`CREATE TABLE t%d (a INTEGER PRIMARY KEY, b VARCHAR(20))`, i))
			require.NoError(t, err)
			_, err = db.ExecContext(t.Context(), fmt.Sprintf(`INSERT INTO t%d VALUES (1, 'x')`, i))
			require.NoError(t, err)
		}
		_, err := testdb.New(t, d.Name).Open(t).ExecContext(t.Context(), `CREATE TABLE t0 (a INTEGER PRIMARY KEY)`)
		require.NoError(t, err, "a second database of the same test is another one")
	})
}

// The four differ in what they take for equal and in how they sort: a test that
// passes on all of them does not lean on one of the ways.
func TestTheDatabasesCompareTextDifferently(t *testing.T) {
	order := map[testdb.Name]string{testdb.SQLite: "Bab", testdb.PostgresC: "Bab", testdb.PostgresICU: "abB", testdb.MariaDB: "abB"}
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := d.Open(t)
		_, err := db.ExecContext(t.Context(), `CREATE TABLE words (w VARCHAR(20))`)
		require.NoError(t, err)
		_, err = db.ExecContext(t.Context(), `INSERT INTO words VALUES ('b'), ('B'), ('a')`)
		require.NoError(t, err)
		rows, err := db.QueryContext(t.Context(), `SELECT w FROM words ORDER BY w`)
		require.NoError(t, err)
		defer rows.Close()
		var got strings.Builder
		for rows.Next() {
			var w string
			require.NoError(t, rows.Scan(&w))
			got.WriteString(w)
		}
		require.NoError(t, rows.Err())
		if d.Name == testdb.MariaDB {
			require.Equal(t, "abb", strings.ToLower(got.String()), "equal words come in any order")
			return
		}
		require.Equal(t, order[d.Name], got.String())
	})
}

// A role of a test may do what was granted to it and nothing else.
func TestARoleHasOnlyTheRightsGrantedToIt(t *testing.T) {
	for _, name := range testdb.Names() {
		if name == testdb.SQLite {
			continue
		}
		t.Run(string(name), func(t *testing.T) {
			d := testdb.New(t, name)
			role, as := d.Role(t)
			owner := d.Open(t)
			must := func(statement string) {
				_, err := owner.ExecContext(t.Context(), statement)
				require.NoError(t, err)
			}
			must(`CREATE TABLE words (w VARCHAR(20))`)
			must(`GRANT SELECT ON words TO ` + role)
			for _, driver := range d.Name.Drivers() {
				db := as.OpenWith(t, driver)
				_, err := db.ExecContext(t.Context(), `DELETE FROM words`)
				require.Error(t, err)
				must(`GRANT DELETE ON words TO ` + role)
				_, err = db.ExecContext(t.Context(), `DELETE FROM words`)
				require.NoError(t, err)
				must(`REVOKE DELETE ON words FROM ` + role)
			}
		})
	}
}

// childFolders makes this test binary a process that starts the servers, says
// where they are and waits to be killed.
const childFolders = "CRMGUARD_TESTDB_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childFolders) == "" {
		os.Exit(m.Run())
	}
	testdb.PrintFoldersAndWait()
}

// A server outlives neither its test process nor the folder: not even when the
// process is killed and can clean nothing up.
func TestAServerGoesWithAKilledProcess(t *testing.T) {
	testdb.New(t, testdb.PostgresC) // skips where the server is not installed
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childFolders+"=1", "CRMGUARD_POSTGRES=", "CRMGUARD_MARIADB=")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(out)
	require.True(t, lines.Scan(), "the process says where its server is")
	folder := lines.Text()
	require.DirExists(t, folder)
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	require.Eventually(t, func() bool {
		_, err := os.Stat(folder)
		return os.IsNotExist(err)
	}, time.Minute, 20*time.Millisecond, "the folder is removed after its server has ended")
}
