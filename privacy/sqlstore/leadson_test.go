package sqlstore_test

import (
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy/datamap"
)

// A row that lost its person since it was found is somebody else's only where what
// it names leads to somebody: a company of nobody, one that is not there, a circle
// and an empty id do not.
func TestWhatNamesOnlyWhatIsNobodysIsLeft(t *testing.T) {
	on(t, func(t *testing.T, db *sql.DB, _ sqldb.Kind) {
		run(t, db, `CREATE TABLE contacts (id VARCHAR(20) PRIMARY KEY, person VARCHAR(20), email VARCHAR(50))`, `CREATE TABLE companies (id VARCHAR(20) PRIMARY KEY, contact VARCHAR(20), parent VARCHAR(20))`,
			`CREATE TABLE talks (id VARCHAR(20) PRIMARY KEY)`, `CREATE TABLE links (talk VARCHAR(20), person VARCHAR(20))`,
			`CREATE TABLE deals (id VARCHAR(40) PRIMARY KEY, owner VARCHAR(20), company VARCHAR(20), talk VARCHAR(20))`,
			`INSERT INTO contacts VALUES ('c2', 'p2', 'x')`, `INSERT INTO companies VALUES ('k1', NULL, 'k1'), ('k2', 'c2', NULL), ('k3', NULL, 'k2')`,
			`INSERT INTO talks VALUES ('t1'), ('t2')`, `INSERT INTO links VALUES ('t2', 'p2')`,
			`INSERT INTO deals VALUES ('of nobody', 'p1', 'k1', NULL), ('of what is not there', 'p1', 'k9', NULL), ('an empty id', 'p1', NULL, NULL), ('over a record of nobody', 'p1', NULL, 't1'),
				('theirs', 'p1', 'k2', NULL), ('theirs over two', 'p1', 'k3', NULL), ('theirs over a record', 'p1', NULL, 't2'), ('theirs by name', 'p1', NULL, NULL)`)
		s := storeOf(t, db, contacts, datamap.Table{Name: "companies", Key: []string{"id"}, Erase: datamap.Delete, Edges: []datamap.Edge{edge("contact", "contacts"), edge("parent", "companies")}},
			datamap.Table{Name: "talks", Key: []string{"id"}, Erase: datamap.Delete, Link: &datamap.Link{Table: "links", Record: "talk", Person: "person"}},
			datamap.Table{Name: "deals", Key: []string{"id"}, Person: "owner", Erase: datamap.Delete, Edges: []datamap.Edge{edge("company", "companies"), edge("talk", "talks")}})
		rows, err := s.Find(t.Context(), scopeOf("p1"))
		require.NoError(t, err)
		require.Len(t, rows, 8)
		run(t, db, `UPDATE deals SET owner = NULL`, `UPDATE deals SET owner = '' WHERE id = 'an empty id'`, `UPDATE deals SET owner = 'p2' WHERE id = 'theirs by name'`)
		left, err := s.Remaining(t.Context(), scopeOf("p1"), rows)
		require.NoError(t, err)
		require.Equal(t, 4, left)
		run(t, db, `DELETE FROM deals WHERE id LIKE 'o%' OR id LIKE 'an%'`)
		left, err = s.Remaining(t.Context(), scopeOf("p1"), rows)
		require.NoError(t, err)
		require.Zero(t, left)
	})
}
