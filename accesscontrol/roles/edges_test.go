package roles_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/accesscontrol/roles"
	"github.com/crmguard/crmguard/internal/ids"
	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
)

// Behind a pooler, and where transactions are serializable by default, the store
// works as elsewhere.
func TestTheStoreWhereTheDatabaseIsMetOtherwise(t *testing.T) {
	testdb.Variants(t, func(t *testing.T, open func(tb testing.TB) *sql.DB) {
		store := opened(t, open(t), roles.Options{})
		require.NoError(t, store.Bootstrap(t.Context(), giving(given("", "ann", "manager", roles.Everywhere()))))
		require.NoError(t, store.Assign(t.Context(), given("ann", "bob", "manager", roles.InUnit("lake"))))
		require.Equal(t, []string{"manager", "rep"}, held(t, store, "main", "bob"))
		removed, err := store.Revoke(t.Context(), given("ann", "ann", "manager", roles.Everywhere()))
		require.NoError(t, err)
		require.Len(t, removed, 2)
		require.Empty(t, held(t, store, "main", "bob"))
	})
}

// Wherever a connection breaks, a change was made whole or not at all; the store
// answers what is there, also where the answer of the commit was lost.
func TestAConnectionThatBreaks(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db, cutter := d.Cutting(t, d.Name.Drivers()[0])
		truth := d.Open(t)
		store := opened(t, db, roles.Options{MaxAge: time.Hour})
		require.NoError(t, store.Bootstrap(t.Context(), giving(given("", "root", "rep"))))
		count := func() (n int) {
			require.NoError(t, sqldb.One(t.Context(), truth, []any{&n}, `SELECT count(*) FROM crmguard_accesscontrol_assignment`))
			return n
		}
		for _, commits := range []bool{false, true} {
			for n, cut := 1, true; cut; n++ {
				who := fmt.Sprint("p", commits, n)
				require.Empty(t, held(t, store, "main", who))
				before := count()
				cutter.Arm(n, commits)
				err := store.Assign(t.Context(), giving(given("root", who, "rep")))
				cut = cutter.Disarm()
				there := count() - before
				require.False(t, err == nil && there != 1, "%d: it was said to be done", n)
				require.Equal(t, there == 1, len(held(t, store, "main", who)) == 1, "%d: %v", n, err)
				cutter.Arm(n, commits)
				_, err = store.Dismiss(t.Context(), "main", who)
				cut = cutter.Disarm() || cut
				left := count() - before
				require.False(t, err == nil && left != 0, "%d: it was said to be gone", n)
				require.Equal(t, left == 1, len(held(t, store, "main", who)) == 1, "%d: %v", n, err)
			}
		}
	})
}

// Whoever has the rights of Grants does the whole work: see rights_test.go of the
// module. They are there, for both kinds of servers.
func TestGrantsAreThere(t *testing.T) {
	for _, name := range []string{"postgres.sql", "mysql.sql"} {
		text, err := fs.ReadFile(roles.Grants(), name)
		require.NoError(t, err)
		require.Contains(t, string(text), "crm_app")
	}
}

// What is no id is refused by each verb, before the database is asked.
func TestWhatIsNoIDIsRefused(t *testing.T) {
	store := opened(t, testdb.New(t, testdb.SQLite).Open(t), roles.Options{})
	ctx := t.Context()
	for _, bad := range []string{"", strings.Repeat("x", 256), "a\x00", "\xff"} {
		person := roles.Assignment{Tenant: "main", Principal: bad, Role: "rep", By: "root"}
		tenant := roles.Assignment{Tenant: bad, Principal: "ann", Role: "rep", By: "root"}
		by := roles.Assignment{Tenant: "main", Principal: "ann", Role: "rep", By: bad}
		scope := roles.Assignment{Tenant: "main", Principal: "ann", Role: "manager", By: "root", Scope: roles.InUnit(bad)}
		role := roles.Assignment{Tenant: "main", Principal: "ann", Role: bad, By: "root"}
		for i, a := range []roles.Assignment{person, tenant, by, scope, role} {
			_, err := store.Revoke(ctx, a)
			require.ErrorIs(t, err, roles.ErrRequest, "%d", i)
			require.ErrorIs(t, store.Assign(ctx, a), roles.ErrRequest, "%d", i)
		}
		for i, call := range []func() error{
			func() error { _, err := store.Principal(ctx, bad, "ann"); return err },
			func() error { _, err := store.Principal(ctx, "main", bad); return err },
			func() error { _, err := store.RolesOf(ctx, "main", bad); return err },
			func() error { _, err := store.WhoHas(ctx, bad, "rep"); return err },
			func() error { _, err := store.Dismiss(ctx, "main", bad); return err },
			func() error { _, err := store.Conflicts(ctx, bad); return err },
			func() error { _, err := store.Prune(ctx, bad, time.Now()); return err },
			func() error { return store.Undefine(ctx, bad, "x") },
			func() error {
				return store.Define(ctx, roles.Definition{Tenant: "main", Role: bad, Inherits: []string{"rep"}, By: "root"})
			},
			func() error {
				return store.Define(ctx, roles.Definition{Tenant: "main", Role: "x", Inherits: []string{"rep"}, By: bad})
			},
		} {
			err := call()
			require.ErrorIs(t, err, roles.ErrRequest, "%d", i)
			var rule *ids.Error
			require.ErrorAs(t, err, &rule, "%d", i)
		}
	}
	a := given("root", "ann", "rep")
	a.NotBefore, a.NotAfter = time.Now(), time.Now().Add(-time.Hour)
	require.ErrorIs(t, store.Assign(ctx, a), roles.ErrRequest)
	for _, year := range []int{-300_000, -1, 1969, 10_000, 300_000, 600_000} { // some are other years in microseconds
		early, late := given("", "ann", "rep"), given("", "ann", "rep")
		early.NotBefore = time.Date(year, 1, 2, 0, 0, 0, 0, time.UTC)
		late.NotAfter = early.NotBefore
		require.ErrorIs(t, store.Bootstrap(ctx, early), roles.ErrRequest, "%d", year)
		require.ErrorIs(t, store.Bootstrap(ctx, late), roles.ErrRequest, "%d", year)
	}
	_, err := roles.Open(ctx, testdb.New(t, testdb.SQLite).Open(t), nil, roles.Options{})
	require.ErrorIs(t, err, roles.ErrRequest)
	_, err = roles.Open(ctx, nil, new(roles.Set), roles.Options{})
	require.Error(t, err)
}

