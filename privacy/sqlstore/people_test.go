package sqlstore_test

import (
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// However a page falls, each id is listed once, in whatever column: also those
// that the column takes for equal, and those in many rows.
func TestPagesOfAnySizeListTheSamePersons(t *testing.T) {
	each(t, func(t *testing.T, db *sql.DB, name testdb.Name) {
		texts := []string{"'a'", "'A'", "'a '", "'b'", "'ä'", "'Ä'", "'c'", "'C'", "'c  '", "'d'"}
		columns := map[string][]string{}
		switch name {
		case testdb.SQLite:
			columns["x"] = append([]string{"1", "1.0", "-3", "9007199254740993", "x'7a'", "x'4100'"}, texts...)
			columns["x TEXT COLLATE NOCASE"] = texts
			columns["x DATETIME"], columns["x BOOLEAN"] = []string{"'2024-01-02'", "'2024-01-02 10:00:00'", "7"}, []string{"1", "0", "'t'"}
			columns["x REAL"] = []string{"1", "1e20", "'x1'"}
			columns["x INTEGER"] = []string{"1", "2", "3", "'x1'"}
		case testdb.MariaDB:
			columns["x VARCHAR(20)"], columns["x VARCHAR(20) COLLATE utf8mb4_bin"], columns["x VARCHAR(20) COLLATE utf8mb4_nopad_bin"] = texts, texts, texts
			columns["x BIGINT"] = []string{"1", "2", "-3"}
			columns["x DECIMAL(9, 2)"] = []string{"1.5", "2", "10"}
			columns["x VARBINARY(20)"] = []string{"x'61'", "x'4100'", "x'ff00'"}
		default:
			run(t, db, `CREATE COLLATION IF NOT EXISTS loosely (provider = icu, locale = 'und-u-ks-level2', deterministic = false)`)
			columns["x text"], columns["x varchar(20)"], columns["x text COLLATE loosely"] = texts, texts, texts
			columns["x char(4)"] = []string{"'a'", "'A'", "'b'", "'bb'"}
			columns["x bigint"] = []string{"1", "2", "-3"}
			columns["x numeric"] = []string{"1", "1.0", "1.00", "2", "10"}
			columns["x bytea"] = []string{`'\x61'`, `'\x4100'`, `'\xff00'`}
			columns["x uuid"] = []string{"'0192f0c1-2345-7000-8000-0000000000aa'", "'0192f0c1-2345-7000-8000-0000000000bb'"}
		}
		tables := 0
		for column, values := range columns {
			for _, index := range []bool{true, false} {
				tables++
				table := fmt.Sprint("pages_", tables)
				run(t, db, `CREATE TABLE `+table+` (id INTEGER PRIMARY KEY, `+column+`)`, `INSERT INTO `+table+` VALUES (0, NULL)`)
				if index {
					run(t, db, `CREATE INDEX `+table+`_x ON `+table+` (x)`)
				}
				for round := range 3 {
					for i, v := range values[:len(values)-round] {
						run(t, db, fmt.Sprintf(`INSERT INTO %s VALUES (%d, %s)`, table, 1+100*round+i, v))
					}
				}
				s := open(t, db, &datamap.Map{Tenant: "t1", Tables: []datamap.Table{{Name: table, Key: []string{"id"}, Person: "x", Erase: datamap.Delete}}})
				for _, rows := range []int{1, 2, 3, 4, 7, 1000} {
					s.PageRows(rows)
					all := listed(t, s)
					require.Len(t, all, len(values), "%s, pages of %d rows", column, rows)
					for _, id := range all {
						if strings.HasSuffix(column, "DATETIME") {
							break // the driver makes times of them, and no row is found
						}
						found, err := s.Find(t.Context(), datastore.Scope{Tenant: "t1", Person: id})
						require.NoError(t, err)
						require.NotEmpty(t, found, "%s: %q", column, id)
					}
					seen := map[string]bool{}
					for _, id := range all {
						require.False(t, seen[id], "%s: %q twice, pages of %d rows", column, id, rows)
						seen[id] = true
					}
				}
			}
		}
	})
}

// A page is read from the index alone, whatever the database knows of the table:
// no plan sorts or groups the table, or has other processes read it.
func TestAPageOfPersonsIsReadFromTheIndex(t *testing.T) {
	for _, name := range postgres {
		db := testdb.New(t, name).Open(t)
		run(t, db, `CREATE TABLE calls (id bigint PRIMARY KEY, person text)`, `CREATE INDEX calls_person ON calls (person)`,
			`INSERT INTO calls SELECT i, concat('p', i / 3) FROM generate_series(1, 60000) i`)
		require.NoError(t, privacy.Install(t.Context(), db))
		for _, known := range []bool{false, true} {
			if known {
				run(t, db, `ANALYZE`)
			}
			s := open(t, db, &datamap.Map{Tenant: "t1", Tables: []datamap.Table{{Name: "calls", Key: []string{"id"}, Person: "person", Erase: datamap.Delete}}})
			rows, err := db.QueryContext(t.Context(), "EXPLAIN "+s.PageQuery("calls", "person"), "p1")
			require.NoError(t, err)
			var plan []string
			for rows.Next() {
				var line string
				require.NoError(t, rows.Scan(&line))
				plan = append(plan, line)
			}
			require.NoError(t, rows.Err())
			limit := slices.IndexFunc(plan, func(line string) bool { return strings.Contains(line, "->  Limit") })
			require.Positive(t, limit, "%q", plan)
			require.Contains(t, plan[limit+1], "Index", "%q", plan)
			require.NotContains(t, strings.Join(plan, "\n"), "Gather")
		}
	}
}

// Ten thousand persons are one statement.
func TestPersonsAreListedInFewStatements(t *testing.T) {
	for _, name := range testdb.Names() {
		db, cutter := testdb.New(t, name).Cutting(t, name.Drivers()[0])
		db.SetMaxOpenConns(1)
		require.NoError(t, privacy.Install(t.Context(), db))
		run(t, db, `CREATE TABLE many (id VARCHAR(20) PRIMARY KEY)`)
		run(t, db, `INSERT INTO many WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900) SELECT concat('p', i) FROM n`)
		s := open(t, db, &datamap.Map{Tenant: "t1", Tables: []datamap.Table{{Name: "many", Key: []string{"id"}, Person: "id", Erase: datamap.Delete}}})
		for rows, want := range map[int]int{10_000: 1, 901: 1, 300: 4} {
			s.PageRows(rows)
			cutter.Counts()
			require.Len(t, listed(t, s), 900)
			if name == testdb.MariaDB && rows == 300 {
				want += 3 // whom the column takes for the last of a full page
			}
			require.Equal(t, want, cutter.Counts().Statements, "%s, pages of %d", name, rows)
		}
	}
}
