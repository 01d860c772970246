package roles_test

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/accesscontrol/roles"
	"github.com/crmguard/crmguard/internal/testdb"
)

// While a change stands still, with the tenant locked, questions are answered, and
// changes wait for as long as their context says.
func TestAChangeThatStandsStill(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		store := opened(t, d.Open(t), roles.Options{MaxAge: -1})
		require.NoError(t, store.Bootstrap(t.Context(), giving(given("", "root", "rep"))))
		require.NoError(t, store.Bootstrap(t.Context(), roles.Assignment{Tenant: "other", Principal: "root", Role: "rep", MayGive: true}))
		ann, err := store.For(t.Context(), crmPolicy(t), "main", "root", nil)
		require.NoError(t, err)

		options := &sql.TxOptions{Isolation: sql.LevelReadCommitted} // as the store's own
		if d.Name == testdb.SQLite {
			options = nil
		}
		tx, err := d.Open(t).BeginTx(t.Context(), options)
		require.NoError(t, err)
		defer func() { _ = tx.Rollback() }()
		for _, statement := range []string{
			`UPDATE crmguard_accesscontrol_tenant SET changes = changes + 1 WHERE tenant = 'main'`,
			`DELETE FROM crmguard_accesscontrol_assignment WHERE tenant = 'main'`,
		} {
			_, err = tx.ExecContext(t.Context(), statement)
			require.NoError(t, err)
		}

		require.Equal(t, []string{"rep"}, held(t, store, "main", "root"))
		of, err := store.RolesOf(t.Context(), "main", "root")
		require.NoError(t, err)
		require.Len(t, of, 1)
		who, err := store.WhoHas(t.Context(), "main", "rep")
		require.NoError(t, err)
		require.Len(t, who, 1)
		for p, err := range store.Principals(t.Context(), "main") {
			require.NoError(t, err)
			require.Equal(t, "root", p.ID)
		}
		_, err = store.Status(t.Context())
		require.NoError(t, err)
		require.NoError(t, ann.Check(t.Context(), "deal.read", accesscontrol.Resource{Type: "deal", ID: "1", Tenant: "main", Attrs: map[string]any{"owner_id": "root", "territory_id": "de"}}))

		for name, change := range map[string]func(ctx context.Context) error{
			"assign":  func(ctx context.Context) error { return store.Assign(ctx, given("root", "bob", "rep")) },
			"dismiss": func(ctx context.Context) error { _, err := store.Dismiss(ctx, "main", "root"); return err },
		} {
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			err = change(ctx)
			cancel()
			require.ErrorIs(t, err, context.DeadlineExceeded, name)
			require.ErrorContains(t, err, "nothing was changed", name)
		}
		if d.Name != testdb.SQLite { // has one writer
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			require.NoError(t, store.Assign(ctx, roles.Assignment{Tenant: "other", Principal: "bob", Role: "rep", By: "root"}))
		}
		require.NoError(t, tx.Rollback())
		require.NoError(t, store.Assign(t.Context(), given("root", "bob", "rep")))
		require.Equal(t, []string{"rep"}, held(t, store, "main", "bob"))
	})
}
