package sqlstore_test

import (
	"context"
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/sqlstore"
)

// Of persons who are looked for together a record that is nobody else's goes, with
// what hangs on it; that of a third one stays without them.
func TestARecordOfPersonsWhoAreLookedForTogether(t *testing.T) {
	on(t, func(t *testing.T, db *sql.DB, _ sqldb.Kind) {
		exec(t, db, `CREATE TABLE meetings (id TEXT PRIMARY KEY, body TEXT); CREATE TABLE participants (meeting TEXT, person TEXT); CREATE TABLE notes (id INTEGER PRIMARY KEY, meeting TEXT)`)
		exec(t, db, `INSERT INTO meetings VALUES ('m1', 'both'), ('m2', 'all'); INSERT INTO participants VALUES ('m1', 'p1'), ('m1', 'p2'), ('m2', 'p1'), ('m2', 'p2'), ('m2', 'p3'); INSERT INTO notes VALUES (1, 'm1'), (2, 'm2')`)
		cfg := handed(db,
			datamap.Table{Name: "meetings", Key: []string{"id"}, Erase: datamap.Delete, Link: &datamap.Link{Table: "participants", Record: "meeting", Person: "person"}, Columns: []datamap.Column{{Name: "body", Category: "text"}}},
			datamap.Table{Name: "notes", Key: []string{"id"}, Erase: datamap.Delete, Edges: []datamap.Edge{edge("meeting", "meetings")}})
		cfg.Redact = func(context.Context, sqlstore.JointRow) (sqlstore.Redaction, error) { return sqlstore.Redaction{}, nil }
		s, err := sqlstore.Open(t.Context(), cfg)
		require.NoError(t, err)
		rows, err := s.FindAll(t.Context(), []datastore.Scope{scopeOf("p1"), scopeOf("p2")})
		require.NoError(t, err)
		become := map[string]datastore.Class{}
		for _, r := range rows {
			if name := r.Table + " " + r.Key; become[name] != datastore.Deleted {
				become[name] = r.Class
			}
		}
		require.Equal(t, map[string]datastore.Class{"meetings m1": datastore.Deleted, "notes 1": datastore.Deleted, "meetings m2": datastore.Redacted}, become)
	})
}
