package rowjob

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
)

// An array that is written for PostgreSQL is read there as what it was made of,
// whatever signs stand in it.
func TestAnArrayIsReadAsItWasWritten(t *testing.T) {
	db := testdb.New(t, testdb.PostgresC).Open(t)
	var plans []*rowPlan
	signs := []string{"", `"`, `\`, "{", "}", ",", " ", "NULL", "x", `\x00`, "\n", "ä"}
	for _, one := range signs {
		for _, two := range signs {
			text := one + two + one
			plans = append(plans, &rowPlan{changes: []cellChange{{old: text, new: append([]byte(text), 0, 255)}}})
		}
	}
	read := func(elements, array string, each func(p *rowPlan, got []byte)) {
		rows, err := db.QueryContext(t.Context(), `SELECT v FROM unnest(CAST($1 AS `+elements+`[])) WITH ORDINALITY AS a (v, n) ORDER BY n`, array)
		require.NoError(t, err)
		defer func() { require.NoError(t, rows.Close()) }()
		n := 0
		for ; rows.Next(); n++ {
			var got []byte
			require.NoError(t, rows.Scan(&got))
			each(plans[n], got)
		}
		require.NoError(t, rows.Err())
		require.Equal(t, len(plans), n)
	}
	read("text", arrayOf(plans, func(p *rowPlan) any { return p.changes[0].old }), func(p *rowPlan, got []byte) { require.Equal(t, p.changes[0].old, string(got)) })
	read("bytea", arrayOf(plans, func(p *rowPlan) any { return p.changes[0].new }), func(p *rowPlan, got []byte) { require.Equal(t, p.changes[0].new, got) })
}

// Values in bytes that go as one are cut where they were joined: row by row, value by
// value, empty ones included.
func TestJoinedValuesAreCutWhereTheyWereJoined(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		rows, width := rapid.IntRange(1, 5).Draw(rt, "rows"), rapid.IntRange(1, 3).Draw(rt, "width")
		a := &arrays{}
		var all [][]byte
		for range rows {
			p := &rowPlan{}
			for range width {
				value := rapid.SliceOf(rapid.Byte()).Draw(rt, "value")
				all = append(all, value)
				p.changes = append(p.changes, cellChange{new: value})
			}
			a.plans = append(a.plans, p)
		}
		for i := range width {
			a.bytes = append(a.bytes, func(p *rowPlan) any { return p.changes[i].new })
		}
		values, text := a.joined()
		var begins []int
		require.NoError(rt, json.Unmarshal([]byte("["+strings.Trim(text, "{}")+"]"), &begins))
		require.Len(rt, begins, len(all)+1)
		for i, value := range all {
			require.True(rt, bytes.Equal(value, values[begins[i]-1:begins[i+1]-1]))
		}
		require.EqualValues(rt, len(values)+1, begins[len(all)])
	})
}

// A statement is neither longer than bytesTogether nor for more rows than
// rowsTogether, and all of its rows change the same columns.
func TestAGroupTakesWhatFitsIntoOneStatement(t *testing.T) {
	plan := func(columns ...string) *rowPlan {
		p := &rowPlan{}
		for _, name := range columns {
			p.changes = append(p.changes, cellChange{column: sqldb.Column{Name: name}})
		}
		return p
	}
	g := &group{}
	for range rowsTogether - 1 {
		g.plans = append(g.plans, plan("a", "b"))
	}
	g.size = bytesTogether - 10
	require.True(t, g.takes(plan("a", "b"), 10))
	require.False(t, g.takes(plan("a", "b"), 11))
	for _, other := range []*rowPlan{plan("a"), plan("b", "a"), plan("a", "b", "c")} {
		require.False(t, g.takes(other, 0))
	}
	g.plans = append(g.plans, plan("a", "b"))
	require.False(t, g.takes(plan("a", "b"), 10))
}

// A batch is read ahead on PostgreSQL, and only where nobody looks on.
func TestABatchIsReadAheadWhereNobodyLooksOn(t *testing.T) {
	on := func(kind sqldb.Kind) *storedTable {
		return &storedTable{db: &sqldb.DB{Dialect: sqldb.Dialect{Kind: kind}}}
	}
	require.True(t, on(sqldb.Postgres).readsAhead(jobs.ResealOptions{Batch: 7, Progress: func(jobs.ResealReport) {}}))
	for _, kind := range []sqldb.Kind{sqldb.SQLite, sqldb.MariaDB, sqldb.MySQL} {
		require.False(t, on(kind).readsAhead(jobs.ResealOptions{}), kind)
	}
	require.False(t, on(sqldb.Postgres).readsAhead(jobs.ResealOptions{Pause: time.Nanosecond}))
}

// The place of a row stands for what it holds in PostgreSQL's own tables only, and for
// those who may read it.
func TestPlacesAreAskedForInPostgreSQLsOwnTables(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := d.Open(t)
		exec := func(statement string) {
			t.Helper()
			_, err := db.ExecContext(t.Context(), statement)
			require.NoError(t, err)
		}
		has := func(as *sql.DB, table string) bool {
			t.Helper()
			open, err := sqldb.Open(t.Context(), as)
			require.NoError(t, err)
			s := &storedTable{Table: &Table{Name: table}, db: open}
			s.sql, err = open.Quote(table)
			require.NoError(t, err)
			has, err := s.hasPlaces(t.Context())
			require.NoError(t, err)
			return has
		}
		exec(`CREATE TABLE plain (id VARCHAR(10) NOT NULL PRIMARY KEY, body VARCHAR(10))`)
		if d.Name != testdb.PostgresC && d.Name != testdb.PostgresICU {
			require.False(t, has(db, "plain"))
			return
		}
		require.True(t, has(db, "plain"))
		require.False(t, has(db, "absent"))
		exec(`CREATE TABLE parted (id text PRIMARY KEY) PARTITION BY HASH (id)`)
		require.False(t, has(db, "parted"))
		exec(`UPDATE pg_class SET relam = (SELECT oid FROM pg_am WHERE amname = 'heap') WHERE relname = 'parted'`) // as a server of 17 may have it
		require.False(t, has(db, "parted"))
		exec(`CREATE ACCESS METHOD another TYPE TABLE HANDLER heap_tableam_handler`)
		exec(`CREATE TABLE stored (id text PRIMARY KEY) USING another`)
		require.False(t, has(db, "stored"))

		role, database := d.Role(t)
		as := database.Open(t)
		exec(`GRANT SELECT (id, body), UPDATE (body) ON plain TO ` + role)
		require.False(t, has(as, "plain"))
		exec(`GRANT SELECT ON plain TO ` + role)
		require.True(t, has(as, "plain"))
	})
}

// A place of a cursor is read as it was written, of whatever class its value is.
func TestAPlaceIsReadAsItWasWritten(t *testing.T) {
	for _, v := range []any{"", "a", `\`, `\x00`, `\t`, `\f1`, `a\x00`, int64(0), int64(-7), []byte{0, 1, 255}, 0.5, -1e300} {
		got, err := placeOf(placeText(v), true)
		require.NoError(t, err)
		require.Equal(t, v, got)
	}
	for _, text := range []string{"7", "-0", "07", "9223372036854775808"} { // where all values of a column are of one class
		got, err := placeOf(text, false)
		require.NoError(t, err)
		require.Equal(t, text, got)
	}
	for _, text := range []string{`\xzz`, `\x0`, `\fx`} {
		_, err := placeOf(text, true)
		require.Error(t, err, text)
	}
}

// The text of a key of several columns is taken apart into what it was made of.
func TestAKeyOfSeveralColumnsIsTakenApart(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		parts := rapid.SliceOfN(rapid.StringOf(rapid.RuneFrom([]rune("/%25F2ax"))), 1, 4).Draw(rt, "parts")
		got, ok := splitKey(joinKey(parts), len(parts))
		require.True(rt, ok)
		require.Equal(rt, parts, got)
		if len(parts) > 1 { // one alone stands as it is
			_, ok = splitKey(joinKey(parts), len(parts)+1)
			require.False(rt, ok)
		}
	})
}

// What an index column holds is compared by its value, however a database gives it.
func TestAnIndexValueIsTheSameHoweverItIsGiven(t *testing.T) {
	for _, same := range [][2]any{{nil, nil}, {int64(7), int64(7)}, {"7", int64(7)}, {"-7", int64(-7)}, {[]byte{1, 2}, []byte{1, 2}}, {[]byte{}, []byte{}}} {
		require.True(t, sameIndex(same[0], same[1]), "%v", same)
	}
	for _, other := range [][2]any{
		{nil, int64(0)},
		{int64(0), nil},
		{"", nil},
		{"07", int64(7)},
		{"7", int64(8)},
		{"x", int64(0)},
		{strconv.Itoa(7), []byte("7")},
		{[]byte("7"), int64(7)},
		{[]byte{1}, []byte{1, 0}},
		{7.0, int64(7)},
		{true, int64(1)},
	} {
		require.False(t, sameIndex(other[0], other[1]), "%v", other)
	}
}
