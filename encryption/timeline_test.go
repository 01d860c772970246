package encryption_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/keycopy"
	"github.com/crmguard/crmguard/encryption/keystore"
)

// The key store is lost and restored from a copy that is older than a data
// snapshot, into the very database that a vault still has open. Life goes on.
// The snapshot is not covered by what is written from then on, and the vault,
// which was idle meanwhile, seals nothing under a key that the store has no
// more: nobody could open it.
func TestTheStoreIsRestoredUnderAVaultThatIsIdle(t *testing.T) {
	e := newEnv(t, 1)
	e.insert(t, "c0", "p0")
	written, err := e.vault.WriteCopy(t.Context(), t.TempDir())
	require.NoError(t, err)
	offSite := kept(t, written.Path)
	e.insert(t, "c1", "p1") // after the copy
	_, err = e.vault.Erase(t.Context(), tenant, "p0")
	require.NoError(t, err)
	_, err = e.contacts.Writer(t.Context(), tenant, "p1")
	require.NoError(t, err, "its key is in memory")
	position, err := e.vault.Position(t.Context())
	require.NoError(t, err)

	e.spoil(t, `UPDATE crmguard_encryption_store SET store = '', epoch = 0, sequence = 0, mark = '', barrier = 0, kek = '', retiring = ''`)
	for _, table := range []string{"keyset", "generation", "owner", "key", "index", "mark"} {
		e.spoil(t, `DELETE FROM crmguard_encryption_`+table)
	}
	restored, err := encryption.RestoreCopy(t.Context(), e.cfg, offSite)
	require.NoError(t, err)
	contacts := e.table(t, restored, contactsTable)
	for i := range 10 {
		_, err := contacts.Writer(t.Context(), tenant, fmt.Sprint("n", i))
		require.NoError(t, err)
	}
	for sequenceOf(t, e.store) < written.Sequence+10 {
		mustPosition(t, restored)
	}
	e.clock.Move(encryption.DefaultLease - time.Second) // half of it is enough to hand out a writer no more
	for _, person := range []string{"p1", "p0", "new"} {
		_, err = e.contacts.Writer(t.Context(), tenant, person)
		require.ErrorIs(t, err, encryption.ErrRewound)
	}
	require.Equal(t, encryption.HealthAlarm, found(t, e.vault, "encryption.store.rewound", "").Level)
	dir := t.TempDir()
	after, err := restored.WriteCopy(t.Context(), dir)
	require.NoError(t, err)
	require.ErrorIs(t, after.Covers(position), encryption.ErrNotCovered)
	require.ErrorIs(t, restored.KeyCopy(dir)(t.Context(), position), encryption.ErrNotCovered)
	path, err := keycopy.Newest(dir)
	require.NoError(t, err)
	_, err = encryption.RestoreCopy(t.Context(), withKeys(e.cfg, encryptiontest.Keys()), path, position)
	require.ErrorIs(t, err, encryption.ErrNotCovered)
	require.NoError(t, after.Covers(mustPositionOf(t, after)))
}

func withKeys(cfg encryption.Config, keys keystore.Store) encryption.Config {
	cfg.Keys = keys
	return cfg
}

func mustPositionOf(t *testing.T, c keycopy.Copy) []byte {
	t.Helper()
	position, err := c.Position()
	require.NoError(t, err)
	return position
}

// A vault that has found its store put back goes on finding it so, however far
// others count the store up again; once the right store is back, it goes on.
func TestARewoundStoreDoesNotHealByCounting(t *testing.T) {
	e := newEnv(t, 1)
	e.insert(t, "c1", "p1")
	store, vault, contacts := e.restorable(t)
	whole := store.Store
	keptStore := e.keep(t)
	_, err := contacts.Writer(t.Context(), tenant, "p1")
	require.NoError(t, err)
	_, err = vault.NewKeyVersion(t.Context(), tenant)
	require.NoError(t, err)
	store.Store = keptStore
	other := e.over(t, keptStore)
	for range 6 {
		e.clock.Move(encryption.DefaultLease)
		_, err = contacts.Writer(t.Context(), tenant, "p1")
		require.ErrorIs(t, err, encryption.ErrRewound)
		mustPosition(t, other)
	}
	store.Store = whole
	_, err = contacts.Writer(t.Context(), tenant, "p1")
	require.NoError(t, err)
}

