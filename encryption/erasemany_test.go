package encryption_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/keystore"
)

func numbered(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("p%03d", i)
	}
	return out
}

// inMemory moves the installation to a key store in memory that counts.
func inMemory(t *testing.T, tenants ...string) (*env, *encryptiontest.Memory) {
	t.Helper()
	e := newEnv(t, 4)
	memory := encryptiontest.Keys()
	e.cfg.Keys = memory
	var err error
	e.vault, err = encryption.Create(t.Context(), e.cfg)
	require.NoError(t, err)
	for _, tenant := range tenants {
		require.NoError(t, e.vault.AddTenant(t.Context(), tenant))
	}
	e.contacts = e.table(t, e.vault, contactsTable)
	return e, memory
}

// A hundred erasures wait for one lease, and everybody else's keys stay.
func TestErasingManyWaitsOnce(t *testing.T) {
	e, memory := inMemory(t, tenant, "t2")
	persons := numbered(260)
	for _, of := range []string{tenant, "t2"} {
		require.NoError(t, e.vault.Ensure(t.Context(), of, append(slices.Clone(persons), "stays", "merged", "chain")...))
	}
	require.NoError(t, e.vault.AddAlias(t.Context(), tenant, "chain", "merged"))
	require.NoError(t, e.vault.AddAlias(t.Context(), tenant, "merged", persons[7]))
	cfg, waits := e.waited()
	erased := 0
	vault, err := encryption.Open(t.Context(), cfg)
	require.NoError(t, err)
	updates := memory.Asked("Update")
	named := append(slices.Clone(persons), "never seen", persons[0], "chain", persons[259])
	receipts, err := vault.EraseMany(t.Context(), tenant, named...)
	require.NoError(t, err)
	require.Equal(t, []time.Duration{encryption.DefaultLease}, *waits)
	require.Equal(t, 3, memory.Asked("Update")-updates, "a hundred persons a transaction")
	require.Len(t, receipts, len(named))
	for _, r := range receipts {
		erased += r.Keys
		require.Equal(t, tenant, r.Tenant)
		require.EqualValues(t, 1, r.Epoch)
		require.NotZero(t, r.Sequence)
		require.Equal(t, encryption.DefaultLease, r.Unreadable.Sub(r.At))
		require.False(t, r.Unreadable.After(e.clock.Now()), "it returns after the lease")
	}
	require.Equal(t, 262, erased, "each key is in one receipt")
	require.Equal(t, []int{1, 3, 1, 3}, []int{receipts[0].Owners, receipts[7].Owners, receipts[260].Owners, receipts[262].Owners}, "merged ids are one person")
	require.Zero(t, receipts[261].Keys, "the second receipt of one person")
	require.Zero(t, receipts[263].Keys, "in the same transaction")
	require.Equal(t, receipts[259].Sequence, receipts[263].Sequence)

	for _, person := range named {
		_, err := e.contacts.Writer(t.Context(), tenant, person)
		require.ErrorIs(t, err, encryption.ErrErased)
		rows, err := memory.Owners(t.Context(), tenant, []string{person})
		require.NoError(t, err)
		require.Equal(t, keystore.Tombstone, rows.Owners[0].State)
		require.Empty(t, rows.Keys)
	}
	require.NoError(t, e.vault.Ensure(t.Context(), tenant, "stays"))
	rows, err := memory.Owners(t.Context(), "t2", persons)
	require.NoError(t, err)
	require.Len(t, rows.Keys, len(persons), "equal ids of another tenant stay")

	again, err := vault.EraseMany(t.Context(), tenant, persons...)
	require.NoError(t, err)
	require.Len(t, *waits, 1, "old tombstones are not waited for")
	require.True(t, again[0].At.IsZero() && again[0].Unreadable.IsZero())
	require.Equal(t, receipts[259].Sequence, again[259].Sequence)
	none, err := vault.EraseMany(t.Context(), tenant)
	require.NoError(t, err)
	require.Empty(t, none)
}

// A bad id stops all before anything changes, and no error names a person.
func TestErasingManyRefusesBadIDsBeforeItBegins(t *testing.T) {
	e, memory := inMemory(t, tenant)
	require.NoError(t, e.vault.Ensure(t.Context(), tenant, "Ann-Smith"))
	for _, bad := range []string{"", "t:", "r:Ann-Smith", "Ann-Smith\x00"} {
		receipts, err := e.vault.EraseMany(t.Context(), tenant, "Ann-Smith", bad)
		require.ErrorIs(t, err, encryption.ErrID)
		require.ErrorContains(t, err, "person 2 of 2")
		require.NotContains(t, err.Error(), "Smith")
		require.Empty(t, receipts)
	}
	_, err := e.vault.EraseMany(t.Context(), "unknown", "Ann-Smith")
	require.ErrorIs(t, err, encryption.ErrTenant)
	rows, err := memory.Owners(t.Context(), tenant, []string{"Ann-Smith"})
	require.NoError(t, err)
	require.Len(t, rows.Keys, 1)
}

// When the store fails on the way, the receipts say who is erased, and the next
// call ends the rest and waits for all.
func TestErasingManyThatFailsHalfWay(t *testing.T) {
	e, memory := inMemory(t, tenant)
	persons := numbered(250)
	require.NoError(t, e.vault.Ensure(t.Context(), tenant, persons...))
	cfg, waits := e.waited()
	vault, err := encryption.Open(t.Context(), cfg)
	require.NoError(t, err)
	down := errors.New("down")
	left := 2
	memory.Fail = func(operation string) error {
		if operation == "Update" {
			if left--; left < 0 {
				return down
			}
		}
		return nil
	}
	receipts, err := vault.EraseMany(t.Context(), tenant, persons...)
	require.ErrorIs(t, err, down)
	require.Len(t, receipts, 200)
	require.Empty(t, *waits)
	memory.Fail = nil
	rows, err := memory.Owners(t.Context(), tenant, persons)
	require.NoError(t, err)
	require.Len(t, rows.Keys, 50)
	receipts, err = vault.EraseMany(t.Context(), tenant, persons...)
	require.NoError(t, err)
	require.Len(t, receipts, 250)
	require.Equal(t, []time.Duration{encryption.DefaultLease}, *waits)
	for _, r := range receipts {
		require.False(t, r.Unreadable.IsZero(), "those of the first call are waited for, too")
	}
}

// Whoever stops waiting knows that the keys are gone, and who calls again waits.
func TestAnErasureWhoseContextEndsWhileItWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kms := &keks{keys: map[string][]byte{}, gone: map[string]bool{}}
		vault, err := encryption.Create(t.Context(), encryption.Config{Keys: encryptiontest.Keys(), KEK: kms.get})
		require.NoError(t, err)
		require.NoError(t, vault.AddTenant(t.Context(), tenant))
		require.NoError(t, vault.Ensure(t.Context(), tenant, "p1"))
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		receipt, err := vault.Erase(short, tenant, "p1")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "the keys are gone, but the lease of other processes is not over")
		require.Equal(t, []int{1, 1}, []int{receipt.Owners, receipt.Keys})
		require.ErrorIs(t, vault.Ensure(t.Context(), tenant, "p1"), encryption.ErrErased)
		_, err = vault.Erase(t.Context(), tenant, "p1")
		require.NoError(t, err)
		require.GreaterOrEqual(t, time.Since(start), encryption.DefaultLease)
	})
}
