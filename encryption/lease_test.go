package encryption_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/keystore"
)

// waited returns a configuration whose waits are noted, and what it waited for.
func (e *env) waited() (encryption.Config, *[]time.Duration) {
	var all []time.Duration
	cfg := e.cfg
	cfg.Wait = func(ctx context.Context, d time.Duration) error {
		all = append(all, d)
		return e.clock.Wait(ctx, d)
	}
	return cfg, &all
}

func (e *env) state(t *testing.T) keystore.State {
	t.Helper()
	state, err := e.cfg.Keys.State(t.Context())
	require.NoError(t, err)
	return state
}

// damage writes a lease that no vault would write.
func (e *env) damage(t *testing.T, lease, wait time.Duration) {
	t.Helper()
	_, err := e.keysDB.ExecContext(t.Context(), `UPDATE crmguard_encryption_store SET lease = ?, lease_wait = ?`, lease.Microseconds(), wait.Microseconds())
	require.NoError(t, err)
}

// The lease is the store's, so no process grants itself more than an erasure in
// another one waits for.
func TestNoProcessHasALeaseOfItsOwn(t *testing.T) {
	e := newEnv(t, 4)
	e.insert(t, "c1", "p1")
	cfg := e.cfg
	cfg.Lease = time.Hour
	_, err := encryption.Open(t.Context(), cfg)
	require.ErrorIs(t, err, encryption.ErrDefinition)
	require.ErrorContains(t, err, "Config.Lease is 1h0m0s, the key store has 5s")
	require.ErrorContains(t, err, "ChangeLease")
	cfg.Lease = encryption.DefaultLease
	_, err = encryption.Open(t.Context(), cfg)
	require.NoError(t, err, "who names the store's has it")
	for _, lease := range []time.Duration{-1, 1, time.Millisecond - 1, time.Second + 1, time.Hour + time.Microsecond} {
		cfg.Lease, cfg.Keys = lease, encryptiontest.Keys()
		_, err = encryption.Create(t.Context(), cfg)
		require.ErrorIs(t, err, encryption.ErrDefinition, lease)
		require.ErrorIs(t, e.vault.ChangeLease(t.Context(), lease), encryption.ErrDefinition, lease)
	}
	require.ErrorIs(t, e.vault.ChangeLease(t.Context(), 0), encryption.ErrDefinition)
	require.Equal(t, encryption.DefaultLease, e.state(t).Lease, "nothing was changed")

	// A process that names none has the store's, and stops with all others.
	contacts := e.table(t, e.another(t), contactsTable)
	r, err := contacts.Reader(t.Context(), tenant, "p1")
	require.NoError(t, err)
	w, err := contacts.Writer(t.Context(), tenant, "p1")
	require.NoError(t, err)
	cell := e.read(t)[0].email.Bytes()
	_, err = e.vault.Erase(t.Context(), tenant, "p1")
	require.NoError(t, err)
	_, err = r.Row("p1", "").Open(t.Context(), "email", cell)
	require.ErrorIs(t, err, encryption.ErrErased)
	_, err = w.Seal("email", nil)
	require.ErrorIs(t, err, encryption.ErrLease)
}

// Of two processes that create the installation at once, each with a lease of
// its own, one decides for both.
func TestTwoCreationsAgreeOnOneLease(t *testing.T) {
	e := newEnv(t, 1)
	memory := encryptiontest.Keys()
	first, second := e.cfg, e.cfg
	first.Keys, first.Lease = memory, 7*time.Second
	late := &intruder{Store: memory, act: func() {
		_, err := encryption.Create(t.Context(), first)
		require.NoError(t, err)
	}}
	second.Keys, second.Lease = late, 3*time.Second
	_, err := encryption.Create(t.Context(), second)
	require.ErrorIs(t, err, encryption.ErrNotEmpty)
	_, err = encryption.Open(t.Context(), second)
	require.ErrorIs(t, err, encryption.ErrDefinition)
	second.Lease = 0
	_, err = encryption.Open(t.Context(), second)
	require.NoError(t, err)
	state, err := memory.State(t.Context())
	require.NoError(t, err)
	require.Equal(t, []time.Duration{7 * time.Second, 7 * time.Second}, []time.Duration{state.Lease, state.LeaseWait})
}

