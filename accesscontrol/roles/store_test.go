package roles_test

import (
	"bytes"
	"context"
	"database/sql"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/accesscontrol/roles"
	"github.com/crmguard/crmguard/internal/testdb"
)

// opened is a store over the roles of crm.
func opened(t *testing.T, db *sql.DB, o roles.Options) *roles.Store {
	t.Helper()
	require.NoError(t, roles.Install(t.Context(), db))
	set, err := roles.New(crm())
	require.NoError(t, err)
	store, err := roles.Open(t.Context(), db, set, o)
	require.NoError(t, err)
	return store
}

func eachStore(t *testing.T, f func(t *testing.T, store *roles.Store, db *sql.DB)) {
	t.Helper()
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := d.Open(t)
		f(t, opened(t, db, roles.Options{}), db)
	})
}

// given is an assignment of tenant main.
func given(by, who, role string, scope ...roles.Scope) roles.Assignment {
	a := roles.Assignment{Tenant: "main", Principal: who, Role: role, By: by}
	if len(scope) > 0 {
		a.Scope = scope[0]
	}
	return a
}

func giving(a roles.Assignment) roles.Assignment {
	a.MayGive = true
	return a
}

func until(a roles.Assignment, end time.Time) roles.Assignment {
	a.NotAfter = end
	return a
}

func refusedBy(t *testing.T, rule roles.Rule, err error) {
	t.Helper()
	var e *roles.RefusedError
	require.ErrorAs(t, err, &e)
	require.Equal(t, rule, e.Rule, e.Text)
	require.ErrorIs(t, err, roles.ErrRefused)
}

// held are the roles that a principal of accesscontrol has, sorted.
func held(t *testing.T, store *roles.Store, tenant, who string) (out []string) {
	t.Helper()
	p, err := store.Principal(t.Context(), tenant, who)
	require.NoError(t, err)
	require.Equal(t, [2]string{tenant, who}, [2]string{p.Tenant, p.ID})
	for _, parent := range p.Parents {
		out = append(out, parent.ID)
	}
	slices.Sort(out)
	return out
}

func TestNobodyGivesWhatTheyDoNotHave(t *testing.T) {
	end := time.Now().Add(time.Hour).Truncate(time.Microsecond)
	eachStore(t, func(t *testing.T, store *roles.Store, _ *sql.DB) {
		ctx := t.Context()
		require.NoError(t, store.Bootstrap(ctx, giving(given("", "ann", "manager", roles.InUnit("south")))))
		require.NoError(t, store.Bootstrap(ctx, given("", "bob", "manager", roles.Everywhere())))
		require.NoError(t, store.Bootstrap(ctx, until(giving(given("", "cat", "manager", roles.Everywhere())), end)))
		require.NoError(t, store.Bootstrap(ctx, until(giving(given("", "old", "manager", roles.Everywhere())), time.Now().Add(-time.Hour))))
		notYet := giving(given("", "new", "manager", roles.Everywhere()))
		notYet.NotBefore = end
		require.NoError(t, store.Bootstrap(ctx, notYet))
		for name, a := range map[string]roles.Assignment{
			"what is over":         until(given("old", "dan", "rep"), time.Now().Add(-2*time.Hour)),
			"what is not yet":      given("new", "dan", "rep"),
			"another role":         given("ann", "dan", "auditor"),
			"another unit":         given("ann", "dan", "manager", roles.InUnit("north")),
			"everywhere":           given("ann", "dan", "manager", roles.Everywhere()),
			"without the right":    given("bob", "dan", "manager", roles.InUnit("south")),
			"for longer":           given("cat", "dan", "manager", roles.InUnit("south")),
			"a bit longer":         until(given("cat", "dan", "manager", roles.InUnit("south")), end.Add(time.Microsecond)),
			"who holds nothing":    given("dan", "dan", "rep"),
			"more than one's own":  given("ann", "ann", "director", roles.InUnit("south")),
			"in another tenant":    {Tenant: "other", Principal: "dan", Role: "manager", Scope: roles.InUnit("south"), By: "ann"},
			"an upper or lower id": given("Ann", "dan", "manager", roles.InUnit("south")),
			"an id with a blank":   given("ann ", "dan", "manager", roles.InUnit("south")),
		} {
			t.Run(name, func(t *testing.T) { refusedBy(t, roles.NotTheirs, store.Assign(ctx, a)) })
		}
		require.ErrorIs(t, store.Assign(ctx, given("", "dan", "rep")), roles.ErrRequest, "an empty By is nobody's, and not the operator's")
		require.ErrorIs(t, store.Assign(ctx, given(roles.Operator, "dan", "rep")), roles.ErrRequest, "nor can a caller be the operator")
		require.ErrorIs(t, store.Bootstrap(ctx, given("ann", "dan", "rep")), roles.ErrRequest)
		require.Empty(t, held(t, store, "main", "dan"))
		for _, a := range []roles.Assignment{
			given("ann", "dan", "manager", roles.InUnit("south")), given("ann", "eva", "manager", roles.InUnit("lake")), // below south
			given("ann", "eva", "rep"), // comes with manager
			until(given("cat", "fay", "manager", roles.InUnit("north")), end),
		} {
			require.NoError(t, store.Assign(ctx, a))
		}
		require.Equal(t, []string{"manager", "rep"}, held(t, store, "main", "dan"))
		refusedBy(t, roles.NotTheirs, store.Assign(ctx, given("dan", "gus", "rep")))
	})
}

