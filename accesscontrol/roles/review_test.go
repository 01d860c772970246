package roles_test

import (
	"database/sql"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol/roles"
)

// A set that comes into the model later shows who holds two of it.
func TestConflictsOfBefore(t *testing.T) {
	eachStore(t, func(t *testing.T, store *roles.Store, db *sql.DB) {
		ctx, before := t.Context(), crm()
		before.Exclusive = nil
		set, err := roles.New(before)
		require.NoError(t, err)
		free, err := roles.Open(ctx, db, set, roles.Options{})
		require.NoError(t, err)
		over := until(given("", "cat", "approver"), time.Now().Add(-time.Hour))
		for _, a := range []roles.Assignment{
			given("", "ann", "payer"), given("", "ann", "director", roles.Everywhere()), given("", "bob", "payer"), given("", "cat", "payer"), over,
			{Tenant: "other", Principal: "bob", Role: "approver"},
		} {
			require.NoError(t, free.Bootstrap(ctx, a))
		}
		found, err := store.Conflicts(ctx, "main")
		require.NoError(t, err)
		require.Equal(t, []roles.Conflict{{Principal: "ann", Role: "payer", Other: "director"}}, found)
	})
}

// What is over is deleted when somebody says so, and nothing that is held.
func TestPrune(t *testing.T) {
	eachStore(t, func(t *testing.T, store *roles.Store, _ *sql.DB) {
		ctx, now := t.Context(), time.Now()
		for who, end := range map[string]time.Time{"ann": now.Add(-3 * time.Hour), "bob": now.Add(-time.Hour), "cat": now.Add(time.Hour), "dan": {}} {
			require.NoError(t, store.Bootstrap(ctx, until(given("", who, "rep"), end)))
		}
		require.NoError(t, store.Bootstrap(ctx, until(roles.Assignment{Tenant: "other", Principal: "ann", Role: "rep"}, now.Add(-3*time.Hour))))
		for _, step := range []struct {
			before time.Time
			want   int64
		}{{now.Add(-2 * time.Hour), 1}, {now.Add(100 * time.Hour), 1}, {now.Add(100 * time.Hour), 0}} {
			n, err := store.Prune(ctx, "main", step.before)
			require.NoError(t, err)
			require.Equal(t, step.want, n)
		}
		require.Equal(t, []string{"rep"}, held(t, store, "main", "cat"))
		require.Equal(t, []string{"rep"}, held(t, store, "main", "dan"))
	})
}
