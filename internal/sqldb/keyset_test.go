package sqldb_test

import (
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/internal/testdb/stranger"
)

// newcomers are rows that somebody inserts while a table is read: columns, and
// the values of the nth one. Their keys fall between those that are there.
func newcomers(c *stranger.CRM) map[string]struct {
	columns string
	row     func(n int) []any
} {
	uuid := func(n int) any {
		if c.Name == testdb.MariaDB {
			return fmt.Appendf(nil, "%x%015d", n%16, n)
		}
		return fmt.Sprintf("%x0000000-0000-4000-8000-%012d", n%16, n)
	}
	at := func(n int) any {
		t := time.Date(2024, 3, 1, 0, 0, n, 1000, time.UTC).AddDate(0, n%30, 0)
		if c.Name == testdb.SQLite {
			return t.Format("2006-01-02 15:04:05.000000")
		}
		return t
	}
	word := func(n int) string { return []string{"a", "Z", "0", "é", "客", "v"}[n%6] + fmt.Sprintf("new%d", n) }
	type rows = struct {
		columns string
		row     func(n int) []any
	}
	return map[string]rows{
		"users":    {"email, name", func(n int) []any { return []any{fmt.Sprintf("new%d@a.example", n), "n"} }},
		"accounts": {"id, name, custom", func(n int) []any { return []any{fmt.Sprintf("%x0000000-0000-4000-8000-%012d", n%16, n), "n", "{}"} }},
		"contacts": {"id, last_name, country, created_at, updated_at", func(n int) []any { return []any{word(n), "n", "CH", at(n), ""} }},
		"tags":     {"name", func(n int) []any { return []any{word(n)} }},
		"contact_tags": {"contact_id, tag", func(n int) []any {
			return []any{c.SpecialIDs()[n%len(c.SpecialIDs())], []string{"vip110", "VIP115"}[n/len(c.SpecialIDs())%2]}
		}},
		"sources":          {"code", func(n int) []any { return []any{word(n)} }},
		"activities":       {"id, subject_type, subject_id", func(n int) []any { return []any{n*90 + 2, "contact", "?"} }},
		"events":           {"occurred_at, id, what", func(n int) []any { return []any{at(n), -n, "n"} }},
		"contacts_history": {"contact_id, n, op, was", func(n int) []any { return []any{word(n), n, "n", "{}"} }},
		"invoices":         {"id, number, contact_id, issued_on, total, address", func(n int) []any { return []any{uuid(n), fmt.Sprint("n", n), "P1", "2026-01-01", 1, "{}"} }},
		"invoice_lines":    {"invoice_id, line, text, amount", nil},
		"rates": {"country, kind, valid_from, percent", func(n int) []any {
			return []any{[]string{"BE", "CZ", "IT"}[n%3], "reduced", fmt.Sprintf("%04d-02-03", 1900+n), 1}
		}},
		"Credit Notes": {"No, order", func(n int) []any { return []any{word(n), n} }},
	}
}

// keptBy are tables whose rows others need.
var keptBy = map[string]bool{"contacts": true, "users": true, "accounts": true, "invoices": true}

func keyText(key []any) string {
	parts := make([]string, len(key))
	for i, v := range key {
		if raw, ok := v.([]byte); ok {
			v = fmt.Sprintf("%x", raw)
		}
		parts[i] = fmt.Sprint(v)
	}
	return stranger.KeyText(parts...)
}

func TestEveryRowOfAStrangersTableIsReadOnce(t *testing.T) {
	for _, name := range testdb.Names() {
		for _, driver := range name.Drivers() {
			t.Run(string(name)+" "+driver, func(t *testing.T) {
				c := stranger.New(t, name)
				db := c.OpenWith(t, driver)
				d, err := sqldb.Ask(t.Context(), db)
				require.NoError(t, err)
				tables := c.Tables(t)
				slices.Reverse(tables) // whoever refers to a row comes before it
				for _, table := range tables {
					t.Run(table.Name, func(t *testing.T) { walkWhileWritten(t, c, db, d, table) })
				}
			})
		}
	}
}