func TestRevokingTakesWhatWasGivenOn(t *testing.T) {
	eachStore(t, func(t *testing.T, store *roles.Store, _ *sql.DB) {
		ctx, south := t.Context(), roles.InUnit("south")
		require.NoError(t, store.Bootstrap(ctx, giving(given("", "ann", "manager", roles.Everywhere()))))
		for _, a := range []roles.Assignment{
			giving(given("ann", "bob", "manager", south)),
			giving(given("bob", "cat", "manager", south)),
			giving(given("cat", "bob", "manager", roles.InUnit("lake"))), // back to who gave it, for less
			given("cat", "dan", "rep"),
			given("bob", "eva", "rep"),
			given("ann", "eva", "rep"), // by another giver, too
			giving(given("ann", "fay", "manager", south)),
		} {
			require.NoError(t, store.Assign(ctx, a), a.Principal)
		}
		// Who may not: a stranger, who was given it, who gives elsewhere.
		take := func(by, who, role string, scope ...roles.Scope) ([]roles.Assignment, error) {
			return store.Revoke(ctx, given(by, who, role, scope...))
		}
		for _, by := range []string{"dan", "cat", "zoe"} {
			_, err := take(by, "bob", "manager", south)
			refusedBy(t, roles.NotTheirs, err)
		}
		_, err := take("fay", "ann", "manager", roles.Everywhere())
		refusedBy(t, roles.NotTheirs, err)
		_, err = take("ann", "bob", "manager", roles.InUnit("north"))
		require.ErrorIs(t, err, roles.ErrNotHeld)
		removed, err := take("ann", "bob", "manager", south)
		require.NoError(t, err)
		var names []string
		for _, a := range removed {
			names = append(names, a.By+" "+a.Principal+" "+a.Role)
		}
		slices.Sort(names)
		require.Equal(t, []string{"ann bob manager", "bob cat manager", "bob eva rep", "cat bob manager", "cat dan rep"}, names)
		for who, want := range map[string][]string{"ann": {"manager", "manager.everywhere", "rep", "rep.everywhere"}, "bob": nil, "cat": nil, "dan": nil, "eva": {"rep"}, "fay": {"manager", "rep"}} {
			require.Equal(t, want, held(t, store, "main", who), who)
		}
		// Somebody who holds it with the right to give takes it from whom others gave it; anybody gives their own up.
		require.NoError(t, store.Assign(ctx, given("ann", "gus", "manager", south)))
		_, err = take("fay", "gus", "manager", south)
		require.NoError(t, err)
		_, err = take("eva", "eva", "rep")
		require.NoError(t, err)
		require.Empty(t, held(t, store, "main", "eva"))
		// The operator takes all of a person.
		removed, err = store.Dismiss(ctx, "main", "ann")
		require.NoError(t, err)
		require.Len(t, removed, 2)
		require.Empty(t, held(t, store, "main", "fay"))
	})
}

