package encryption_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/encryption/sealedvalue"
)

// holds is a holder that answers this.
func holds(count int) jobs.Holder {
	return func(context.Context, string, uint32) (int, string, error) { return count, "elsewhere", nil }
}

func stateOf(tb testing.TB, v *encryption.Vault, keyVersion uint32) keystore.KeyVersionState {
	tb.Helper()
	all, err := v.KeyVersions(tb.Context(), tenant)
	require.NoError(tb, err)
	for _, g := range all {
		if g.KeyVersion == keyVersion {
			return g.State
		}
	}
	return ""
}

// Whoever destroys waits by a clock of its own, from when it knows itself that
// the key version seals no more. What the host that retired it takes for the time
// shortens nothing, and an hour of difference costs no hour of waiting.
func TestTheClocksOfOtherHostsDoNotShortenADestruction(t *testing.T) {
	for name, off := range map[string]time.Duration{"an hour behind": -time.Hour, "an hour ahead": time.Hour, "ten years behind": -tenYears, "ten years ahead": tenYears, "the same": 0} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, 4)
			cfg := e.cfg
			cfg.Now = func() time.Time { return e.clock.Now().Add(off) }
			other, err := encryption.Open(t.Context(), cfg)
			require.NoError(t, err)

			// The application seals, and its transaction commits 20 s later.
			w, err := e.contacts.Writer(t.Context(), tenant, "p1")
			require.NoError(t, err)
			value, err := w.Seal("email", []byte("p1@b.example"))
			require.NoError(t, err)
			old, err := sealedvalue.KeyVersion(value)
			require.NoError(t, err)
			_, err = other.NewKeyVersion(t.Context(), tenant)
			require.NoError(t, err)
			start := e.clock.Now()
			committed := false
			cfg = e.cfg
			cfg.Wait = func(ctx context.Context, d time.Duration) error {
				if !committed && !e.clock.Now().Add(d).Before(start.Add(20*time.Second)) {
					committed = true
					_, err := e.db.ExecContext(ctx, `INSERT INTO contacts (id, person, email) VALUES ('c1', 'p1', ?)`, value)
					require.NoError(t, err)
				}
				return e.clock.Wait(ctx, d)
			}
			destroyer, err := encryption.Open(t.Context(), cfg)
			require.NoError(t, err)
			require.ErrorIs(t, destroyer.DestroyKeyVersion(t.Context(), tenant, old, e.contacts.Holder(e.db)), encryption.ErrInUse)
			require.True(t, committed)
			require.Equal(t, encryption.DefaultLease+encryption.DefaultLongestTransaction, e.clock.Now().Sub(start))
			require.Equal(t, "p1@b.example", e.open(t, "c1", "email"))

			// What it knows already, it does not wait for again.
			_, err = e.contacts.Reseal(t.Context(), e.db, tenant, jobs.ResealOptions{})
			require.NoError(t, err)
			start = e.clock.Now()
			require.NoError(t, destroyer.DestroyKeyVersion(t.Context(), tenant, old, e.contacts.Holder(e.db)))
			require.Equal(t, encryption.DefaultLease, e.clock.Now().Sub(start), "that of the mark")
			require.Equal(t, "p1@b.example", e.open(t, "c1", "email"))
		})
	}
}

// A call that ends in the middle of the wait has not waited, and what is left of it
// the next call still waits for.
func TestAWaitThatEndedIsNotForgotten(t *testing.T) {
	e := newEnv(t, 4)
	old, _ := e.rotate(t)
	start := e.clock.Now()
	cfg := e.cfg
	ended := errors.New("ended")
	calls := 0
	cfg.Wait = func(ctx context.Context, d time.Duration) error {
		if calls++; calls == 1 {
			e.clock.Move(10 * time.Second)
			return ended
		}
		return e.clock.Wait(ctx, d)
	}
	v, err := encryption.Open(t.Context(), cfg)
	require.NoError(t, err)
	// Has nothing when it is asked before the wait, and something afterwards.
	begun := e.clock.Now()
	asked := func(context.Context, string, uint32) (int, string, error) {
		if e.clock.Now().Sub(begun) < encryption.DefaultLease+encryption.DefaultLongestTransaction {
			return 0, "", nil
		}
		return 1, "elsewhere", nil
	}
	require.ErrorIs(t, v.DestroyKeyVersion(t.Context(), tenant, old, asked), ended)
	require.ErrorIs(t, v.DestroyKeyVersion(t.Context(), tenant, old, asked), encryption.ErrInUse)
	require.Equal(t, encryption.DefaultLease+encryption.DefaultLongestTransaction, e.clock.Now().Sub(start))

	// A clock that was put back meanwhile makes it wait longer, not for an hour.
	e.clock.Move(-time.Hour)
	start = e.clock.Now()
	begun = start
	require.ErrorIs(t, v.DestroyKeyVersion(t.Context(), tenant, old, asked), encryption.ErrInUse)
	require.Equal(t, encryption.DefaultLease+encryption.DefaultLongestTransaction, e.clock.Now().Sub(start))
}

