package encryption_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/keycopy"
	"github.com/crmguard/crmguard/encryption/keystore"
)

// lossy is an installation whose key store loses what a vault has created since.
type lossy struct {
	*env
	behind   *restorable
	vault    *encryption.Vault
	contacts *encryption.SealedTable
	standby  keystore.Store
	cells    map[string][]byte // by person
}

func newLossy(t *testing.T) *lossy {
	t.Helper()
	e := newEnv(t, 1)
	e.insert(t, "c0", "p0")
	l := &lossy{env: e, cells: map[string][]byte{}}
	l.behind, l.vault, l.contacts = e.restorable(t)
	l.seal(t, "p0")
	return l
}

func (l *lossy) seal(t *testing.T, persons ...string) {
	t.Helper()
	for _, person := range persons {
		w, err := l.contacts.Writer(t.Context(), tenant, person)
		require.NoError(t, err)
		l.cells[person], err = w.Seal("email", []byte(person+"@b.example"))
		require.NoError(t, err)
	}
}

// keepStandby keeps the store as a standby has it; fail makes it the store.
func (l *lossy) keepStandby(t *testing.T) { l.standby = l.keep(t) }

func (l *lossy) fail(t *testing.T) {
	t.Helper()
	l.behind.Store = l.standby
	l.clock.Move(encryption.DefaultLease)
}

// erasedNow writes what an erasure of another process commits, and has the vault
// notice it while its lease runs: the key is in memory still.
func (l *lossy) erasedNow(t *testing.T, person string) {
	t.Helper()
	overwrite(t, l.store, keystore.Change{
		Put:    keystore.Rows{Owners: []keystore.OwnerRow{{Tenant: tenant, Owner: person, State: keystore.Tombstone}}},
		Remove: keystore.Rows{Keys: l.keysIn(t, l.store, person)}, Narrows: true, Of: keystore.Scope{Tenant: tenant, Owners: []string{person}},
	})
	l.clock.Move(encryption.DefaultLease/2 + time.Second)
	l.seal(t, "p0")
}

// retireAs retires the key version of now, and has the vault find it in that state.
func (l *lossy) retireAs(t *testing.T, state keystore.KeyVersionState) {
	t.Helper()
	_, err := l.vault.NewKeyVersion(t.Context(), tenant)
	require.NoError(t, err)
	rows, err := l.store.Tenant(t.Context(), tenant)
	require.NoError(t, err)
	for i := range rows.KeyVersions {
		if rows.KeyVersions[i].State == keystore.Retired {
			rows.KeyVersions[i].State = state
		}
	}
	overwrite(t, l.store, keystore.Change{Put: keystore.Rows{KeyVersions: rows.KeyVersions}, Narrows: true, Of: keystore.Scope{Tenant: tenant}})
	l.clock.Move(encryption.DefaultLease)
}

func (l *lossy) keysIn(t *testing.T, store keystore.Store, person string) []keystore.KeyRow {
	t.Helper()
	rows, err := store.Owners(t.Context(), tenant, []string{person})
	require.NoError(t, err)
	return rows.Keys
}

func (l *lossy) open(t *testing.T, vault *encryption.Vault, person string) error {
	t.Helper()
	r, err := l.table(t, vault, contactsTable).Reader(t.Context(), tenant, person)
	if err != nil {
		return err
	}
	text, err := r.Row(person, "").Text(t.Context(), "email", l.cells[person])
	if err == nil {
		require.Equal(t, person+"@b.example", text)
	}
	return err
}

