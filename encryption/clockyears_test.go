package encryption_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/keycopy"
	"github.com/crmguard/crmguard/encryption/sealedvalue"
)

const tenYears = 10 * 365 * 24 * time.Hour

// set is a clock that somebody sets: its monotonic reading goes on as before.
func set(now time.Time, by time.Duration) time.Time { return lagging(now.Add(by), by) }

func eachJump(t *testing.T, f func(t *testing.T, jump time.Duration)) {
	t.Helper()
	for name, jump := range map[string]time.Duration{"ahead": tenYears, "back": -tenYears} {
		t.Run(name, func(t *testing.T) { f(t, jump) })
	}
}

// A process whose clock is set by ten years while its lease runs out: it trusts
// nothing that it has read before, and goes on with what it reads then.
func TestALeaseEndsWhereAClockIsSetByYears(t *testing.T) {
	eachJump(t, func(t *testing.T, jump time.Duration) {
		e := newEnv(t, 1)
		e.insert(t, "c1", "p1")
		e.insert(t, "c2", "p2")
		now := time.Now()
		cfg := e.cfg
		cfg.Now = func() time.Time { return now }
		vault, err := encryption.Open(t.Context(), cfg)
		require.NoError(t, err)
		contacts := e.table(t, vault, contactsTable)
		w, err := contacts.Writer(t.Context(), tenant, "p1")
		require.NoError(t, err)
		r, err := contacts.Reader(t.Context(), tenant, "p1", "p2")
		require.NoError(t, err)
		rows := e.read(t)
		_, err = e.vault.Erase(t.Context(), tenant, "p1") // in the meantime
		require.NoError(t, err)
		now = set(now.Add(encryption.DefaultLease), jump)
		_, err = w.Seal("email", nil)
		require.ErrorIs(t, err, encryption.ErrLease)
		_, err = r.Row("p1", "c1").Open(t.Context(), "email", rows[0].email.Bytes())
		require.ErrorIs(t, err, encryption.ErrErased)
		value, err := r.Row("p2", "c2").Text(t.Context(), "email", rows[1].email.Bytes())
		require.NoError(t, err, "whoever lives is read as ever")
		require.Equal(t, "p2@b.example", value)
		_, err = contacts.Writer(t.Context(), tenant, "p2")
		require.NoError(t, err)
	})
}

// The wait for the longest transaction is neither shortened nor drawn out by a
// clock that is set by ten years in the middle of it.
func TestAWaitIsAsLongAsItIsWhereAClockIsSetByYears(t *testing.T) {
	eachJump(t, func(t *testing.T, jump time.Duration) {
		e := newEnv(t, 4)
		now := time.Now()
		ended := errors.New("ended")
		var waited []time.Duration
		cfg := e.cfg
		cfg.Now = func() time.Time { return now }
		cfg.Wait = func(_ context.Context, d time.Duration) error {
			if waited = append(waited, d); len(waited) == 1 {
				now = now.Add(10 * time.Second)
				return ended
			}
			now = now.Add(d)
			return nil
		}
		v, err := encryption.Open(t.Context(), cfg)
		require.NoError(t, err)
		sealed, err := v.PersonSealer("opening").Seal(t.Context(), tenant, "p1", nil, nil)
		require.NoError(t, err)
		old, err := sealedvalue.KeyVersion(sealed)
		require.NoError(t, err)
		_, err = v.NewKeyVersion(t.Context(), tenant)
		require.NoError(t, err)
		require.ErrorIs(t, v.DestroyKeyVersion(t.Context(), tenant, old, holds(0)), ended)
		now = set(now, jump)
		require.NoError(t, v.DestroyKeyVersion(t.Context(), tenant, old, holds(0)))
		whole := encryption.DefaultLease + encryption.DefaultLongestTransaction
		require.Equal(t, []time.Duration{whole, whole - 10*time.Second, encryption.DefaultLease}, waited, "the last is that of the mark")
	})
}

// Key copies are told apart by what they hold, whatever the clocks of those say who
// write them: the newest is the newest, older ones go, it covers what it covers, and
// brings everything back.
func TestKeyCopiesDoNotGoByTheClock(t *testing.T) {
	eachJump(t, func(t *testing.T, jump time.Duration) {
		e := newEnv(t, 4)
		dir := t.TempDir()
		cfg := e.cfg
		cfg.Now = func() time.Time { return e.clock.Now().Add(jump) }
		other, err := encryption.Open(t.Context(), cfg)
		require.NoError(t, err)
		last := ""
		for i, vault := range []*encryption.Vault{e.vault, other, e.vault, other} {
			e.insert(t, fmt.Sprint("c", i), fmt.Sprint("p", i))
			position, err := vault.Position(t.Context())
			require.NoError(t, err)
			written, err := vault.WriteCopy(t.Context(), dir)
			require.NoError(t, err)
			require.NoError(t, written.Covers(position))
			newest, err := keycopy.Newest(dir)
			require.NoError(t, err)
			require.Equal(t, written.Path, newest)
			require.Equal(t, []string{filepath.Base(newest)}, names(t, dir))
			require.Greater(t, filepath.Base(newest), last)
			last = filepath.Base(newest)
			for _, reader := range []*encryption.Vault{e.vault, other} {
				_, err = reader.VerifyCopy(t.Context(), newest)
				require.NoError(t, err)
				require.NoError(t, reader.KeyCopy(dir)(t.Context(), position))
			}
		}
		path, err := keycopy.Newest(dir)
		require.NoError(t, err)
		restored, err := encryption.RestoreCopy(t.Context(), withKeys(cfg, encryptiontest.Keys()), path)
		require.NoError(t, err)
		e.requireOpens(t, e.table(t, restored, contactsTable))
	})
}
