package sqlstore_test

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// A joint record of one person's ids alone is theirs; with anybody else in it, of
// the same tenant, its text is withheld, under whichever id.
func TestARecordOfOnePersonUnderSeveralIDs(t *testing.T) {
	on(t, func(t *testing.T, db *sql.DB, _ sqldb.Kind) {
		exec(t, db, `CREATE TABLE talks (id INTEGER PRIMARY KEY, body TEXT)`)
		exec(t, db, `CREATE TABLE talkers (talk INTEGER, tenant TEXT, person TEXT)`)
		s := storeOf(t, db, datamap.Table{
			Name: "talks", Key: []string{"id"}, Erase: datamap.Delete,
			Link:    &datamap.Link{Table: "talkers", Record: "talk", Tenant: "tenant", Person: "person"},
			Columns: []datamap.Column{{Name: "body", Category: "text", Purpose: "dpv:CustomerRelationshipManagement", Basis: "dpv:Contract"}},
		})
		exec(t, db, `INSERT INTO talks VALUES (1, 'herself'), (2, 'with bob'), (3, 'with P1'), (4, 'with one of another tenant'), (5, 'alone')`)
		exec(t, db, `INSERT INTO talkers VALUES (1, 't1', 'p1'), (1, 't1', 'p2'), (2, 't1', 'p1'), (2, 't1', 'p2'), (2, 't1', 'bob'),
			(3, 't1', 'p1'), (3, 't1', 'P1'), (4, 't1', 'p1'), (4, 't1', 'p2'), (4, 't2', 'bob'), (5, 't1', 'p2')`)
		bodies := func(scope datastore.Scope) map[string]any {
			shown := map[string]any{}
			for r, err := range s.Export(t.Context(), scope) {
				require.NoError(t, err)
				for _, f := range r.Fields {
					if f.Name == "body" {
						require.Equal(t, f.Withhold != "", f.Value == nil)
						shown[r.Key] = f.Value
					}
				}
			}
			return shown
		}
		aliases := []string{"p1", "p2"}
		require.Equal(t, map[string]any{"1": "herself", "2": nil, "3": nil, "4": "with one of another tenant"}, bodies(datastore.Scope{Tenant: "t1", Person: "p1", Aliases: aliases}))
		require.Equal(t, map[string]any{"1": "herself", "2": nil, "4": "with one of another tenant", "5": "alone"}, bodies(datastore.Scope{Tenant: "t1", Person: "p2", Aliases: aliases}))
		require.Equal(t, map[string]any{"1": nil, "2": nil, "3": nil, "4": nil}, bodies(scopeOf("p1")))
	})
}

// A row of the person under one id that names them under another one is exported
// once, whole; of a row of somebody else that names them only what names them.
func TestARowThatNamesThePersonUnderAnotherID(t *testing.T) {
	on(t, func(t *testing.T, db *sql.DB, _ sqldb.Kind) {
		exec(t, db, `CREATE TABLE tasks (id INTEGER PRIMARY KEY, person TEXT, about TEXT, body TEXT)`)
		s := storeOf(t, db, datamap.Table{
			Name: "tasks", Key: []string{"id"}, Person: "person", Erase: datamap.Delete,
			Edges:   []datamap.Edge{{Columns: []string{"about"}, Unlink: datamap.Null}},
			Columns: []datamap.Column{{Name: "body", Category: "text", Purpose: "dpv:CustomerRelationshipManagement", Basis: "dpv:Contract"}},
		})
		exec(t, db, `INSERT INTO tasks VALUES (1, 'p1', 'p2', 'own'), (2, 'p1', 'p1', 'of herself'), (3, 'bob', 'p2', 'of bob'), (4, 'p1', 'bob', 'about bob')`)
		rows := func(aliases ...string) (list []string) {
			for _, person := range []string{"p1", "p2"} {
				for r, err := range s.Export(t.Context(), datastore.Scope{Tenant: "t1", Person: person, Aliases: aliases}) {
					require.NoError(t, err)
					var text strings.Builder
					text.WriteString(person + ":" + r.Key)
					for _, f := range r.Fields {
						if f.Withhold == "" {
							fmt.Fprint(&text, " ", f.Value)
						}
					}
					list = append(list, text.String())
				}
			}
			return list
		}
		require.Equal(t, []string{"p1:1 1 p1 p2 own", "p1:2 2 p1 p1 of herself", "p1:4 4 p1 about bob", "p2:3 p2"}, rows("p1", "p2"))
		require.Equal(t, []string{"p1:1 1 p1 own", "p1:2 2 p1 p1 of herself", "p1:4 4 p1 about bob", "p2:1 p2", "p2:3 p2"}, rows())
	})
}
