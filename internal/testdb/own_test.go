package testdb_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/testdb"
)

// What was committed is there after the server was killed and started again,
// what was not is not, and whoever was connected is thrown out.
func TestAServerOfItsOwnIsKilledAndComesBack(t *testing.T) {
	for _, name := range []testdb.Name{testdb.PostgresC, testdb.MariaDB} {
		t.Run(string(name), func(t *testing.T) {
			server := testdb.Own(t, name)
			db := server.New(t).Open(t)
			_, err := db.ExecContext(t.Context(), `CREATE TABLE words (n INTEGER PRIMARY KEY)`)
			require.NoError(t, err)
			for round := range 2 {
				_, err = db.ExecContext(t.Context(), `INSERT INTO words VALUES (`+string(rune('1'+round))+`)`)
				require.NoError(t, err)
				tx, err := db.BeginTx(t.Context(), nil)
				require.NoError(t, err)
				_, err = tx.ExecContext(t.Context(), `INSERT INTO words VALUES (9)`)
				require.NoError(t, err)
				server.Kill(t)
				require.Error(t, tx.Commit())
				require.Error(t, db.PingContext(t.Context()))
				server.Restart(t)
				var n int
				require.NoError(t, db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM words`).Scan(&n))
				require.Equal(t, round+1, n)
			}
		})
	}
}
