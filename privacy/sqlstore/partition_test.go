package sqlstore_test

import (
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/sqlstore"
)

// A partition, and a table that inherits from another one, may have foreign keys
// that the whole has not. What they take along is noticed all the same.
func TestACascadeOfAPartReachesNobodyElse(t *testing.T) {
	whole := map[string][]string{
		"a partition": {
			`CREATE TABLE calls (id bigint PRIMARY KEY, person text, boss bigint, issued bigint) PARTITION BY RANGE (id)`,
			`CREATE TABLE calls_old PARTITION OF calls FOR VALUES FROM (1) TO (10) PARTITION BY RANGE (id)`,
			`CREATE TABLE calls_1 PARTITION OF calls_old FOR VALUES FROM (1) TO (10)`,
		},
		"an heir": {
			`CREATE TABLE calls (id bigint PRIMARY KEY, person text, boss bigint, issued bigint)`,
			`CREATE TABLE calls_1 (PRIMARY KEY (id)) INHERITS (calls)`,
		},
	}
	for name, ddl := range whole {
		t.Run(name, func(t *testing.T) {
			eachDriver(t, func(t *testing.T, db *sql.DB, database testdb.Name) {
				if database == testdb.MariaDB {
					return // has no foreign keys of a part
				}
				run(t, db, ddl...)
				run(t, db, `CREATE TABLE staff (id bigint PRIMARY KEY, person text)`, `CREATE INDEX staff_person ON staff (person)`, `CREATE INDEX calls_person ON calls (person)`,
					`ALTER TABLE calls_1 ADD CONSTRAINT theirs FOREIGN KEY (boss) REFERENCES staff (id) ON DELETE CASCADE`,
					`INSERT INTO staff VALUES (1, 'p1')`, `INSERT INTO calls_1 VALUES (1, 'p2', 1, 0)`)
				part := "calls"
				if name == "an heir" {
					part = "calls_1" // is a table of its own
				}
				calls := datamap.Table{Name: part, Key: []string{"id"}, Person: "person", Erase: datamap.Delete, Columns: []datamap.Column{{Name: "boss"}, {Name: "issued"}}}
				staff := datamap.Table{Name: "staff", Key: []string{"id"}, Person: "person", Erase: datamap.Delete}
				m := &datamap.Map{Tenant: "t1", Tables: []datamap.Table{staff, calls}}
				var lost *sqlstore.LostError
				require.ErrorAs(t, open(t, db, m).Erase(t.Context(), datastore.Scope{Tenant: "t1", Person: "p1"}, nil), &lost)
				require.Equal(t, part, lost.Table)
				require.Equal(t, 1, count(t, db, `SELECT COUNT(*) FROM calls`))
				require.Equal(t, 1, count(t, db, `SELECT COUNT(*) FROM staff`))

				// What the map keeps is refused at the start, from either side.
				kept := calls
				kept.Keep = &datamap.Keep{Because: "law", From: "issued", Years: 10}
				kept.Columns = append([]datamap.Column{{Name: "person", Category: "id", Erase: datamap.Retain}}, kept.Columns...)
				refused := func(m *datamap.Map, deleted, keeps string) {
					t.Helper()
					_, err := sqlstore.Open(t.Context(), sqlstore.Config{DB: db, Name: "crm", Map: m})
					require.Equal(t, &sqlstore.CascadeError{Deleted: deleted, Kept: keeps}, err)
				}
				refused(&datamap.Map{Tenant: "t1", Tables: []datamap.Table{staff, kept}}, "staff", part)
				run(t, db, `CREATE TABLE bills (id bigint PRIMARY KEY, person text, boss bigint REFERENCES calls_1 (id) ON DELETE CASCADE, issued bigint)`)
				kept.Name = "bills"
				refused(&datamap.Map{Tenant: "t1", Tables: []datamap.Table{calls, kept}}, part, "bills")
			})
		})
	}
}
