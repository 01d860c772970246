package sqldb_test

import (
	"bytes"
	"database/sql"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// Rows whose columns have types go in one statement to PostgreSQL, and elsewhere as
// all others do: what lies there then is the same.
func TestInsertOfRowsWithTypes(t *testing.T) {
	in := sqldb.Insert{
		Table: "crmguard_demo_typed", Columns: []string{"n", "a", "b", "m"}, Key: []string{"n"},
		Types: []string{sqldb.Bigint, sqldb.Bytea, sqldb.Bytea, sqldb.Bigint}, Ends: true,
	}
	rows := [][]any{
		{int64(1), []byte{}, []byte("x"), nil},
		{int64(-1 << 63), []byte{0, 0xff, '{', '"'}, nil, int64(1<<63 - 1)},
		{int64(3), bytes.Repeat([]byte{7}, 70_000), []byte{}, int64(0)},
	}
	each(t, func(t *testing.T, db *sqldb.DB) {
		blob := map[sqldb.Kind]string{sqldb.Postgres: "bytea", sqldb.SQLite: "blob"}[db.Kind]
		if blob == "" {
			blob = "longblob"
		}
		_, err := db.ExecContext(t.Context(), `CREATE TABLE crmguard_demo_typed (n bigint PRIMARY KEY, a `+blob+` NOT NULL, b `+blob+`, m bigint)`)
		require.NoError(t, err)
		there := func() (out [][]any) {
			require.NoError(t, sqldb.Each(t.Context(), db, func(r *sql.Rows) error {
				var n int64
				var a, b []byte
				var none bool
				var m sql.NullInt64
				if err := r.Scan(&n, &a, &b, &none, &m); err != nil {
					return err
				}
				row := []any{n, append([]byte{}, a...), nil, nil} // no bytes are nil to some drivers
				if !none {
					row[2] = append([]byte{}, b...)
				}
				if m.Valid {
					row[3] = m.Int64
				}
				out = append(out, row)
				return nil
			}, `SELECT n, a, b, b IS NULL, m FROM crmguard_demo_typed ORDER BY n`))
			return out
		}
		require.NoError(t, db.Insert(t.Context(), db, in, rows))
		want := slices.Clone(rows)
		want[0], want[1] = rows[1], rows[0]
		require.Equal(t, want, there())
		require.NoError(t, db.Insert(t.Context(), db, in, [][]any{{int64(3), []byte("other"), nil, nil}, {int64(4), []byte("4"), nil, nil}}), "what is there stays")
		want = append(want, []any{int64(4), []byte("4"), nil, nil})
		require.Equal(t, want, there())
		require.NoError(t, db.Insert(t.Context(), db, in, nil))
		require.Error(t, db.Insert(t.Context(), db, in, [][]any{{int64(5), []byte("short")}}))
		isNew := in
		isNew.New = true
		require.Error(t, db.Write(t.Context(), func(tx *sql.Tx) error {
			return db.Insert(t.Context(), tx, isNew, [][]any{{int64(6), []byte("6"), nil, nil}, {int64(4), []byte("there"), nil, nil}})
		}))
		require.Equal(t, want, there(), "and nothing of a statement that failed")
		if db.Kind == sqldb.Postgres {
			require.Error(t, db.Insert(t.Context(), db, in, [][]any{{"7", []byte("7"), nil, nil}}), "a text is no number")
		}
	})
}

// Arrays are what PostgreSQL reads of them.
func TestArraysOfNumbersAndBytes(t *testing.T) {
	each(t, func(t *testing.T, db *sqldb.DB) {
		if db.Kind != sqldb.Postgres {
			return
		}
		var numbers, values int
		ask := db.Bind(`SELECT (SELECT count(*) FROM unnest(CAST(? AS bigint[]))), (SELECT count(*) FROM unnest(CAST(? AS bytea[])) v WHERE octet_length(v) = 16)`)
		for n := range 3 {
			require.NoError(t, db.QueryRowContext(t.Context(), ask, sqldb.Bigints(make([]int64, n)), sqldb.Byteas(make([][16]byte, n))).Scan(&numbers, &values))
			require.Equal(t, [2]int{n, n}, [2]int{numbers, values})
		}
	})
}