func TestRolesThatExcludeEachOther(t *testing.T) {
	eachStore(t, func(t *testing.T, store *roles.Store, db *sql.DB) {
		ctx := t.Context()
		later := given("", "ann", "approver")
		later.NotBefore = time.Now().Add(24 * time.Hour)
		require.NoError(t, store.Bootstrap(ctx, given("", "ann", "payer")))
		refusedBy(t, roles.Excluded, store.Bootstrap(ctx, given("", "ann", "approver")))
		refusedBy(t, roles.Excluded, store.Bootstrap(ctx, later))
		refusedBy(t, roles.Excluded, store.Bootstrap(ctx, given("", "ann", "director", roles.Everywhere())))
		require.NoError(t, store.Bootstrap(ctx, given("", "ann", "auditor")))
		require.NoError(t, store.Bootstrap(ctx, roles.Assignment{Tenant: "other", Principal: "ann", Role: "approver"}), "of another tenant it is somebody else")
		// A role of the tenant counts for what comes with it.
		require.NoError(t, store.Bootstrap(ctx, giving(given("", "root", "payer"))))
		require.NoError(t, store.Define(ctx, roles.Definition{Tenant: "main", Role: "财务", Inherits: []string{"payer"}, By: "root"}))
		require.NoError(t, store.Bootstrap(ctx, given("", "bob", "财务")))
		refusedBy(t, roles.Excluded, store.Bootstrap(ctx, given("", "bob", "approver")))
		require.Equal(t, []string{"payer"}, held(t, store, "main", "bob"))
		require.NoError(t, store.Bootstrap(ctx, given("", "dan", "approver")))
		refusedBy(t, roles.Excluded, store.Bootstrap(ctx, given("", "dan", "财务")))
		// Who holds both from before the set was written puts no role together of them.
		before := crm()
		before.Exclusive = nil
		set, err := roles.New(before)
		require.NoError(t, err)
		free, err := roles.Open(ctx, db, set, roles.Options{})
		require.NoError(t, err)
		require.NoError(t, free.Bootstrap(ctx, giving(given("", "root", "approver"))))
		refusedBy(t, roles.Excluded, store.Define(ctx, roles.Definition{Tenant: "main", Role: "both", Inherits: []string{"payer", "approver"}, By: "root"}))
		// What is over excludes nothing.
		over := until(given("", "cat", "payer"), time.Now().Add(-time.Hour))
		require.NoError(t, store.Bootstrap(ctx, over))
		require.NoError(t, store.Bootstrap(ctx, given("", "cat", "approver")))
	})
}

func TestGivenAgain(t *testing.T) {
	eachStore(t, func(t *testing.T, store *roles.Store, _ *sql.DB) {
		ctx := t.Context()
		require.NoError(t, store.Bootstrap(ctx, given("", "ann", "rep")))
		refusedBy(t, roles.Held, store.Bootstrap(ctx, given("", "ann", "rep")))
		require.NoError(t, store.Bootstrap(ctx, until(given("", "bob", "rep"), time.Now().Add(-time.Hour))))
		require.Empty(t, held(t, store, "main", "bob"))
		require.NoError(t, store.Bootstrap(ctx, given("", "bob", "rep")), "what is over is in nobody's way")
		require.Equal(t, []string{"rep"}, held(t, store, "main", "bob"))
	})
}

