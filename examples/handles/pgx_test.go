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

// A handle of pgx answers what a *sql.Tx answers, for what a trail keeps: text,
// bytes, integers and NULL.
func TestAHandleOfPgxAnswersAsATransactionOfDatabaseSQL(t *testing.T) {
	d := testdb.New(t, testdb.PostgresC)
	ctx, db := t.Context(), d.OpenWith(t, "pgx")
	_, err := db.ExecContext(ctx, `CREATE TABLE kept (n bigint PRIMARY KEY, s smallint, i integer, t text, b bytea)`)
	require.NoError(t, err)
	conn, err := pgx.Connect(ctx, d.DSN("pgx"))
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()

	type answer struct {
		affected int64
		columns  []string
		rows     [][]any
		one      int64
		failed   []string
	}
	ask := func(tx audit.Tx) (a answer) {
		result, err := tx.ExecContext(ctx, `INSERT INTO kept VALUES ($1, $2, $3, $4, $5), ($6, NULL, NULL, NULL, NULL)`, int64(1)<<40, 1, 2, "text", []byte("\x00bytes"), int64(-7))
		require.NoError(t, err)
		a.affected, err = result.RowsAffected()
		require.NoError(t, err)
		rows, err := tx.QueryContext(ctx, `SELECT n, s, i, t, b FROM kept WHERE n <> $1 ORDER BY n`, 0)
		require.NoError(t, err)
		defer rows.Close()
		a.columns, err = rows.Columns()
		require.NoError(t, err)
		for rows.Next() {
			row := make([]any, len(a.columns))
			into := make([]any, len(row))
			for i := range row {
				into[i] = &row[i]
			}
			require.NoError(t, rows.Scan(into...))
			a.rows = append(a.rows, row)
		}
		require.NoError(t, rows.Err())
		require.NoError(t, rows.Close())
		require.NoError(t, tx.QueryRowContext(ctx, `SELECT i FROM kept WHERE t = $1`, "text").Scan(&a.one))
		a.failed = append(a.failed, tx.QueryRowContext(ctx, `SELECT i FROM kept WHERE t = $1`, "none").Scan(&a.one).Error())
		over, cancel := context.WithCancel(ctx)
		cancel()
		_, err = tx.ExecContext(over, `SELECT 1`)
		require.ErrorIs(t, err, context.Canceled)
		return a
	}
	sqlTx, err := db.BeginTx(ctx, nil)
	require.NoError(t, err)
	want := ask(sqlTx)
	require.NoError(t, sqlTx.Rollback())
	require.Len(t, want.rows, 2)
	require.EqualValues(t, 2, want.affected)
	tx, err := conn.Begin(ctx)
	require.NoError(t, err)
	require.Equal(t, want, ask(handle{tx}))
	_ = tx.Rollback(ctx)
	require.NoError(t, conn.Ping(ctx), "what was cancelled before it was sent breaks no connection")

	// What the server refuses has its code, by which a trail decides.
	tx, err = conn.Begin(ctx)
	require.NoError(t, err)
	_, err = handle{tx}.QueryContext(ctx, `SELECT n / 0 FROM (VALUES (1)) AS v (n)`)
	var coded interface{ SQLState() string }
	require.True(t, errors.As(err, &coded))
	require.Equal(t, "22012", coded.SQLState())
	require.NoError(t, tx.Rollback(ctx))
}
