package roles_test

import (
	"database/sql"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/accesscontrol/roles"
	"github.com/crmguard/crmguard/internal/testdb"
)

// Ids that somebody might take for one another are those of different people, in
// the tables of the roles and in those of the application, whatever the columns
// of the latter take for equal.
func TestIDsThatAreSpeltOtherwise(t *testing.T) {
	people := []string{"ann", "Ann", "ANN", "ann ", " ann", "an\u0144", "ann\u0301", "\uff41nn", "ann\u200b", "ss", "ß"}
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		for _, owner := range map[testdb.Name][]string{
			testdb.SQLite:      {"TEXT COLLATE NOCASE", "TEXT COLLATE RTRIM"},
			testdb.PostgresC:   {"text", "citext"},
			testdb.PostgresICU: {"text", "citext"},
			testdb.MariaDB:     {"VARCHAR(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci", "VARCHAR(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci"},
		}[d.Name] {
			db := d.Open(t)
			if owner == "citext" {
				if _, err := db.ExecContext(t.Context(), `CREATE EXTENSION IF NOT EXISTS citext`); err != nil {
					return // the server has none
				}
			}
			store := opened(t, db, roles.Options{})
			run(t, db, `CREATE TABLE deals (id VARCHAR(40) NOT NULL PRIMARY KEY, tenant VARCHAR(40) NOT NULL, owner_id `+owner+` NOT NULL)`)
			for i, who := range people {
				insert(t, db, i, who)
			}
			set, err := roles.New(roles.Model{
				Tables: []accesscontrol.Table{{Resource: "deal", Entity: "Deal", Name: "deals", Key: "id", Tenant: "tenant", Columns: []accesscontrol.Column{{Attr: "owner_id", Required: true}}}},
				Roles:  map[string]roles.Role{"rep": roles.Can("deal.read").Own("owner_id")},
			})
			require.NoError(t, err)
			policy, err := accesscontrol.Load(t.Context(), set.Config())
			require.NoError(t, err)
			for i, who := range people {
				require.NoError(t, store.Bootstrap(t.Context(), given("", who, "rep")))
				p, err := store.Principal(t.Context(), "main", who)
				require.NoError(t, err)
				require.Len(t, p.Parents, 1, "%q", who)
				where, err := policy.Filter(t.Context(), p, "deal.read", "deal")
				require.NoError(t, err)
				require.Equal(t, []string{string(rune('a' + i))}, selected(t, db, d.Name, where), "%s: %q", owner, who)
				for _, other := range people {
					record := accesscontrol.Resource{Type: "deal", ID: "1", Tenant: "main", Attrs: map[string]any{"owner_id": other}}
					require.Equal(t, who == other, policy.Check(t.Context(), p, "deal.read", record) == nil, "%q %q", who, other)
				}
			}
			var ids []string
			for p, err := range store.Principals(t.Context(), "main") {
				require.NoError(t, err)
				ids = append(ids, p.ID)
			}
			require.Equal(t, slices.Sorted(slices.Values(people)), ids)
			for _, who := range people {
				removed, err := store.Dismiss(t.Context(), "main", who)
				require.NoError(t, err)
				require.Len(t, removed, 1, "%q", who)
			}
			run(t, db, `DROP TABLE deals`)
		}
	})
}

func insert(t *testing.T, db *sql.DB, i int, owner string) {
	t.Helper()
	run(t, db, `INSERT INTO deals (id, tenant, owner_id) VALUES ('`+string(rune('a'+i))+`', 'main', '`+owner+`')`)
}

// selected are the ids of the deals of a filter.
func selected(t *testing.T, db *sql.DB, name testdb.Name, where accesscontrol.Where) (ids []string) {
	t.Helper()
	condition, args := where.SQLite("d")
	switch name {
	case testdb.PostgresC, testdb.PostgresICU:
		condition, args = where.Postgres("d", 1)
	case testdb.MariaDB:
		condition, args = where.MySQL("d")
	case testdb.SQLite:
	}
	rows, err := db.QueryContext(t.Context(), `SELECT id FROM deals d WHERE `+condition+` ORDER BY id`, args...)
	require.NoError(t, err)
	defer func() { require.NoError(t, rows.Close()) }()
	for rows.Next() {
		var id string
		require.NoError(t, rows.Scan(&id))
		ids = append(ids, id)
	}
	require.NoError(t, rows.Err())
	return ids
}
