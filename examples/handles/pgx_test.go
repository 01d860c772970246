package main

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/internal/testdb"
)

// A handle of pgx answers what a *sql.Tx answers to a statement, and what the
// server refuses has its code, by which a trail decides.
func TestAHandleOfPgxAnswersAsATransactionOfDatabaseSQL(t *testing.T) {
	d := testdb.New(t, testdb.PostgresC)
	ctx, db := t.Context(), d.OpenWith(t, "pgx")
	_, err := db.ExecContext(ctx, `CREATE TABLE kept (n bigint PRIMARY KEY, t text, b bytea)`)
	require.NoError(t, err)
	conn, err := pgx.Connect(ctx, d.DSN("pgx"))
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()

	type answer struct {
		affected []int64
		code     string
	}
	ask := func(tx audit.Tx) (a answer) {
		for range 2 { // the second meets the first
			result, err := tx.ExecContext(ctx, `INSERT INTO kept VALUES (7, $1, $2) ON CONFLICT DO NOTHING`, "text", []byte("\x00bytes"))
			require.NoError(t, err)
			n, err := result.RowsAffected()
			require.NoError(t, err)
			a.affected = append(a.affected, n)
		}
		over, cancel := context.WithCancel(ctx)
		cancel()
		_, err = tx.ExecContext(over, `SELECT 1`)
		require.ErrorIs(t, err, context.Canceled)
		return a
	}
	refused := func(tx audit.Tx) string {
		_, err := tx.ExecContext(ctx, `INSERT INTO kept (n) VALUES (NULL)`)
		var coded interface{ SQLState() string }
		require.True(t, errors.As(err, &coded))
		return coded.SQLState()
	}
	sqlTx, err := db.BeginTx(ctx, nil)
	require.NoError(t, err)
	want := ask(sqlTx)
	require.NoError(t, sqlTx.Rollback())
	require.Equal(t, []int64{1, 0}, want.affected)
	tx, err := conn.Begin(ctx)
	require.NoError(t, err)
	require.Equal(t, want, ask(handle{tx}))
	_ = tx.Rollback(ctx)
	require.NoError(t, conn.Ping(ctx), "what was cancelled before it was sent breaks no connection")

	tx, err = conn.Begin(ctx)
	require.NoError(t, err)
	require.Equal(t, "23502", refused(handle{tx}))
	require.NoError(t, tx.Rollback(ctx))
}
