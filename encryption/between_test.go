package encryption_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/keycopy"
	"github.com/crmguard/crmguard/encryption/keystore"
)

// between is a key store in which others get in between two steps of a call. A
// func that is nil does nothing.
type between struct {
	keystore.Store
	owners func(owners []string) // when owners were read
	view   func()                // when a view stands still
	keys   func()                // when a page of a tenant's keys was read
	update func()                // before an Update
}

func (b *between) Owners(ctx context.Context, tenant string, owners []string) (keystore.Rows, error) {
	rows, err := b.Store.Owners(ctx, tenant, owners)
	if b.owners != nil && err == nil {
		b.owners(owners)
	}
	return rows, err
}

func (b *between) Snapshot(ctx context.Context, f func(keystore.Tx) error) error {
	return b.Store.Snapshot(ctx, func(tx keystore.Tx) error {
		if _, err := tx.State(ctx); err != nil {
			return err
		}
		if b.view != nil {
			b.view()
		}
		return f(&betweenTx{tx, b})
	})
}

func (b *between) Update(ctx context.Context, f func(keystore.Tx) error) (keystore.State, error) {
	if b.update != nil {
		b.update()
	}
	return b.Store.Update(ctx, f)
}

type betweenTx struct {
	keystore.Tx
	of *between
}

func (tx *betweenTx) Page(ctx context.Context, page keystore.Page) (keystore.Rows, error) {
	rows, err := tx.Tx.Page(ctx, page)
	if tx.of.keys != nil && err == nil && page.Kind == keystore.KindKey && page.Tenant != "" {
		tx.of.keys()
	}
	return rows, err
}

// A key that another process has made a moment ago, under the wrap key of before,
// is wrapped anew by an epoch that begins then: no loss of the key store.
func TestAKeyThatAnEpochWrapsAnewIsNoLoss(t *testing.T) {
	e := newEnv(t, 4)
	store := &between{Store: e.store}
	reader, err := encryption.Open(t.Context(), withKeys(e.cfg, store))
	require.NoError(t, err)
	require.NoError(t, reader.Ensure(t.Context(), tenant, "p0"))
	closed, begun, goOn := make(chan error, 1), make(chan bool), make(chan bool)
	store.owners = func(owners []string) {
		if len(owners) != 1 || owners[0] != "p1" {
			return
		}
		store.owners = nil
		require.NoError(t, e.vault.Ensure(t.Context(), tenant, "p1"))
		var once sync.Once
		held := &between{Store: e.store, keys: func() { once.Do(func() { begun <- true; <-goOn }) }}
		closer, err := encryption.Open(t.Context(), withKeys(e.cfg, held))
		require.NoError(t, err)
		go func() {
			_, err := closer.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: "kek-2", Copy: func(context.Context) error { return errStoodStill }})
			closed <- err
		}()
		<-begun // the new wrap key is there, no key is wrapped with it
		e.clock.Move(encryption.DefaultLease + time.Second)
	}
	require.NoError(t, reader.Ensure(t.Context(), tenant, "p1"))
	goOn <- true
	require.ErrorIs(t, <-closed, errStoodStill)
	e.clock.Move(30 * time.Second)
	require.NoError(t, reader.Ensure(t.Context(), tenant, "p0"))
	require.NoError(t, reader.Ensure(t.Context(), tenant, "p1"))
}

// A repair that decided about a keyset, and stands still while another process
// repairs it and closes the epoch, puts nothing back.
func TestALateRepairPutsNoKeysetBack(t *testing.T) {
	e := newEnv(t, 4)
	e.insert(t, "c1", "p1")
	dir := t.TempDir()
	e.halfClosed(t, dir, 1, true)
	path, err := keycopy.Newest(dir)
	require.NoError(t, err)
	older := kept(t, path)
	e.spoil(t, `UPDATE crmguard_encryption_keyset SET wrapped = zeroblob(80) WHERE tenant = 't1' AND purpose = 'seal'`)
	decided, goOn, done := make(chan bool), make(chan bool), make(chan error, 1)
	var once sync.Once
	store := &between{Store: e.store}
	late, err := encryption.Open(t.Context(), withKeys(e.cfg, store))
	require.NoError(t, err)
	other := e.another(t)
	store.update = func() { once.Do(func() { decided <- true; <-goOn }) }
	go func() {
		_, err := late.RepairFromCopy(t.Context(), older)
		done <- err
	}()
	<-decided
	_, err = other.RepairFromCopy(t.Context(), older)
	require.NoError(t, err)
	woken := false
	_, err = e.vault.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: "kek-2", Copy: e.vault.Copier(dir), Destroy: func(ctx context.Context, kek string) error {
		if !woken {
			woken = true
			goOn <- true
			<-done // whatever it says
		}
		return e.kms.destroy(ctx, kek)
	}})
	require.NoError(t, err)
	require.True(t, woken)
	rows, err := e.store.Tenant(t.Context(), tenant)
	require.NoError(t, err)
	for _, row := range rows.Keysets {
		if row.Purpose == "branch" {
			require.Equal(t, "kek-2", row.KEK)
		}
	}
	_, err = e.another(t).WriteCopy(t.Context(), t.TempDir()) // looks at every keyset
	require.NoError(t, err)
	e.requireOpens(t, e.table(t, e.another(t), contactsTable))
}

// A repair beside other calls of the same process: what they change while its view
// stands still is no older state of the key store.
func TestARepairBesideOtherCallsIsNoLoss(t *testing.T) {
	e := newEnv(t, 4)
	e.insert(t, "c1", "p1")
	store := &between{Store: e.store}
	v, err := encryption.Open(t.Context(), withKeys(e.cfg, store))
	require.NoError(t, err)
	written, err := v.WriteCopy(t.Context(), t.TempDir())
	require.NoError(t, err)
	views := 0
	store.view = func() {
		if views++; views < 40 {
			_, err := v.Position(t.Context())
			require.NoError(t, err)
		}
	}
	_, err = v.RepairFromCopy(t.Context(), written.Path)
	require.NoError(t, err)
	require.NotZero(t, views)
}

// The copy that RewrapKeys leaves restores to an epoch that is closed: nothing is
// left to be done there, and the next one may begin.
func TestTheCopyThatAnEpochLeavesIsOfAClosedOne(t *testing.T) {
	e := newEnv(t, 1)
	e.insert(t, "c1", "p1")
	dir := t.TempDir()
	_, err := e.vault.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: "kek-2", Copy: e.vault.Copier(dir), Destroy: e.kms.destroy})
	require.NoError(t, err)
	path, err := keycopy.Newest(dir)
	require.NoError(t, err)
	restored, err := encryption.RestoreCopy(t.Context(), withKeys(e.cfg, encryptiontest.Keys()), path)
	require.NoError(t, err)
	inventory, err := restored.Inventory(t.Context())
	require.NoError(t, err)
	require.Empty(t, inventory.Retiring)
	_, err = restored.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: "kek-3", Copy: restored.Copier(t.TempDir())})
	require.NoError(t, err)
	e.requireOpens(t, e.table(t, restored, contactsTable))
}
