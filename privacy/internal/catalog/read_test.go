package catalog_test

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/internal/catalog"
)

func read(tb testing.TB, handle *sql.DB, m *datamap.Map) *catalog.Schema {
	tb.Helper()
	db, err := sqldb.Open(tb.Context(), handle)
	require.NoError(tb, err)
	s, err := catalog.Read(tb.Context(), db, m)
	require.NoError(tb, err)
	return s
}

func run(tb testing.TB, db *sql.DB, statements ...string) {
	tb.Helper()
	for _, statement := range statements {
		_, err := db.ExecContext(tb.Context(), statement)
		require.NoError(tb, err, statement)
	}
}

func TestWhatIsRead(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := d.Open(t)
		run(t, db, `CREATE TABLE parents (a INT NOT NULL, b INT NOT NULL, note VARCHAR(9), PRIMARY KEY (b, a))`,
			`CREATE TABLE children (id INT NOT NULL PRIMARY KEY, x INT, y INT, code VARCHAR(9) NOT NULL UNIQUE, CHECK (id > 0), FOREIGN KEY (y, x) REFERENCES parents (b, a) ON DELETE SET NULL)`,
			`CREATE INDEX by_both ON children (y, x)`, `CREATE VIEW seen AS SELECT id FROM children`, `CREATE TABLE crmguard_own (id INT)`)
		s := read(t, db, &datamap.Map{Tables: []datamap.Table{{Name: "children", Link: &datamap.Link{Table: "nowhere"}}}})
		var names []string
		for _, table := range s.Tables {
			names = append(names, table.Path()+" "+string(table.Form))
			require.True(t, table.Default)
			require.True(t, table.Atomic)
			require.False(t, table.Hides)
		}
		require.Equal(t, []string{"children table", "parents table", "seen view"}, names)
		parents, children := s.Table("parents"), s.Table("children")
		require.Equal(t, children, s.Table(children.Schema+".children"))
		require.Nil(t, s.Table("nowhere"))
		require.Nil(t, s.Table("crmguard_own"))
		require.Equal(t, "children", s.NameOf(children))
		require.Empty(t, s.NameOf(nil))
		exact := s.Kind == sqldb.Postgres
		if s.Kind == sqldb.MariaDB { // as the files are named
			require.NoError(t, db.QueryRowContext(t.Context(), `SELECT @@lower_case_table_names = 0`).Scan(&exact))
		}
		require.Equal(t, !exact, s.Table("CHILDREN") == children)

		require.Len(t, s.Foreign, 1)
		f := s.Foreign[0]
		require.Equal(t, children, f.Child)
		require.Equal(t, parents, f.Parent)
		require.Equal(t, []string{"y", "x"}, f.Columns)
		require.Equal(t, []string{"b", "a"}, f.To)
		require.Equal(t, catalog.SetNull, f.OnDelete)
		require.Equal(t, []string{"y", "x"}, f.Empties)
		require.False(t, f.Deferred)

		primary := map[bool][][]string{}
		for _, i := range append(parents.Indexes, children.Indexes...) {
			require.False(t, i.Partial)
			if i.Unique {
				primary[i.Primary] = append(primary[i.Primary], i.Columns)
			}
		}
		require.Equal(t, map[bool][][]string{true: {{"b", "a"}, {"id"}}, false: {{"code"}}}, primary)
		require.Len(t, children.Checks, 1)
		require.True(t, s.Column(children, "code").NotNull)
		require.False(t, s.Column(children, "x").NotNull)
		require.Nil(t, s.Column(children, "nowhere"))
		require.True(t, s.SameAll([]string{"a", "b"}, []string{"b", "a"}))
		require.False(t, s.SameAll([]string{"a", "b"}, []string{"b", "c"}))
	})
}