func walkWhileWritten(t *testing.T, c *stranger.CRM, db *sql.DB, d sqldb.Dialect, table stranger.Table) {
	k, err := d.Keyset(t.Context(), db, table.Path)
	require.NoError(t, err)
	names := make([]string, len(k.Columns))
	for i, column := range k.Columns {
		names[i] = column.Name
	}
	require.Equal(t, table.Key, names)
	want := map[string]bool{}
	for _, key := range c.Keys(t, table.Name) {
		want[key] = true
	}
	table = c.Table(t, table.Name) // the walk before this one may have taken rows from it
	require.Equal(t, table.Rows, len(want))

	somebody := newcomers(c)[table.Name]
	columns := strings.Split(somebody.columns, ", ")
	for i := range columns {
		columns[i], err = d.Quote(columns[i])
		require.NoError(t, err)
	}
	seen, inserted := map[string]int{}, 0
	limit := max(5, table.Rows/15)
	var cursor []any
	for {
		keys := readPage(t, db, k, cursor, limit)
		for _, key := range keys {
			seen[keyText(key)]++
			require.Equal(t, 1, seen[keyText(key)], "%q", keyText(key))
		}
		if len(keys) < limit {
			break
		}
		cursor = keys[len(keys)-1]
		meanwhile, err := c.DB.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		if somebody.row != nil && inserted < 60 {
			for range 3 {
				_, err := meanwhile.ExecContext(t.Context(), d.Bind("INSERT INTO "+table.SQL+" ("+strings.Join(columns, ", ")+") VALUES ("+sqldb.Marks(len(columns))+")"), somebody.row(inserted)...)
				require.NoError(t, err)
				inserted++
			}
		}
		if !keptBy[table.Name] { // the row of the cursor itself, and one that is still to come
			for _, gone := range append(readPage(t, db, k, cursor, 2)[1:], cursor) {
				condition, args := k.Equal(gone)
				result, err := meanwhile.ExecContext(t.Context(), d.Bind("DELETE FROM "+k.Table+" WHERE "+condition), args...)
				require.NoError(t, err)
				n, err := result.RowsAffected()
				require.NoError(t, err)
				require.EqualValues(t, 1, n)
				delete(want, keyText(gone))
			}
		}
		require.NoError(t, meanwhile.Commit())
	}
	for key := range seen {
		delete(want, key)
	}
	left := slices.Sorted(maps.Keys(want))
	require.Empty(t, left[:min(10, len(left))], "%d rows were there all the time and were not read", len(left))
	require.Positive(t, len(seen))
	if somebody.row != nil {
		require.GreaterOrEqual(t, inserted, 15, "the table was read in too few pages")
	}
}

func readPage(t *testing.T, db *sql.DB, k sqldb.Keyset, after []any, limit int) (keys [][]any) {
	t.Helper()
	query, args := k.Page(sqldb.Page{After: after, Limit: limit})
	rows, err := db.QueryContext(t.Context(), query, args...)
	require.NoError(t, err, query)
	defer func() { require.NoError(t, rows.Close()) }()
	for rows.Next() {
		key, err := k.Scan(rows)
		require.NoError(t, err)
		keys = append(keys, key)
	}
	require.NoError(t, rows.Err())
	return keys
}

// planOf asks how a statement would be carried out. PostgreSQL would rather read
// and sort a table this small, so both are taken from it where there is a choice:
// a plan that still sorts cannot do without.
func planOf(t *testing.T, db *sql.DB, d sqldb.Dialect, query string, args []any) string {
	t.Helper()
	conn, err := db.Conn(t.Context())
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	explain := "EXPLAIN "
	switch d.Kind { //nolint:exhaustive // the others need nothing
	case sqldb.SQLite:
		explain = "EXPLAIN QUERY PLAN "
	case sqldb.Postgres:
		for _, setting := range []string{"enable_seqscan", "enable_sort", "enable_incremental_sort", "enable_bitmapscan"} {
			_, err := conn.ExecContext(t.Context(), "SET "+setting+" = off")
			require.NoError(t, err)
			defer func() { _, _ = conn.ExecContext(t.Context(), "RESET "+setting) }()
		}
	}
	rows, err := conn.QueryContext(t.Context(), explain+query, args...)
	require.NoError(t, err)
	defer func() { require.NoError(t, rows.Close()) }()
	columns, err := rows.Columns()
	require.NoError(t, err)
	var out strings.Builder
	for rows.Next() {
		values, dest := make([]sql.NullString, len(columns)), make([]any, len(columns))
		for i := range values {
			dest[i] = &values[i]
		}
		require.NoError(t, rows.Scan(dest...))
		for i, column := range columns {
			fmt.Fprintf(&out, "%s=%s ", column, values[i].String)
		}
		out.WriteString("\n")
	}
	require.NoError(t, rows.Err())
	return out.String()
}

func TestAPageOfAStrangersTableUsesTheIndexOfTheKey(t *testing.T) {
	stranger.Each(t, func(t *testing.T, c *stranger.CRM) {
		d, err := sqldb.Ask(t.Context(), c.DB)
		require.NoError(t, err)
		for _, table := range c.Tables(t) {
			k, err := d.Keyset(t.Context(), c.DB, table.Path)
			require.NoError(t, err)
			first := readPage(t, c.DB, k, nil, 20)
			query, args := k.Page(sqldb.Page{After: first[len(first)-1], Limit: 10})
			plan := planOf(t, c.DB, d, query, args)
			requireIndex(t, d, plan, table.Name)
			if d.Kind == sqldb.SQLite && len(k.Columns) > 1 {
				require.Contains(t, plan, ")>(", "%s: the place is found by the whole key, or each page begins where its first column does", table.Name)
			}
			condition, args := k.Equal(first[0])
			requireIndex(t, d, planOf(t, c.DB, d, d.Bind("SELECT 1 FROM "+k.Table+" WHERE "+condition), args), table.Name+" =")
		}
	})
}

