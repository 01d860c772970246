package encryption_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/keycopy"
	"github.com/crmguard/crmguard/encryption/keystore"
)

// followed tells somebody of each change of a store.
type followed struct {
	keystore.Store
	after func()
}

func (f *followed) Update(ctx context.Context, do func(keystore.Tx) error) (keystore.State, error) {
	state, err := f.Store.Update(ctx, do)
	if err == nil && f.after != nil {
		f.after()
	}
	return state, err
}

// unindexed is an installation with a row without an index value, of which something
// is lost, and a live index, which misses nothing: the row does not open. The mender
// has in memory what is lost.
type unindexed struct {
	*env
	changes *followed
	waits   func(ctx context.Context) error // while the mender waits
	waited  time.Duration
	mender  *encryption.Vault
	copied  string
	sealed  encryption.Sealed
}

func newUnindexed(t *testing.T, damage string) *unindexed {
	t.Helper()
	u := &unindexed{env: newEnv(t, 4)}
	u.changes = &followed{Store: u.store}
	cfg := u.cfg
	cfg.Keys = u.changes
	cfg.Wait = func(ctx context.Context, d time.Duration) error {
		u.waited += d
		if u.waits != nil {
			if err := u.waits(ctx); err != nil {
				return err
			}
		}
		return u.clock.Wait(ctx, d)
	}
	var err error
	u.mender, err = encryption.Open(t.Context(), cfg)
	require.NoError(t, err)
	require.NoError(t, insertMail(t, u.db, u.table(t, u.mender, after()), "c1", "p1", false))
	require.NoError(t, insertMail(t, u.db, u.table(t, u.mender, after()), "c2", "p2", true))
	whole, err := u.mender.WriteCopy(t.Context(), t.TempDir())
	require.NoError(t, err)
	u.copied = kept(t, whole.Path)
	require.NoError(t, u.db.QueryRowContext(t.Context(), `SELECT email FROM contacts WHERE id = 'c1'`).Scan(&u.sealed))
	if damage != "" {
		u.spoil(t, damage)
	}
	return u
}

// opens says whether a process opens the row.
func (u *unindexed) opens(t *testing.T, people *encryption.SealedTable) bool {
	t.Helper()
	row, err := people.Row(t.Context(), tenant, "p1", "c1")
	if err == nil {
		_, err = row.Text(t.Context(), "email", u.sealed.Bytes())
	}
	return err == nil
}

func (u *unindexed) states(t *testing.T) (out []keystore.IndexState) {
	t.Helper()
	rows, err := u.store.Tenant(t.Context(), tenant)
	require.NoError(t, err)
	for _, row := range rows.Indexes {
		out = append(out, row.State)
	}
	return out
}

const (
	keyLost   = `DELETE FROM crmguard_encryption_key WHERE owner = 'p1'`
	ownerLost = `DELETE FROM crmguard_encryption_owner WHERE owner = 'p1'`
)

// A process that has an index in memory as live reads a key that comes back at once. At
// no moment does it open a row that its searches miss in silence.
func TestNoKeyComesBackWhileAnIndexIsSearchedWithoutIt(t *testing.T) {
	fromCopy := func(u *unindexed) (keycopy.RepairReport, error) {
		return u.mender.RepairFromCopy(context.Background(), u.copied)
	}
	fromCaches := func(u *unindexed) (keycopy.RepairReport, error) {
		return u.mender.RepairFromCaches(context.Background())
	}
	epoch := func(u *unindexed) (keycopy.RepairReport, error) {
		report, err := u.mender.RewrapKeys(context.Background(), keycopy.Rewrap{KEK: "kek-2", Copy: func(context.Context) error { return nil }})
		return keycopy.RepairReport{Keys: report.Repaired, Fenced: report.Fenced}, err
	}
	for name, c := range map[string]struct {
		damage string
		repair func(u *unindexed) (keycopy.RepairReport, error)
	}{
		"a key, from a copy":                   {keyLost, fromCopy},
		"an owner, from a copy":                {ownerLost, fromCopy},
		"a key, from memory":                   {keyLost, fromCaches},
		"a key, before an epoch":               {keyLost, epoch},
		"a key and the index":                  {keyLost + `; DELETE FROM crmguard_encryption_index`, fromCopy},
		"a key and the index, which is no one": {keyLost + `; UPDATE crmguard_encryption_index SET state = 'alive'`, fromCopy},
	} {
		t.Run(name, func(t *testing.T) {
			u := newUnindexed(t, "")
			people := u.table(t, u.another(t), after())
			n, err := findMail(t, u.db, people, "p2")
			require.NoError(t, err)
			require.Equal(t, 1, n, "it is searched")
			u.spoil(t, c.damage)
			require.False(t, u.opens(t, people))
			opened := 0
			u.changes.after = func() {
				n, err := findMail(t, u.db, people, "p1")
				if u.opens(t, people) {
					opened++
					require.False(t, err == nil && n == 0, "the row opens, and the search misses it in silence")
				}
			}
			report, err := c.repair(u)
			require.NoError(t, err)
			require.NotZero(t, opened)
			require.NotZero(t, report.Rows())
			require.Equal(t, 1, report.Fenced)
			require.GreaterOrEqual(t, u.waited, encryption.DefaultLease+encryption.DefaultLongestTransaction)
			requireUnsearched(t, u.env, u.another(t), "p1")
		})
	}
}