// A failover lost keys of rows that are committed elsewhere. A process that has
// them in memory opens nothing with them once it knows, and writes them back
// when it is told to; then whoever opens afresh reads everything.
func TestKeysThatAFailoverLostComeBackFromMemory(t *testing.T) {
	for name, lose := range map[string]func(t *testing.T, l *lossy) keycopy.RepairReport{
		"creations alone, which leave no mark": func(t *testing.T, l *lossy) keycopy.RepairReport {
			t.Helper()
			l.seal(t, "p1", "p2", "p3")
			return keycopy.RepairReport{Owners: 3, Keys: 3, Fenced: 1}
		},
		"marks, too": func(t *testing.T, l *lossy) keycopy.RepairReport {
			t.Helper()
			l.seal(t, "p1")
			mustPosition(t, l.vault)
			l.seal(t, "p2", "p3")
			return keycopy.RepairReport{Owners: 3, Keys: 3, Fenced: 1}
		},
		"a key version, too": func(t *testing.T, l *lossy) keycopy.RepairReport {
			t.Helper()
			_, err := l.vault.NewKeyVersion(t.Context(), tenant)
			require.NoError(t, err)
			l.seal(t, "p0", "p1", "p2", "p3")
			return keycopy.RepairReport{KeyVersions: 1, Owners: 3, Keys: 4, Fenced: 1}
		},
		"a whole epoch, too": func(t *testing.T, l *lossy) keycopy.RepairReport {
			t.Helper()
			_, err := l.vault.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: "kek-2", Copy: l.vault.Copier(t.TempDir())})
			require.NoError(t, err)
			l.seal(t, "p1", "p2", "p3")
			return keycopy.RepairReport{Owners: 3, Keys: 3, Fenced: 1}
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLossy(t)
			l.keepStandby(t)
			want := lose(t, l)
			l.fail(t)
			people := []string{"p1", "p2", "p3"}
			for _, person := range people {
				require.ErrorIs(t, l.open(t, l.vault, person), encryption.ErrRewound)
				_, err := l.contacts.Writer(t.Context(), tenant, person)
				require.ErrorIs(t, err, encryption.ErrRewound)
				require.ErrorIs(t, l.open(t, l.over(t, l.standby), person), encryption.ErrNoKey, "it is lost")
			}
			// Others go on meanwhile.
			other := l.over(t, l.standby)
			require.NoError(t, other.Ensure(t.Context(), tenant, "n1"))
			mustPosition(t, other)

			report, err := l.vault.RepairFromCaches(t.Context())
			require.NoError(t, err)
			require.Equal(t, want, report)
			require.Equal(t, want.Owners+want.Keys+want.KeyVersions, report.Rows())
			fresh := l.over(t, l.standby)
			for _, person := range append(people, "p0") {
				require.NoError(t, l.open(t, fresh, person), person)
			}
			again, err := l.vault.RepairFromCaches(t.Context())
			require.NoError(t, err)
			require.Zero(t, again)
			_, err = fresh.WriteCopy(t.Context(), t.TempDir())
			require.NoError(t, err, "what was written is sound")
			l.clock.Move(encryption.DefaultLease)
			require.NoError(t, l.open(t, other, "p1"), "others notice within the lease")
			w, err := l.table(t, fresh, contactsTable).Writer(t.Context(), tenant, "p1")
			require.NoError(t, err)
			_, err = w.Seal("email", nil)
			require.NoError(t, err)
		})
	}
}

