package sqlstore_test

import (
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// A key that is an instant has one name in sessions of every time zone: one process
// plans, another one reads back. An export has rows under such keys, and of one of
// somebody else's what points to the person, and nothing else.
func TestAKeyThatIsAnInstant(t *testing.T) {
	on(t, func(t *testing.T, db *sql.DB, kind sqldb.Kind) {
		zone := func(name string) {
			switch kind {
			case sqldb.Postgres:
				run(t, db, `SET TIME ZONE '`+name+`'`)
			case sqldb.MariaDB, sqldb.MySQL:
				run(t, db, `SET time_zone = '`+name+`'`)
			case sqldb.SQLite:
			}
		}
		typ := map[sqldb.Kind]string{sqldb.SQLite: "TEXT", sqldb.Postgres: "timestamptz", sqldb.MariaDB: "TIMESTAMP(6)"}[kind]
		zone("+00:00")
		run(t, db, `CREATE TABLE visits (at `+typ+` NOT NULL PRIMARY KEY, person VARCHAR(20), place VARCHAR(20))`, `CREATE TABLE notes (id VARCHAR(20) PRIMARY KEY, visit `+typ+`)`,
			`CREATE TABLE days (day DATE NOT NULL PRIMARY KEY, person VARCHAR(20), guest VARCHAR(20), note VARCHAR(20))`, `INSERT INTO days VALUES ('2026-01-02', 'p2', 'p1', 'of p2')`,
			`INSERT INTO visits VALUES ('2026-01-02 10:00:00.123456', 'p1', 'Bern'), ('2026-01-02 10:00:00', 'p2', 'Bern')`, `INSERT INTO notes VALUES ('n1', '2026-01-02 10:00:00.123456'), ('n2', '2026-01-02 10:00:00')`)
		s := storeOf(t, db, datamap.Table{Name: "visits", Key: []string{"at"}, Person: "person", Erase: datamap.Redact, Columns: []datamap.Column{{Name: "person", Erase: datamap.Retain}, {Name: "place", Category: "location"}}},
			datamap.Table{Name: "notes", Key: []string{"id"}, Erase: datamap.Delete, Edges: []datamap.Edge{edge("visit", "visits")}},
			datamap.Table{Name: "days", Key: []string{"day"}, Person: "person", Erase: datamap.Delete, Columns: []datamap.Column{{Name: "note", Category: "text"}}, Edges: []datamap.Edge{{Columns: []string{"guest"}, Unlink: datamap.Null}}})
		rows, err := s.Find(t.Context(), scopeOf("p1"))
		require.NoError(t, err)
		require.Len(t, rows, 3)
		zone("+09:00")
		missing, err := s.Missing(t.Context(), scopeOf("p1"), rows)
		require.NoError(t, err)
		require.Empty(t, missing)
		exported := 0
		for record, err := range s.Export(t.Context(), scopeOf("p1")) {
			require.NoError(t, err)
			for _, field := range record.Fields {
				require.NotEqual(t, "of p2", field.Value)
			}
			exported++
		}
		require.Equal(t, 3, exported)
		require.NoError(t, s.Erase(t.Context(), datastore.Scope{Tenant: "t1", Person: "p1"}, rows))
		require.Equal(t, []string{"Bern"}, texts(t, db, `SELECT place FROM visits WHERE person = 'p2'`))
		require.Equal(t, []string{datamap.RedactedText}, texts(t, db, `SELECT place FROM visits WHERE person = 'p1'`))
		require.Equal(t, []string{"n2"}, texts(t, db, `SELECT id FROM notes`))
		zone("-03:00")
		left, err := s.Remaining(t.Context(), scopeOf("p1"), rows)
		require.NoError(t, err)
		require.Zero(t, left)
	})
}
