package sqldb_test

import (
	"database/sql"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
)

// A keyed table is one of a type of key: its columns, and values as SQL text.
type keyed struct {
	table  string
	values []string
}

// keyTypes are types of keys that are in use somewhere, with values whose text
// and whose order differ.
func keyTypes(d sqldb.Dialect) map[string]keyed {
	switch d.Kind { //nolint:exhaustive // MySQL is as MariaDB
	case sqldb.SQLite:
		return map[string]keyed{
			"any class":      {"k PRIMARY KEY", []string{"2", "10", "2.5", "'2'", "'10'", "'a'", "'A'", "x'61'", "x'00ff'", "''", "-1", "9223372036854775807", "1e300"}},
			"text, no case":  {"k TEXT PRIMARY KEY COLLATE NOCASE", []string{"'b'", "'A'", "'a '", "'ä'", "'Ä'", "'_'"}},
			"rtrim":          {"k TEXT PRIMARY KEY COLLATE RTRIM", []string{"'b'", "'A'", "'a'", "' a'"}},
			"other than own": {"k TEXT COLLATE NOCASE NOT NULL, PRIMARY KEY (k COLLATE BINARY)", []string{"'b'", "'B'", "'a'", "'A'", "'Ab'", "'aB'"}},
			"downwards":      {"k TEXT NOT NULL, PRIMARY KEY (k DESC)", nil},
			"datetime":       {"k DATETIME PRIMARY KEY", []string{"'2026-01-02'", "'2026-01-02 00:00:00'", "'2026-01-02T00:00:00Z'", "'2026-01-02 03:04:05+02:00'", "1767312000"}},
			"boolean":        {"k BOOLEAN PRIMARY KEY", []string{"0", "1"}},
		}
	case sqldb.Postgres:
		return map[string]keyed{
			"smallint":       {"k smallint PRIMARY KEY", []string{"-3", "2", "10", "32767"}},
			"numeric":        {"k numeric PRIMARY KEY", []string{"2", "10", "1.50", "-0.000000001", "9007199254740993", "9007199254740992", "1e30", "'NaN'"}},
			"bytes":          {"k bytea PRIMARY KEY", []string{`'\x'`, `'\x00'`, `'\x00ff'`, `'\x61'`, `'\x5c78'`}},
			"timestamp":      {"k timestamp PRIMARY KEY", []string{"'2026-01-02 03:04:05.000001'", "'2026-01-02 03:04:05.000002'", "'-infinity'", "'0044-03-15 BC'", "'12026-01-01'"}},
			"timestamptz":    {"k timestamptz PRIMARY KEY", []string{"'2026-10-25 00:30Z'", "'2026-10-25 01:30Z'", "'infinity'", "'1890-01-01Z'"}},
			"date":           {"k date PRIMARY KEY", []string{"'2026-02-01'", "'2026-01-02'", "'0044-03-15 BC'"}},
			"interval":       {"k interval PRIMARY KEY", []string{"'1 mon'", "'31 days'", "'-2 h'"}},
			"boolean":        {"k boolean PRIMARY KEY", []string{"true", "false"}},
			"array":          {"k text[] PRIMARY KEY", []string{`'{a,"b c"}'`, `'{}'`, `'{NULL}'`, `'{"NULL"}'`}},
			"jsonb":          {"k jsonb PRIMARY KEY", []string{`'{"a": 1.50}'`, `'"a"'`, `'1'`, `'null'`}},
			"inet":           {"k inet PRIMARY KEY", []string{"'10.0.0.1'", "'9.0.0.1'", "'::1'"}},
			"domain":         {"k mail PRIMARY KEY", []string{"'b@a'", "'B@a'", "'a @a'", "'ä@a'"}},
			"one byte":       {`k "char" PRIMARY KEY`, []string{"'b'", "'A'", "'a'"}},
			"other than own": {`k text NOT NULL`, []string{"'b'", "'B'", "'a'", "'_'", "'ä'", "'1-2'", "'12'"}},
			"downwards":      {"k integer NOT NULL", nil},
			"range":          {"k int4range PRIMARY KEY", []string{"'[1,5)'", "'[1,)'", "'empty'"}},
		}
	}
	return map[string]keyed{
		"downwards": {"k INT NOT NULL, PRIMARY KEY (k DESC)", nil},
		"tinyint":   {"k TINYINT PRIMARY KEY", []string{"-3", "2", "10"}},
		"bigint":    {"k BIGINT PRIMARY KEY", []string{"9007199254740993", "9007199254740992", "-9223372036854775808", "9223372036854775807"}},
		"unsigned":  {"k BIGINT UNSIGNED PRIMARY KEY", []string{"18446744073709551615", "18446744073709551614", "0", "9007199254740993", "9007199254740992"}},
		"decimal":   {"k DECIMAL(30,10) PRIMARY KEY", []string{"2", "10", "1.5", "-0.0000000001", "9007199254740993", "9007199254740992", "12345678901234567890.1234567891", "12345678901234567890.1234567892"}},
		"date":      {"k DATE PRIMARY KEY", []string{"'2026-02-01'", "'2026-01-02'", "'0001-01-01'"}},
		"datetime":  {"k DATETIME(6) PRIMARY KEY", []string{"'2026-01-02 03:04:05.000001'", "'2026-01-02 03:04:05.000002'", "'1000-01-01'"}},
		"timestamp": {"k TIMESTAMP(3) PRIMARY KEY", []string{"'2026-01-02 03:04:05.001'", "'2026-01-02 03:04:05.002'"}},
		"year":      {"k YEAR PRIMARY KEY", []string{"1999", "2026"}},
		"latin1":    {"k VARCHAR(9) CHARACTER SET latin1 COLLATE latin1_german1_ci PRIMARY KEY", []string{"'b'", "'a'", "'ä1'", "'Z'", "'_'"}},
		"utf8mb3":   {"k VARCHAR(9) CHARACTER SET utf8mb3 PRIMARY KEY", []string{"'b'", "'a'", "'ä1'", "'客'"}},
		"bin":       {"k VARCHAR(9) COLLATE utf8mb4_bin PRIMARY KEY", []string{"'b'", "'B'", "'a'", "'a b'", "'ä'"}},
		"char":      {"k CHAR(4) PRIMARY KEY", []string{"'b'", "'a'", "'a b'"}},
		"varbinary": {"k VARBINARY(9) PRIMARY KEY", []string{"x'00'", "x'61'", "x'6120'", "x'41'", "x'ff00'", "x''"}},
		"enum":      {"k ENUM('z', 'a', '10', '2') PRIMARY KEY", []string{"'z'", "'a'", "'10'", "'2'"}},
	}
}

