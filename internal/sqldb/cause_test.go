package sqldb_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
)

// An error may be logged: it says which table, column, constraint or right is
// meant, through every driver, and never what a row holds.
func TestACauseNamesAndQuotesNothing(t *testing.T) {
	const value = "Canary Personalname"
	for _, name := range testdb.Names() {
		for _, driver := range name.Drivers() {
			t.Run(string(name)+"/"+driver, func(t *testing.T) {
				handle := testdb.New(t, name).OpenWith(t, driver)
				require.NoError(t, demo(3).Install(t.Context(), handle))
				db, err := sqldb.Open(t.Context(), handle)
				require.NoError(t, err)
				cause := func(query string, args ...any) string {
					_, err := db.ExecContext(t.Context(), db.Bind(query), args...)
					require.Error(t, err)
					text := sqldb.Cause(fmt.Errorf("wrapped: %w", errors.Join(errors.New("first"), err)))
					require.NotEmpty(t, text)
					require.NotContains(t, text, value)
					return text
				}
				require.Contains(t, cause(`SELECT 1 FROM crmguard_demo_nowhere`), "crmguard_demo_nowhere")
				require.Contains(t, cause(`INSERT INTO crmguard_demo_word (tenant, word, n) VALUES (?, ?, NULL)`, "main", value), "n", "the column that may not be empty")
				insert := `INSERT INTO crmguard_demo_word (tenant, word, n) VALUES (?, ?, 1)`
				_, err = db.ExecContext(t.Context(), db.Bind(insert), value, value)
				require.NoError(t, err)
				cause(insert, value, value)
				if name != testdb.SQLite { // it takes any text for a number that it cannot read
					cause(`UPDATE crmguard_demo_word SET n = CAST(CONCAT(word, ?) AS `+map[bool]string{true: "UNSIGNED", false: "bigint"}[name == testdb.MariaDB]+`) + 1`, value)
				}
			})
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.Equal(t, "context canceled", sqldb.Cause(fmt.Errorf("x: %w", ended.Err())))
	require.Equal(t, sql.ErrNoRows.Error(), sqldb.Cause(sql.ErrNoRows))
	require.Contains(t, sqldb.Cause(&sqldb.SchemaError{Package: "demo", Want: 1}), "call Install")
	require.Empty(t, sqldb.Cause(errors.New(value)))
	require.Empty(t, sqldb.Cause(nil))
}

// A transaction that counts before and after sees nothing of others, and what
// it writes itself.
func TestWriteStillSeesOneStateAndItsOwnWork(t *testing.T) {
	each(t, func(t *testing.T, db *sqldb.DB) {
		if db.Kind == sqldb.SQLite {
			return // its writers are serial
		}
		require.NoError(t, db.WriteStill(t.Context(), func(tx *sql.Tx) error {
			count := func() (n int) {
				require.NoError(t, tx.QueryRowContext(t.Context(), `SELECT count(*) FROM crmguard_demo_word`).Scan(&n))
				return n
			}
			require.Zero(t, count())
			require.NoError(t, db.Insert(t.Context(), db, insert(false), [][]any{{"main", "a", 1, nil}}))
			require.NoError(t, db.Insert(t.Context(), tx, insert(false), [][]any{{"main", "b", 1, nil}}))
			require.Equal(t, 1, count())
			return nil
		}))
		require.Len(t, words(t, db), 2)
	})
}