// open reads one value as any process does.
func (e *env) open(tb testing.TB, id, column string) string {
	tb.Helper()
	var person string
	var cell encryption.Sealed
	require.NoError(tb, e.db.QueryRowContext(tb.Context(), `SELECT person, `+column+` FROM contacts WHERE id = ?`, id).Scan(&person, &cell))
	r, err := e.table(tb, e.another(tb), contactsTable).Reader(tb.Context(), tenant, person)
	require.NoError(tb, err)
	value, err := r.Row(person, id).Text(tb.Context(), column, cell.Bytes())
	require.NoError(tb, err)
	return value
}

// A destruction that stops after any of its steps can be called again. As long as
// no key is gone it can be called off; afterwards the key version never passes for
// whole again, however often somebody still needs it.
func TestADestructionThatStopsAnywhereGoesOn(t *testing.T) {
	const persons = 1100 // three pages of keys
	for step := 1; ; step++ {
		finished := false
		t.Run(fmt.Sprint("before change ", step), func(t *testing.T) {
			c := &clock{t: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)}
			keys := encryptiontest.Keys()
			kms := &keks{keys: map[string][]byte{}, gone: map[string]bool{}}
			v, err := encryption.Create(t.Context(), encryption.Config{Keys: keys, KEK: kms.get, Now: c.Now, Wait: c.Wait})
			require.NoError(t, err)
			require.NoError(t, v.AddTenant(t.Context(), tenant))
			everybody := make([]string, persons)
			for i := range everybody {
				everybody[i] = fmt.Sprintf("p%04d", i)
			}
			require.NoError(t, v.Ensure(t.Context(), tenant, everybody...))
			sealer := v.PersonSealer("opening")
			first, err := sealer.Seal(t.Context(), tenant, everybody[0], []byte("first"), nil)
			require.NoError(t, err)
			last, err := sealer.Seal(t.Context(), tenant, everybody[persons-1], []byte("last"), nil)
			require.NoError(t, err)
			old, err := sealedvalue.KeyVersion(first)
			require.NoError(t, err)
			_, err = v.NewKeyVersion(t.Context(), tenant)
			require.NoError(t, err)

			crash, changes := errors.New("crash"), 0
			keys.Fail = func(operation string) error {
				if operation == "Update" {
					if changes++; changes >= step {
						return crash
					}
				}
				return nil
			}
			err = v.DestroyKeyVersion(t.Context(), tenant, old, holds(0))
			keys.Fail = nil
			if finished = err == nil; finished {
				require.Equal(t, keystore.Destroyed, stateOf(t, v, old))
				return
			}
			require.ErrorIs(t, err, crash)

			left := 0
			require.NoError(t, keys.Snapshot(t.Context(), func(tx keystore.Tx) error {
				rows, err := tx.Page(t.Context(), keystore.Page{Kind: keystore.KindKey, Tenant: tenant, KeyVersion: old, Limit: 2 * persons})
				left = len(rows.Keys)
				return err
			}))
			whole := left == persons
			for range 2 {
				// A process that starts now, and a snapshot that was restored meanwhile.
				fresh, err := encryption.Open(t.Context(), encryption.Config{Keys: keys, KEK: kms.get, Now: c.Now, Wait: c.Wait})
				require.NoError(t, err)
				require.ErrorIs(t, fresh.DestroyKeyVersion(t.Context(), tenant, old, holds(1)), encryption.ErrInUse)
				want := keystore.Deleting
				if whole {
					want = keystore.Retired
				}
				require.Equal(t, want, stateOf(t, fresh, old))
				require.Equal(t, !whole, found(t, fresh, "encryption.key_version.deleting", "").Value == 1)
				_, err = fresh.PersonSealer("opening").Open(t.Context(), tenant, everybody[0], first, nil)
				if whole {
					require.NoError(t, err)
				} else {
					require.ErrorIs(t, err, encryption.ErrDestroyed)
				}
				if left > persons/2 {
					opened, err := fresh.PersonSealer("opening").Open(t.Context(), tenant, everybody[persons-1], last, nil)
					require.NoError(t, err)
					require.Equal(t, "last", string(opened))
				}
				resealed, changed, err := fresh.PersonSealer("opening").Reseal(t.Context(), tenant, everybody[persons-1], last, nil)
				if err == nil {
					require.True(t, changed)
					under, err := sealedvalue.KeyVersion(resealed)
					require.NoError(t, err)
					require.NotEqual(t, old, under)
				}
			}
			require.NoError(t, v.DestroyKeyVersion(t.Context(), tenant, old, holds(0)))
			require.Equal(t, keystore.Destroyed, stateOf(t, v, old))
		})
		if finished || t.Failed() {
			require.Greater(t, step, 4, "it stopped before the mark, each page, and the end")
			return
		}
	}
}