func TestKeysOfEveryTypeKeepTheirOrder(t *testing.T) {
	for _, name := range testdb.Names() {
		for _, driver := range name.Drivers() {
			t.Run(string(name)+" "+driver, func(t *testing.T) {
				db := testdb.New(t, name).OpenWith(t, driver)
				db.SetMaxOpenConns(1) // one session, set as an application may have set it
				exec := func(query string) {
					_, err := db.ExecContext(t.Context(), query)
					require.NoError(t, err, query)
				}
				d, err := sqldb.Ask(t.Context(), db)
				require.NoError(t, err)
				if d.Kind == sqldb.Postgres {
					exec("CREATE DOMAIN mail AS varchar(40) CHECK (VALUE LIKE '%@%')")
					exec("SET DateStyle = 'SQL, DMY'")
					exec("SET TimeZone = 'Europe/Berlin'")
					exec("SET extra_float_digits = 0")
				}
				tables := 0
				for what, key := range keyTypes(d) {
					if key.values == nil {
						for i := range 30 {
							key.values = append(key.values, fmt.Sprint(i*7%30))
						}
					}
					t.Run(what, func(t *testing.T) {
						tables++
						table := fmt.Sprint("keyed", tables)
						exec("CREATE TABLE " + table + " (n INTEGER, " + key.table + ")")
						var columns []string
						if index := map[string]string{"other than own": `k COLLATE "en-x-icu"`, "downwards": "k DESC"}[what]; index != "" && d.Kind == sqldb.Postgres {
							exec("CREATE UNIQUE INDEX ON " + table + " (" + index + ")")
							columns = []string{"k"}
						}
						for i, value := range key.values {
							exec(fmt.Sprintf("INSERT INTO %s (k, n) VALUES (%s, %d)", table, value, i))
						}
						k, err := d.Keyset(t.Context(), db, table, columns...)
						require.NoError(t, err)
						var got []int
						var cursor []any
						for range key.values {
							query, args := k.Page(sqldb.Page{Columns: []string{"n"}, After: cursor, Limit: 1})
							n, next, found := readOne(t, db, k, query, args)
							require.True(t, found, "after %v: %s", got, query)
							got, cursor = append(got, n), next

							condition, args := k.Equal(next)
							var here int
							require.NoError(t, db.QueryRowContext(t.Context(), d.Bind("SELECT n FROM "+table+" WHERE "+condition), args...).Scan(&here), condition)
							require.Equal(t, n, here)
						}
						require.ElementsMatch(t, slices.Collect(numbers(len(key.values))), got)
						query, args := k.Page(sqldb.Page{Columns: []string{"n"}, After: cursor, Limit: 1})
						_, _, found := readOne(t, db, k, query, args)
						require.False(t, found)
						requireNoSort(t, planOf(t, db, d, query, args))
					})
				}
			})
		}
	}
}

func numbers(n int) func(yield func(int) bool) {
	return func(yield func(int) bool) {
		for i := range n {
			if !yield(i) {
				return
			}
		}
	}
}

func readOne(t *testing.T, db *sql.DB, k sqldb.Keyset, query string, args []any) (n int, key []any, found bool) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query, args...)
	require.NoError(t, err, query)
	defer func() { require.NoError(t, rows.Close()) }()
	for rows.Next() {
		key, err = k.Scan(rows, &n)
		require.NoError(t, err)
		found = true
	}
	require.NoError(t, rows.Err())
	return n, key, found
}

func requireNoSort(t *testing.T, plan string) {
	t.Helper()
	for _, sort := range []string{"Sort  (cost", "TEMP B-TREE", "filesort"} {
		require.NotContains(t, plan, sort)
	}
}
