package sqlstore_test

import (
	"database/sql"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/sqlstore"
)

// A path whose step is every item means each of them, for what erases, what reads
// back and what exports alike.
func TestEveryItemOfADocument(t *testing.T) {
	on(t, func(t *testing.T, db *sql.DB, kind sqldb.Kind) {
		for _, typ := range map[sqldb.Kind][]string{sqldb.SQLite: {"TEXT"}, sqldb.Postgres: {"jsonb", "json", "text"}, sqldb.MariaDB: {"JSON"}}[kind] {
			table := tableOf("orders", typ)
			const before = `{"items": [{"email": "ann@a.example", "n": 1}, {"n": 2}, {"email": null}, {"email": "b@a.example"}, "x"], "by": {"home": "Ann", "work": "A."}}`
			run(t, db, `CREATE TABLE `+table+` (id VARCHAR(20) PRIMARY KEY, person VARCHAR(20), doc `+typ+`)`,
				`INSERT INTO `+table+` VALUES ('o1', 'p1', '`+before+`'), ('o2', 'p2', '`+before+`'), ('o3', 'p1', '{"items": {"a": {"email": "c@a.example"}}}'), ('o4', 'p1', '{"items": []}'), ('o5', 'p1', '[7]')`)
			emails := datamap.Column{Name: "doc", Path: "/items/*/email", Erase: datamap.Redact}
			declared := changing(table, emails)
			declared.Columns = append(declared.Columns, datamap.Column{Name: "doc", Path: "/by/*", Category: "contact", Erase: datamap.Null})
			s := storeOf(t, db, declared)
			document := func(key string) (text string) {
				require.NoError(t, db.QueryRowContext(t.Context(), `SELECT doc FROM `+table+` WHERE id = '`+key+`'`).Scan(&text))
				return text
			}

			rows, err := s.Find(t.Context(), scopeOf("p1"))
			require.NoError(t, err)
			clean := map[string]bool{}
			for _, row := range rows {
				clean[row.Key] = row.Clean
			}
			require.Equal(t, map[string]bool{"o1": false, "o3": false, "o4": true, "o5": true}, clean)
			left := func() int {
				n, err := s.Remaining(t.Context(), scopeOf("p1"), rows)
				require.NoError(t, err)
				return n
			}
			require.Equal(t, 2, left())
			require.NoError(t, s.Erase(t.Context(), scopeOf("p1"), nil))
			require.Zero(t, left())
			require.JSONEq(t, `{"items": [{"email": "`+datamap.RedactedText+`", "n": 1}, {"n": 2}, {"email": null}, {"email": "`+datamap.RedactedText+`"}, "x"], "by": {"home": null, "work": null}}`, document("o1"))
			require.JSONEq(t, `{"items": {"a": {"email": "`+datamap.RedactedText+`"}}}`, document("o3"))
			require.JSONEq(t, before, document("o2"), "of somebody else")

			declared.Columns[1].Withhold = "other people's"
			fields := fieldsOf(t, storeOf(t, db, declared), "p2", "o2")
			text, err := json.Marshal(fields["doc"].Value)
			require.NoError(t, err)
			require.JSONEq(t, `{"items": [{"n": 1}, {"n": 2}, {}, {}, "x"], "by": {"home": "Ann", "work": "A."}}`, string(text))
			require.Equal(t, datastore.Field{Name: "doc/items/*/email", Withhold: "other people's"}, fields["doc/items/*/email"])
		}
	})
}

// A document that was written into JSON twice is a text, into which no path leads:
// an erasure of rows that stay is refused, and an export leaves such a value out and
// nothing else.
func TestJSONWithinJSONIsRefused(t *testing.T) {
	on(t, func(t *testing.T, db *sql.DB, _ sqldb.Kind) {
		run(t, db, `CREATE TABLE profiles (id VARCHAR(20) PRIMARY KEY, person VARCHAR(20), doc VARCHAR(200))`)
		add := func(key, document string) {
			_, err := db.ExecContext(t.Context(), dialect(db).Bind(`INSERT INTO profiles VALUES (?, ?, ?)`), key, key, document)
			require.NoError(t, err)
		}
		table := datamap.Table{Name: "profiles", Key: []string{"id"}, Person: "person", Erase: datamap.Redact, Columns: []datamap.Column{
			{Name: "person", Erase: datamap.Retain}, {Name: "doc", Path: "/by/email", Category: "contact.email", Withhold: "other people's"},
		}}
		s := storeOf(t, db, table)
		for key, document := range map[string]any{
			"whole": once(t, map[string]any{"by": map[string]any{"email": "ann@a.example"}}), "member": map[string]any{"by": once(t, map[string]any{"email": "ann@a.example"})},
			"list": map[string]any{"by": once(t, []string{"ann@a.example"})}, "thrice": once(t, once(t, map[string]any{"by": 1})),
		} {
			add(key, once(t, document))
			var refused *sqlstore.ValueError
			require.ErrorAs(t, rehearse(t, s, scopeOf(key)), &refused, key)
			require.ErrorAs(t, s.Erase(t.Context(), scopeOf(key), nil), &refused, key)
			require.NotContains(t, refused.Error(), "ann@")
			require.Contains(t, fieldsOf(t, s, key, key)["doc"].Withhold, "no JSON", key)
		}
		for key, document := range map[string]any{"text": "note", "in brackets": map[string]any{"by": "[Ann]"}, "number": 7, "none": nil} {
			add(key, once(t, document))
			require.NoError(t, s.Erase(t.Context(), scopeOf(key), nil), "a path that leads to nothing: %s", key)
		}
	})
}

func once(t *testing.T, document any) string {
	text, err := json.Marshal(document)
	require.NoError(t, err)
	return string(text)
}