// A longer lease holds at once; a shorter one is trusted at once, and waited for
// once the old one is over everywhere. Releases that name either may start
// meanwhile.
func TestChangingTheLease(t *testing.T) {
	e := newEnv(t, 4)
	e.insert(t, "c1", "p1")
	const long, short = time.Minute, 2 * time.Second
	cfg, waits := e.waited()
	vault, err := encryption.Open(t.Context(), cfg)
	require.NoError(t, err)
	require.NoError(t, vault.ChangeLease(t.Context(), long))
	require.Empty(t, *waits, "nobody can trust longer than an erasure waits")

	// A process with the long lease.
	old := e.table(t, e.another(t), contactsTable)
	w, err := old.Writer(t.Context(), tenant, "p1")
	require.NoError(t, err)

	var during []time.Duration
	cfg.Wait = func(ctx context.Context, d time.Duration) error {
		require.Equal(t, long, d)
		state := e.state(t)
		require.Equal(t, []time.Duration{short, long}, []time.Duration{state.Lease, state.LeaseWait})
		for _, lease := range []time.Duration{0, long, short} { // old and new releases
			release := e.cfg
			release.Lease = lease
			_, err := encryption.Open(ctx, release)
			require.NoError(t, err, lease)
		}
		require.Equal(t, encryption.HealthNotice, found(t, e.vault, "encryption.lease.wait", "").Level)

		// An erasure in another process still waits for the old lease …
		other, err := encryption.Open(ctx, func() encryption.Config { c, w := e.waited(); waits = w; return c }())
		require.NoError(t, err)
		_, err = other.Erase(ctx, tenant, "p9")
		require.NoError(t, err)
		during = *waits
		// … while what is granted from now on is the new one.
		fresh, err := e.table(t, e.another(t), contactsTable).Writer(ctx, tenant, "p1")
		require.NoError(t, err)
		e.clock.Move(short)
		_, err = fresh.Seal("email", nil)
		require.ErrorIs(t, err, encryption.ErrLease)
		e.clock.Move(d)
		return nil
	}
	changer, err := encryption.Open(t.Context(), cfg)
	require.NoError(t, err)
	require.NoError(t, changer.ChangeLease(t.Context(), short))
	require.Equal(t, []time.Duration{long}, during)
	_, err = w.Seal("email", nil)
	require.ErrorIs(t, err, encryption.ErrLease, "what was granted before is over")

	cfg, waits = e.waited()
	vault, err = encryption.Open(t.Context(), cfg)
	require.NoError(t, err)
	_, err = vault.Erase(t.Context(), tenant, "p8")
	require.NoError(t, err)
	require.Equal(t, []time.Duration{short}, *waits)
	require.Equal(t, encryption.HealthOK, found(t, e.vault, "encryption.lease.wait", "").Level)
	require.NoError(t, vault.ChangeLease(t.Context(), short), "it is so already")
	require.Len(t, *waits, 1)
	cfg.Lease = long
	_, err = encryption.Open(t.Context(), cfg)
	require.ErrorIs(t, err, encryption.ErrDefinition, "the old release names what is no longer so")
}

// A change that was killed while it waited can be ended by anybody, and waits
// from its own beginning; another lease may be named instead.
func TestALeaseThatIsHalfChanged(t *testing.T) {
	e := newEnv(t, 4)
	killed := errors.New("killed")
	cfg := e.cfg
	cfg.Wait = func(context.Context, time.Duration) error { return killed }
	dying, err := encryption.Open(t.Context(), cfg)
	require.NoError(t, err)
	err = dying.ChangeLease(t.Context(), time.Second)
	require.ErrorIs(t, err, killed)
	require.ErrorContains(t, err, "called again")
	half := e.state(t)
	require.Equal(t, []time.Duration{time.Second, encryption.DefaultLease}, []time.Duration{half.Lease, half.LeaseWait})
	f := found(t, e.vault, "encryption.lease.wait", "")
	require.Equal(t, encryption.HealthNotice, f.Level)
	require.Contains(t, f.Remedy, "ChangeLease again with 1s")

	cfg, waits := e.waited()
	other, err := encryption.Open(t.Context(), cfg)
	require.NoError(t, err)
	require.NoError(t, other.ChangeLease(t.Context(), time.Second))
	require.Equal(t, []time.Duration{encryption.DefaultLease}, *waits)
	require.Equal(t, []time.Duration{time.Second, time.Second}, []time.Duration{e.state(t).Lease, e.state(t).LeaseWait})

	// Killed on the way to a hundredth, and given up: the old one is at once good again.
	require.ErrorIs(t, dying.ChangeLease(t.Context(), 10*time.Millisecond), killed)
	require.NoError(t, other.ChangeLease(t.Context(), time.Second))
	require.Len(t, *waits, 1, "nobody trusts longer than an erasure waits")
	require.Equal(t, []time.Duration{time.Second, time.Second}, []time.Duration{e.state(t).Lease, e.state(t).LeaseWait})
}

