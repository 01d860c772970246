package roles_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/accesscontrol/roles"
	"github.com/crmguard/crmguard/internal/testdb"
)

// found are the findings of the roles, without those of the database's settings.
func found(t *testing.T, store *roles.Store) (lines []string, all map[string]accesscontrol.Finding) {
	t.Helper()
	findings, err := store.Status(t.Context())
	require.NoError(t, err)
	all = map[string]accesscontrol.Finding{}
	settings := 0
	for _, f := range findings {
		require.Equal(t, f.Level == accesscontrol.HealthOK, f.Remedy == "", "what is not well has a remedy: %v", f)
		name, mine := strings.CutPrefix(f.Name, "accesscontrol.roles.")
		require.True(t, mine, f.Name)
		if name == "durability" || name == "replica" {
			settings++
			continue
		}
		all[name+"/"+f.Subject] = f
		lines = append(lines, fmt.Sprint(f.Level, " ", name, " ", f.Subject, " ", int64(f.Value)))
	}
	require.Positive(t, settings)
	return lines, all
}

// What is well is said, too.
func TestRolesThatAreWell(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		store := opened(t, d.Open(t), roles.Options{Tagger: tags(t, 1)})
		nothing := []string{"ok held  0", "ok forged  0", "ok undefined  0", "ok shadowed  0", "ok conflicts  0", "ok baseless  0", "ok expired  0", "ok changes  0", "ok clock  0"}
		lines, all := found(t, store)
		require.Equal(t, nothing, lines)
		require.Zero(t, all["changes/"].Since)
		before := time.Now().Add(-time.Minute)
		later := given("", "cat", "rep")
		later.NotBefore = time.Now().Add(time.Hour)
		for _, a := range []roles.Assignment{
			giving(given("", "root", "manager", roles.Everywhere())), later, until(given("", "old", "rep"), time.Now().Add(-89*24*time.Hour)),
		} {
			require.NoError(t, store.Bootstrap(t.Context(), a))
		}
		require.NoError(t, store.Define(t.Context(), roles.Definition{Tenant: "main", Role: "own", Inherits: []string{"manager", "rep"}, By: "root"}))
		require.NoError(t, store.Bootstrap(t.Context(), giving(given("", "root", "own", roles.Everywhere()))))
		for _, a := range []roles.Assignment{
			giving(given("root", "ann", "manager", roles.InUnit("south"))), given("ann", "bob", "manager", roles.InUnit("lake")), given("ann", "bob", "rep"), given("root", "ann", "own", roles.InUnit("south")),
		} {
			require.NoError(t, store.Assign(t.Context(), a))
		}
		lines, all = found(t, store)
		nothing[0], nothing[7] = "ok held  6", "ok changes  9"
		require.Equal(t, nothing, lines)
		require.WithinRange(t, all["changes/"].Since, before, time.Now().Add(time.Minute))
	})
}

// Whatever is wrong with the tables is found, and no person is named.
func TestRolesThatAreNotWell(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db, ctx := d.Open(t), t.Context()
		keys := tags(t, 1)
		store := opened(t, db, roles.Options{Tagger: keys})
		before := crm()
		before.Exclusive = nil
		delete(before.Roles, "clerk")
		before.Roles["boss"] = roles.Can("deal.read").Inherits("rep")
		set, err := roles.New(before)
		require.NoError(t, err)
		free, err := roles.Open(ctx, db, set, roles.Options{Tagger: keys})
		require.NoError(t, err)
		for _, a := range []roles.Assignment{
			giving(given("", "root", "boss")), given("", "dan", "boss"),
			given("", "ann", "payer"), given("", "ann", "approver"),
			until(given("", "old", "rep"), time.Now().Add(-91*24*time.Hour)),
			giving(given("", "gone", "auditor")),
			{Tenant: "other", Principal: "ann", Role: "payer"},
		} {
			require.NoError(t, free.Bootstrap(ctx, a))
		}
		require.NoError(t, free.Assign(ctx, given("root", "bob", "rep")))     // boss no longer comes with it
		require.NoError(t, free.Assign(ctx, given("gone", "cat", "auditor"))) // whose giver is removed by hand
		require.NoError(t, free.Define(ctx, roles.Definition{Tenant: "main", Role: "own", Inherits: []string{"boss"}, By: "root"}))
		require.NoError(t, free.Define(ctx, roles.Definition{Tenant: "main", Role: "clerk", Inherits: []string{"rep"}, By: "root"}))
		run(t, db, `DELETE FROM crmguard_accesscontrol_assignment WHERE principal = 'gone'`)
		run(t, db, `INSERT INTO crmguard_accesscontrol_assignment SELECT 'hand', 'eve', role, scope, not_before, not_after, given_by, reason, may_give, id, source, tag FROM crmguard_accesscontrol_assignment WHERE principal = 'dan'`)
		run(t, db, `UPDATE crmguard_accesscontrol_assignment SET scope = 'moon' WHERE tenant = 'other'`)
		lines, _ := found(t, store)
		require.Equal(t, []string{
			"ok held  4", // payer and approver of ann, auditor of cat, rep of bob
			"alarm forged  2", "alarm forged hand 1", "alarm forged other 1",
			"alarm undefined  3", "alarm undefined boss 3", // root, dan and a role of the tenant; the forged row is none
			"alarm shadowed  1", "alarm shadowed clerk 1",
			"alarm conflicts  1", "alarm conflicts main 1",
			"notice baseless  2", "notice baseless main 2",
			"notice expired  1", "notice expired main 1",
			"ok changes  11", "ok clock  0",
		}, lines)
		_, all := found(t, opened(t, db, roles.Options{}))
		require.Equal(t, accesscontrol.HealthAlarm, all["forged/"].Level)
		require.Contains(t, all["forged/"].Remedy, "Options.Tagger")
		_, all = found(t, opened(t, db, roles.Options{Tagger: brokenTagger{}}))
		require.Equal(t, accesscontrol.HealthAlarm, all["forged/"].Level)
		require.Contains(t, all["forged/"].Remedy, "vault")
		run(t, db, `ALTER TABLE crmguard_accesscontrol_role_parent RENAME TO away`)
		_, err = store.Status(ctx)
		require.Error(t, err)
	})
}

