package sqlkeys_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/keycopy"
	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/encryption/sqlkeys"
	"github.com/crmguard/crmguard/internal/testdb"
)

// fault is an installation over connections that break, and a look at the same
// store over ones that do not.
type fault struct {
	*testdb.Cutter
	broken, whole *encryption.Vault
	store         *sqlkeys.Store
}

func newFault(t *testing.T, d testdb.Database, driver string) *fault {
	t.Helper()
	f := &fault{whole: installed(t, d, driver)}
	var err error
	f.store, err = sqlkeys.Open(t.Context(), d.OpenWith(t, driver))
	require.NoError(t, err)
	db, cutter := d.Cutting(t, driver)
	f.Cutter = cutter
	store, err := sqlkeys.Open(t.Context(), db)
	require.NoError(t, err)
	cfg := config(store)
	cfg.Wait = func(ctx context.Context, _ time.Duration) error { return ctx.Err() }
	f.broken, err = encryption.Open(t.Context(), cfg)
	require.NoError(t, err)
	require.NoError(t, f.broken.Ensure(t.Context(), tenant, "warm"))
	return f
}

// work is one call of each kind that changes the key store, for the n-th time,
// and what must hold whether it answered nil or an error.
func (f *fault) work(t *testing.T) map[string]func(n int) (call func() error, check func(answered error)) {
	t.Helper()
	return map[string]func(n int) (func() error, func(error)){
		"create": func(n int) (func() error, func(error)) {
			person := fmt.Sprint("created-", n)
			return func() error { return f.broken.Ensure(t.Context(), tenant, person) }, func(answered error) {
				rows := f.owner(t, person)
				require.Equal(t, len(rows.Owners), len(rows.Keys), "owner and key, or neither")
				if answered == nil {
					require.Len(t, rows.Keys, 1)
				}
			}
		},
		"erase": func(n int) (func() error, func(error)) {
			person := fmt.Sprint("erased-", n)
			require.NoError(t, f.whole.Ensure(t.Context(), tenant, person))
			return func() error { _, err := f.broken.Erase(t.Context(), tenant, person); return err }, func(answered error) {
				rows := f.owner(t, person)
				dead := rows.Owners[0].State == keystore.Tombstone
				require.Equal(t, dead, len(rows.Keys) == 0, "tombstone without key, or key without tombstone")
				require.True(t, dead || answered != nil)
			}
		},
		"erase many": f.eraseMany(t),
		"lease":      f.changeLease(t),
		"generation": func(int) (func() error, func(error)) {
			return func() error { _, err := f.broken.NewKeyVersion(t.Context(), tenant); return err }, func(error) {
				active := 0
				all, err := f.whole.KeyVersions(t.Context(), tenant)
				require.NoError(t, err)
				for _, g := range all {
					if g.State == keystore.Active {
						active++
					}
				}
				require.Equal(t, 1, active)
			}
		},
		"position": func(int) (func() error, func(error)) {
			var position []byte
			return func() (err error) { position, err = f.broken.Position(t.Context()); return err }, func(answered error) {
				if answered == nil {
					written, err := f.whole.WriteCopy(t.Context(), t.TempDir())
					require.NoError(t, err)
					require.NoError(t, written.Covers(position))
				}
			}
		},
		"copy": func(int) (func() error, func(error)) {
			dir := t.TempDir()
			return func() error { _, err := f.broken.WriteCopy(t.Context(), dir); return err }, func(answered error) {
				if answered == nil {
					path, err := keycopy.Newest(dir)
					require.NoError(t, err)
					_, err = f.whole.VerifyCopy(t.Context(), path)
					require.NoError(t, err)
				}
			}
		},
	}
}

// eraseMany: all persons of one transaction are erased, or none of them.
func (f *fault) eraseMany(t *testing.T) func(n int) (func() error, func(error)) {
	t.Helper()
	return func(n int) (func() error, func(error)) {
		persons := []string{fmt.Sprint("many-", n), fmt.Sprint("of-", n), fmt.Sprint("them-", n)}
		require.NoError(t, f.whole.Ensure(t.Context(), tenant, persons...))
		return func() error { _, err := f.broken.EraseMany(t.Context(), tenant, persons...); return err }, func(answered error) {
			rows, err := f.store.Owners(t.Context(), tenant, persons)
			require.NoError(t, err)
			dead := 0
			for _, row := range rows.Owners {
				if row.State == keystore.Tombstone {
					dead++
				}
			}
			require.Contains(t, []int{0, 3}, dead)
			require.Len(t, rows.Keys, 3-dead, "tombstone without key, or key without tombstone")
			require.True(t, dead == 3 || answered != nil)
		}
	}
}

// changeLease: what is waited for is never shorter than what is trusted, and is
// the new lease once the change has answered nil.
func (f *fault) changeLease(t *testing.T) func(n int) (func() error, func(error)) {
	t.Helper()
	return func(n int) (func() error, func(error)) {
		const long = time.Minute
		require.NoError(t, f.whole.ChangeLease(t.Context(), long))
		want := time.Second + time.Duration(n)*time.Millisecond
		return func() error { return f.broken.ChangeLease(t.Context(), want) }, func(answered error) {
			state, err := f.store.State(t.Context())
			require.NoError(t, err)
			require.Contains(t, [][2]time.Duration{{long, long}, {want, long}, {want, want}}, [2]time.Duration{state.Lease, state.LeaseWait})
			require.True(t, state.LeaseWait == want || answered != nil)
		}
	}
}