// Nothing is waited for where nobody searches, or nothing comes back.
func TestARepairWaitsForNobodyWhereNobodySearches(t *testing.T) {
	for name, c := range map[string]struct{ before, damage string }{
		"nothing is lost":         {},
		"an index that is fenced": {`UPDATE crmguard_encryption_index SET state = 'fenced'`, keyLost},
		"no index":                {`DELETE FROM crmguard_encryption_index`, keyLost},
		"a number alone":          {damage: `UPDATE crmguard_encryption_key SET seals = -5 WHERE owner = 'p1'`},
	} {
		t.Run(name, func(t *testing.T) {
			u := newUnindexed(t, "")
			if c.before != "" {
				u.spoil(t, c.before)
				whole, err := u.another(t).WriteCopy(t.Context(), t.TempDir())
				require.NoError(t, err)
				u.copied = kept(t, whole.Path)
			}
			if c.damage != "" {
				u.spoil(t, c.damage)
			}
			report, err := u.mender.RepairFromCopy(t.Context(), u.copied)
			require.NoError(t, err)
			require.Equal(t, c.damage != "", report.Rows() > 0)
			require.Zero(t, u.waited)
			require.Zero(t, report.Fenced)
		})
	}
}

// A repair whose wait is interrupted has brought no key back, and is called again; so is
// one from memory, though the application has read meanwhile that the key is gone. Both
// wait again: nobody knows since when the index is fencing.
func TestARepairThatIsInterruptedWhileItWaitsGoesOn(t *testing.T) {
	for name, repair := range map[string]func(u *unindexed) (keycopy.RepairReport, error){
		"from a copy": func(u *unindexed) (keycopy.RepairReport, error) {
			return u.mender.RepairFromCopy(context.Background(), u.copied)
		},
		"from memory": func(u *unindexed) (keycopy.RepairReport, error) {
			return u.mender.RepairFromCaches(context.Background())
		},
	} {
		t.Run(name, func(t *testing.T) {
			u := newUnindexed(t, keyLost)
			gone := errors.New("interrupted")
			u.waits = func(context.Context) error { return gone }
			_, err := repair(u)
			require.ErrorIs(t, err, gone)
			require.ErrorContains(t, err, "call again")
			u.clock.Move(2 * encryption.DefaultLease)
			require.False(t, u.opens(t, u.table(t, u.mender, after())), "also in memory it opens nothing")
			require.Equal(t, []keystore.IndexState{keystore.IndexFencing}, u.states(t))
			_, err = findMail(t, u.db, u.table(t, u.another(t), after()), "p1")
			require.ErrorIs(t, err, encryption.ErrIncomplete)

			u.waits, u.waited = nil, 0
			report, err := repair(u)
			require.NoError(t, err)
			require.Equal(t, 1, report.Keys)
			require.Equal(t, 1, report.Fenced)
			require.NotZero(t, u.waited)
			require.True(t, u.opens(t, u.table(t, u.another(t), after())))
			requireUnsearched(t, u.env, u.another(t), "p1")
		})
	}
}