// Whoever waits while others change the lease to something else and back ends
// nothing: the time of the last one counts.
func TestALateChangeOfTheLeaseEndsNoOther(t *testing.T) {
	e := newEnv(t, 4)
	killed := errors.New("killed")
	dies := e.cfg
	dies.Wait = func(context.Context, time.Duration) error { return killed }
	dying, err := encryption.Open(t.Context(), dies)
	require.NoError(t, err)
	cfg := e.cfg
	cfg.Wait = func(ctx context.Context, d time.Duration) error {
		e.clock.Move(d) // it has waited, and is not quick enough
		if err := e.vault.ChangeLease(ctx, encryption.DefaultLease); err != nil {
			return err
		}
		w, err := e.contacts.Writer(ctx, tenant, "p1") // granted five seconds
		require.NoError(t, err)
		require.ErrorIs(t, dying.ChangeLease(ctx, time.Second), killed)
		e.clock.Move(2 * time.Second)
		_, err = w.Seal("email", nil)
		require.NoError(t, err)
		return nil
	}
	slow, err := encryption.Open(t.Context(), cfg)
	require.NoError(t, err)
	require.NoError(t, slow.ChangeLease(t.Context(), time.Second))
	require.Equal(t, []time.Duration{time.Second, encryption.DefaultLease}, []time.Duration{e.state(t).Lease, e.state(t).LeaseWait}, "the writer may still seal")
}

// A lease ends by the clock that says so first: the monotonic one stands still
// while a machine sleeps, the wall clock may be set back.
func TestALeaseEndsByEitherClock(t *testing.T) {
	for name, after := range map[string]func(time.Time) time.Time{
		"a machine that slept": func(now time.Time) time.Time {
			return lagging(now.Add(encryption.DefaultLease), encryption.DefaultLease)
		},
		"a wall clock that was set back": func(now time.Time) time.Time { return lagging(now.Add(-time.Hour), -time.Hour-encryption.DefaultLease) },
		"a wall clock that jumps ahead":  func(now time.Time) time.Time { return lagging(now.Add(time.Hour), time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, 1)
			e.insert(t, "c1", "p1")
			now := time.Now()
			cfg := e.cfg
			cfg.Now = func() time.Time { return now }
			vault, err := encryption.Open(t.Context(), cfg)
			require.NoError(t, err)
			contacts := e.table(t, vault, contactsTable)
			w, err := contacts.Writer(t.Context(), tenant, "p1")
			require.NoError(t, err)
			r, err := contacts.Reader(t.Context(), tenant, "p1")
			require.NoError(t, err)
			sealer := vault.PersonSealer("opening")
			opening, err := sealer.Seal(t.Context(), tenant, "p1", nil, nil)
			require.NoError(t, err)
			cell := e.read(t)[0].email.Bytes()
			_, err = e.vault.Erase(t.Context(), tenant, "p1") // in the meantime
			require.NoError(t, err)
			_, err = w.Seal("email", nil)
			require.NoError(t, err, "the lease runs")

			now = after(now)
			_, err = w.Seal("email", nil)
			require.ErrorIs(t, err, encryption.ErrLease)
			_, err = r.Row("p1", "").Open(t.Context(), "email", cell)
			require.ErrorIs(t, err, encryption.ErrErased)
			_, err = sealer.Open(t.Context(), tenant, "p1", opening, nil)
			require.ErrorIs(t, err, encryption.ErrErased)
			_, err = sealer.Seal(t.Context(), tenant, "p1", nil, nil)
			require.ErrorIs(t, err, encryption.ErrErased)
		})
	}
}

// What is waited for has really passed: an erasure that is repeated does not
// take a wall clock that was set for a lease that is over.
func TestAWallClockThatIsSetIsNoWait(t *testing.T) {
	e := newEnv(t, 1)
	cfg := e.cfg
	now := time.Now()
	cfg.Now = func() time.Time { return now }
	stop := errors.New("stop")
	cfg.Wait = func(context.Context, time.Duration) error { return stop }
	vault, err := encryption.Open(t.Context(), cfg)
	require.NoError(t, err)
	_, err = vault.Erase(t.Context(), tenant, "p1")
	require.ErrorIs(t, err, stop)
	now = lagging(now.Add(time.Hour), time.Hour)
	_, err = vault.Erase(t.Context(), tenant, "p1")
	require.ErrorIs(t, err, stop, "no time has passed")
	now = now.Add(encryption.DefaultLease)
	_, err = vault.Erase(t.Context(), tenant, "p1")
	require.NoError(t, err)
}

