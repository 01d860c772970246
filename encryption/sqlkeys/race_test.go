package sqlkeys_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
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

// eachDriver runs a test on each database through each of its drivers.
func eachDriver(t *testing.T, f func(t *testing.T, d testdb.Database, driver string)) {
	t.Helper()
	driversOf(t, testdb.Names(), f)
}

// eachConnection leaves out the second PostgreSQL: a connection that breaks
// knows no order of text.
func eachConnection(t *testing.T, f func(t *testing.T, d testdb.Database, driver string)) {
	t.Helper()
	driversOf(t, []testdb.Name{testdb.SQLite, testdb.PostgresC, testdb.MariaDB}, f)
}

func driversOf(t *testing.T, names []testdb.Name, f func(t *testing.T, d testdb.Database, driver string)) {
	t.Helper()
	for _, name := range names {
		for _, driver := range name.Drivers() {
			t.Run(string(name)+"/"+driver, func(t *testing.T) { f(t, testdb.New(t, name), driver) })
		}
	}
}

// life is what several processes do to one key store at once, and what they
// were told.
type life struct {
	d      testdb.Database
	driver string
	dir    string // of key copies

	mu      sync.Mutex
	sealed  map[string][]byte // by person, once Ensure and Seal have returned
	erasing map[string]bool   // persons whose erasure has begun
}

func (l *life) done(person string, sealed []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sealed[person] = sealed
}

func (l *life) known() (sealed map[string][]byte, erasing map[string]bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.sealed), maps.Clone(l.erasing)
}

// Keys are created while key versions change, epochs close, persons are erased
// and key copies are taken, each by a process of its own. Afterwards everything
// that was sealed opens unless its person was erased, no key stands under a
// tombstone, and each copy held what was created before its position.
func TestCreationsBesideEverythingElse(t *testing.T) {
	eachDriver(t, func(t *testing.T, d testdb.Database, driver string) {
		installed(t, d, driver)
		l := &life{d: d, driver: driver, dir: t.TempDir(), sealed: map[string][]byte{}, erasing: map[string]bool{}}
		var wg sync.WaitGroup
		for maker := range 6 {
			vault := l.process(t)
			wg.Go(func() { l.create(t, vault, maker) })
		}
		eraser, rotator, closer, copier := l.process(t), l.process(t), l.process(t), l.process(t)
		wg.Go(func() { l.erase(t, eraser) })
		wg.Go(func() {
			for range 3 {
				if _, err := rotator.NewKeyVersion(t.Context(), tenant); err != nil {
					t.Errorf("new key version: %v", err)
				}
			}
		})
		wg.Go(func() {
			for n := range 2 {
				if _, err := closer.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: fmt.Sprint("kek-of-epoch-", n+2), Copy: closer.Copier(t.TempDir())}); err != nil {
					t.Errorf("close epoch: %v", err)
				}
			}
		})
		wg.Go(func() { l.copy(t, copier) })
		wg.Wait()
		l.judge(t)
	})
}

func (l *life) process(t *testing.T) *encryption.Vault {
	t.Helper()
	store, err := sqlkeys.Open(t.Context(), l.d.OpenWith(t, l.driver))
	require.NoError(t, err)
	cfg := config(store)
	cfg.Wait = func(ctx context.Context, _ time.Duration) error { return ctx.Err() }
	vault, err := encryption.Open(t.Context(), cfg)
	require.NoError(t, err)
	return vault
}

func (l *life) create(t *testing.T, vault *encryption.Vault, maker int) {
	t.Helper()
	for n := range 25 {
		person := fmt.Sprintf("p-%d-%d", maker, n)
		if n%4 == 0 {
			person = fmt.Sprintf("shared-%d", n)
		}
		err := vault.Ensure(t.Context(), tenant, person)
		var sealed []byte
		if err == nil {
			sealed, err = vault.PersonSealer("test").Seal(t.Context(), tenant, person, []byte(person), nil)
		}
		if errors.Is(err, encryption.ErrErased) {
			continue
		}
		if err != nil {
			t.Errorf("create: %v", err)
			return
		}
		l.done(person, sealed)
	}
}

func (l *life) erase(t *testing.T, vault *encryption.Vault) {
	t.Helper()
	for n := 0; n < 25; n += 8 {
		for _, person := range []string{fmt.Sprintf("shared-%d", n), fmt.Sprintf("p-%d-%d", n%6, n+1)} {
			l.mu.Lock()
			l.erasing[person] = true
			l.mu.Unlock()
			if _, err := vault.Erase(t.Context(), tenant, person); err != nil {
				t.Errorf("erase: %v", err)
			}
		}
	}
}

func (l *life) copy(t *testing.T, vault *encryption.Vault) {
	t.Helper()
	for range 8 {
		before, _ := l.known()
		position, err := vault.Position(t.Context())
		if err == nil {
			err = vault.KeyCopy(l.dir)(t.Context(), position)
		}
		if err != nil {
			t.Errorf("key copy: %v", err)
			return
		}
		path, err := keycopy.Newest(l.dir)
		if err != nil {
			t.Error(err)
			return
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
			return
		}
		_, erasing := l.known()
		for person := range before {
			if !erasing[person] && !bytes.Contains(data, []byte(`"kind":"key","owner":"`+person+`"`)) {
				t.Error("a copy covers a position and lacks a key that was created before it")
			}
		}
	}
}

func (l *life) judge(t *testing.T) {
	t.Helper()
	sealed, erasing := l.known()
	require.Greater(t, len(sealed), 100)
	store, err := sqlkeys.Open(t.Context(), l.d.OpenWith(t, l.driver))
	require.NoError(t, err)
	vault := l.process(t)
	for person, bytes := range sealed {
		rows, err := store.Owners(t.Context(), tenant, []string{person})
		require.NoError(t, err)
		require.Len(t, rows.Owners, 1)
		opened, err := vault.PersonSealer("test").Open(t.Context(), tenant, person, bytes, nil)
		if erasing[person] {
			require.Equal(t, keystore.Tombstone, rows.Owners[0].State)
			require.Empty(t, rows.Keys, "no key stands under a tombstone")
			require.ErrorIs(t, err, encryption.ErrErased)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, person, string(opened))
	}
	written, err := vault.WriteCopy(t.Context(), l.dir) // opens every keyset and every key
	require.NoError(t, err)
	require.NotZero(t, written.Rows)
	keyVersions, err := vault.KeyVersions(t.Context(), tenant)
	require.NoError(t, err)
	require.Len(t, keyVersions, 4)
}
