package roles_test

import (
	"database/sql"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/accesscontrol/roles"
	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
)

// fromEnv reads a number that somebody may set for a long run.
func fromEnv(t *testing.T, name string, usual uint64) uint64 {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return usual
	}
	n, err := strconv.ParseUint(s, 10, 64)
	require.NoError(t, err)
	return n
}

// may says whether somebody may act upon a row: in the words of the package
// comment, and by no engine.
func (w *roleWorld) may(who person, action string, r drawnRow) bool {
	if r.tenant != who.tenant { // tenants never meet
		return false
	}
	for _, grant := range w.held[who] {
		for _, name := range w.comesWith(who.tenant, grant.Role) {
			for _, rule := range w.roles[name].rules {
				if slices.Contains(rule.actions, action) && w.reaches(who, grant.Scope.String(), rule, r.attrs[rule.attr]) {
					w.reached[rule.reach]++
					return true
				}
			}
		}
	}
	return false
}

// reaches says whether a rule of somebody who holds it for a scope is about a
// record whose attribute is that, nil where it has none.
func (w *roleWorld) reaches(who person, scope string, rule drawnRule, attr any) bool {
	id, there := attr.(string)
	inScope := func(kind string) bool { return there && scope == strings.ToLower(kind)+"/"+id }
	belowScope := func(kind string) bool {
		top, fits := strings.CutPrefix(scope, strings.ToLower(kind)+"/")
		return there && fits && w.under(who.tenant, kind, id, top)
	}
	switch rule.reach {
	case roles.All:
		return true
	case roles.Own:
		return there && id == who.id
	case roles.Reports:
		return there && (id == who.id || w.under(who.tenant, roles.UserKind, id, who.id))
	case roles.Unit:
		return scope == "*" || inScope(roles.UnitKind)
	case roles.Units:
		return scope == "*" || inScope(roles.UnitKind) || belowScope(roles.UnitKind)
	case roles.Team:
		return scope == "*" || inScope(roles.TeamKind)
	case roles.Territory:
		return scope == "*" || inScope(roles.TerritoryKind) || belowScope(roles.TerritoryKind)
	default:
		panic(rule.reach)
	}
}

// comesWith is a role and all that it inherits.
func (w *roleWorld) comesWith(tenant, role string) []string {
	out := []string{role}
	for _, parent := range slices.Concat(w.roles[role].inherits, w.defined[tenant][role]) {
		out = append(out, w.comesWith(tenant, parent)...)
	}
	return out
}

// scopesOf are the kinds of scope that a role looks at.
func (w *roleWorld) scopesOf(tenant, role string) (out []string) {
	for _, name := range w.comesWith(tenant, role) {
		for _, rule := range w.roles[name].rules {
			switch rule.reach {
			case roles.Unit, roles.Units:
				out = append(out, "unit/")
			case roles.Team:
				out = append(out, "team/")
			case roles.Territory:
				out = append(out, "territory/")
			case roles.All, roles.Own, roles.Reports:
			}
		}
	}
	return out
}

// equality counts what the test has seen.
type equality struct {
	comparisons, allowed, filters, empty int
}

