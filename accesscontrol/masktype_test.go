package accesscontrol_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/internal/testdb"
)

// Columns of other types than text: the day, the moment, the number, and what
// is sealed. The ends of what a type holds are among the values, in a session
// far from UTC.
func TestMasksOfOtherTypes(t *testing.T) {
	for name, c := range map[testdb.Name]struct{ before, ddl, rows []string }{
		testdb.SQLite: {
			ddl:  []string{"day TEXT", "due TEXT", "n INTEGER", "sealed BLOB"},
			rows: []string{"'1987-05-03', '1987-05-03T10:00:00Z', 12345678, x'ff00'", "'infinity', NULL, -1234567, x''", "NULL, NULL, 1234567, NULL", "'0987-05-03', '1987', -9223372036854775808, x'6140622e63'"},
		},
		testdb.PostgresC: {
			before: []string{"SET TIME ZONE 'Pacific/Auckland'"},
			ddl:    []string{"day date", "due timestamptz", "n bigint", "sealed bytea"},
			rows: []string{
				`'1987-05-03', '1987-01-01 00:30:00+13', 12345678, '\xff00'`, `'infinity', 'infinity', -1234567, ''`, "'-infinity', '-infinity', 1234567, NULL", `'0987-05-03', '0999-12-31 23:59:59+00', -9223372036854775808, '\x6140622e63'`,
				"'1987-05-03 BC', '1987-05-03 10:00:00+00 BC', NULL, NULL", "'10000-01-01', '9999-12-31 23:59:59.999999+00', 0, NULL", "'1000-01-01', '1000-01-01 00:00:00+00', 99999999, NULL", "'9999-12-31', '10000-01-01 00:00:00+00', 9223372036854775807, NULL", "NULL, NULL, -12345678, NULL",
			},
		},
		testdb.MariaDB: {
			before: []string{"SET sql_mode = ''"},
			ddl:    []string{"day DATE", "due DATETIME(6)", "n BIGINT", "sealed VARBINARY(20)"},
			rows: []string{
				"'1987-05-03', '1987-01-01 00:30:00', 12345678, x'ff00'", "'0000-00-00', '0000-00-00 00:00:00', -1234567, x''", "'0987-05-03', '0999-12-31 23:59:59.999999', 1234567, NULL", "'1000-01-01', '1000-01-01 00:00:00', -9223372036854775808, x'6140622e63'",
				"'9999-12-31', '9999-12-31 23:59:59.999999', 99999999, NULL", "NULL, NULL, NULL, NULL",
			},
		},
	} {
		t.Run(string(name), func(t *testing.T) {
			d := testdb.New(t, name)
			for _, driver := range d.Name.Drivers() {
				db := d.OpenWith(t, driver)
				db.SetMaxOpenConns(1)
				for _, statement := range append(c.before, "DROP TABLE IF EXISTS people", "CREATE TABLE people (id INTEGER PRIMARY KEY, tenant VARCHAR(20) NOT NULL, "+strings.Join(c.ddl, ", ")+")") {
					_, err := db.ExecContext(t.Context(), statement)
					require.NoError(t, err, statement)
				}
				for i, row := range c.rows {
					_, err := db.ExecContext(t.Context(), "INSERT INTO people VALUES ("+string(rune('1'+i))+", 'main', "+row+")")
					require.NoError(t, err, row)
				}
				columns := []accesscontrol.Column{
					{Attr: "day", Mask: accesscontrol.MaskYear},
					{Attr: "due", Mask: accesscontrol.MaskYear, As: accesscontrol.Timestamp},
					{Attr: "n", Mask: accesscontrol.MaskLast4},
					{Attr: "day_all", Name: "day", Mask: accesscontrol.MaskAll},
					{Attr: "due_all", Name: "due", Mask: accesscontrol.MaskAll},
					{Attr: "day_read", Name: "day", Mask: accesscontrol.MaskYear, As: accesscontrol.Date}, // a policy may read it
					{Attr: "sealed", Mask: accesscontrol.MaskAll, Opaque: true},
				}
				_, rows := queried(t, db, d, maskedList(t, columns), "people", "day", "due", "n", "day", "due", "day", "sealed")
				require.Len(t, rows, len(c.rows))
				for _, row := range rows {
					for i, column := range columns {
						raw := row[len(columns)+i]
						if raw, is := raw.([]byte); is && raw == nil { // an empty blob, as SQLite's driver has it
							continue
						}
						require.Equal(t, column.Mask.Apply(raw), spoken(row[i]), "%s of %v (%T) on %s", column.Attr, raw, raw, driver)
					}
				}
			}
		})
	}
}

// A sealed column keeps its type, beside its mask too, which is a word whatever
// the mask: the database does not look under the seal.
func TestSealedColumnsKeepTheirType(t *testing.T) {
	testdb.EachDriver(t, func(t *testing.T, d testdb.Database, driver string) {
		db := d.OpenWith(t, driver)
		typ, literal := "BLOB", "x'6140622e63ff'"
		if driver == "pgx" || driver == "postgres" {
			typ, literal = "bytea", `'\x6140622e63ff'`
		}
		for _, statement := range []string{
			"CREATE TABLE people (id INTEGER PRIMARY KEY, tenant VARCHAR(20) NOT NULL, n BIGINT, sealed " + typ + ", plain VARCHAR(20))",
			"INSERT INTO people VALUES (1, 'main', 200, " + literal + ", 'ann@x'), (2, 'main', 1, " + literal + ", 'ann@x'), (3, 'main', 1, NULL, NULL), (4, 'main', NULL, " + literal + ", 'ann@x')",
		} {
			_, err := db.ExecContext(t.Context(), statement)
			require.NoError(t, err)
		}
		list := maskedList(t, []accesscontrol.Column{
			{Attr: "sealed", Mask: accesscontrol.MaskEmail, Opaque: true}, {Attr: "plain", Mask: accesscontrol.MaskEmail}, {Attr: "n", Mask: accesscontrol.MaskAll},
		}, `@id("some") permit (principal, action == Action::"person.read.pii", resource) when { resource has n && resource.n > 100 };`)
		_, rows := queried(t, db, d, list.WithVisibility(), "people", "id")
		require.Len(t, rows, 4)
		for i, want := range [][]any{
			{"a@b.c\xff", "2", "ann@x", "2", "200", "2"}, {"***", "1", "a***@x", "1", "***", "1"}, {nil, "1", nil, "1", "***", "1"}, {"***", "1", "a***@x", "1", nil, "1"},
		} {
			var got []any
			for _, v := range rows[i][:6] {
				if v != nil {
					v = canonical(v)
				}
				got = append(got, v)
			}
			require.Equal(t, want, got)
		}
	})
}