func TestRolesOfATenant(t *testing.T) {
	eachStore(t, func(t *testing.T, store *roles.Store, db *sql.DB) {
		ctx := t.Context()
		define := func(role string, of ...string) error {
			return store.Define(ctx, roles.Definition{Tenant: "main", Role: role, Inherits: of, By: "root"})
		}
		refusedBy(t, roles.NotTheirs, define("senior", "manager"))
		require.NoError(t, store.Bootstrap(ctx, giving(given("", "root", "manager", roles.Everywhere()))))
		require.NoError(t, store.Bootstrap(ctx, giving(given("", "root", "auditor"))))
		require.NoError(t, define("senior", "manager", "auditor"))
		require.NoError(t, store.Bootstrap(ctx, giving(given("", "root", "senior", roles.Everywhere()))))
		require.NoError(t, define("chief", "senior", "rep"))
		refusedBy(t, roles.InUse, define("senior", "rep"))
		refusedBy(t, roles.InUse, define("manager", "auditor"))
		refusedBy(t, roles.InUse, define("approver", "rep")) // the model's, though nobody holds it
		refusedBy(t, roles.UnknownRole, define("x", "boss"))
		refusedBy(t, roles.UnknownRole, define("x", "x"))
		refusedBy(t, roles.NotTheirs, define("x", "payer"))
		require.ErrorIs(t, define("x"), roles.ErrRequest)
		refusedBy(t, roles.UnknownRole, store.Bootstrap(ctx, roles.Assignment{Tenant: "other", Principal: "ann", Role: "chief", Scope: roles.Everywhere()}))
		require.NoError(t, store.Assign(ctx, given("root", "ann", "senior", roles.InUnit("lake"))))
		refusedBy(t, roles.WrongScope, store.Bootstrap(ctx, given("", "bob", "senior")))
		require.Equal(t, []string{"auditor", "manager", "rep"}, held(t, store, "main", "ann"))
		who, err := store.WhoHas(ctx, "main", "rep")
		require.NoError(t, err)
		require.Len(t, who, 3)
		who, err = store.WhoHas(ctx, "main", "senior")
		require.NoError(t, err)
		require.Len(t, who, 2)
		require.Equal(t, []string{"senior", "auditor", "manager", "rep"}, who[0].Includes)
		of, err := store.RolesOf(ctx, "main", "ann")
		require.NoError(t, err)
		require.Equal(t, []roles.Holding{{Assignment: given("root", "ann", "senior", roles.InUnit("lake")), Includes: []string{"senior", "auditor", "manager", "rep"}}}, of)
		_, err = store.WhoHas(ctx, "main", "boss")
		refusedBy(t, roles.UnknownRole, err)
		// A circle that somebody wrote into the tables holds nobody up.
		require.NoError(t, define("loop", "rep"))
		refusedBy(t, roles.Circle, define("loop", "rep", "loop"))
		run(t, db, `INSERT INTO crmguard_accesscontrol_role_parent (tenant, role, parent) VALUES ('main', 'senior', 'chief')`)
		require.Equal(t, []string{"auditor", "manager", "rep"}, held(t, opened(t, db, roles.Options{}), "main", "ann"))
		run(t, db, `DELETE FROM crmguard_accesscontrol_role_parent WHERE role = 'senior' AND parent = 'chief'`)
		refusedBy(t, roles.InUse, store.Undefine(ctx, "main", "senior"))
		require.NoError(t, store.Bootstrap(ctx, giving(given("", "root", "chief", roles.Everywhere()))))
		require.NoError(t, define("top", "chief"))
		_, err = store.Revoke(ctx, given("root", "root", "chief", roles.Everywhere()))
		require.NoError(t, err)
		refusedBy(t, roles.InUse, store.Undefine(ctx, "main", "chief")) // held by nobody
		refusedBy(t, roles.InUse, define("chief", "rep"))
		require.NoError(t, store.Undefine(ctx, "main", "top"))
		require.NoError(t, store.Undefine(ctx, "main", "chief"))
		refusedBy(t, roles.InUse, store.Undefine(ctx, "main", "senior"))
		refusedBy(t, roles.InUse, define("senior", "rep"))
		require.ErrorIs(t, store.Undefine(ctx, "main", "chief"), roles.ErrNotHeld)
	})
}

func run(t *testing.T, db *sql.DB, statement string) {
	t.Helper()
	_, err := db.ExecContext(t.Context(), statement)
	require.NoError(t, err, statement)
}

// Two tenants with the same ids of everything never meet.
func TestTenantsNeverMeet(t *testing.T) {
	eachStore(t, func(t *testing.T, store *roles.Store, _ *sql.DB) {
		ctx := t.Context()
		a := giving(given("", "ann", "manager", roles.InUnit("south")))
		require.NoError(t, store.Bootstrap(ctx, a))
		require.NoError(t, store.Define(ctx, roles.Definition{Tenant: "main", Role: "own", Inherits: []string{"rep"}, By: "ann"}))
		for _, tenant := range []string{"Main", "main ", "other"} {
			require.Empty(t, held(t, store, tenant, "ann"))
			who, err := store.WhoHas(ctx, tenant, "manager")
			require.NoError(t, err)
			require.Empty(t, who)
			_, err = store.WhoHas(ctx, tenant, "own")
			refusedBy(t, roles.UnknownRole, err)
			a.Tenant, a.By = tenant, "ann"
			refusedBy(t, roles.NotTheirs, store.Assign(ctx, a))
			_, err = store.Revoke(ctx, a)
			require.ErrorIs(t, err, roles.ErrNotHeld)
			removed, err := store.Dismiss(ctx, tenant, "ann")
			require.NoError(t, err)
			require.Empty(t, removed)
		}
		require.Equal(t, []string{"manager", "rep"}, held(t, store, "main", "ann"))
	})
}

