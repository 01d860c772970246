//go:build !race

package roles_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol/roles"
	"github.com/crmguard/crmguard/internal/testdb"
)

// A held Actor costs what one costs that follows nothing: no allocation, no
// database.
func TestAHeldActorAsksNoDatabase(t *testing.T) {
	d := testdb.New(t, testdb.SQLite)
	asked := 0
	db := testdb.Watching(t, "sqlite", d.DSN("sqlite"), func(bool) { asked++ })
	store := opened(t, db, roles.Options{MaxAge: time.Hour})
	require.NoError(t, store.Bootstrap(t.Context(), given("", "ann", "rep")))
	ann, err := store.For(t.Context(), crmPolicy(t), "main", "ann", nil)
	require.NoError(t, err)
	deal := dealOf("ann")
	require.NoError(t, ann.Check(t.Context(), "deal.read", deal))
	before := asked
	require.Positive(t, before)
	require.Zero(t, testing.AllocsPerRun(100, func() { _ = ann.Check(t.Context(), "deal.read", deal) }))
	require.Equal(t, before, asked)
}
