package encryption_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/keystore"
)

// askedFor counts what a warm vault asks for when it takes writers for everybody.
func askedFor(t *testing.T, memory *encryptiontest.Memory, vault *encryption.Vault, tenants, persons []string) (owners, tenantReads int) {
	t.Helper()
	owners, tenantReads = memory.Asked("Owners"), memory.Asked("Tenant")
	for _, tenant := range tenants {
		for _, person := range persons {
			err := vault.Ensure(t.Context(), tenant, person)
			if !errors.Is(err, encryption.ErrErased) && !errors.Is(err, encryption.ErrMerged) {
				require.NoError(t, err)
			}
		}
	}
	return memory.Asked("Owners") - owners, memory.Asked("Tenant") - tenantReads
}

// What a change takes away costs nobody else a query: neither in the process
// that makes it, nor in others.
func TestAChangeNarrowsWhomItNamesOnly(t *testing.T) {
	persons := numbered(100)
	tenants := []string{tenant, "t2"}
	for name, c := range map[string]struct {
		change func(ctx context.Context, e *env) error
		owners int // queries for owners afterwards, at most
		reads  int // of tenants
	}{
		"an erasure": {func(ctx context.Context, e *env) error {
			_, err := e.vault.Erase(ctx, tenant, persons[3])
			return err
		}, 1, 0},
		"the erasure of a person who was merged": {func(ctx context.Context, e *env) error {
			_, err := e.vault.Erase(ctx, tenant, persons[98])
			return err
		}, 2, 0},
		"many erasures": {func(ctx context.Context, e *env) error {
			_, err := e.vault.EraseMany(ctx, tenant, persons[:40]...)
			return err
		}, 40, 0},
		"a merge":              {func(ctx context.Context, e *env) error { return e.vault.AddAlias(ctx, tenant, persons[5], persons[6]) }, 2, 0},
		"a new key version":    {func(ctx context.Context, e *env) error { _, err := e.vault.NewKeyVersion(ctx, tenant); return err }, 200, 1},
		"a tenant":             {func(ctx context.Context, e *env) error { return e.vault.AddTenant(ctx, "t3") }, 0, 0},
		"a lease":              {func(ctx context.Context, e *env) error { return e.vault.ChangeLease(ctx, time.Minute) }, 0, 0},
		"a position":           {func(ctx context.Context, e *env) error { _, err := e.vault.Position(ctx); return err }, 0, 0},
		"a change of everyone": {func(ctx context.Context, e *env) error { return write(ctx, e, keystore.Change{Narrows: true}) }, 200, 2},
	} {
		t.Run(name, func(t *testing.T) {
			e, memory := inMemory(t, tenants...)
			for _, of := range tenants {
				require.NoError(t, e.vault.Ensure(t.Context(), of, persons...))
			}
			require.NoError(t, e.vault.AddAlias(t.Context(), tenant, persons[98], persons[99]))
			other := e.another(t)
			for _, vault := range []*encryption.Vault{e.vault, other} {
				askedFor(t, memory, vault, tenants, persons)
				owners, reads := askedFor(t, memory, vault, tenants, persons)
				require.Zero(t, owners+reads, "warm")
			}
			require.NoError(t, c.change(t.Context(), e))
			e.clock.Move(encryption.DefaultLease)
			for process, vault := range []*encryption.Vault{e.vault, other} {
				owners, reads := askedFor(t, memory, vault, tenants, persons)
				// Where a lease has ended, the last key that this process made is
				// looked for once.
				require.LessOrEqual(t, owners, c.owners+1, "queries of process %d for owners", process)
				require.LessOrEqual(t, reads, c.reads, "queries of process %d for tenants", process)
			}
		})
	}
}

func write(ctx context.Context, e *env, change keystore.Change) error {
	_, err := e.cfg.Keys.Update(ctx, func(tx keystore.Tx) error { return tx.Write(ctx, change) })
	return err
}