// A failover to a standby that lags loses a key that another process created,
// and not one mark. The process that has read it notices, at once or when it
// wakes, and seals nothing under it.
func TestALostKeyOfAnotherProcessIsNoticed(t *testing.T) {
	for name, idle := range map[string]time.Duration{"at once": encryption.DefaultLease, "an hour later": time.Hour} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, 1)
			e.insert(t, "c0", "p0")
			store, vault, contacts := e.restorable(t)
			_, err := contacts.Writer(t.Context(), tenant, "p0")
			require.NoError(t, err)
			standby := e.keep(t)
			e.insert(t, "c1", "p1") // by the other process
			_, err = contacts.Writer(t.Context(), tenant, "p1")
			require.NoError(t, err)
			require.Equal(t, sequenceOf(t, e.store), sequenceOf(t, standby))
			store.Store = standby
			e.clock.Move(idle)
			_, err = contacts.Writer(t.Context(), tenant, "p1")
			require.ErrorIs(t, err, encryption.ErrRewound)
			require.Equal(t, encryption.HealthAlarm, found(t, vault, "encryption.store.rewound", "").Level)
			require.NoError(t, e.over(t, standby).Ensure(t.Context(), tenant, "p1"))
			_, err = contacts.Writer(t.Context(), tenant, "p1")
			require.ErrorIs(t, err, encryption.ErrRewound, "another key of the same person is not the one that was lost")
		})
	}
}

// A standby may lag for longer than a lease: what was still there at the first
// look is looked for again.
func TestALostKeyIsNoticedAfterTheFirstLook(t *testing.T) {
	e := newEnv(t, 1)
	e.insert(t, "c0", "p0")
	store, _, contacts := e.restorable(t)
	standby := e.keep(t)
	e.insert(t, "c1", "p1")
	require.Equal(t, sequenceOf(t, e.store), sequenceOf(t, standby))
	for range 4 {
		_, err := contacts.Writer(t.Context(), tenant, "p1")
		require.NoError(t, err)
		e.clock.Move(encryption.DefaultLease)
	}
	store.Store = standby
	_, err := contacts.Writer(t.Context(), tenant, "p1")
	require.ErrorIs(t, err, encryption.ErrRewound)
}

// A key of a new key version may be lost while its owner is old.
func TestALostKeyOfAnOldOwnerIsNoticed(t *testing.T) {
	e := newEnv(t, 1)
	e.insert(t, "c0", "p0")
	_, err := e.vault.NewKeyVersion(t.Context(), tenant)
	require.NoError(t, err)
	store, _, contacts := e.restorable(t)
	standby := e.keep(t)
	require.NoError(t, e.vault.Ensure(t.Context(), tenant, "p0"))
	_, err = contacts.Writer(t.Context(), tenant, "p0")
	require.NoError(t, err)
	store.Store = standby
	e.clock.Move(encryption.DefaultLease)
	_, err = contacts.Writer(t.Context(), tenant, "p0")
	require.ErrorIs(t, err, encryption.ErrRewound)
}

// What is older than any standby lags is asked for once more, and then no more.
func TestOldKeysAreNotAskedForAgain(t *testing.T) {
	e := newEnv(t, 1)
	e.insert(t, "c0", "p0")
	counted := &countedOwners{Store: e.store}
	vault, err := encryption.Open(t.Context(), withKeys(e.cfg, counted))
	require.NoError(t, err)
	contacts := e.table(t, vault, contactsTable)
	var asks []int
	for range 20 {
		_, err := contacts.Writer(t.Context(), tenant, "p0")
		require.NoError(t, err)
		asks = append(asks, counted.asks)
		e.clock.Move(encryption.DefaultLease)
	}
	require.Equal(t, []int{1, 2, 3}, asks[:3])
	require.Equal(t, asks[15], asks[19], "a minute later: %v", asks)
}

// countedOwners counts the queries for owners.
type countedOwners struct {
	keystore.Store
	asks int
}

func (c *countedOwners) Owners(ctx context.Context, tenant string, owners []string) (keystore.Rows, error) {
	c.asks++
	return c.Store.Owners(ctx, tenant, owners)
}

// An epoch wraps anew what was just read: that is no loss.
func TestAnEpochBesideAReaderIsNoLoss(t *testing.T) {
	e := newEnv(t, 1)
	e.insert(t, "c0", "p0")
	_, vault, contacts := e.restorable(t)
	killed := withKeys(e.cfg, &failing{Store: e.store, left: 2}) // after the new wrap key, before the keys are wrapped with it
	dying, err := encryption.Open(t.Context(), killed)
	require.NoError(t, err)
	epoch := keycopy.Rewrap{KEK: "kek-2", Copy: func(context.Context) error { return nil }}
	_, err = dying.RewrapKeys(t.Context(), epoch)
	require.ErrorIs(t, err, errKilled)
	e.clock.Move(encryption.DefaultLease)
	_, err = contacts.Writer(t.Context(), tenant, "p0")
	require.NoError(t, err)
	looked := 0
	epoch.Copy = func(context.Context) error { // between the wrapping and the next thing that narrows, too
		looked++
		require.Equal(t, encryption.HealthOK, found(t, vault, "encryption.store.rewound", "").Level)
		return nil
	}
	_, err = e.vault.RewrapKeys(t.Context(), epoch)
	require.NoError(t, err)
	require.Equal(t, 3, looked)
	e.clock.Move(encryption.DefaultLease)
	_, err = contacts.Writer(t.Context(), tenant, "p0")
	require.NoError(t, err)
}
