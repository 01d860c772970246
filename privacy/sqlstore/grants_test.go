package sqlstore_test

import (
	"cmp"
	"context"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/sqlstore"
)

// A role with the rights that are listed does the whole work of a store, and
// each of them is needed: without it something fails and says that a right is
// missing.
func TestTheGrantsAreEnoughAndEachIsNeeded(t *testing.T) {
	for _, name := range []testdb.Name{testdb.PostgresC, testdb.MariaDB} {
		for _, driver := range name.Drivers() {
			t.Run(string(name)+"/"+driver, func(t *testing.T) {
				d := testdb.New(t, name)
				owner := d.Open(t)
				role, as := d.Role(t)
				require.NoError(t, privacy.Install(t.Context(), owner))
				number := map[testdb.Name]string{testdb.MariaDB: "bigint AUTO_INCREMENT"}[name]
				run(t, owner, `CREATE TABLE cases (id `+cmp.Or(number, "bigserial")+` PRIMARY KEY, person varchar(40))`,
					`CREATE TABLE papers (id bigint PRIMARY KEY, case_id bigint, body varchar(40))`,
					`CREATE TABLE bills (id bigint PRIMARY KEY, person varchar(40), name varchar(40), phone varchar(40), issued bigint)`,
					`CREATE TABLE visits (id bigint PRIMARY KEY, person varchar(40), place varchar(40), day bigint)`,
					`CREATE TABLE talks (id bigint PRIMARY KEY, body varchar(40))`,
					`CREATE TABLE talk_persons (talk bigint, person varchar(40), PRIMARY KEY (talk, person))`)
				m := &datamap.Map{Tenant: "t1", Tables: []datamap.Table{
					{Name: "cases", Key: []string{"id"}, Person: "person", Erase: datamap.Delete},
					{Name: "papers", Key: []string{"id"}, Edges: []datamap.Edge{{Columns: []string{"case_id"}, Table: "cases"}}, Erase: datamap.Delete, Columns: []datamap.Column{{Name: "body", Category: "text"}}},
					{
						Name: "bills", Key: []string{"id"}, Person: "person", Erase: datamap.Delete, Keep: &datamap.Keep{Because: "law", From: "issued", Years: 10},
						Columns: []datamap.Column{{Name: "person", Category: "id", Erase: datamap.Retain}, {Name: "name", Category: "name", Erase: datamap.Redact}, {Name: "phone", Category: "phone", Erase: datamap.Null}},
					},
					{
						Name: "visits", Key: []string{"id"}, Person: "person", Erase: datamap.Null, Keep: &datamap.Keep{Because: "law", From: "day", Years: 10},
						Columns: []datamap.Column{{Name: "person", Category: "id", Erase: datamap.Retain}, {Name: "place", Category: "place", Erase: datamap.Retain}},
					},
					{
						Name: "talks", Key: []string{"id"}, Erase: datamap.Delete, Link: &datamap.Link{Table: "talk_persons", Record: "talk", Person: "person"},
						Columns: []datamap.Column{{Name: "body", Category: "text"}},
					},
					{Name: "talk_persons", Key: []string{"talk", "person"}, Person: "person", Erase: datamap.Delete},
				}}
				for _, right := range d.Rights(t, privacy.Grants(), role) {
					run(t, owner, right.Grant)
				}
				rights, err := sqlstore.Grants(t.Context(), owner, m, role)
				require.NoError(t, err)
				require.Greater(t, len(rights), 10)
				require.Len(t, slices.Compact(slices.Sorted(slices.Values(rights))), len(rights), "a link table that is listed needs a right once")
				run(t, owner, rights...)
				db := as.OpenWith(t, driver)

				work := func() error {
					for _, table := range []string{"cases", "papers", "bills", "visits", "talks", "talk_persons"} {
						run(t, owner, `DELETE FROM `+table)
					}
					run(t, owner, `INSERT INTO cases VALUES (1, 'p1')`, `INSERT INTO papers VALUES (1, 1, 'text')`,
						`INSERT INTO bills VALUES (1, 'p1', 'Name', '7', 1790000000000000), (2, 'p1', 'Name', '7', 990000000000000)`,
						`INSERT INTO visits VALUES (1, 'p1', 'Bern', 990000000000000)`, `INSERT INTO talks VALUES (1, 'both'), (2, 'alone')`, `INSERT INTO talk_persons VALUES (1, 'p1'), (1, 'p2'), (2, 'p1')`)
					store, err := sqlstore.Open(t.Context(), sqlstore.Config{
						DB: db, Map: m, Redact: func(context.Context, sqlstore.JointRow) (sqlstore.Redaction, error) { return sqlstore.Redaction{}, nil },
					})
					if err != nil {
						return err
					}
					scope := datastore.Scope{Tenant: "t1", Person: "p1"}
					found, err := store.Find(t.Context(), scope)
					if err != nil {
						return err
					}
					tops, err := store.Tops(t.Context())
					if err != nil {
						return err
					}
					if err := store.Advance(t.Context(), map[string]int64{"cases.id": tops["cases.id"] + 1}); err != nil {
						return err
					}
					for _, err := range store.Export(t.Context(), datastore.Scope{Tenant: "t1", Person: "p1"}) {
						if err != nil {
							return err
						}
					}
					if err := store.Erase(t.Context(), scope, nil); err != nil {
						return err
					}
					left, err := store.Remaining(t.Context(), scope, found)
					if err != nil {
						return err
					}
					require.Zero(t, left)
					for _, err := range store.People(t.Context()) {
						if err != nil {
							return err
						}
					}
					return nil
				}
				require.NoError(t, work())
				require.Equal(t, 1, count(t, owner, `SELECT COUNT(*) FROM bills WHERE name = '[redacted]' AND phone IS NULL`))
				require.Equal(t, 1, count(t, owner, `SELECT COUNT(*) FROM talks`))
				require.Equal(t, 1, count(t, owner, `SELECT COUNT(*) FROM visits WHERE person = 'p1' AND place IS NULL`))
				for _, right := range rights {
					run(t, owner, strings.Replace(strings.Replace(right, "GRANT ", "REVOKE ", 1), " TO ", " FROM ", 1))
					err := work()
					require.Error(t, err, right)
					if name == testdb.PostgresC || !strings.HasPrefix(right, "GRANT SELECT") { // MariaDB does not show a table that may not be read
						require.ErrorIs(t, err, fs.ErrPermission, right)
					}
					run(t, owner, right)
				}
				require.NoError(t, work())
			})
		}
	}
}