// What is there, or was taken away on purpose, stays so.
func TestNothingIsWrittenBackAgainstTheStore(t *testing.T) {
	nobody := func(*testing.T, *lossy) {}
	destroyed := func(state keystore.KeyVersionState) func(t *testing.T, l *lossy) {
		return func(t *testing.T, l *lossy) {
			t.Helper()
			rows, err := l.standby.Tenant(t.Context(), tenant)
			require.NoError(t, err)
			rows.KeyVersions[0].State = state
			overwrite(t, l.standby, keystore.Change{Put: keystore.Rows{KeyVersions: rows.KeyVersions}})
		}
	}
	for name, c := range map[string]struct {
		before, since func(t *testing.T, l *lossy) // it is lost; by others, after the failover
	}{
		"a tombstone of the store": {nobody, func(t *testing.T, l *lossy) {
			t.Helper()
			_, err := l.over(t, l.standby).Erase(t.Context(), tenant, "p1")
			require.NoError(t, err)
		}},
		"a key version that is destroyed":      {nobody, destroyed(keystore.Destroyed)},
		"one that is half destroyed":           {nobody, destroyed(keystore.Deleting)},
		"one that is about to be":              {nobody, destroyed(keystore.Destroying)},
		"one of a state that nobody knows yet": {nobody, destroyed("sleeping")},
		"an erasure of this process that is lost": {func(t *testing.T, l *lossy) {
			t.Helper()
			_, err := l.vault.Erase(t.Context(), tenant, "p1")
			require.NoError(t, err)
		}, nobody},
		"an erasure of another one that this one has noticed": {func(t *testing.T, l *lossy) {
			t.Helper()
			_, err := l.env.vault.Erase(t.Context(), tenant, "p1")
			require.NoError(t, err)
			l.clock.Move(encryption.DefaultLease)
			l.seal(t, "p0")
		}, nobody},
		"one that it has noticed before its lease was over": {func(t *testing.T, l *lossy) {
			t.Helper()
			l.erasedNow(t, "p1")
		}, nobody},
		"the same, after a repair": {func(t *testing.T, l *lossy) {
			t.Helper()
			written, err := l.vault.WriteCopy(t.Context(), t.TempDir())
			require.NoError(t, err)
			_, err = l.vault.RepairFromCopy(t.Context(), written.Path)
			require.NoError(t, err)
			l.erasedNow(t, "p1")
		}, nobody},
		"a destruction that has begun, and is lost": {func(t *testing.T, l *lossy) {
			t.Helper()
			l.retireAs(t, keystore.Deleting)
			require.NoError(t, l.open(t, l.vault, "p1"), "it is not gone yet")
		}, nobody},
		"a destruction that is lost": {func(t *testing.T, l *lossy) {
			t.Helper()
			l.retireAs(t, keystore.Destroyed)
			require.ErrorIs(t, l.open(t, l.vault, "p1"), encryption.ErrDestroyed)
		}, nobody},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLossy(t)
			l.keepStandby(t)
			l.seal(t, "p1")
			c.before(t, l)
			l.fail(t)
			c.since(t, l)
			report, err := l.vault.RepairFromCaches(t.Context())
			require.NoError(t, err)
			require.Zero(t, report)
			require.Empty(t, l.keysIn(t, l.standby, "p1"))
		})
	}
}

// Another process may have made another key for the person meanwhile: it stays,
// and the conflict is told.
func TestAKeyThatIsThereIsNotReplacedFromMemory(t *testing.T) {
	l := newLossy(t)
	l.keepStandby(t)
	l.seal(t, "p1", "p2")
	l.fail(t)
	require.NoError(t, l.over(t, l.standby).Ensure(t.Context(), tenant, "p1"))
	there := l.keysIn(t, l.standby, "p1")
	report, err := l.vault.RepairFromCaches(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, report.Keys, "of p2")
	require.Len(t, report.Conflicts, 1)
	require.Equal(t, "p1", report.Conflicts[0].Owner)
	require.NotContains(t, report.Conflicts[0].String(), "p1")
	require.Equal(t, there, l.keysIn(t, l.standby, "p1"))
}