func (f *fault) owner(t *testing.T, owner string) keystore.Rows {
	t.Helper()
	rows, err := f.store.Owners(t.Context(), tenant, []string{owner})
	require.NoError(t, err)
	return rows
}

// requireHistory checks that no change was counted twice or half: each sequence up to
// that of the store has its mark.
func (f *fault) requireHistory(t *testing.T) {
	t.Helper()
	state, err := f.store.State(t.Context())
	require.NoError(t, err)
	var n int64
	require.NoError(t, f.store.Snapshot(t.Context(), func(tx keystore.Tx) error {
		page := keystore.Page{Kind: keystore.KindMark, Limit: 100}
		for {
			rows, err := tx.Page(t.Context(), page)
			if err != nil || len(rows.Marks) == 0 {
				return err
			}
			for _, row := range rows.Marks {
				n++
				require.Equal(t, n, row.Sequence)
			}
			page.After = rows.After(keystore.KindMark)
		}
	}))
	require.Equal(t, state.Sequence, n)
}

// run breaks a call of each kind at its first, second … step until it needs no
// more of them, checks the store, and calls again.
func (f *fault) run(t *testing.T, atCommit bool, least int) {
	t.Helper()
	for name, kind := range f.work(t) {
		steps := 0
		for fired := true; fired; steps++ {
			call, check := kind(steps)
			f.Arm(steps+1, atCommit)
			err := call()
			fired = f.Disarm()
			check(err)
			if !fired {
				require.NoError(t, err, "%s without a fault", name)
			}
			err = call()
			require.NoError(t, err, "%s again, after step %d", name, steps+1)
			check(err)
			f.requireHistory(t)
		}
		require.Greater(t, steps, least, "%s has steps to break", name)
	}
}

// The server ends the session at each step of each call. The caller gets an
// answer that fits what the store then holds, and may call again.
func TestASessionThatIsEndedAtEachStep(t *testing.T) {
	eachConnection(t, func(t *testing.T, d testdb.Database, driver string) {
		newFault(t, d, driver).run(t, false, 4)
	})
}

// The connection is dropped after each COMMIT, before its answer: the change is
// made and the caller does not know it. Calling again finds it, once.
func TestAnAnswerThatIsLostAfterCommit(t *testing.T) {
	eachConnection(t, func(t *testing.T, d testdb.Database, driver string) {
		f := newFault(t, d, driver)
		f.run(t, true, 1)

		// The commit of a read may come before that of the creation.
		lost := false
		for n := 1; n <= 5 && !lost; n++ {
			person := fmt.Sprint("lost-", n)
			f.Arm(n, true)
			err := f.broken.Ensure(t.Context(), tenant, person)
			f.Disarm()
			before := f.owner(t, person)
			if lost = err != nil && len(before.Keys) == 1; !lost {
				continue
			}
			require.NoError(t, f.broken.Ensure(t.Context(), tenant, person))
			require.Equal(t, before, f.owner(t, person), "the key is made once")
			sealed, err := f.broken.PersonSealer("test").Seal(t.Context(), tenant, person, []byte("x"), nil)
			require.NoError(t, err)
			opened, err := f.whole.PersonSealer("test").Open(t.Context(), tenant, person, sealed, nil)
			require.NoError(t, err)
			require.Equal(t, "x", string(opened))
		}
		require.True(t, lost, "a key was committed and its maker was not told")
	})
}

// A server that is killed while keys are created loses none whose creation was
// answered with nil.
func TestAServerThatIsKilledWhileKeysAreCreated(t *testing.T) {
	for _, name := range []testdb.Name{testdb.PostgresC, testdb.MariaDB} {
		for _, driver := range name.Drivers() {
			t.Run(string(name)+"/"+driver, func(t *testing.T) {
				server := testdb.Own(t, name)
				d := server.New(t)
				installed(t, d, driver)
				l := &life{d: d, driver: driver, sealed: map[string][]byte{}, erasing: map[string]bool{}}
				for round := range 3 {
					l.createUntilKilled(t, server, round)
					server.Restart(t)
					l.requireAll(t)
				}
			})
		}
	}
}

// createUntilKilled lets eight processes create keys and kills the server in
// the middle of it.
func (l *life) createUntilKilled(t *testing.T, server *testdb.Server, round int) {
	t.Helper()
	const enough = 60
	created := make(chan bool, 10_000)
	var wg sync.WaitGroup
	for maker := range 8 {
		vault := l.process(t)
		wg.Go(func() {
			for n := 0; ; n++ {
				person := fmt.Sprintf("p-%d-%d-%d", round, maker, n)
				if err := vault.Ensure(t.Context(), tenant, person); err != nil {
					if !errors.Is(err, encryption.ErrStore) {
						t.Errorf("a creation on a server that is down answered %v", err)
					}
					return
				}
				sealed, err := vault.PersonSealer("test").Seal(t.Context(), tenant, person, []byte(person), nil)
				if err != nil {
					return // its lease was over, and the server is down
				}
				l.done(person, sealed)
				select {
				case created <- true:
				default:
				}
			}
		})
	}
	for range enough {
		<-created
	}
	server.Kill(t)
	wg.Wait()
}

func (l *life) requireAll(t *testing.T) {
	t.Helper()
	vault := l.process(t)
	sealed, _ := l.known()
	require.NotEmpty(t, sealed)
	for person, bytes := range sealed {
		opened, err := vault.PersonSealer("test").Open(t.Context(), tenant, person, bytes, nil)
		require.NoError(t, err)
		require.Equal(t, person, string(opened))
	}
}
