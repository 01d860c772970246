package sqlstore_test

import (
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/sqlstore"
)

// Of identities that no column holds, and of counters of columns that hold text,
// the database is not asked: both would be, in every erasure.
func TestWhatTheMapRulesOutIsNotAsked(t *testing.T) {
	for _, name := range testdb.Names() {
		t.Run(string(name), func(t *testing.T) {
			db, cutter := testdb.New(t, name).Cutting(t, name.Drivers()[0])
			db.SetMaxOpenConns(1)
			require.NoError(t, privacy.Install(t.Context(), db))
			run(t, db, `CREATE TABLE leads (id VARCHAR(40) PRIMARY KEY, person VARCHAR(40))`, `CREATE TABLE hints (id VARCHAR(40) PRIMARY KEY, person VARCHAR(40))`)
			var tables []datamap.Table
			for _, table := range []string{"leads", "hints"} {
				tables = append(tables, datamap.Table{Name: table, Key: []string{"id"}, Person: "person", Erase: datamap.Delete})
			}
			s := storeOf(t, db, tables...)
			cutter.Counts()
			known, err := s.Identities(t.Context(), scopeOf("p1"))
			require.NoError(t, err)
			require.Empty(t, known)
			require.Zero(t, cutter.Counts().Statements)
			tops, err := s.Tops(t.Context())
			require.NoError(t, err)
			require.Empty(t, tops)
			require.LessOrEqual(t, cutter.Counts().Statements, 1, "on SQLite, whether any table counts")
		})
	}
}

// A number within a text is none: PostgreSQL lets a sequence make a part of one.
func TestATextWithANumberHasNoCounter(t *testing.T) {
	on(t, func(t *testing.T, db *sql.DB, kind sqldb.Kind) {
		if kind != sqldb.Postgres {
			return
		}
		run(t, db, `CREATE SEQUENCE badge`, `CREATE TABLE leads (id text PRIMARY KEY DEFAULT 'C' || nextval('badge'), person text)`, `INSERT INTO leads (person) VALUES ('p1')`)
		s := storeOf(t, db, datamap.Table{Name: "leads", Key: []string{"id"}, Person: "person", Erase: datamap.Delete})
		tops, err := s.Tops(t.Context())
		require.NoError(t, err)
		require.Empty(t, tops)
		var none *sqlstore.NumberError
		require.ErrorAs(t, s.Advance(t.Context(), map[string]int64{"leads.id": 7}), &none)
	})
}