// The keys come back under the wrap key of now, also where the store has closed
// an epoch since, and in the middle of one.
func TestKeysComeBackUnderTheWrapKeyOfNow(t *testing.T) {
	for stop := range 3 {
		l := newLossy(t)
		l.keepStandby(t)
		l.seal(t, "p1")
		l.fail(t)
		other, copies := l.over(t, l.standby), 0
		epoch := keycopy.Rewrap{KEK: "kek-2", Copy: func(context.Context) error {
			if copies++; copies == stop {
				return errStoodStill
			}
			return nil
		}}
		_, err := other.RewrapKeys(t.Context(), epoch)
		require.Equal(t, stop > 0, err != nil)
		report, err := l.vault.RepairFromCaches(t.Context())
		require.NoError(t, err)
		require.Equal(t, keycopy.RepairReport{Owners: 1, Keys: 1, Fenced: 1}, report)
		require.Equal(t, l.keysIn(t, l.standby, "p0")[0].Wrapped[:5], l.keysIn(t, l.standby, "p1")[0].Wrapped[:5])
		if stop > 0 {
			_, err = l.over(t, l.standby).RewrapKeys(t.Context(), epoch)
			require.NoError(t, err)
		}
		require.NoError(t, l.kms.destroy(t.Context(), "kek-1"))
		require.NoError(t, l.open(t, l.over(t, l.standby), "p1"))
	}
}

// Nothing is written into another store, nor into one that went back to before
// this process began.
func TestNothingIsWrittenIntoAnotherHistory(t *testing.T) {
	e := newEnv(t, 1)
	ancient := e.keep(t)
	mustPosition(t, e.vault)
	store, vault, contacts := e.restorable(t)
	_, err := contacts.Writer(t.Context(), tenant, "p1")
	require.NoError(t, err)
	foreign := newEnv(t, 1)
	for name, there := range map[string]keystore.Store{"ancient": ancient, "foreign": foreign.store, "empty": encryptiontest.Keys()} {
		store.Store = there
		if name == "ancient" { // it has been used on, and has the number by now
			for range 5 {
				mustPosition(t, e.over(t, there))
			}
		}
		e.clock.Move(encryption.DefaultLease)
		_, err := contacts.Writer(t.Context(), tenant, "p1")
		require.Error(t, err)
		before, err := there.State(t.Context())
		require.NoError(t, err)
		report, err := vault.RepairFromCaches(t.Context())
		require.ErrorIs(t, err, encryption.ErrRewound, name)
		if name != "ancient" {
			require.ErrorContains(t, err, "another key store", name)
		}
		require.Zero(t, report, name)
		after, err := there.State(t.Context())
		require.NoError(t, err)
		require.Equal(t, before, after, name)
		rows, err := there.Owners(t.Context(), tenant, []string{"p1"})
		require.NoError(t, err)
		require.Zero(t, rows.Len(), name)
	}
}

// Where nothing is lost nothing is written, in a vault that is sound; an attempt
// to repair from a copy costs nothing of what is in memory, and neither does time.
func TestMemoryOutlastsOtherAttempts(t *testing.T) {
	l := newLossy(t)
	written, err := l.vault.WriteCopy(t.Context(), t.TempDir())
	require.NoError(t, err)
	before := sequenceOf(t, l.store)
	report, err := l.vault.RepairFromCaches(t.Context())
	require.NoError(t, err)
	require.Zero(t, report)
	require.Equal(t, before, sequenceOf(t, l.store))

	l.keepStandby(t)
	l.seal(t, "p1")
	mustPosition(t, l.vault)
	l.fail(t)
	for range 3 {
		require.ErrorIs(t, l.open(t, l.vault, "p1"), encryption.ErrRewound)
		_, err = l.vault.RepairFromCopy(t.Context(), written.Path)
		require.ErrorIs(t, err, encryption.ErrRewound)
		_, err = l.vault.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: "kek-2", Copy: l.vault.Copier(t.TempDir())})
		require.ErrorIs(t, err, encryption.ErrRewound)
		l.clock.Move(time.Hour)
	}
	report, err = l.vault.RepairFromCaches(t.Context())
	require.NoError(t, err)
	require.Equal(t, keycopy.RepairReport{Owners: 1, Keys: 1, Fenced: 1}, report)
	require.ErrorIs(t, l.open(t, l.vault, "p1"), encryption.ErrRewound, "the vault that noticed opens nothing, before and after")
	require.NoError(t, l.open(t, l.over(t, l.standby), "p1"))
}
