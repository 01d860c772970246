package encryption_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
)

// A merge that was a mistake is taken back: both persons are what they were, in
// every process, and an erasure takes one of them only.
func TestAMergeIsTakenBack(t *testing.T) {
	e := newEnv(t, 1)
	ctx := t.Context()
	other := e.another(t)
	contacts := e.table(t, other, contactsTable)
	e.insert(t, "c2", "p2")
	require.NoError(t, e.vault.AddAlias(ctx, tenant, "p3", "p2"))
	require.NoError(t, e.vault.AddAlias(ctx, tenant, "p2", "p1"))
	e.clock.Move(encryption.DefaultLease)
	_, err := contacts.Writer(ctx, tenant, "p2")
	require.ErrorIs(t, err, encryption.ErrMerged)

	require.ErrorIs(t, e.vault.Unmerge(ctx, tenant, "p2", "p3"), encryption.ErrMerged, "into another one than was named")
	require.NoError(t, e.vault.Unmerge(ctx, tenant, "p2", "p1"))
	require.NoError(t, e.vault.Unmerge(ctx, tenant, "p2", "p1"), "idempotent")
	e.clock.Move(encryption.DefaultLease)
	aliases, err := other.Aliases(ctx, tenant, "p2")
	require.NoError(t, err)
	require.Equal(t, []string{"p3"}, aliases, "who was merged into p2 before stays so")
	e.requireOpens(t, contacts)
	w, err := contacts.Writer(ctx, tenant, "p2")
	require.NoError(t, err)
	_, err = w.Seal("email", []byte("again"))
	require.NoError(t, err)
	require.NoError(t, e.vault.AddAlias(ctx, tenant, "p2", "p5"), "and may be merged into the right one")
	require.NoError(t, e.vault.Unmerge(ctx, tenant, "p2", "p5"))

	receipt, err := e.vault.Erase(ctx, tenant, "p1")
	require.NoError(t, err)
	require.Equal(t, 1, receipt.Owners)
	e.requireOpens(t, contacts)
}

func TestAMergeIsTakenBackOnlyWhereNothingIsLost(t *testing.T) {
	e := newEnv(t, 1)
	ctx := t.Context()
	require.ErrorIs(t, e.vault.Unmerge(ctx, "", "p2", "p1"), encryption.ErrTenant)
	require.ErrorIs(t, e.vault.Unmerge(ctx, "nobody", "p2", "p1"), encryption.ErrTenant)
	require.ErrorIs(t, e.vault.Unmerge(ctx, tenant, "p2", "p2"), encryption.ErrID)
	require.ErrorIs(t, e.vault.Unmerge(ctx, tenant, "r:x", "p2"), encryption.ErrID)
	require.ErrorIs(t, e.vault.Unmerge(ctx, tenant, "p2", "p1"), encryption.ErrNoKey, "both are unknown")
	require.NoError(t, e.vault.AddAlias(ctx, tenant, "p2", "p1"))
	require.ErrorIs(t, e.vault.Unmerge(ctx, tenant, "p2", "p9"), encryption.ErrNoKey, "p9 is unknown")
	_, err := e.vault.Erase(ctx, tenant, "p1")
	require.NoError(t, err)
	require.ErrorIs(t, e.vault.Unmerge(ctx, tenant, "p2", "p1"), encryption.ErrErased)
	aliases, err := e.vault.Aliases(ctx, tenant, "p1")
	require.NoError(t, err)
	require.Equal(t, []string{"p2"}, aliases, "the list stays after the erasure")
	_, err = e.contacts.Writer(ctx, tenant, "p2")
	require.ErrorIs(t, err, encryption.ErrErased)
}
