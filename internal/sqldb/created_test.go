package sqldb_test

import (
	"database/sql"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
)

// What a table of MariaDB is made of is told apart under every way of writing it down:
// names with quotes, points, line breaks and words of SQL in them, texts and comments
// with quotes and parentheses. Each CHECK that is read is what the database holds, and
// each part makes the same table again.
func TestPartsOfATableUnderEveryModeOfTheSession(t *testing.T) {
	d := testdb.New(t, testdb.MariaDB)
	db := d.Open(t)
	conn, err := db.Conn(t.Context())
	require.NoError(t, err)
	defer conn.Close()
	exec := func(query string) {
		t.Helper()
		_, err := conn.ExecContext(t.Context(), query)
		require.NoError(t, err, query)
	}
	exec("CREATE TABLE other (id INT PRIMARY KEY)")
	exec("CREATE TABLE made (" + strings.Join([]string{
		"id INT NOT NULL",
		"`a, CHECK (x` VARCHAR(40) DEFAULT 'CHECK (1), ''\\\\' COMMENT 'it''s CHECK (0), \\\\' CHECK (`a, CHECK (x` <> ''')(\\\\')",
		"`b``\"x` INT CHECK (`b``\"x` > - -1 AND `b``\"x` <> 7)",
		"`line\nbreak` INT",
		"`check` INT INVISIBLE DEFAULT (1 + (2))",
		"low INT AS (id + 1) STORED",
		"plain INT CHECK (plain <> 3)",
		"child INT",
		"PRIMARY KEY (id, `b``\"x`)",
		"UNIQUE KEY `CHECK (9)` (plain)",
		"CONSTRAINT `con``str\"aint` CHECK (id <> 4 AND low <> 5)",
		"CONSTRAINT `line\ncon` CHECK (id <> 8 /* ) */)",
		"CONSTRAINT `f ON UPDATE CASCADE` FOREIGN KEY (child) REFERENCES other (id) ON DELETE SET NULL",
	}, ", ") + ")")
	type said struct {
		kind           sqldb.PartKind
		name, in, rest string
	}
	// How texts are written the database decides: of what they are in, the end is asked for.
	want := []said{
		{sqldb.ColumnPart, "id", "", ""},
		{sqldb.ColumnPart, "a, CHECK (x", "...", ""},
		{sqldb.ColumnPart, "b`\"x", "...", ""},
		{sqldb.ColumnPart, "line\nbreak", "", ""},
		{sqldb.ColumnPart, "check", "", ""},
		{sqldb.ColumnPart, "low", "", ""},
		{sqldb.ColumnPart, "plain", "...", ""},
		{sqldb.ColumnPart, "child", "", ""},
		{sqldb.PrimaryKeyPart, "", "...", ""},
		{"", "", "", ""},
		{"", "", "", ""}, // the index of the foreign key
		{sqldb.CheckPart, "con`str\"aint", "...", ""},
		{sqldb.CheckPart, "line\ncon", "...", ""},
		{sqldb.ForeignKeyPart, "f ON UPDATE CASCADE", "...", " ON DELETE SET NULL"},
	}
	for _, mode := range []string{"", "ANSI_QUOTES", "NO_BACKSLASH_ESCAPES", "ANSI", "ORACLE", "ANSI_QUOTES,NO_BACKSLASH_ESCAPES"} {
		for _, quotes := range []string{"1", "0"} {
			t.Run(mode+" "+quotes, func(t *testing.T) {
				exec("SET sql_mode = '" + mode + "', sql_quote_show_create = " + quotes)
				parts, err := sqldb.Dialect{Kind: sqldb.MariaDB}.Parts(t.Context(), conn, "made")
				require.NoError(t, err)
				var have []said
				for _, p := range parts {
					one := said{p.Kind, p.Name, p.In, p.Rest}
					if one.kind == "" {
						one = said{}
					} else if one.in != "" {
						one.in = "..."
					}
					if p.Kind == sqldb.PrimaryKeyPart {
						one.rest = ""
					}
					have = append(have, one)
				}
				slices.SortStableFunc(have, func(a, b said) int { return order(a.kind) - order(b.kind) })
				wanted := slices.Clone(want)
				slices.SortStableFunc(wanted, func(a, b said) int { return order(a.kind) - order(b.kind) })
				require.Equal(t, wanted, have)
				again(t, conn)
				for _, p := range parts {
					if p.Kind != sqldb.ColumnPart && p.Kind != sqldb.CheckPart || p.In == "" {
						continue
					}
					// The condition is whole: the database reads it, about the table.
					var n int
					require.NoError(t, conn.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM made WHERE NOT ("+p.In+")").Scan(&n), p.In)
				}
			})
		}
	}
	// The texts have not become others on the way.
	exec("SET sql_mode = DEFAULT, sql_quote_show_create = 1")
	exec("INSERT INTO made (id, `a, CHECK (x`, `b``\"x`) VALUES (1, DEFAULT, 2)")
	var stands, comment string
	require.NoError(t, conn.QueryRowContext(t.Context(), "SELECT `a, CHECK (x` FROM made").Scan(&stands))
	require.Equal(t, `CHECK (1), '\`, stands)
	_, err = conn.ExecContext(t.Context(), "UPDATE made SET `a, CHECK (x` = ''')(\\\\'")
	require.ErrorContains(t, err, "4025")
	require.NoError(t, conn.QueryRowContext(t.Context(), "SELECT COLUMN_COMMENT FROM information_schema.COLUMNS WHERE TABLE_NAME = 'made' AND TABLE_SCHEMA = DATABASE() AND COLUMN_NAME = 'a, CHECK (x'").Scan(&comment))
	require.Equal(t, `it's CHECK (0), \`, comment)
}

func order(kind sqldb.PartKind) int {
	return slices.Index([]sqldb.PartKind{sqldb.ColumnPart, sqldb.PrimaryKeyPart, "", sqldb.CheckPart, sqldb.ForeignKeyPart}, kind)
}

// again makes each column with a CHECK anew, without it and with it.
func again(t *testing.T, conn *sql.Conn) {
	t.Helper()
	shown := func() (parts []sqldb.Part) {
		t.Helper()
		parts, err := sqldb.Dialect{Kind: sqldb.MariaDB}.Parts(t.Context(), conn, "made")
		require.NoError(t, err)
		return parts
	}
	before := shown()
	for _, p := range before {
		if p.Kind != sqldb.ColumnPart || p.In == "" {
			continue
		}
		for _, text := range []string{p.Bare, p.Text} {
			_, err := conn.ExecContext(t.Context(), "ALTER TABLE made MODIFY "+text)
			require.NoError(t, err, text)
			i := slices.IndexFunc(shown(), func(now sqldb.Part) bool { return now.Name == p.Name })
			require.Equal(t, text, shown()[i].Text)
		}
	}
	require.Equal(t, before, shown())
}
