package encryption_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/keycopy"
	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/encryption/sealedvalue"
)

// intruder acts once, just before a change of this process: what it does is
// committed between the preparation of a change and the change.
type intruder struct {
	keystore.Store
	act func()
}

func (i *intruder) Update(ctx context.Context, f func(keystore.Tx) error) (keystore.State, error) {
	if act := i.act; act != nil {
		i.act = nil
		act()
	}
	return i.Store.Update(ctx, f)
}

func (i *intruder) Create(ctx context.Context, f func(keystore.Tx) error) error {
	if act := i.act; act != nil {
		i.act = nil
		act()
	}
	return i.Store.Create(ctx, f)
}

func (e *env) intruded(t *testing.T) (*intruder, *encryption.SealedTable) {
	t.Helper()
	store := &intruder{Store: e.store}
	cfg := e.cfg
	cfg.Keys = store
	vault, err := encryption.Open(t.Context(), cfg)
	require.NoError(t, err)
	_, err = e.contacts.Lookup(t.Context(), tenant, "email_idx", "x@y") // registers the index
	require.NoError(t, err)
	return store, e.table(t, vault, contactsTable)
}

func TestAnErasureBetweenPreparationAndInsertWins(t *testing.T) {
	e := newEnv(t, 4)
	store, contacts := e.intruded(t)
	store.act = func() {
		_, err := e.vault.Erase(t.Context(), tenant, "p1")
		require.NoError(t, err)
	}
	_, err := contacts.Writer(t.Context(), tenant, "p1")
	require.ErrorIs(t, err, encryption.ErrErased)
	var n int
	require.NoError(t, e.keysDB.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM crmguard_encryption_key WHERE owner = 'p1'`).Scan(&n))
	require.Zero(t, n, "no key stands under a tombstone")
}

func TestAnEpochBetweenPreparationAndInsertIsNoticed(t *testing.T) {
	e := newEnv(t, 4)
	store, contacts := e.intruded(t)
	store.act = func() {
		_, err := e.vault.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: "kek-2", Copy: e.vault.Copier(t.TempDir())})
		require.NoError(t, err)
	}
	w, err := contacts.Writer(t.Context(), tenant, "p1")
	require.NoError(t, err)
	sealed, err := w.Seal("email", []byte("x"))
	require.NoError(t, err)
	r, err := e.table(t, e.another(t), contactsTable).Reader(t.Context(), tenant, "p1")
	require.NoError(t, err)
	_, err = r.Row("p1", "").Open(t.Context(), "email", sealed)
	require.NoError(t, err, "the key was wrapped by the wrap key of today")
}

func TestARotationBetweenPreparationAndInsertIsNoticed(t *testing.T) {
	e := newEnv(t, 4)
	store, contacts := e.intruded(t)
	var active uint32
	store.act = func() { _, active = e.rotate(t) }
	w, err := contacts.Writer(t.Context(), tenant, "p1")
	require.NoError(t, err)
	sealed, err := w.Seal("email", []byte("x"))
	require.NoError(t, err)
	keyVersion, err := sealedvalue.KeyVersion(sealed)
	require.NoError(t, err)
	require.Equal(t, active, keyVersion)
	keys, err := e.vault.WrappedKeys(t.Context(), tenant, "p1")
	require.NoError(t, err)
	require.Len(t, keys, 1, "no key is made in a retired key version")
}

// The cipher of a key is built by whoever uses it first, also where many do.
func TestManyUseAKeyForTheFirstTime(t *testing.T) {
	e := newEnv(t, 4)
	require.NoError(t, e.vault.Ensure(t.Context(), tenant, "p1"))
	sealer := e.vault.PersonSealer("test")
	begin := make(chan struct{})
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			<-begin
			sealed, err := sealer.Seal(t.Context(), tenant, "p1", []byte("ann@b.example"), nil)
			if err != nil {
				t.Errorf("seal: %v", err)
				return
			}
			opened, err := sealer.Open(t.Context(), tenant, "p1", sealed, nil)
			if err != nil || string(opened) != "ann@b.example" {
				t.Errorf("what was sealed opened to %d bytes: %v", len(opened), err)
			}
		})
	}
	close(begin)
	wg.Wait()
}

// Rewrapping does not bring back a key that was erased meanwhile.
func TestAnErasureDuringAnEpochWins(t *testing.T) {
	e := newEnv(t, 4)
	e.insert(t, "c1", "p1")
	e.insert(t, "c2", "p2")
	store := &intruder{Store: e.store}
	cfg := e.cfg
	cfg.Keys = store
	vault, err := encryption.Open(t.Context(), cfg)
	require.NoError(t, err)
	dir := t.TempDir()
	copies := 0
	epoch := keycopy.Rewrap{KEK: "kek-2", Copy: func(ctx context.Context) error { copies++; return vault.Copier(dir)(ctx) }}
	left := 2 // begin, new wrap key, then the rewrapping
	var count func()
	count = func() {
		if left--; left >= 0 {
			store.act = count
			return
		}
		_, err := e.vault.Erase(t.Context(), tenant, "p1")
		require.NoError(t, err)
	}
	store.act = count
	_, err = vault.RewrapKeys(t.Context(), epoch)
	require.NoError(t, err)
	require.Equal(t, 3, copies)
	wrapped, err := e.vault.WrappedKeys(t.Context(), tenant, "p1")
	require.NoError(t, err)
	require.Empty(t, wrapped)
}

// Whoever rewrites a key copy can make count and digest agree, not the mac.
func TestAForgedKeyCopyIsRefused(t *testing.T) {
	e := newEnv(t, 1)
	e.insert(t, "c1", "p1")
	_, err := e.vault.Erase(t.Context(), tenant, "p9")
	require.NoError(t, err)
	written, err := e.vault.WriteCopy(t.Context(), t.TempDir())
	require.NoError(t, err)
	data, err := os.ReadFile(written.Path)
	require.NoError(t, err)
	lines := bytes.SplitAfter(data, []byte("\n"))
	var kept [][]byte
	for _, line := range lines[:len(lines)-2] {
		if !bytes.Contains(line, []byte(`"state":"tombstone"`)) {
			kept = append(kept, line)
		}
	}
	require.Len(t, kept, len(lines)-3, "the tombstone is left out")
	body := bytes.Join(kept, nil)
	sum := sha256.Sum256(body)
	last := lines[len(lines)-2]
	mac := last[bytes.Index(last, []byte(`"mac":"`))+7:]
	mac = mac[:bytes.IndexByte(mac, '"')]
	forged := fmt.Appendf(body, `{"count":%d,"mac":"%s","sha256":"%s"}`+"\n", len(kept)-1, mac, base64.RawURLEncoding.EncodeToString(sum[:]))
	path := filepath.Join(t.TempDir(), "copy.jsonl")
	require.NoError(t, os.WriteFile(path, forged, 0o600))
	_, err = e.vault.VerifyCopy(t.Context(), path)
	require.ErrorIs(t, err, encryption.ErrCopy)
	require.ErrorContains(t, err, "mac")
}

// Without a Wait of one's own, Erase really waits for the lease.
func TestEraseWaits(t *testing.T) {
	e := newEnv(t, 1)
	require.NoError(t, e.vault.ChangeLease(t.Context(), 20*time.Millisecond))
	cfg := e.cfg
	cfg.Now, cfg.Wait = nil, nil
	vault, err := encryption.Open(t.Context(), cfg)
	require.NoError(t, err)
	start := time.Now()
	_, err = vault.Erase(t.Context(), tenant, "p1")
	require.NoError(t, err)
	require.GreaterOrEqual(t, time.Since(start), 20*time.Millisecond)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	_, err = vault.Erase(ctx, tenant, "p2")
	require.ErrorIs(t, err, context.Canceled)
}

// Of two processes that create the installation at once, one loses.
func TestTwoCreations(t *testing.T) {
	e := newEnv(t, 1)
	memory := encryptiontest.Keys()
	cfg := e.cfg
	store := &intruder{Store: memory}
	cfg.Keys = store
	first := cfg
	first.Keys = memory
	store.act = func() {
		_, err := encryption.Create(t.Context(), first)
		require.NoError(t, err)
	}
	_, err := encryption.Create(t.Context(), cfg)
	require.ErrorIs(t, err, encryption.ErrNotEmpty)
	_, err = encryption.Open(t.Context(), first)
	require.NoError(t, err)
}

// A wrap key id is never used again: the row remembers those that are gone.
func TestWrapIDsAreRemembered(t *testing.T) {
	e := newEnv(t, 1)
	e.insert(t, "c1", "p1")
	var gone []uint32
	for n := range 3 {
		wrapped, err := e.vault.WrappedKeys(t.Context(), tenant, "p1")
		require.NoError(t, err)
		id, err := sealedvalue.KeyVersion(wrapped[0]) // the same prefix
		require.NoError(t, err)
		gone = append(gone, id)
		_, err = e.vault.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: fmt.Sprint("kek-", n+2), Copy: e.vault.Copier(t.TempDir())})
		require.NoError(t, err)
	}
	rows, err := e.store.Tenant(t.Context(), tenant)
	require.NoError(t, err)
	for _, row := range rows.Keysets {
		if row.Purpose == "wrap" {
			require.Equal(t, gone, row.Former)
			require.Equal(t, int64(4), row.Epoch)
		}
	}
}