// A vault that cannot tell whose keys were narrowed drops everyone's: where the
// mark is gone, says nothing, is not understood, or does not fit the barrier.
func TestAVaultThatCannotTellWhomAChangeNarrowsDropsEveryone(t *testing.T) {
	for name, damage := range map[string]string{
		"a mark that was removed":       `DELETE FROM crmguard_encryption_mark WHERE sequence = ?`,
		"a mark of a restored store":    `UPDATE crmguard_encryption_mark SET narrows = '' WHERE sequence = ?`,
		"a mark of another version":     `UPDATE crmguard_encryption_mark SET narrows = '{"record":"r"}' WHERE sequence = ?`,
		"a mark that is no JSON":        `UPDATE crmguard_encryption_mark SET narrows = 'p1' WHERE sequence = ?`,
		"the newest marks were removed": `DELETE FROM crmguard_encryption_mark WHERE sequence = ?`,
		"the newest marks say nothing":  `UPDATE crmguard_encryption_mark SET narrows = '-' WHERE sequence = ?`,
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, 4)
			e.insert(t, "c1", "p1")
			cell := e.read(t)[0].email.Bytes()
			other := e.table(t, e.another(t), contactsTable)
			_, err := other.Reader(t.Context(), tenant, "p1")
			require.NoError(t, err)
			receipt, err := e.vault.Erase(t.Context(), tenant, "p1")
			require.NoError(t, err)
			_, err = e.vault.Erase(t.Context(), tenant, "p9") // the last mark stands
			require.NoError(t, err)
			_, err = e.keysDB.ExecContext(t.Context(), damage, receipt.Sequence)
			require.NoError(t, err)
			if strings.Contains(name, "newest") {
				_, err = e.keysDB.ExecContext(t.Context(), damage, receipt.Sequence+1)
				require.NoError(t, err)
			}
			r, err := other.Reader(t.Context(), tenant, "p1")
			require.NoError(t, err)
			_, err = r.Row("p1", "").Open(t.Context(), "email", cell)
			require.ErrorIs(t, err, encryption.ErrErased)
		})
	}
}

// Whoever was away for more changes than are read drops everyone, too.
func TestAVaultThatMissedManyChangesDropsEveryone(t *testing.T) {
	e, memory := inMemory(t, tenant)
	other := e.another(t)
	askedFor(t, memory, other, []string{tenant}, []string{"p1", "p2"})
	sealed, err := other.PersonSealer("x").Seal(t.Context(), tenant, "p1", nil, nil)
	require.NoError(t, err)
	_, err = e.vault.Erase(t.Context(), tenant, "p1")
	require.NoError(t, err)
	for n := range 600 {
		require.NoError(t, write(t.Context(), e, keystore.Change{Narrows: true, Of: keystore.Scope{Tenant: tenant, Owners: []string{fmt.Sprint("q", n)}}}))
	}
	_, err = other.PersonSealer("x").Open(t.Context(), tenant, "p1", sealed, nil)
	require.ErrorIs(t, err, encryption.ErrErased)
	owners, _ := askedFor(t, memory, other, []string{tenant}, []string{"p2"})
	require.NotZero(t, owners, "hundreds of marks are not read to spare a few queries")
}

// The list of owners in a mark is bounded; beyond that it is their tenant.
func TestALongListOfOwnersIsTheirTenant(t *testing.T) {
	change := keystore.Change{Narrows: true, Of: keystore.Scope{Tenant: tenant, Owners: []string{"b", "a", "b"}}}
	require.Equal(t, `{"owners":["a","b"],"tenant":"t1"}`, change.Narrowed(keystore.NarrowsNothing))
	change.Of.Owners = numbered(5000)
	require.Equal(t, `{"tenant":"t1"}`, change.Narrowed(keystore.NarrowsNothing))
}

// slowOwners tells when it has read owners, and answers when it is told to.
type slowOwners struct {
	keystore.Store
	read, free chan struct{}
}

func (s *slowOwners) Owners(ctx context.Context, tenant string, owners []string) (keystore.Rows, error) {
	rows, err := s.Store.Owners(ctx, tenant, owners)
	if s.read != nil {
		s.read <- struct{}{}
		<-s.free
	}
	return rows, err
}