// An error may be logged: it names roles, and no person, unit or reason.
func TestErrorsNameNoPerson(t *testing.T) {
	const canary = "canary@post.example"
	eachStore(t, func(t *testing.T, store *roles.Store, db *sql.DB) {
		ctx := t.Context()
		a := roles.Assignment{Tenant: "main", Principal: canary, Role: "rep", By: canary + "2", Reason: canary}
		errs := []error{store.Assign(ctx, a)}
		a.Scope = roles.InUnit(canary)
		errs = append(errs, store.Assign(ctx, a))
		_, err := store.Revoke(ctx, a)
		errs = append(errs, err)
		a.Role = "manager"
		a.By = ""
		require.NoError(t, store.Bootstrap(ctx, a))
		errs = append(errs, store.Bootstrap(ctx, a))
		a.Role, a.Scope = "payer", roles.Scope{}
		require.NoError(t, store.Bootstrap(ctx, a))
		a.Role = "approver"
		errs = append(errs, store.Bootstrap(ctx, a))
		a.Reason = canary + "\x00"
		errs = append(errs, store.Bootstrap(ctx, a))
		a.Principal = canary + "\x00"
		errs = append(errs, store.Bootstrap(ctx, a))
		run(t, db, `DROP TABLE crmguard_accesscontrol_assignment`)
		_, err = store.Principal(ctx, "main", "x"+canary)
		errs = append(errs, err)
		for _, err := range errs {
			require.Error(t, err)
			require.NotContains(t, err.Error(), "canary")
		}
	})
}

// What is held begins and ends by the clock of the database: where that is years
// ahead of the process's, so is what is held.
func TestTheDatabasesClockDecides(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := d.Open(t)
		db.SetMaxOpenConns(1)
		store := opened(t, db, roles.Options{MaxAge: -1})
		now := time.Now()
		first, last := given("", "ann", "rep"), until(given("", "bob", "rep"), now.Add(time.Hour))
		first.NotBefore = now.Add(time.Hour)
		require.NoError(t, store.Bootstrap(t.Context(), first))
		require.NoError(t, store.Bootstrap(t.Context(), last))
		require.Empty(t, held(t, store, "main", "ann"))
		require.Equal(t, []string{"rep"}, held(t, store, "main", "bob"))
		switch d.Name {
		case testdb.SQLite: // has the clock of the host
			return
		case testdb.MariaDB:
			run(t, db, `SET SESSION timestamp = UNIX_TIMESTAMP() + 10 * 365 * 86400`)
		case testdb.PostgresC, testdb.PostgresICU:
			run(t, db, `CREATE SCHEMA ahead`)
			run(t, db, `CREATE FUNCTION ahead.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ SELECT pg_catalog.clock_timestamp() + interval '10 years' $$`)
			run(t, db, `SET search_path = public, ahead, pg_catalog`)
		}
		require.Equal(t, []string{"rep"}, held(t, store, "main", "ann"))
		require.Empty(t, held(t, store, "main", "bob"))
		require.NoError(t, store.Bootstrap(t.Context(), last), "it is over, and can be given anew")
	})
}

// A person's answer is the caller's own.
func TestAnAnswerIsTheCallers(t *testing.T) {
	eachStore(t, func(t *testing.T, store *roles.Store, _ *sql.DB) {
		require.NoError(t, store.Bootstrap(t.Context(), given("", "ann", "lead")))
		for range 2 {
			p, err := store.Principal(t.Context(), "main", "ann")
			require.NoError(t, err)
			require.Empty(t, p.Attrs)
			require.Equal(t, []accesscontrol.Ref{{Type: "Role", ID: "lead"}}, p.Parents)
			require.Equal(t, "bob", p.Entities[0].ID)
			require.Len(t, p.Entities, 2)
			p.Attrs["region"] = "eu"
			p.Parents = append(p.Parents, accesscontrol.Ref{Type: "Role", ID: "auditor"})
			p.Parents[0].ID, p.Entities[0].ID = "director", "dan"
		}
	})
}