// Types of the servers, and what they hold.
func TestClasses(t *testing.T) {
	types := map[testdb.Name]map[string]catalog.Class{
		testdb.PostgresC: {
			"text": catalog.Text, "varchar(3)": catalog.Text, "char(3)": catalog.Text, "int": catalog.Integer, "bigint": catalog.Integer, "numeric(9,2)": catalog.Number,
			"boolean": catalog.Bool, "date": catalog.Date, "timestamptz": catalog.Instant, "uuid": catalog.UUID, "bytea": catalog.Bytes, "jsonb": catalog.JSON, "json": catalog.JSON,
			"inet": catalog.Other, "text[]": catalog.Compound, "xml": catalog.Compound, "oid": catalog.Large,
		},
		testdb.MariaDB: {
			"TEXT": catalog.Text, "VARCHAR(3)": catalog.Text, "INT UNSIGNED": catalog.Integer, "DECIMAL(9,2)": catalog.Number, "BOOLEAN": catalog.Bool, "DATE": catalog.Date,
			"DATETIME(6)": catalog.Instant, "UUID": catalog.UUID, "BINARY(16)": catalog.Bytes, "JSON": catalog.JSON, "ENUM('a','b')": catalog.Enum, "INET6": catalog.Other,
		},
	}
	for name, classes := range types {
		db := testdb.New(t, name).Open(t)
		for typ, class := range classes {
			run(t, db, `DROP TABLE IF EXISTS t`, `CREATE TABLE t (id INT PRIMARY KEY, x `+typ+`)`)
			s := read(t, db, nil)
			column := s.Column(s.Table("t"), "x")
			require.Equal(t, class, column.Class, typ)
			if strings.HasSuffix(strings.ToLower(typ), "char(3)") {
				require.EqualValues(t, 3, column.Size, typ)
			}
			if class == catalog.Enum {
				require.Equal(t, []string{"a", "b"}, column.Labels)
			}
		}
	}
	db := testdb.New(t, testdb.SQLite).Open(t)
	run(t, db, `CREATE TABLE t (id INTEGER PRIMARY KEY, x TEXT, y INT, z BLOB, w ANY) STRICT`, `CREATE TABLE u (id INTEGER PRIMARY KEY AUTOINCREMENT, x TEXT)`, `CREATE TABLE v (id INTEGER PRIMARY KEY) WITHOUT ROWID`)
	s := read(t, db, nil)
	for name, class := range map[string]catalog.Class{"id": catalog.Integer, "x": catalog.Text, "y": catalog.Integer, "z": catalog.Bytes, "w": catalog.Any} {
		require.Equal(t, class, s.Column(s.Table("t"), name).Class, name)
	}
	require.Equal(t, catalog.Any, s.Column(s.Table("u"), "x").Class)
	require.True(t, s.Table("t").Reuses)
	require.False(t, s.Table("u").Reuses)
	require.False(t, s.Table("v").Reuses)
}

func TestJSON(t *testing.T) {
	for class, want := range map[catalog.Class]bool{catalog.JSON: true, catalog.Any: true, catalog.Text: true, catalog.Integer: false} {
		require.Equal(t, want, catalog.Column{Class: class}.JSON())
	}
}

// CHECKs of SQLite are read from the statement that made the table.
func TestChecksOfSQLite(t *testing.T) {
	db := testdb.New(t, testdb.SQLite).Open(t)
	run(t, db, `CREATE TABLE t (a TEXT CHECK (a <> ')' AND (a IN ('x', 'it''s'))), checked TEXT, b INT check(b>0))`)
	var texts []string
	for _, check := range read(t, db, nil).Table("t").Checks {
		texts = append(texts, strings.TrimSpace(check.Text))
	}
	require.Equal(t, []string{`a <> ')' AND (a IN ('x', 'it''s'))`, "b>0"}, texts)
}

func TestADatabaseThatDoesNotAnswer(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db, err := sqldb.Open(t.Context(), d.Open(t))
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = catalog.Read(ctx, db, nil)
		require.ErrorIs(t, err, context.Canceled)
	})
}

// BenchmarkRead is what a look at a large schema costs: it is asked before an
// erasure.
func BenchmarkRead(b *testing.B) {
	for _, name := range testdb.Names() {
		b.Run(string(name)+"/tables=300", func(b *testing.B) {
			handle := testdb.New(b, name).Open(b)
			for i := range 300 {
				var columns []string
				for j := range 18 {
					columns = append(columns, fmt.Sprintf("c%d VARCHAR(40)", j))
				}
				run(b, handle, fmt.Sprintf("CREATE TABLE t%d (id BIGINT PRIMARY KEY, p BIGINT REFERENCES t%d (id), %s)", i, max(0, i-1), strings.Join(columns, ", ")),
					fmt.Sprintf("CREATE INDEX i%d ON t%d (p)", i, i))
			}
			db, err := sqldb.Open(b.Context(), handle)
			require.NoError(b, err)
			for b.Loop() {
				_, err := catalog.Read(b.Context(), db, nil)
				require.NoError(b, err)
			}
		})
	}
}