// A state row with no lease, or one beyond bounds, is trusted by nobody: not at
// the start, not at the next comparison, and an erasure does not return as if it
// had waited.
func TestALeaseThatNobodyCanGrantIsRefused(t *testing.T) {
	for _, bad := range [][2]time.Duration{{0, 0}, {5 * time.Second, 0}, {0, 5 * time.Second}, {-5 * time.Second, 5 * time.Second}, {10 * time.Second, 5 * time.Second}, {5 * time.Second, 2 * time.Hour}, {24 * time.Hour, 24 * time.Hour}} {
		e := newEnv(t, 1)
		e.insert(t, "c1", "p1")
		e.damage(t, bad[0], bad[1])
		_, err := encryption.Open(t.Context(), e.cfg)
		require.ErrorIs(t, err, encryption.ErrStore, bad)
		_, err = e.vault.Erase(t.Context(), tenant, "p2")
		require.ErrorIs(t, err, encryption.ErrStore, bad)
		e.clock.Move(encryption.DefaultLease)
		_, err = e.contacts.Reader(t.Context(), tenant, "p1")
		require.ErrorIs(t, err, encryption.ErrStore, bad)
		require.ErrorContains(t, err, "no lease that can be granted")

		require.NoError(t, e.vault.ChangeLease(t.Context(), 5*time.Second), "a process that runs can mend it")
		require.Equal(t, []time.Duration{5 * time.Second, 5 * time.Second}, []time.Duration{e.state(t).Lease, e.state(t).LeaseWait})
		e.requireOpens(t, e.contacts)
	}
}

// A key copy carries the lease, and where it is half changed the longest one that
// a process can have.
func TestAKeyCopyCarriesTheLease(t *testing.T) {
	e := newEnv(t, 1)
	e.insert(t, "c1", "p1")
	require.NoError(t, e.vault.ChangeLease(t.Context(), 30*time.Second))
	killed := errors.New("killed")
	dies := e.cfg
	dies.Wait = func(context.Context, time.Duration) error { return killed }
	dying, err := encryption.Open(t.Context(), dies)
	require.NoError(t, err)
	require.ErrorIs(t, dying.ChangeLease(t.Context(), time.Second), killed)
	written, err := e.vault.WriteCopy(t.Context(), t.TempDir())
	require.NoError(t, err)

	cfg := e.cfg
	memory := encryptiontest.Keys()
	cfg.Keys, cfg.Lease = memory, 5*time.Second
	_, err = encryption.RestoreCopy(t.Context(), cfg, written.Path)
	require.ErrorIs(t, err, encryption.ErrDefinition)
	require.ErrorContains(t, err, "30s")
	state, err := memory.State(t.Context())
	require.NoError(t, err)
	require.Empty(t, state.Store, "nothing was restored")
	for _, lease := range []time.Duration{0, 30 * time.Second} {
		memory = encryptiontest.Keys()
		cfg.Keys, cfg.Lease = memory, lease
		vault, err := encryption.RestoreCopy(t.Context(), cfg, written.Path)
		require.NoError(t, err)
		state, err := memory.State(t.Context())
		require.NoError(t, err)
		require.Equal(t, []time.Duration{30 * time.Second, 30 * time.Second}, []time.Duration{state.Lease, state.LeaseWait})
		e.requireOpens(t, e.table(t, vault, contactsTable))
	}
}

// Where a store is put back to a shorter lease, whoever was granted the longer
// one changes nothing in it, and stops when that is over.
func TestAStorePutBackToAShorterLease(t *testing.T) {
	e := newEnv(t, 1)
	e.insert(t, "c1", "p1")
	old := filepath.Join(t.TempDir(), "old.db")
	_, err := e.keysDB.ExecContext(t.Context(), `VACUUM INTO ?`, old)
	require.NoError(t, err)
	require.NoError(t, e.vault.ChangeLease(t.Context(), time.Minute))
	w, err := e.contacts.Writer(t.Context(), tenant, "p1")
	require.NoError(t, err)
	for _, statement := range []string{
		`ATTACH DATABASE '` + old + `' AS old`,
		`DELETE FROM main.crmguard_encryption_store`, `INSERT INTO main.crmguard_encryption_store SELECT * FROM old.crmguard_encryption_store`,
		`DELETE FROM main.crmguard_encryption_mark`, `INSERT INTO main.crmguard_encryption_mark SELECT * FROM old.crmguard_encryption_mark`,
	} {
		_, err = e.keysDB.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
	require.Equal(t, encryption.DefaultLease, e.state(t).LeaseWait)
	_, err = e.vault.Erase(t.Context(), tenant, "p1")
	require.ErrorIs(t, err, encryption.ErrRewound, "it would not wait long enough")
	require.ErrorIs(t, e.vault.ChangeLease(t.Context(), time.Minute), encryption.ErrRewound)
	e.clock.Move(time.Minute)
	_, err = w.Seal("email", nil)
	require.ErrorIs(t, err, encryption.ErrLease)
	_, err = e.contacts.Writer(t.Context(), tenant, "p1")
	require.ErrorIs(t, err, encryption.ErrRewound)
}