// What was given rests on a row that says so, in each of its columns.
func TestAGiverWhoNoLongerHoldsWhatTheyGave(t *testing.T) {
	db := testdb.New(t, testdb.SQLite).Open(t)
	store := opened(t, db, roles.Options{})
	require.NoError(t, store.Bootstrap(t.Context(), giving(given("", "root", "rep"))))
	require.NoError(t, store.Assign(t.Context(), given("root", "ann", "rep")))
	baseless := func() float64 {
		_, all := found(t, store)
		return all["baseless/main"].Value
	}
	for column, value := range map[string]string{"principal": `'bob'`, "may_give": `0`, "not_after": `9000000000000000`, "role": `'clerk'`, "id": `'x'`} {
		run(t, db, `CREATE TABLE kept AS SELECT * FROM crmguard_accesscontrol_assignment`)
		run(t, db, `UPDATE crmguard_accesscontrol_assignment SET `+column+` = `+value+` WHERE given_by = 's:operator'`)
		require.InDelta(t, 1, baseless(), 0, column)
		run(t, db, `DELETE FROM crmguard_accesscontrol_assignment`)
		run(t, db, `INSERT INTO crmguard_accesscontrol_assignment SELECT * FROM kept`)
		run(t, db, `DROP TABLE kept`)
		require.Zero(t, baseless())
	}
	run(t, db, `UPDATE crmguard_accesscontrol_assignment SET source = '' WHERE principal = 'ann'`)
	require.InDelta(t, 1, baseless(), 0, "only the operator gives without holding")
}

// Tables that were put back are told by whoever has seen them later, until the
// store is opened anew; the changes that follow do not hide it.
func TestTablesThatWerePutBack(t *testing.T) {
	db := testdb.New(t, testdb.SQLite).Open(t)
	store := opened(t, db, roles.Options{MaxAge: time.Hour})
	require.NoError(t, store.Bootstrap(t.Context(), given("", "ann", "rep")))
	for _, table := range []string{"tenant", "assignment"} {
		run(t, db, `CREATE TABLE kept_`+table+` AS SELECT * FROM crmguard_accesscontrol_`+table)
	}
	_, err := store.Dismiss(t.Context(), "main", "ann")
	require.NoError(t, err)
	require.Empty(t, held(t, store, "main", "ann"))
	_, all := found(t, store)
	require.Equal(t, accesscontrol.HealthOK, all["changes/"].Level)
	for _, table := range []string{"tenant", "assignment"} {
		run(t, db, `DELETE FROM crmguard_accesscontrol_`+table)
		run(t, db, `INSERT INTO crmguard_accesscontrol_`+table+` SELECT * FROM kept_`+table)
	}
	for range 3 {
		_, all = found(t, store)
		require.Equal(t, accesscontrol.HealthAlarm, all["changes/"].Level)
		require.WithinRange(t, all["changes/"].Since, time.Now().Add(-time.Minute), time.Now())
		require.Equal(t, []string{"rep"}, held(t, store, "main", "ann"), "nothing that was read before is answered")
		require.NoError(t, store.Bootstrap(t.Context(), given("", fmt.Sprint("p", all["changes/"].Value), "rep")))
	}
	_, all = found(t, opened(t, db, roles.Options{}))
	require.Equal(t, accesscontrol.HealthOK, all["changes/"].Level, "who has not seen them later cannot know")
}

