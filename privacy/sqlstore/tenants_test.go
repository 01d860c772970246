package sqlstore_test

import (
	"database/sql"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/sqlstore"
)

// twoTenants is a database in which row keys are unique within a tenant only:
// contact c1 of tenant a is another record than contact c1 of tenant b.
func twoTenants(t *testing.T, db *sql.DB, erase datamap.Action) *sqlstore.Store {
	exec(t, db, `CREATE TABLE contacts (tenant TEXT, id TEXT, person TEXT, email BLOB, PRIMARY KEY (tenant, id)) STRICT`)
	exec(t, db, `CREATE TABLE notes (tenant TEXT, id TEXT, contact TEXT, body TEXT, PRIMARY KEY (tenant, id)) STRICT`)
	exec(t, db, `CREATE TABLE files (tenant TEXT, id TEXT, part INTEGER, contact TEXT, body TEXT, PRIMARY KEY (tenant, id, part)) STRICT`)
	exec(t, db, `INSERT INTO contacts VALUES ('a', 'c1', 'p1', ?), ('b', 'c1', 'p1', ?)`, []byte{1}, []byte{2})
	exec(t, db, `INSERT INTO notes VALUES ('a', 'n1', 'c1', 'of a'), ('b', 'n1', 'c1', 'of b'), ('b', 'n2', 'c1', 'of b')`)
	exec(t, db, `INSERT INTO files VALUES ('a', 'f1', 1, 'c1', 'of a'), ('b', 'f1', 1, 'c1', 'of b'), ('b', 'f2', 1, 'c1', 'of b')`)
	edge := []datamap.Edge{{Columns: []string{"contact"}, Table: "contacts"}}
	return open(t, db, &datamap.Map{Tables: []datamap.Table{
		{Name: "contacts", Tenant: "tenant", Key: []string{"id"}, Person: "person", Erase: datamap.Delete, Columns: []datamap.Column{{Name: "email", Category: "mail", Sealed: true}}},
		{Name: "notes", Tenant: "tenant", Key: []string{"id"}, Edges: edge, Erase: erase, Columns: []datamap.Column{{Name: "body", Category: "text"}}},
		{Name: "files", Tenant: "tenant", Key: []string{"id", "part"}, Edges: edge, Erase: erase, Columns: []datamap.Column{{Name: "body", Category: "text"}}},
	}})
}

// Equal ids are no bridge: erasing in one tenant leaves the other as it was.
func TestErasingOneTenantLeavesEqualIDsOfAnotherAlone(t *testing.T) {
	for _, action := range []datamap.Action{datamap.Delete, datamap.Null} {
		t.Run(string(action), func(t *testing.T) {
			each(t, func(t *testing.T, db *sql.DB, _ testdb.Name) {
				s := twoTenants(t, db, action)
				scope := datastore.Scope{Tenant: "a", Person: "p1"}
				rows, err := s.Find(t.Context(), scope)
				require.NoError(t, err)
				require.Len(t, rows, 3, "contact, note and file of tenant a")
				require.NoError(t, s.Erase(t.Context(), scope, nil))
				require.Equal(t, 1, count(t, db, `SELECT COUNT(*) FROM contacts`))
				for _, table := range []string{"notes", "files"} {
					of := `SELECT COUNT(*) FROM ` + table + ` WHERE body IS NOT NULL AND tenant = ?`
					require.Zero(t, count(t, db, of, "a"), "%s: %s", action, table)
					require.Equal(t, 2, count(t, db, of, "b"), "%s: %s", action, table)
				}
				left, err := s.Remaining(t.Context(), scope, rows)
				require.NoError(t, err)
				require.Zero(t, left, "rows of another tenant are not what is left")
			})
		})
	}
}

// An export holds nothing of another tenant, even where an edge has equal ids.
func TestAnExportHoldsNothingOfAnotherTenant(t *testing.T) {
	each(t, func(t *testing.T, db *sql.DB, _ testdb.Name) {
		s := twoTenants(t, db, datamap.Delete)
		var got []string
		for record, err := range s.Export(t.Context(), datastore.Scope{Tenant: "a", Person: "p1"}) {
			require.NoError(t, err)
			for _, f := range record.Fields {
				got = append(got, fmt.Sprintf("%s %s %v", record.Table, f.Name, f.Value))
			}
		}
		require.ElementsMatch(t, []string{
			"contacts id c1", "contacts tenant a", "contacts person p1", "contacts email [1]", "notes id n1", "notes tenant a", "notes contact c1", "notes body of a",
			"files id f1", "files part 1", "files tenant a", "files contact c1", "files body of a",
		}, got)
	})
}