func requireIndex(t *testing.T, d sqldb.Dialect, plan, what string) {
	t.Helper()
	switch d.Kind {
	case sqldb.Postgres:
		require.Contains(t, plan, "Index Cond:", "%s\n%s", what, plan)
		require.NotContains(t, plan, "Sort  (cost", "%s\n%s", what, plan)
	case sqldb.SQLite:
		require.Contains(t, plan, "SEARCH", "%s\n%s", what, plan)
		require.NotContains(t, plan, "TEMP B-TREE", "%s\n%s", what, plan)
	default:
		require.Regexp(t, `type=(range|ref|const|eq_ref) `, plan, what)
		require.Contains(t, plan, " key=PRIMARY ", "%s\n%s", what, plan)
		require.NotContains(t, plan, "filesort", "%s\n%s", what, plan)
	}
}

func TestEqualComparesBytes(t *testing.T) {
	stranger.Each(t, func(t *testing.T, c *stranger.CRM) {
		d, err := sqldb.Ask(t.Context(), c.DB)
		require.NoError(t, err)
		found := func(table, column string, value any) (out []string) {
			here := c.Table(t, table)
			columns, err := d.Columns(t.Context(), c.DB, here.Path, column)
			require.NoError(t, err)
			condition, args := d.Equal(columns[0], value)
			out = texts(t, c.DB, d.Bind("SELECT "+columns[0].Name+" FROM "+here.SQL+" WHERE "+condition), args...)
			if d.Kind == sqldb.Postgres && value != "CH " { // an expression of the column's type, too; in char(2) that one is CH
				typed := "SELECT CASE WHEN true THEN $1 ELSE (SELECT " + columns[0].Name + " FROM " + here.SQL + " WHERE false) END"
				same := texts(t, c.DB, "SELECT "+columns[0].Name+" FROM "+here.SQL+`, (`+typed+`) AS v ("the value") WHERE `+columns[0].SameAs(`"the value"`), value)
				require.ElementsMatch(t, out, same)
			}
			return out
		}
		for _, id := range c.SpecialIDs() {
			require.Equal(t, []string{id}, found("contacts", "id", id), "%q", id)
			require.Empty(t, found("contacts", "id", id+"   "))
		}
		for _, one := range []struct{ table, column, is string }{
			{"tags", "name", "vip0"}, {"sources", "code", "vip0"}, {"users", "email", "User7@Crm.example"}, {"contact_tags", "tag", "VIP0"}, {"Credit Notes", "No", "0000037"},
		} {
			require.NotEmpty(t, found(one.table, one.column, one.is), one)
			for _, other := range []string{one.is + " ", one.is + "\u200b", "0" + one.is} {
				require.Empty(t, found(one.table, one.column, other), "%v %q", one, other)
			}
			if swapped := swapCase(one.is); swapped != one.is {
				require.NotContains(t, found(one.table, one.column, swapped), one.is, one)
			}
		}
		require.NotEmpty(t, found("rates", "country", "CH"))
		require.Empty(t, found("rates", "country", "CH "))
		require.Empty(t, found("rates", "country", "ch"))
		require.Equal(t, []string{"1"}, found("users", "id", "1"))
		require.Equal(t, []string{"1"}, found("users", "id", 1))
		require.NotEmpty(t, found("contacts", "country", "CH"))
	})
}

func texts(t *testing.T, db *sql.DB, query string, args ...any) (out []string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query, args...)
	require.NoError(t, err)
	defer func() { require.NoError(t, rows.Close()) }()
	for rows.Next() {
		var s string
		require.NoError(t, rows.Scan(&s))
		out = append(out, s)
	}
	require.NoError(t, rows.Err())
	return out
}

func swapCase(s string) string {
	if upper := strings.ToUpper(s); upper != s {
		return upper
	}
	return strings.ToLower(s)
}

// Where the key begins with a column that is the same in all rows, such as a
// tenant, the last page costs what the first one does.
func TestAPageReadsItsOwnRowsOnly(t *testing.T) {
	db := testdb.New(t, testdb.MariaDB).Open(t)
	db.SetMaxOpenConns(1) // the counters are those of the session
	d, err := sqldb.Ask(t.Context(), db)
	require.NoError(t, err)
	exec := func(query string, args ...any) {
		_, err := db.ExecContext(t.Context(), query, args...)
		require.NoError(t, err)
	}
	exec(`CREATE TABLE big (tenant VARCHAR(40) NOT NULL, id BIGINT NOT NULL, PRIMARY KEY (tenant, id))`)
	exec(`INSERT INTO big WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 900) SELECT 't', i FROM n`)
	exec(`INSERT INTO big SELECT tenant, id + 900 FROM big`)
	k, err := d.Keyset(t.Context(), db, "big")
	require.NoError(t, err)
	exec(`FLUSH STATUS`)
	require.Len(t, readPage(t, db, k, []any{"t", 1700}, 10), 10)
	var name string
	var read int
	require.NoError(t, db.QueryRowContext(t.Context(), `SHOW SESSION STATUS LIKE 'Handler_read_next'`).Scan(&name, &read))
	require.LessOrEqual(t, read, 11)
}