// Principals are those whom Principal answers, each once, whole, and in order,
// also where pages end in the middle of somebody.
func TestPrincipalsAreThoseWhoHoldSomething(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db, ctx := d.Open(t), t.Context()
		store := opened(t, db, roles.Options{Tagger: tags(t, 1)})
		require.NoError(t, store.Bootstrap(ctx, giving(given("", "root", "manager", roles.Everywhere()))))
		require.NoError(t, store.Define(ctx, roles.Definition{Tenant: "main", Role: "自己", Inherits: []string{"rep"}, By: "root"}))
		later := given("", "later", "rep")
		later.NotBefore = time.Now().Add(time.Hour)
		for _, a := range []roles.Assignment{
			until(given("", "over", "rep"), time.Now().Add(-time.Hour)), later,
			given("", "Ann", "rep"), given("", "ann", "manager", roles.InUnit("south")), given("", "ann ", "自己"), given("", "客户", "clerk", roles.InUnit("北")),
			{Tenant: "other", Principal: "bob", Role: "rep"},
		} {
			require.NoError(t, store.Bootstrap(ctx, a))
		}
		many(t, store, "main", "m", 3, 300)  // pages end in their middle
		many(t, store, "main", "n", 1, 1100) // more than a page
		want := []string{"Ann", "ann", "ann ", "m0", "m1", "m2", "n0", "root", "客户"}
		var got []string
		for p, err := range store.Principals(ctx, "main") {
			require.NoError(t, err)
			same, err := store.Principal(ctx, "main", p.ID)
			require.NoError(t, err)
			require.Equal(t, same, p)
			got = append(got, p.ID)
		}
		require.Equal(t, want, got)
		for range store.Principals(ctx, "main") {
			break
		}
		for _, err := range store.Principals(ctx, "") {
			require.ErrorIs(t, err, roles.ErrRequest)
		}
		// A forged row ends it, and so does a database that is away.
		run(t, db, `UPDATE crmguard_accesscontrol_assignment SET source = 'x' WHERE principal = 'ann '`)
		require.Equal(t, []string{"Ann", "ann"}, endsWith(t, store, roles.ErrForged))
		run(t, db, `ALTER TABLE crmguard_accesscontrol_assignment RENAME TO away`)
		require.Empty(t, endsWith(t, store, nil))
	})
}

// endsWith are the principals before an error.
func endsWith(t *testing.T, store *roles.Store, target error) (ids []string) {
	t.Helper()
	var last error
	for p, err := range store.Principals(t.Context(), "main") {
		require.NoError(t, last, "an error is the last")
		if last = err; err == nil {
			ids = append(ids, p.ID)
		}
	}
	require.Error(t, last)
	require.True(t, target == nil || errors.Is(last, target))
	return ids
}

// many gives some people the role mate in many teams, in few transactions.
func many(t *testing.T, store *roles.Store, tenant, prefix string, people, teams int) {
	t.Helper()
	require.NoError(t, roles.GiveMany(t.Context(), store, tenant, func(yield func(roles.Assignment) bool) {
		for i := range people {
			for j := range teams {
				if !yield(roles.Assignment{Tenant: tenant, Principal: fmt.Sprint(prefix, i), Role: "mate", Scope: roles.InTeam(fmt.Sprint("t", j))}) {
					return
				}
			}
		}
	}))
}

// What stands below a unit is asked once for all who hold a role there, and anew
// the next time.
func TestTreesAreAskedOnceForMany(t *testing.T) {
	m, asked := crm(), 0
	below := m.Below
	m.Below = func(ctx context.Context, tenant, kind, id string) ([]string, error) {
		asked++
		return below(ctx, tenant, kind, id)
	}
	db := testdb.New(t, testdb.SQLite).Open(t)
	opened(t, db, roles.Options{})
	set, err := roles.New(m)
	require.NoError(t, err)
	store, err := roles.Open(t.Context(), db, set, roles.Options{})
	require.NoError(t, err)
	for _, who := range []string{"ann", "bob", "cat"} {
		for _, unit := range []string{"south", "city"} {
			require.NoError(t, store.Bootstrap(t.Context(), given("", who, "manager", roles.InUnit(unit))))
		}
	}
	for round := 1; round <= 2; round++ {
		for p, err := range store.Principals(t.Context(), "main") {
			require.NoError(t, err)
			require.Len(t, p.Entities, 2)
		}
		require.Equal(t, 2*round, asked)
	}
}
