package testdb_test

import (
	"context"
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/testdb"
)

func TestSerializableIsTheDefaultWhereItIsAskedFor(t *testing.T) {
	question := map[testdb.Name]string{testdb.PostgresC: `SHOW transaction_isolation`, testdb.PostgresICU: `SHOW transaction_isolation`, testdb.MariaDB: `SELECT LOWER(@@tx_isolation)`}
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		for _, driver := range d.Name.Drivers() {
			db := d.Serializable().OpenWith(t, driver)
			if question[d.Name] == "" {
				continue
			}
			var level string
			require.NoError(t, db.QueryRowContext(t.Context(), question[d.Name]).Scan(&level))
			require.Equal(t, "serializable", level)
		}
	})
}

// Behind the pooler a connection of the application is not one of the server:
// two transactions of one connection need not meet the same backend.
func TestThePoolerGivesEachTransactionAnotherConnection(t *testing.T) {
	for _, driver := range testdb.PostgresC.Drivers() {
		t.Run(driver, func(t *testing.T) {
			db := testdb.New(t, testdb.PostgresC).Pooled(t).OpenWith(t, driver)
			backend := func(q interface {
				QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
			},
			) (pid int) {
				require.NoError(t, q.QueryRowContext(t.Context(), `SELECT pg_backend_pid() WHERE 1 = $1`, 1).Scan(&pid))
				return pid
			}
			conn, err := db.Conn(t.Context())
			require.NoError(t, err)
			defer conn.Close()
			first := backend(conn)
			tx, err := db.BeginTx(t.Context(), nil)
			require.NoError(t, err)
			require.Equal(t, first, backend(tx), "the pooler gives out the backend that was used last")
			require.NotEqual(t, first, backend(conn), "it is taken, so the connection gets another one")
			require.NoError(t, tx.Rollback())
		})
	}
}

func TestAStandbyFollowsAndIsLeftAlone(t *testing.T) {
	primary := testdb.Own(t, testdb.PostgresC)
	d := primary.New(t)
	_, err := d.Open(t).ExecContext(t.Context(), `CREATE TABLE t (a INTEGER)`)
	require.NoError(t, err)
	standby := primary.Standby(t)
	here := standby.Follow(t, d)
	var standing bool
	require.NoError(t, here.Open(t).QueryRowContext(t.Context(), `SELECT pg_is_in_recovery() FROM pg_class WHERE oid = 't'::regclass`).Scan(&standing))
	require.True(t, standing)
	both := standby.Before(d).Open(t)
	both.SetMaxIdleConns(0)
	require.NoError(t, both.QueryRowContext(t.Context(), `SELECT pg_is_in_recovery()`).Scan(&standing))
	require.False(t, standing, "as long as the primary answers")
	primary.Stop(t)
	require.NoError(t, both.QueryRowContext(t.Context(), `SELECT pg_is_in_recovery()`).Scan(&standing))
	require.True(t, standing)
}

// A pooler that came to its end by itself is followed by another one.
func TestAPoolerThatEndedIsFollowedByAnother(t *testing.T) {
	ask := func() {
		var one int
		require.NoError(t, testdb.New(t, testdb.PostgresC).Pooled(t).OpenWith(t, "pgx").QueryRowContext(t.Context(), `SELECT 1`).Scan(&one))
	}
	ask()
	testdb.EndPooler(t)
	ask()
}