// Two processes that destroy the same key version at once do it once.
func TestTwoDestroyersDestroyOnce(t *testing.T) {
	e := newEnv(t, 4)
	e.insert(t, "c1", "p1")
	old, _ := e.rotate(t)
	_, err := e.contacts.Reseal(t.Context(), e.db, tenant, jobs.ResealOptions{})
	require.NoError(t, err)
	other := e.another(t)
	within := func(context.Context, string, uint32) (int, string, error) {
		require.NoError(t, other.DestroyKeyVersion(t.Context(), tenant, old, holds(0)))
		return 0, "", nil
	}
	require.NoError(t, e.vault.DestroyKeyVersion(t.Context(), tenant, old, within), "done by the other while this one asks")
	require.Equal(t, keystore.Destroyed, stateOf(t, e.vault, old))
	e.requireOpens(t, e.contacts)
}

// A state that a later version wrote is no state in which this one seals or
// destroys; what is sealed so opens.
func TestAStateThatIsNotKnownOpensAndNeverSeals(t *testing.T) {
	e := newEnv(t, 4)
	e.insert(t, "c1", "p1")
	old, active := e.rotate(t)
	_, err := e.store.Update(t.Context(), func(tx keystore.Tx) error {
		rows, err := tx.Tenant(t.Context(), tenant)
		if err != nil {
			return err
		}
		for i, g := range rows.KeyVersions {
			if g.KeyVersion == old {
				rows.KeyVersions[i].State = "escrowed"
			}
		}
		return tx.Write(t.Context(), keystore.Change{Put: keystore.Rows{KeyVersions: rows.KeyVersions}, Narrows: true})
	})
	require.NoError(t, err)
	fresh := e.another(t)
	table := e.table(t, fresh, contactsTable)
	e.requireOpens(t, table)
	w, err := table.Writer(t.Context(), tenant, "p2")
	require.NoError(t, err)
	value, err := w.Seal("email", []byte("x"))
	require.NoError(t, err)
	under, err := sealedvalue.KeyVersion(value)
	require.NoError(t, err)
	require.Equal(t, active, under)
	require.ErrorIs(t, fresh.DestroyKeyVersion(t.Context(), tenant, old, holds(0)), encryption.ErrKeyVersion)
	require.Equal(t, keystore.KeyVersionState("escrowed"), stateOf(t, fresh, old))
	_, err = table.Reseal(t.Context(), e.db, tenant, jobs.ResealOptions{})
	require.NoError(t, err)
	e.requireOpens(t, table)
}

// What nobody can read holds its key version until somebody gives it up by name;
// the list may have been kept meanwhile.
func TestAKeptListOfUnreadableCellsReleasesAKeyVersion(t *testing.T) {
	e := newEnv(t, 4)
	e.insert(t, "c1", "p1")
	e.insert(t, "c2", "p2")
	_, err := e.db.ExecContext(t.Context(), `UPDATE contacts SET email = substr(email, 1, length(email) - 1) WHERE id = 'c1'`)
	require.NoError(t, err)
	old, _ := e.rotate(t)
	report, err := e.contacts.Reseal(t.Context(), e.db, tenant, jobs.ResealOptions{})
	require.NoError(t, err)
	require.ErrorIs(t, e.vault.DestroyKeyVersion(t.Context(), tenant, old, e.contacts.Holder(e.db)), encryption.ErrInUse)
	kept, err := json.Marshal(report.Listed)
	require.NoError(t, err)
	var list []jobs.Unreadable
	require.NoError(t, json.Unmarshal(kept, &list))
	require.Len(t, list, 1)
	require.NoError(t, e.vault.DestroyKeyVersion(t.Context(), tenant, old, e.contacts.Holder(e.db, list...)))
	require.Equal(t, keystore.Destroyed, stateOf(t, e.vault, old))
	require.Equal(t, "note of p1", e.open(t, "c1", "note"))
	require.Equal(t, "p2@b.example", e.open(t, "c2", "email"))
}

// A key row of a destroyed key version that somebody puts back, out of an old
// file, opens nothing.
func TestAKeyOfADestroyedKeyVersionOpensNothing(t *testing.T) {
	e := newEnv(t, 1)
	sealed, err := e.vault.PersonSealer("opening").Seal(t.Context(), tenant, "p1", []byte("x"), nil)
	require.NoError(t, err)
	kept, err := e.store.Owners(t.Context(), tenant, []string{"p1"})
	require.NoError(t, err)
	_, err = e.vault.NewKeyVersion(t.Context(), tenant)
	require.NoError(t, err)
	old := kept.Keys[0].KeyVersion
	nobody := func(context.Context, string, uint32) (int, string, error) { return 0, "", nil }
	require.NoError(t, e.vault.DestroyKeyVersion(t.Context(), tenant, old, nobody))
	_, err = e.store.Update(t.Context(), func(tx keystore.Tx) error {
		return tx.Write(t.Context(), keystore.Change{Put: keystore.Rows{Keys: kept.Keys}})
	})
	require.NoError(t, err)
	for _, v := range []*encryption.Vault{e.vault, e.another(t)} {
		_, err = v.PersonSealer("opening").Open(t.Context(), tenant, "p1", sealed, nil)
		require.ErrorIs(t, err, encryption.ErrDestroyed)
	}
}
