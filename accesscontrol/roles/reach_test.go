package roles_test

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/accesscontrol/roles"
	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
)

// naive says what the roles of crm mean, in Go and without any engine.
type naive struct {
	who    string
	grants []roles.Grant
}

func (n naive) may(action string, deal map[string]any) bool {
	below := crm().Below
	under := func(kind, top string, v any) bool {
		id, _ := v.(string)
		list, _ := below(context.Background(), "", kind, top)
		return v != nil && (id == top || slices.Contains(list, id))
	}
	for _, g := range n.grants {
		scope := g.Scope.String()
		in := func(prefix, attr string, deep bool) bool {
			if scope == "*" {
				return true
			}
			if len(scope) <= len(prefix) || scope[:len(prefix)] != prefix {
				return false
			}
			top := scope[len(prefix):]
			kind := map[string]string{"unit/": "Unit", "team/": "Team", "territory/": "Territory"}[prefix]
			return deep && under(kind, top, deal[attr]) || deal[attr] == top
		}
		own := deal["owner_id"] == n.who
		read, change := action == "deal.read", action == "deal.update"
		manages := in("unit/", "unit_id", true)
		may := map[string]bool{
			"rep":      (read || change) && own,
			"lead":     read && under("User", n.who, deal["owner_id"]),
			"clerk":    read && in("unit/", "unit_id", false),
			"manager":  manages || (read || change) && own,
			"mate":     read && in("team/", "team_id", false),
			"regional": read && in("territory/", "territory_id", true),
			"auditor":  read,
			"director": read || change || manages,
		}[g.Role]
		if may {
			return true
		}
	}
	return false
}

func dealsTable(t *testing.T, db *sql.DB, name testdb.Name) {
	t.Helper()
	text := map[testdb.Name]string{testdb.SQLite: "TEXT", testdb.MariaDB: "VARBINARY(64)"}[name]
	if text == "" {
		text = "text"
	}
	end := map[bool]string{true: " STRICT"}[name == testdb.SQLite]
	_, err := db.ExecContext(t.Context(), fmt.Sprintf(`CREATE TABLE deals (id %[1]s NOT NULL PRIMARY KEY, tenant %[1]s NOT NULL, owner_id %[1]s NOT NULL, unit_id %[1]s, team_id %[1]s, territory_id %[1]s NOT NULL, stage %[1]s, price %[1]s)%[2]s`, text, end))
	require.NoError(t, err)
}

func listed(t *testing.T, db *sql.DB, where accesscontrol.Where) (out []string) {
	t.Helper()
	condition, args := where.MySQL("d")
	switch on, err := sqldb.Ask(t.Context(), db); {
	case err != nil:
		t.Fatal(err)
	case on.Kind == sqldb.Postgres:
		condition, args = where.Postgres("d", 1)
	case on.Kind == sqldb.SQLite:
		condition, args = where.SQLite("d")
	}
	require.NoError(t, sqldb.Each(t.Context(), db, func(rows *sql.Rows) error {
		out = append(out, "")
		return rows.Scan(&out[len(out)-1])
	}, `SELECT d.id FROM deals d WHERE `+condition+` ORDER BY d.id`, args...))
	return out
}

// For any roles of any person: what they mean, what a check answers and what a
// list selects is the same, on every database, and no other tenant's row ever.
func TestRolesMeanWhatTheySay(t *testing.T) {
	set, err := roles.New(crm())
	require.NoError(t, err)
	policy, err := accesscontrol.Load(t.Context(), set.Config())
	require.NoError(t, err)
	choice := rand.New(rand.NewPCG(10, 1))
	one := func(of ...any) any { return of[choice.IntN(len(of))] }
	var deals []accesscontrol.Resource
	for i := range 120 {
		deals = append(deals, accesscontrol.Resource{Type: "deal", ID: fmt.Sprintf("d%03d", i), Tenant: one("main", "main", "main", "other").(string), Attrs: map[string]any{
			"owner_id": one("ann", "bob", "eve"), "unit_id": one(nil, "south", "city", "lake", "north", "x", "Unit/south"), "team_id": one(nil, "x", "y"), "territory_id": one("eu", "de", "fr", "us"),
		}})
	}
	scopes := map[string][]roles.Scope{
		"clerk": {roles.InUnit("south"), roles.InUnit("city"), roles.Everywhere()}, "manager": {roles.InUnit("south"), roles.InUnit("city"), roles.InUnit("x"), roles.Everywhere()},
		"director": {roles.InUnit("city"), roles.Everywhere()}, "mate": {roles.InTeam("x"), roles.Everywhere()}, "regional": {roles.InTerritory("eu"), roles.InTerritory("de"), roles.Everywhere()},
	}
	names := []string{"rep", "lead", "clerk", "manager", "mate", "regional", "auditor", "director"}
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := d.Open(t)
		dealsTable(t, db, d.Name)
		require.NoError(t, policy.CheckSchema(t.Context(), db))
		dialect, err := sqldb.Ask(t.Context(), db)
		require.NoError(t, err)
		var rows [][]any
		for _, r := range deals {
			rows = append(rows, []any{r.ID, r.Tenant, r.Attrs["owner_id"], r.Attrs["unit_id"], r.Attrs["team_id"], r.Attrs["territory_id"]})
		}
		require.NoError(t, dialect.Insert(t.Context(), db, sqldb.Insert{Table: "deals", Columns: []string{"id", "tenant", "owner_id", "unit_id", "team_id", "territory_id"}, New: true}, rows))
		some, all := 0, 0
		for range 40 {
			n := naive{who: one("ann", "bob", "eve").(string)}
			for range 1 + choice.IntN(3) {
				g := roles.Grant{Role: names[choice.IntN(len(names))]}
				if fitting := scopes[g.Role]; fitting != nil {
					g.Scope = fitting[choice.IntN(len(fitting))]
				}
				n.grants = append(n.grants, g)
			}
			p, err := set.Principal(t.Context(), "main", n.who, n.grants...)
			require.NoError(t, err)
			for _, action := range []string{"deal.read", "deal.update"} {
				var want, checked []string
				for _, r := range deals {
					if r.Tenant == "main" && n.may(action, r.Attrs) {
						want = append(want, r.ID)
					}
					if policy.Check(t.Context(), p, action, r) == nil {
						checked = append(checked, r.ID)
					}
				}
				where, err := policy.Filter(t.Context(), p, action, "deal")
				require.NoError(t, err)
				require.Equal(t, want, checked, "%s %s %v", n.who, action, n.grants)
				require.Equal(t, want, listed(t, db, where), "%s %s %v", n.who, action, n.grants)
				some, all = some+len(want), all+len(deals)
			}
		}
		require.Greater(t, some, all/20, "roles that permit nothing prove nothing")
		require.Less(t, some, 2*all/3)
	})
}