// Whatever roles over whatever tables, and whoever holds them: what they mean,
// what a check says, what a list selects and what a query shows beside each row
// is one, on every database.
func TestDrawnRolesMeanWhatTheySay(t *testing.T) {
	rounds := int(fromEnv(t, "CRMGUARD_RANDOM_ROLES", 5)) // 35 sets of roles are about 30,000 comparisons, in 3 s beside the servers
	seed := fromEnv(t, "CRMGUARD_SEED", 20261128)
	reached := map[roles.Reach]int{}
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		r := rand.New(rand.NewPCG(seed, uint64(slices.Index(testdb.Names(), d.Name))))
		db := d.Open(t)
		require.NoError(t, roles.Install(t.Context(), db))
		dialect, err := sqldb.Ask(t.Context(), db)
		require.NoError(t, err)
		seen, rounds := equality{}, rounds
		if d.Name == testdb.SQLite { // four times as fast as the others
			rounds *= 4
		}
		for round := range rounds {
			w := newRoleWorld(r, d.Name, round)
			set, err := roles.New(w.model())
			require.NoError(t, err)
			policy, err := accesscontrol.Load(t.Context(), set.Config())
			require.NoError(t, err, "%v", set.Config().Texts)
			store, err := roles.Open(t.Context(), db, set, roles.Options{})
			require.NoError(t, err)
			w.people(t, store)
			for _, table := range w.tables {
				rows := w.fill(t, db, dialect, table)
				for _, tenant := range w.tenants {
					for _, id := range append([]string{"boss", "nobody"}, w.ids...) {
						w.compare(t, db, d, store, policy, table, rows, person{tenant, id}, &seen)
					}
				}
			}
			require.NoError(t, policy.CheckSchema(t.Context(), db))
			for reach, n := range w.reached {
				reached[reach] += n
			}
			for _, table := range w.tables {
				run(t, db, "DROP TABLE "+table.name)
			}
		}
		t.Logf("seed %d: %d rounds, %+v", seed, rounds, seen)
		require.Greater(t, seen.allowed, seen.comparisons/10, "roles that permit nothing prove nothing")
		require.Less(t, seen.allowed, 3*seen.comparisons/4)
		require.LessOrEqual(t, 4*seen.empty, seen.filters, "too many filters select nothing")
	})
	t.Logf("permissions by reach: %v", reached)
	require.Len(t, reached, 7, "every reach permits something")
}

// compare asks about each row of a table, for each action that somebody's roles
// name, and now and then for one that reaches nothing.
func (w *roleWorld) compare(t *testing.T, db *sql.DB, d testdb.Database, store *roles.Store, policy *accesscontrol.Policy, table drawnTable, rows []drawnRow, who person, seen *equality) {
	t.Helper()
	p, err := store.Principal(t.Context(), who.tenant, who.id)
	require.NoError(t, err)
	actor, err := policy.For(p)
	require.NoError(t, err)
	for _, action := range table.actions {
		named := slices.ContainsFunc(w.held[who], func(g roles.Grant) bool {
			return slices.ContainsFunc(w.comesWith(who.tenant, g.Role), func(role string) bool {
				return slices.ContainsFunc(w.roles[role].rules, func(rule drawnRule) bool { return slices.Contains(rule.actions, action) })
			})
		})
		if (!named || table.only != "" && table.only != who.tenant) && w.IntN(12) > 0 {
			continue
		}
		where, err := actor.Filter(t.Context(), action, table.resource)
		require.NoError(t, err)
		condition, args := onDatabase(d, where)
		selected := map[int64]bool{}
		require.NoError(t, sqldb.Each(t.Context(), db, func(rows *sql.Rows) error {
			var n int64
			err := rows.Scan(&n)
			selected[n] = true
			return err
		}, "SELECT d.rownr FROM "+table.name+" d WHERE "+condition, args...))
		value, valueArgs := onDatabase(d, where.Value())
		var values []bool
		require.NoError(t, sqldb.Each(t.Context(), db, func(rows *sql.Rows) error {
			values = append(values, false)
			return rows.Scan(&values[len(values)-1])
		}, "SELECT "+value+" FROM "+table.name+" d ORDER BY d.rownr", valueArgs...))
		require.Len(t, values, len(rows))
		if seen.filters++; len(selected) == 0 {
			seen.empty++
		}
		for i, r := range rows {
			decided, err := actor.Decide(t.Context(), action, r.Resource)
			require.NoError(t, err)
			want := w.may(who, action, r)
			if seen.comparisons++; want {
				seen.allowed++
			}
			if decided.Allowed != want || selected[int64(i)] != want || values[i] != want {
				t.Fatalf("meant %v, check %v, WHERE %v, value %v: %+v %s %+v\nholds %+v\nroles %+v, of tenants %v\nabove %v\n%s %v",
					want, decided.Allowed, selected[int64(i)], values[i], who, action, r, w.held[who], w.roles, w.defined, w.above, condition, args)
			}
		}
	}
}

func onDatabase(d testdb.Database, where accesscontrol.Where) (string, []any) {
	switch d.Name {
	case testdb.SQLite:
		return where.SQLite("d")
	case testdb.MariaDB:
		return where.MySQL("d")
	default:
		return where.Postgres("d", 1)
	}
}