// tags are those of one secret.
func tags(t *testing.T, n byte) roles.Tagger {
	t.Helper()
	tagger, err := roles.KeysFrom(append(bytes.Repeat([]byte{n}, 31), 0xff))
	require.NoError(t, err)
	return tagger
}

// brokenTagger cannot reach its keys.
type brokenTagger struct{}

func (brokenTagger) Tag(context.Context, string, []byte) ([]byte, error) {
	return nil, context.DeadlineExceeded
}

func (brokenTagger) Verify(context.Context, string, []byte, []byte) error {
	return context.DeadlineExceeded
}

// Who writes into the tables and has no key gives nobody a role, and makes none
// longer or wider.
func TestForgedRows(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := d.Open(t)
		o := roles.Options{Tagger: tags(t, 1), MaxAge: -1}
		store := opened(t, db, o)
		ctx := t.Context()
		a := until(giving(given("", "ann", "manager", roles.InUnit("south"))), time.Now().Add(time.Hour))
		a.Reason = "first of the tenant"
		require.NoError(t, store.Bootstrap(ctx, a))
		require.NoError(t, store.Bootstrap(ctx, giving(given("", "root", "rep"))))
		require.NoError(t, store.Define(ctx, roles.Definition{Tenant: "main", Role: "own", Inherits: []string{"rep"}, By: "root"}))
		require.NoError(t, store.Bootstrap(ctx, given("", "bob", "own")))
		require.Equal(t, []string{"manager", "rep"}, held(t, store, "main", "ann"))
		require.Equal(t, []string{"rep"}, held(t, store, "main", "bob"))
		forged := func(who string) {
			t.Helper()
			_, err := store.Principal(ctx, "main", who)
			require.ErrorIs(t, err, roles.ErrForged)
		}
		for column, value := range map[string]string{
			"role": `'auditor'`, "scope": `'*'`, "not_before": `1`, "not_after": `9000000000000000000`, "may_give": `0`, "given_by": `'root'`, "source": `'x'`, "id": `'x'`, "principal": `'cat'`, "tenant": `'main2'`,
		} {
			run(t, db, `CREATE TABLE kept AS SELECT * FROM crmguard_accesscontrol_assignment`)
			run(t, db, `UPDATE crmguard_accesscontrol_assignment SET `+column+` = `+value+` WHERE principal = 'ann'`)
			tenant, who := "main", "ann"
			switch column {
			case "principal":
				who = "cat"
			case "tenant":
				tenant = "main2"
			}
			_, err := store.Principal(ctx, tenant, who)
			require.ErrorIs(t, err, roles.ErrForged, column)
			run(t, db, `DELETE FROM crmguard_accesscontrol_assignment`)
			run(t, db, `INSERT INTO crmguard_accesscontrol_assignment SELECT * FROM kept`)
			run(t, db, `DROP TABLE kept`)
		}
		require.Equal(t, []string{"manager", "rep"}, held(t, store, "main", "ann"))
		run(t, db, `INSERT INTO crmguard_accesscontrol_role_parent (tenant, role, parent) VALUES ('main', 'own', 'auditor')`)
		forged("bob")
		refusedToo := store.Bootstrap(ctx, given("", "eva", "rep"))
		require.ErrorIs(t, refusedToo, roles.ErrForged, "nothing is decided over forged rows")
		run(t, db, `DELETE FROM crmguard_accesscontrol_role_parent WHERE parent = 'auditor'`)
		// A row without a tag, as a store without keys writes it, and one under other keys.
		require.NoError(t, opened(t, db, roles.Options{}).Bootstrap(ctx, given("", "cat", "auditor")))
		forged("cat")
		other := opened(t, db, roles.Options{Tagger: tags(t, 2)})
		_, err := other.Principal(ctx, "main", "ann")
		require.ErrorIs(t, err, roles.ErrForged)
		// Keys that cannot be had are no forgery.
		_, err = opened(t, db, roles.Options{Tagger: brokenTagger{}}).Principal(ctx, "main", "ann")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NotErrorIs(t, err, roles.ErrForged)
	})
}