// A role of a tenant may be called anything, and breaks no line of a log.
func TestANameOfARoleInAnError(t *testing.T) {
	store := opened(t, testdb.New(t, testdb.SQLite).Open(t), roles.Options{})
	require.NoError(t, store.Bootstrap(t.Context(), giving(given("", "root", "rep"))))
	const name = "x\nlevel=error \u202eall is well"
	for _, d := range []roles.Definition{{Role: name, Inherits: []string{"rep"}}, {Role: "y", Inherits: []string{name}}} {
		d.Tenant, d.By = "main", "root"
		err := store.Define(t.Context(), d)
		if d.Role == "y" {
			refusedBy(t, roles.NotTheirs, err)
			require.ErrorContains(t, err, `role "x\nlevel=error`)
		}
	}
	require.NoError(t, store.Bootstrap(t.Context(), giving(given("", "root", name))))
	require.NoError(t, store.Define(t.Context(), roles.Definition{Tenant: "main", Role: name + "2", Inherits: []string{name}, By: "root"}))
	err := store.Undefine(t.Context(), "main", name)
	refusedBy(t, roles.InUse, err)
	for _, r := range err.Error() {
		require.True(t, unicode.IsPrint(r), err.Error())
	}
	err = store.Bootstrap(t.Context(), given("", "bob", "客户经理"))
	refusedBy(t, roles.UnknownRole, err)
	require.ErrorContains(t, err, "role 客户经理:")
}

// A tree that cannot be asked refuses: nobody is shown more, or less, by it.
func TestATreeThatFails(t *testing.T) {
	m, broken := crm(), errors.New("the tree is away")
	m.Below = func(context.Context, string, string, string) ([]string, error) { return nil, broken }
	set, err := roles.New(m)
	require.NoError(t, err)
	db := testdb.New(t, testdb.SQLite).Open(t)
	opened(t, db, roles.Options{})
	store, err := roles.Open(t.Context(), db, set, roles.Options{})
	require.NoError(t, err)
	for who, role := range map[string]roles.Scope{"manager": roles.InUnit("south"), "lead": {}} {
		require.NoError(t, store.Bootstrap(t.Context(), giving(given("", "x"+who, who, role))))
		_, err = store.Principal(t.Context(), "main", "x"+who)
		require.ErrorIs(t, err, broken)
	}
	require.ErrorIs(t, store.Assign(t.Context(), given("xmanager", "bob", "manager", roles.InUnit("lake"))), broken)
}

// What New takes, Load takes: no name of a model breaks the text.
func TestWhatNewTakesLoads(t *testing.T) {
	good := rapid.SampledFrom([]string{"a", "owner_id", "_x", "Deal", "resource", "principal", "context", "action", "permit", "when", "entity", "type", "Action", "contains", "unless", "x9"})
	bad := rapid.SampledFrom([]string{"in", "if", "is", "true", "Set", "Long", "like", "__cedar", `x"y`, "客户", "a-b", "a.b", "0", "User", "has", "decimal"})
	names := rapid.OneOf(good, good, good, good, good, good, good, bad)
	taken := 0
	rapid.Check(t, func(rt *rapid.T) {
		attr, other, entity, record, role := names.Draw(rt, "attr"), names.Draw(rt, "other"), names.Draw(rt, "entity"), names.Draw(rt, "resource"), names.Draw(rt, "role")
		m := roles.Model{
			Tables: []accesscontrol.Table{{
				Resource: record, Entity: entity, Name: "t", Key: "id", Tenant: "tenant",
				Columns: []accesscontrol.Column{{Attr: attr, Name: "c1", Required: rapid.Bool().Draw(rt, "required")}, {Attr: other, Name: "c2"}},
			}},
			Roles: map[string]roles.Role{role: roles.Can(record+"."+names.Draw(rt, "verb")).Reach(rapid.SampledFrom([]roles.Reach{roles.Own, roles.Unit, roles.Units, roles.Reports, roles.Territory}).Draw(rt, "reach"), attr)},
			Below: tree(nil), Attrs: map[string]string{"User." + other: "String"},
		}
		if attr == other {
			return
		}
		set, err := roles.New(m)
		if err != nil {
			return
		}
		taken++
		_, err = accesscontrol.Load(context.Background(), set.Config())
		require.NoError(rt, err)
	})
	require.Greater(t, taken, 10)
}
