package sqldb_test

import (
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
)

// A value is found by its one text and by no other that the database takes for
// equal, and comes back as that text.
func TestAValueIsNamedByOneText(t *testing.T) {
	for _, name := range testdb.Names() {
		t.Run(string(name), func(t *testing.T) {
			db, err := sqldb.Open(t.Context(), testdb.New(t, name).Open(t))
			require.NoError(t, err)
			types := map[string][]string{ // the value, then others
				"INTEGER": {"7", "07", "+7", "8"}, "varchar(20)": {"ab", "AB", "ab ", "äb"},
			}
			switch db.Kind { //nolint:exhaustive // MySQL is as MariaDB
			case sqldb.Postgres:
				types["uuid"] = []string{"8c5f0f7e-0000-4000-8000-00000000000a", "8C5F0F7E-0000-4000-8000-00000000000A"}
				types[`varchar(9) COLLATE "en-x-icu"`] = []string{"ab", "AB"}
			case sqldb.MariaDB:
				types["UUID"] = []string{"8c5f0f7e-0000-4000-8000-00000000000a", "8C5F0F7E-0000-4000-8000-00000000000A"}
				types["ENUM('2', 'b', 'a')"] = []string{"b", "2", "B"}
				types["VARBINARY(9)"] = []string{"ab", "AB", "ab "}
			case sqldb.SQLite:
				types["TEXT COLLATE NOCASE"] = []string{"ab", "AB"}
				types["TEXT COLLATE RTRIM"] = []string{"ab", "ab "}
			}
			n := 0
			for typ, texts := range types {
				n++
				table := "named" + string(rune('a'+n))
				_, err := db.ExecContext(t.Context(), `CREATE TABLE `+table+` (v `+typ+`)`)
				require.NoError(t, err)
				_, err = db.ExecContext(t.Context(), db.Bind(`INSERT INTO `+table+` VALUES (?)`), texts[0])
				require.NoError(t, err)
				columns, err := db.Columns(t.Context(), db, table, "v")
				require.NoError(t, err)
				for i, text := range texts {
					var read any
					where, args := db.Named(columns[0], text)
					err := sqldb.One(t.Context(), db, []any{&read}, db.Bind(`SELECT `+db.Text(columns[0])+` FROM `+table+` WHERE `+where), args...)
					if i > 0 {
						require.ErrorIs(t, err, sql.ErrNoRows, "%s %q", typ, text)
						continue
					}
					require.NoError(t, err, "%s %q", typ, text)
					switch v := columns[0].Read(read).(type) {
					case []byte:
						require.Equal(t, text, string(v))
					case int64:
						require.Equal(t, "7", text)
						require.EqualValues(t, 7, v)
					default:
						require.Equal(t, text, v)
					}
				}
			}
		})
	}
}

// Whoever writes into a table of others needs none of the library's own.
func TestWritingIntoATableOfOthersNeedsNoneOfOurs(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db, err := sqldb.Open(t.Context(), d.Open(t))
		require.NoError(t, err)
		_, err = db.ExecContext(t.Context(), `CREATE TABLE others (n INTEGER)`)
		require.NoError(t, err)
		require.NoError(t, db.For("others").Write(t.Context(), func(tx *sql.Tx) error {
			_, err := tx.ExecContext(t.Context(), `INSERT INTO others VALUES (1)`)
			return err
		}))
		var n int
		require.NoError(t, sqldb.One(t.Context(), db, []any{&n}, `SELECT COUNT(*) FROM others`))
		require.Equal(t, 1, n)
	})
}
