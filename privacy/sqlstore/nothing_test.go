package sqlstore_test

import (
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/sqlstore"
)

// What one statement says of all tables behind an erasure is what a search says: of
// rows of the person, of rows under a key that was deleted, and of rows that name one.
func TestARowThatIsPutBackIsReadBack(t *testing.T) {
	on(t, func(t *testing.T, db *sql.DB, _ sqldb.Kind) {
		run(t, db, `CREATE TABLE leads (id VARCHAR(40) PRIMARY KEY, person VARCHAR(40))`, `CREATE TABLE hints (id VARCHAR(40) PRIMARY KEY, lead VARCHAR(40))`,
			`INSERT INTO leads VALUES ('l1', 'p1')`, `INSERT INTO leads VALUES ('l2', 'p2')`, `INSERT INTO hints VALUES ('h1', 'l1')`, `INSERT INTO hints VALUES ('h2', 'l2')`)
		s := storeOf(t, db,
			datamap.Table{Name: "leads", Key: []string{"id"}, Person: "person", Erase: datamap.Delete},
			datamap.Table{Name: "hints", Key: []string{"id"}, Edges: []datamap.Edge{{Columns: []string{"lead"}, Table: "leads"}}, Erase: datamap.Delete})
		found, err := s.Find(t.Context(), scopeOf("p1"))
		require.NoError(t, err)
		require.Len(t, found, 2)
		require.NoError(t, s.Erase(t.Context(), scopeOf("p1"), found))
		left := func() int {
			n, err := s.Remaining(t.Context(), scopeOf("p1"), found)
			require.NoError(t, err)
			return n
		}
		require.Zero(t, left())
		for put, takeAway := range map[string]string{
			`INSERT INTO leads VALUES ('l3', 'p1')`: `DELETE FROM leads WHERE id = 'l3'`,
			`INSERT INTO leads VALUES ('l1', NULL)`: `DELETE FROM leads WHERE id = 'l1'`,
			`INSERT INTO hints VALUES ('h3', 'l1')`: `DELETE FROM hints WHERE id = 'h3'`,
		} {
			run(t, db, put)
			require.Equal(t, 1, left(), put)
			run(t, db, takeAway)
			require.Zero(t, left())
		}
		run(t, db, `INSERT INTO leads VALUES ('L1', 'P1')`)
		require.Zero(t, left(), "which a database may take for equal, and is somebody else's")
	})
}

// A trigger of PostgreSQL that writes again what was deleted takes the erasure back,
// too.
func TestWhatATriggerPutsBackTakesTheErasureBack(t *testing.T) {
	on(t, func(t *testing.T, db *sql.DB, kind sqldb.Kind) {
		if kind != sqldb.Postgres {
			return
		}
		run(t, db, `CREATE TABLE leads (id text PRIMARY KEY, person text)`, `INSERT INTO leads VALUES ('l1', 'p1')`,
			`CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO leads VALUES (old.id || 'x', old.person); RETURN NULL; END $$`,
			`CREATE TRIGGER again AFTER DELETE ON leads FOR EACH ROW EXECUTE FUNCTION again()`)
		s := storeOf(t, db, datamap.Table{Name: "leads", Key: []string{"id"}, Person: "person", Erase: datamap.Delete})
		var again *sqlstore.RemainingError
		require.ErrorAs(t, s.Erase(t.Context(), scopeOf("p1"), nil), &again)
		require.Equal(t, []string{"l1"}, texts(t, db, `SELECT id FROM leads`))
	})
}
