package testdb_test

import (
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
	for _, name := range testdb.Names() {
		for _, driver := range name.Drivers() {
			t.Run(string(name)+"/"+driver, func(t *testing.T) { each(t, testdb.New(t, name), driver) })
		}
	}
}
