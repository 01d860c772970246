package main

import (
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/testdb"
)

// Recording needs no connection but that of the transaction: with a pool of one
// it would wait for itself.
func TestAPoolOfOneConnectionIsEnough(t *testing.T) {
	each(t, func(b *bench) {
		ways, closeAll, err := b.ways(b.t.Context(), b.driver, b.dsn)
		require.NoError(b.t, err)
		defer closeAll()
		b.db.SetMaxOpenConns(1)
		for i, w := range ways {
			id := fmt.Sprint("person-", i)
			b.add(id, "ann@a.example")
			require.NoError(b.t, w.move(b.t.Context(), id, "ann@b.example", func() error { return nil }), w.name)
			require.Equal(b.t, 1, b.sequenced(), w.name)
		}
	})
}

// A service that knows pgx alone has one pool, and the trail works over it, too.
func TestATrailOverThePoolOfPgx(t *testing.T) {
	for _, name := range []testdb.Name{testdb.PostgresC, testdb.PostgresICU} {
		t.Run(string(name), func(t *testing.T) {
			dsn := testdb.New(t, name).DSN("pgx")
			config, err := pgxpool.ParseConfig(dsn)
			require.NoError(t, err)
			config.MaxConns = 1
			pool, err := pgxpool.NewWithConfig(t.Context(), config)
			require.NoError(t, err)
			defer pool.Close()
			db := stdlib.OpenDBFromPool(pool)
			defer db.Close()
			b := &bench{t: t, name: name, driver: "pgx", dsn: dsn, dir: t.TempDir()}
			b.crm, err = newCRM(t.Context(), db, b.dir)
			require.NoError(t, err)
			for i, move := range []func(id string) error{
				func(id string) error {
					return b.withPgx(t.Context(), pool, id, "ann@b.example", func() error { return nil })
				},
				func(id string) error {
					return b.withPgxNested(t.Context(), pool, id, "ann@b.example", func() error { return nil })
				},
			} {
				id := fmt.Sprint("person-", i)
				b.add(id, "ann@a.example")
				require.NoError(t, move(id))
				require.Equal(t, 1, b.sequenced())
				require.Equal(t, []any{"ann@b.example"}, b.history(id))
			}
		})
	}
}

// Pgx sends statements in several ways, and behind a pooler in others than its own.
func TestEveryModeOfPgx(t *testing.T) {
	d := testdb.New(t, testdb.PostgresC)
	b := &bench{t: t, name: d.Name, driver: "pgx", dsn: d.DSN("pgx"), dir: t.TempDir()}
	var err error
	b.crm, err = newCRM(t.Context(), d.OpenWith(t, "pgx"), b.dir)
	require.NoError(t, err)
	for _, mode := range []pgx.QueryExecMode{
		pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
	} {
		config, err := pgx.ParseConfig(b.dsn)
		require.NoError(t, err)
		config.DefaultQueryExecMode = mode
		conn, err := pgx.ConnectConfig(t.Context(), config)
		require.NoError(t, err)
		id := fmt.Sprint("person-", int(mode))
		b.add(id, "ann@a.example")
		require.NoError(t, b.withPgx(t.Context(), conn, id, "ann@b.example", func() error { return nil }), mode.String())
		require.NoError(t, conn.Close(t.Context()))
		require.Equal(t, 1, b.sequenced(), mode.String())
		require.Equal(t, []any{"ann@b.example"}, b.history(id), mode.String())
	}
}
