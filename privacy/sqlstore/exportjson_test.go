package sqlstore_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/sqlstore"
)

// fieldsOf are the fields of one exported row, by name.
func fieldsOf(t *testing.T, s *sqlstore.Store, person, key string) map[string]datastore.Field {
	t.Helper()
	fields := map[string]datastore.Field{}
	for r, err := range s.Export(t.Context(), scopeOf(person)) {
		require.NoError(t, err)
		for _, f := range r.Fields {
			if r.Key == key {
				require.NotContains(t, fields, f.Name, "each once")
				fields[f.Name] = f
			}
		}
	}
	require.NotEmpty(t, fields)
	return fields
}

// A JSON column is one document in an export, without the members that the map
// withholds, which are said; the others keep their bytes.
func TestAnExportCutsMembersOutOfADocument(t *testing.T) {
	on(t, func(t *testing.T, db *sql.DB, kind sqldb.Kind) {
		for _, typ := range map[sqldb.Kind][]string{sqldb.SQLite: {"TEXT"}, sqldb.Postgres: {"jsonb", "json", "text"}, sqldb.MariaDB: {"JSON"}}[kind] {
			table := tableOf("profiles", typ)
			run(t, db, `CREATE TABLE `+table+` (id VARCHAR(20) PRIMARY KEY, person VARCHAR(20), attribs `+typ+`)`,
				`INSERT INTO `+table+` VALUES ('c1', 'p1', '{"name": "Ann", "token": "t0ken", "seen": [{"by": "Bob"}, "Ann", 12345678901234567890], "other": {"a/b": 1}}'), ('c2', 'p1', NULL), ('c3', 'p1', '{"name": "Ann"}'), ('c4', 'p1', '"token"')`)
			declared := changing(table, datamap.Column{Name: "attribs", Path: "/name", Erase: datamap.Null})
			declared.Columns = append(declared.Columns,
				datamap.Column{Name: "attribs", Path: "/token", Withhold: "a token"}, datamap.Column{Name: "attribs", Path: "/seen/0", Withhold: "other people's text"},
				datamap.Column{Name: "attribs", Path: "/other/a~1b", Withhold: "internal"})
			s := storeOf(t, db, declared)

			fields := fieldsOf(t, s, "p1", "c1")
			document, err := json.Marshal(fields["attribs"].Value)
			require.NoError(t, err, "%T", fields["attribs"].Value)
			require.JSONEq(t, `{"name": "Ann", "seen": [null, "Ann", 12345678901234567890], "other": {}}`, string(document))
			require.Contains(t, string(document), "12345678901234567890", "every digit")
			require.Equal(t, "a token", fields["attribs/token"].Withhold)
			require.Equal(t, "other people's text", fields["attribs/seen/0"].Withhold)
			require.Equal(t, "internal", fields["attribs/other/a~1b"].Withhold)
			require.NotContains(t, fields, "attribs/name")

			require.Nil(t, fieldsOf(t, s, "p1", "c2")["attribs"].Value)
			require.Len(t, fieldsOf(t, s, "p1", "c3"), len(fields)-3, "what is not there was not cut out")
			require.NotContains(t, fieldsOf(t, s, "p1", "c4"), "attribs/token")
			if typ != "TEXT" && typ != "text" {
				continue
			}
			run(t, db, `CREATE TABLE broken_`+table+` (id VARCHAR(20) PRIMARY KEY, person VARCHAR(20), attribs `+typ+`)`, `INSERT INTO broken_`+table+` VALUES ('c5', 'p2', '{"token": "t0ken"')`)
			goes := datamap.Table{Name: "broken_" + table, Key: []string{"id"}, Person: "person", Erase: datamap.Delete, Columns: declared.Columns[2:]}
			broken := fieldsOf(t, storeOf(t, db, goes), "p2", "c5")["attribs"]
			require.Nil(t, broken.Value, "one cell that is broken keeps nothing else back")
			require.Contains(t, broken.Withhold, "no JSON")
		}
	})
}

// A row of somebody else that points to the person comes with what points, and
// nothing else of it; of the person's own, ids of others are left out.
func TestAnExportHasWhatPointsToThePerson(t *testing.T) {
	on(t, func(t *testing.T, db *sql.DB, _ sqldb.Kind) {
		run(t, db, `CREATE TABLE staff (id VARCHAR(20) PRIMARY KEY, chief VARCHAR(20), buddy VARCHAR(20), name VARCHAR(50))`,
			`INSERT INTO staff VALUES ('p1', 'p2', NULL, 'Ann'), ('p2', NULL, 'p1', 'Bob'), ('p3', 'p1', 'p1', 'Eve')`)
		s := storeOf(t, db, datamap.Table{
			Name: "staff", Key: []string{"id"}, Person: "id", Erase: datamap.Delete,
			Edges:   []datamap.Edge{{Columns: []string{"chief"}, Table: "staff", Unlink: datamap.Null}, {Columns: []string{"buddy"}, Unlink: datamap.Null}},
			Columns: []datamap.Column{{Name: "name", Category: "contact.name", Purpose: "dpv:CustomerRelationshipManagement", Basis: "dpv:Contract"}},
		})
		text := func(key, column string) string {
			f := fieldsOf(t, s, "p1", key)[column]
			return fmt.Sprint(f.Value, " ", f.Withhold)
		}
		require.Equal(t, "Ann ", text("p1", "name"))
		require.Equal(t, "<nil> leads to somebody else", text("p1", "chief"))
		require.Equal(t, "<nil> ", text("p1", "buddy"), "NULL says nothing of anybody")
		require.Equal(t, "p1 ", text("p2", "buddy"))
		for _, column := range []string{"id", "chief", "name"} {
			require.Equal(t, "<nil> of a record about somebody else", text("p2", column))
		}
		require.Equal(t, "p1 ", text("p3", "buddy"))
		require.Equal(t, "p1 ", text("p3", "chief"), "over two edges, one row")
	})
}