// Keys that a process keeps for the repair that was interrupted are those of somebody
// who may have been erased, once anything was taken away.
func TestNoKeyIsKeptForARepairOnceSomethingWasTakenAway(t *testing.T) {
	u := newUnindexed(t, keyLost)
	u.waits = func(context.Context) error { return context.Canceled }
	_, err := u.mender.RepairFromCaches(t.Context())
	require.ErrorIs(t, err, context.Canceled)
	u.waits = nil
	_, err = u.mender.Erase(t.Context(), tenant, "p9")
	require.NoError(t, err)
	require.False(t, u.opens(t, u.table(t, u.mender, after())))
	report, err := u.mender.RepairFromCaches(t.Context())
	require.NoError(t, err)
	require.Zero(t, report.Keys)
}

// Of two repairs at once each waits for what it has begun itself, or has found begun,
// and none for ever.
func TestARepairBesideAnotherThatWaits(t *testing.T) {
	u := newUnindexed(t, keyLost)
	other := u.another(t)
	u.waits = func(ctx context.Context) error {
		u.waits = nil
		_, err := other.RepairFromCopy(ctx, u.copied)
		return err
	}
	_, err := u.mender.RepairFromCopy(t.Context(), u.copied)
	require.NoError(t, err)
	require.True(t, u.opens(t, u.table(t, u.another(t), after())))
	requireUnsearched(t, u.env, u.another(t), "p1")
}

// An index that somebody makes live again while a repair waits is fenced again, and
// waited for again.
func TestAnIndexThatIsMadeLiveWhileARepairWaitsIsFencedAgain(t *testing.T) {
	u := newUnindexed(t, keyLost)
	people := u.table(t, u.another(t), after())
	times := 0
	u.waits = func(ctx context.Context) error {
		if times++; times > 1 {
			return nil
		}
		require.NoError(t, people.FenceOldWriters(ctx, tenant))
		require.NoError(t, people.RebuildIndexes(u.db, tenant)(ctx))
		require.Equal(t, []keystore.IndexState{keystore.IndexLive}, u.states(t))
		return nil
	}
	_, err := u.mender.RepairFromCopy(t.Context(), u.copied)
	require.NoError(t, err)
	require.Equal(t, 2, times)
	requireUnsearched(t, u.env, u.another(t), "p1")
}

// Whom FenceOldWriters waits for, a repair that waited a while already does not take for
// gone.
func TestARepairEndsNobodyElsesFence(t *testing.T) {
	u := newUnindexed(t, keyLost)
	second := encryption.Table{Name: "letters", SQL: "contacts", Columns: []encryption.Column{{Name: "email", Index: []encryption.Index{{Column: "email_idx", As: encryption.Email, Bits: 32}}}}}
	letters := u.table(t, u.another(t), second)
	_, err := findMail(t, u.db, letters, "p1")
	require.ErrorIs(t, err, encryption.ErrIncomplete)
	u.waits = func(ctx context.Context) error {
		rows, err := u.store.Tenant(ctx, tenant)
		require.NoError(t, err)
		for i := range rows.Indexes {
			if rows.Indexes[i].State == keystore.IndexBuilding {
				rows.Indexes[i].State = keystore.IndexFencing
			}
		}
		overwrite(t, u.store, keystore.Change{Put: keystore.Rows{Indexes: rows.Indexes}, Narrows: true, Keeps: true})
		u.waits = nil
		return nil
	}
	fenced := false
	u.changes.after = func() {
		for _, state := range u.states(t) {
			fenced = fenced || state == keystore.IndexFenced
		}
		if fenced && u.waits == nil && u.waited < 2*(encryption.DefaultLease+encryption.DefaultLongestTransaction) {
			require.Contains(t, u.states(t), keystore.IndexFencing)
		}
	}
	_, err = u.mender.RepairFromCopy(t.Context(), u.copied)
	require.NoError(t, err)
	require.True(t, fenced)
	require.GreaterOrEqual(t, u.waited, 2*(encryption.DefaultLease+encryption.DefaultLongestTransaction), "it waited for that one, too")
}