// What was read before an erasure and comes after it was noticed does not pass
// for what was read since.
func TestWhatComesLateIsNotTakenForNew(t *testing.T) {
	e, memory := inMemory(t, tenant)
	require.NoError(t, e.vault.Ensure(t.Context(), tenant, "p1"))
	sealed, err := e.vault.PersonSealer("x").Seal(t.Context(), tenant, "p1", nil, nil)
	require.NoError(t, err)
	store := &slowOwners{Store: memory, read: make(chan struct{}), free: make(chan struct{})}
	cfg := e.cfg
	cfg.Keys = store
	other, err := encryption.Open(t.Context(), cfg)
	require.NoError(t, err)
	late := make(chan error)
	go func() {
		_, err := other.PersonSealer("x").Open(t.Context(), tenant, "p1", sealed, nil)
		late <- err
	}()
	<-store.read
	store.read = nil
	_, err = e.vault.Erase(t.Context(), tenant, "p1") // which moves the clock of all
	require.NoError(t, err)
	require.NoError(t, other.Ensure(t.Context(), tenant, "p2"), "the other process has seen it now")
	close(store.free)
	require.ErrorIs(t, <-late, encryption.ErrErased)
	_, err = other.PersonSealer("x").Open(t.Context(), tenant, "p1", sealed, nil)
	require.ErrorIs(t, err, encryption.ErrErased)
}

// Many goroutines that take what they can get, in a process other than the one
// that erases, get nothing once it has returned.
func TestNothingStaleIsLeftInAProcessThatIsUsedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kms := &keks{keys: map[string][]byte{}, gone: map[string]bool{}}
		cfg := encryption.Config{Keys: encryptiontest.Keys(), KEK: kms.get}
		first, err := encryption.Create(t.Context(), cfg)
		require.NoError(t, err)
		require.NoError(t, first.AddTenant(t.Context(), tenant))
		require.NoError(t, first.ChangeLease(t.Context(), 300*time.Millisecond))
		other, err := encryption.Open(t.Context(), cfg)
		require.NoError(t, err)
		contacts, err := other.Table(contactsTable)
		require.NoError(t, err)
		sealer := other.PersonSealer("x")
		for i := range 15 {
			person := fmt.Sprint("p", i)
			sealed, err := sealer.Seal(t.Context(), tenant, person, nil, nil)
			require.NoError(t, err)
			w, err := contacts.Writer(t.Context(), tenant, person)
			require.NoError(t, err)
			stop := make(chan struct{})
			var wg sync.WaitGroup
			for range 3 {
				wg.Go(func() {
					for {
						select {
						case <-stop:
							return
						case <-time.After(time.Millisecond):
						}
						_, _ = contacts.Writer(t.Context(), tenant, person)
						_, _ = sealer.Open(t.Context(), tenant, person, sealed, nil)
					}
				})
			}
			_, err = first.Erase(t.Context(), tenant, person)
			require.NoError(t, err)
			_, err = w.Seal("email", nil)
			require.ErrorIs(t, err, encryption.ErrLease)
			_, err = sealer.Open(t.Context(), tenant, person, sealed, nil)
			require.ErrorIs(t, err, encryption.ErrErased)
			_, err = sealer.Seal(t.Context(), tenant, person, nil, nil)
			require.ErrorIs(t, err, encryption.ErrErased)
			_, err = contacts.Writer(t.Context(), tenant, person)
			require.ErrorIs(t, err, encryption.ErrErased)
			close(stop)
			wg.Wait()
		}
	})
}

// Another process that had all of them in memory follows a merge, and the
// erasure of one of them, for every id of the person.
func TestOtherProcessesFollowAMergeAndItsErasure(t *testing.T) {
	for _, named := range []string{"p1", "p2", "p3"} {
		e, _ := inMemory(t, tenant)
		other := e.another(t)
		sealer := other.PersonSealer("x")
		sealed := map[string][]byte{}
		all := []string{"p1", "p2", "p3"}
		for _, person := range all {
			var err error
			sealed[person], err = sealer.Seal(t.Context(), tenant, person, nil, nil)
			require.NoError(t, err)
		}
		require.NoError(t, e.vault.AddAlias(t.Context(), tenant, "p3", "p2"))
		require.NoError(t, e.vault.AddAlias(t.Context(), tenant, "p2", "p1"))
		e.clock.Move(encryption.DefaultLease)
		for _, person := range all {
			_, err := sealer.Seal(t.Context(), tenant, person, nil, nil)
			if person == "p1" {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, encryption.ErrMerged)
			}
			_, err = sealer.Open(t.Context(), tenant, person, sealed[person], nil)
			require.NoError(t, err)
		}
		_, err := e.vault.Erase(t.Context(), tenant, named)
		require.NoError(t, err)
		for _, person := range all {
			_, err = sealer.Open(t.Context(), tenant, person, sealed[person], nil)
			require.ErrorIs(t, err, encryption.ErrErased, "%s, erased as %s", person, named)
		}
	}
}
