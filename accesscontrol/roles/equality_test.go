package roles_test

import (
	"database/sql"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

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

// people gives roles to people of both tenants, and takes some away again.
func (w *roleWorld) people(t *testing.T, store *roles.Store) {
	t.Helper()
	ctx := t.Context()
	for _, tenant := range w.tenants {
		w.defined[tenant] = map[string][]string{}
		give := func(by, who, role string, scope roles.Scope) roles.Assignment {
			return roles.Assignment{Tenant: tenant, Principal: who, Role: role, Scope: scope, By: by}
		}
		for _, role := range w.names { // the boss may give everything
			a := give("", "boss", role, roles.Scope{})
			if a.MayGive = true; len(w.scopesOf(tenant, role)) > 0 {
				a.Scope = roles.Everywhere()
			}
			require.NoError(t, store.Bootstrap(ctx, a))
			w.held[person{tenant, "boss"}] = append(w.held[person{tenant, "boss"}], roles.Grant{Role: role, Scope: a.Scope})
		}
		names := slices.Clone(w.names)
		if w.IntN(2) == 0 {
			d := roles.Definition{Tenant: tenant, Role: "own role", Inherits: []string{pickOf(w.Rand, w.names)}, By: "boss"}
			if more := pickOf(w.Rand, w.names); more != d.Inherits[0] {
				d.Inherits = append(d.Inherits, more)
			}
			require.NoError(t, store.Define(ctx, d))
			w.defined[tenant][d.Role], names = d.Inherits, append(names, d.Role)
		}
		taken := map[roles.Assignment]bool{}
		for range 22 {
			role := pickOf(w.Rand, names)
			scope := roles.Scope{}
			if kinds := w.scopesOf(tenant, role); len(kinds) > 0 {
				scope = roles.Everywhere()
				if w.IntN(5) > 0 {
					var err error
					scope, err = roles.ParseScope(pickOf(w.Rand, kinds) + pickOf(w.Rand, w.ids))
					require.NoError(t, err)
				}
			}
			a := give("boss", pickOf(w.Rand, w.ids), role, scope)
			if taken[a] {
				continue
			}
			taken[a] = true
			w.assign(t, store, a)
		}
	}
}

// assign gives a role, for a time that is over or has not come now and then, or
// revokes it again.
func (w *roleWorld) assign(t *testing.T, store *roles.Store, a roles.Assignment) {
	t.Helper()
	fate := w.IntN(16)
	switch fate {
	case 0:
		a.NotAfter = time.Now().Add(-time.Hour)
	case 1:
		a.NotBefore = time.Now().Add(time.Hour)
	case 2:
		a.NotBefore, a.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	err := store.Assign(t.Context(), a)
	if w.defined[a.Tenant][a.Role] != nil { // which the boss does not hold
		var e *roles.RefusedError
		require.True(t, errors.As(err, &e) && e.Rule == roles.NotTheirs, "%v", err)
		a.By = ""
		err = store.Bootstrap(t.Context(), a)
	}
	require.NoError(t, err)
	who := person{a.Tenant, a.Principal}
	switch fate {
	case 0, 1:
	case 3, 4:
		a.By = a.Principal
		removed, err := store.Revoke(t.Context(), a)
		require.NoError(t, err)
		require.Len(t, removed, 1)
	case 5:
		_, err := store.Dismiss(t.Context(), a.Tenant, a.Principal)
		require.NoError(t, err)
		delete(w.held, who)
	default:
		w.held[who] = append(w.held[who], roles.Grant{Role: a.Role, Scope: a.Scope})
	}
}

// equality counts what the test has seen.
type equality struct {
	comparisons, allowed, filters, empty int
	reached                              map[roles.Reach]int // permissions by the reach that gave them
}

// Whatever roles over whatever tables, and whoever holds them: what they mean,
// what a check says, what a list selects and what a query shows beside each row
// is one, on every database.
func TestDrawnRolesMeanWhatTheySay(t *testing.T) {
	rounds := int(fromEnv(t, "CRMGUARD_RANDOM_ROLES", 5)) // 4 x 5 sets of roles are about 20,000 comparisons, in 3 s
	seed := fromEnv(t, "CRMGUARD_SEED", 20261128)
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		r := rand.New(rand.NewPCG(seed, uint64(slices.Index(testdb.Names(), d.Name))))
		db := d.Open(t)
		require.NoError(t, roles.Install(t.Context(), db))
		dialect, err := sqldb.Ask(t.Context(), db)
		require.NoError(t, err)
		seen := equality{reached: map[roles.Reach]int{}}
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
				seen.reached[reach] += n
			}
			for _, table := range w.tables {
				run(t, db, "DROP TABLE "+table.name)
			}
		}
		t.Logf("seed %d: %d rounds, %+v", seed, rounds, seen)
		require.Greater(t, seen.allowed, seen.comparisons/10, "roles that permit nothing prove nothing")
		require.Len(t, seen.reached, 7, "every reach permits something")
		require.Less(t, seen.allowed, 3*seen.comparisons/4)
		require.LessOrEqual(t, 4*seen.empty, seen.filters, "too many filters select nothing")
	})
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
