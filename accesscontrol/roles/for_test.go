package roles_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/accesscontrol/roles"
	"github.com/crmguard/crmguard/internal/testdb"
)

// crmPolicy lets an Actor be held for an hour.
func crmPolicy(t testing.TB) *accesscontrol.Policy {
	t.Helper()
	set, err := roles.New(crm())
	require.NoError(t, err)
	config := set.Config()
	config.Hold = time.Hour
	policy, err := accesscontrol.Load(t.Context(), config)
	require.NoError(t, err)
	return policy
}

// Each verb of a store holds from the next call of an Actor on, checks and
// filters alike, for whoever it concerns.
func TestAHeldActorFollowsEachVerb(t *testing.T) {
	store, policy := opened(t, testdb.New(t, testdb.SQLite).Open(t), roles.Options{MaxAge: time.Hour}), crmPolicy(t)
	ctx := t.Context()
	actors := map[string]*accesscontrol.Actor{}
	for _, who := range []string{"root", "ann", "bob"} {
		var err error
		actors[who], err = store.For(ctx, policy, "main", who, nil)
		require.NoError(t, err)
	}
	may := func(want string) {
		t.Helper()
		var got strings.Builder
		for _, who := range []string{"root", "ann", "bob"} {
			allowed := actors[who].Check(ctx, "deal.read", dealOf(who)) == nil
			where, err := actors[who].Filter(ctx, "deal.read", "deal")
			require.NoError(t, err)
			text, _ := where.SQLite("d")
			require.Equal(t, allowed, strings.Contains(text, "owner_id"), text)
			if allowed {
				got.WriteString(who + " ")
			}
		}
		require.Equal(t, want, got.String())
	}
	may("")
	require.NoError(t, store.Bootstrap(ctx, giving(given("", "root", "rep"))))
	may("root ")
	require.NoError(t, store.Assign(ctx, giving(given("root", "ann", "rep"))))
	require.NoError(t, store.Assign(ctx, given("ann", "bob", "rep")))
	may("root ann bob ")
	_, err := store.Revoke(ctx, given("root", "ann", "rep"))
	require.NoError(t, err)
	may("root ")
	_, err = store.Dismiss(ctx, "main", "root")
	require.NoError(t, err)
	may("")
}

// What the application adds to a principal is there after each reading, and is
// no part of what the store keeps.
func TestWhatIsAddedToAHeldActor(t *testing.T) {
	db := testdb.New(t, testdb.SQLite).Open(t)
	opened(t, db, roles.Options{})
	set, err := roles.New(crm())
	require.NoError(t, err)
	store, err := roles.Open(t.Context(), db, set, roles.Options{MaxAge: time.Hour})
	require.NoError(t, err)
	config := set.Config()
	config.Texts["own.cedar"] = `@id("region") permit (principal, action == Action::"deal.archive", resource is Deal) when { principal has region && principal.region == "eu" };`
	policy, err := accesscontrol.Load(t.Context(), config)
	require.NoError(t, err)
	region := "eu"
	ann, err := store.For(t.Context(), policy, "main", "ann", func(p *accesscontrol.Principal) { p.Attrs["region"] = region })
	require.NoError(t, err)
	require.NoError(t, ann.Check(t.Context(), "deal.archive", dealOf("bob")))
	region = "us"
	require.NoError(t, ann.Check(t.Context(), "deal.archive", dealOf("bob")), "nothing has changed in the store")
	require.NoError(t, store.Bootstrap(t.Context(), given("", "zoe", "rep")))
	require.ErrorIs(t, ann.Check(t.Context(), "deal.archive", dealOf("bob")), accesscontrol.ErrDenied)
	p, err := store.Principal(t.Context(), "main", "ann")
	require.NoError(t, err)
	require.Empty(t, p.Attrs)
}

// A store that cannot be read answers nothing for a held Actor, once what it
// has read is too old.
func TestAHeldActorWhoseStoreIsAway(t *testing.T) {
	db := testdb.New(t, testdb.SQLite).Open(t)
	store := opened(t, db, roles.Options{MaxAge: -1})
	require.NoError(t, store.Bootstrap(t.Context(), given("", "ann", "rep")))
	ann, err := store.For(t.Context(), crmPolicy(t), "main", "ann", nil)
	require.NoError(t, err)
	require.NoError(t, ann.Check(t.Context(), "deal.read", dealOf("ann")))
	run(t, db, `ALTER TABLE crmguard_accesscontrol_assignment RENAME TO away`)
	err = ann.Check(t.Context(), "deal.read", dealOf("ann"))
	require.Error(t, err)
	require.NotErrorIs(t, err, accesscontrol.ErrDenied)
	run(t, db, `ALTER TABLE away RENAME TO crmguard_accesscontrol_assignment`)
	require.NoError(t, ann.Check(t.Context(), "deal.read", dealOf("ann")))
}

func BenchmarkHeldActor(b *testing.B) {
	db := testdb.New(b, testdb.SQLite).Open(b)
	require.NoError(b, roles.Install(b.Context(), db))
	set, err := roles.New(crm())
	require.NoError(b, err)
	store, err := roles.Open(b.Context(), db, set, roles.Options{MaxAge: time.Hour})
	require.NoError(b, err)
	require.NoError(b, store.Bootstrap(b.Context(), given("", "ann", "rep")))
	policy, deal := crmPolicy(b), dealOf("ann")
	p, err := store.Principal(b.Context(), "main", "ann")
	require.NoError(b, err)
	still, err := policy.For(p)
	require.NoError(b, err)
	follows, err := store.For(b.Context(), policy, "main", "ann", nil)
	require.NoError(b, err)
	for name, actor := range map[string]*accesscontrol.Actor{"follows=no": still, "follows=yes": follows} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = actor.Check(b.Context(), "deal.read", deal)
			}
		})
	}
}
