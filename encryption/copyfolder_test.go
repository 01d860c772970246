package encryption_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/keycopy"
	"github.com/crmguard/crmguard/encryption/keystore"
)

// heldStore lets a Snapshot with keys be read and then holds who reads it.
type heldStore struct {
	keystore.Store
	once sync.Once
	read chan struct{} // closed when the first such Snapshot was read
	free chan struct{} // closed to let its reader go on
}

func (s *heldStore) Snapshot(ctx context.Context, f func(keystore.Tx) error) error {
	keys := false
	err := s.Store.Snapshot(ctx, func(tx keystore.Tx) error { return f(pageSpy{tx, &keys}) })
	if keys {
		s.once.Do(func() {
			close(s.read)
			<-s.free
		})
	}
	return err
}

type pageSpy struct {
	keystore.Tx
	keys *bool
}

func (s pageSpy) Page(ctx context.Context, page keystore.Page) (keystore.Rows, error) {
	*s.keys = *s.keys || page.Kind == keystore.KindKey
	return s.Tx.Page(ctx, page)
}

// slowCopy starts a WriteCopy of another process, which is held after it has
// read its snapshot; finish lets it end.
func (e *env) slowCopy(t *testing.T, dir string) (finish func() (keycopy.Copy, error)) {
	t.Helper()
	store := &heldStore{Store: e.store, read: make(chan struct{}), free: make(chan struct{})}
	cfg := e.cfg
	cfg.Keys = store
	slow, err := encryption.Open(t.Context(), cfg)
	require.NoError(t, err)
	var written keycopy.Copy
	done := make(chan error)
	go func() {
		var err error
		written, err = slow.WriteCopy(context.WithoutCancel(t.Context()), dir)
		done <- err
	}()
	<-store.read
	return func() (keycopy.Copy, error) {
		close(store.free)
		err := <-done
		return written, err
	}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var out []string
	for _, entry := range entries {
		out = append(out, entry.Name())
	}
	return out
}

// A writer that began first and ends last neither replaces nor deletes the
// newer copy, on which a data snapshot relies, nor brings an older one.
func TestASlowWriterLeavesTheNewerCopy(t *testing.T) {
	e := newEnv(t, 4)
	dir := t.TempDir()
	e.insert(t, "c1", "p1")
	finish := e.slowCopy(t, dir)

	e.insert(t, "c2", "p2")
	_, err := e.vault.Erase(t.Context(), tenant, "p1")
	require.NoError(t, err)
	position, err := e.vault.Position(t.Context())
	require.NoError(t, err)
	require.NoError(t, e.vault.KeyCopy(dir)(t.Context(), position))
	require.Len(t, names(t, dir), 1, "what the slow one has written so far, too, holds a key of p1")

	written, err := finish()
	require.NoError(t, err)
	require.NoError(t, written.Covers(position), "it has started again")
	path, err := keycopy.Newest(dir)
	require.NoError(t, err)
	require.Equal(t, path, written.Path)
	good, err := e.vault.VerifyCopy(t.Context(), path)
	require.NoError(t, err)
	require.NoError(t, good.Covers(position))
	require.Len(t, names(t, dir), 1)
}

// Creations do not raise the sequence, by which copies are named. A copy still
// holds every key that was there when it was asked for, also where one that was
// begun earlier gets its name at the last moment.
func TestACopyHoldsWhatWasCreatedBeforeIt(t *testing.T) {
	e := newEnv(t, 4)
	dir := t.TempDir()
	e.insert(t, "c1", "p1")
	finish := e.slowCopy(t, dir)
	e.insert(t, "c2", "p2")
	late := false
	e.vault.FailDisk(func(step string) error {
		if step == "sync folder" && !late {
			late = true // the folder was listed: what comes now is not deleted
			_, err := finish()
			require.NoError(t, err)
		}
		return nil
	})
	_, err := e.vault.WriteCopy(t.Context(), dir)
	require.NoError(t, err)
	require.True(t, late)
	path, err := keycopy.Newest(dir)
	require.NoError(t, err)
	require.NoError(t, openWith(t, e, e.kms, path, e.read(t)))
}

// A newer copy that stands there when an older one is finished stays, alone.
func TestANewerCopyStays(t *testing.T) {
	e := newEnv(t, 4)
	dir, elsewhere := t.TempDir(), t.TempDir()
	e.insert(t, "c1", "p1")
	finish := e.slowCopy(t, dir)
	e.insert(t, "c2", "p2")
	newer, err := e.vault.WriteCopy(t.Context(), elsewhere)
	require.NoError(t, err)
	require.NoError(t, os.Rename(newer.Path, filepath.Join(dir, filepath.Base(newer.Path))))
	written, err := finish()
	require.NoError(t, err)
	require.Equal(t, newer.Sequence, written.Sequence)
	require.Equal(t, []string{filepath.Base(newer.Path)}, names(t, dir))
}

// A process that is killed while it writes a copy leaves a file with wrapped
// keys. It must not outlive the erasure of their persons, nor the epoch.
func TestUnfinishedCopiesGoWithTheNextCopy(t *testing.T) {
	e := newEnv(t, 4)
	dir := t.TempDir()
	e.insert(t, "c1", "p1")
	first, err := e.vault.WriteCopy(t.Context(), dir)
	require.NoError(t, err)
	data, err := os.ReadFile(first.Path)
	require.NoError(t, err)
	leave := func() {
		require.NoError(t, os.WriteFile(filepath.Join(dir, ".keys-"+strings.Repeat("A", 26)), data, 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "notes.txt"), nil, 0o600))
	}
	leave()
	_, err = e.vault.Erase(t.Context(), tenant, "p1")
	require.NoError(t, err)
	position, err := e.vault.Position(t.Context())
	require.NoError(t, err)
	require.NoError(t, e.vault.KeyCopy(dir)(t.Context(), position))
	require.NoFileExists(t, filepath.Join(dir, ".keys-"+strings.Repeat("A", 26)))
	leave()
	_, err = e.vault.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: "kek-2", Copy: e.vault.Copier(dir)})
	require.NoError(t, err)
	path, err := keycopy.Newest(dir)
	require.NoError(t, err)
	require.Equal(t, []string{filepath.Base(path), "notes.txt"}, names(t, dir), "nothing else is touched")
}

// Two key stores that were given one folder by mistake do not cost each other
// their copies: the second is refused and told why.
func TestACopyOfAnotherStoreIsLeftAlone(t *testing.T) {
	one, other := newEnv(t, 4), newEnv(t, 4)
	dir := t.TempDir()
	one.insert(t, "c1", "p1")
	copied, err := one.vault.WriteCopy(t.Context(), dir)
	require.NoError(t, err)
	rows := one.read(t)
	for range 2 { // with the same sequence, and with a later one
		other.insert(t, "c"+strconv.Itoa(len(other.read(t))), "p"+strconv.Itoa(len(other.read(t))))
		position, err := other.vault.Position(t.Context())
		require.NoError(t, err)
		for _, err := range []error{other.vault.Copier(dir)(t.Context()), other.vault.KeyCopy(dir)(t.Context(), position)} {
			require.ErrorIs(t, err, encryption.ErrCopy)
			require.ErrorContains(t, err, "another key store")
		}
		require.Equal(t, []string{filepath.Base(copied.Path)}, names(t, dir))
		require.NoError(t, openWith(t, one, one.kms, copied.Path, rows))
	}
	_, err = one.vault.WriteCopy(t.Context(), dir)
	require.NoError(t, err, "its own store goes on")
}

// Who renames an old copy to a newer name brings nobody back: it is refused
// wherever it is read, and the next copy removes it.
func TestAnOldCopyUnderANewerNameIsRefused(t *testing.T) {
	for _, name := range []string{"keys-00000000000000009999.jsonl", "keys-99999999999999999999.jsonl", "keys-x.jsonl", "keys-9.jsonl"} {
		e := newEnv(t, 4)
		dir := t.TempDir()
		e.insert(t, "c1", "p1")
		old, err := e.vault.WriteCopy(t.Context(), dir)
		require.NoError(t, err)
		data, err := os.ReadFile(old.Path)
		require.NoError(t, err)
		_, err = e.vault.Erase(t.Context(), tenant, "p1")
		require.NoError(t, err)
		position, err := e.vault.Position(t.Context())
		require.NoError(t, err)
		require.NoError(t, e.vault.KeyCopy(dir)(t.Context(), position))
		planted := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(planted, data, 0o600))

		_, err = e.vault.VerifyCopy(t.Context(), planted)
		require.ErrorIs(t, err, encryption.ErrCopy)
		require.ErrorIs(t, openWith(t, e, e.kms, planted, e.read(t)), encryption.ErrCopy)
		path, err := keycopy.Newest(dir)
		require.NoError(t, err)
		if name != "keys-00000000000000009999.jsonl" {
			require.NotEqual(t, planted, path, "it is no name of a copy")
		}
		// A copy is written where the newest is none, and stays alone.
		written, err := e.vault.WriteCopy(t.Context(), dir)
		require.NoError(t, err)
		require.NoError(t, written.Covers(position))
		require.Equal(t, []string{filepath.Base(written.Path)}, names(t, dir))
		path, err = keycopy.Newest(dir)
		require.NoError(t, err)
		require.Equal(t, written.Path, path)

		// The name says nothing where it does not pretend to.
		kept := filepath.Join(t.TempDir(), "kept.jsonl")
		require.NoError(t, os.WriteFile(kept, data, 0o600))
		_, err = e.vault.VerifyCopy(t.Context(), kept)
		require.NoError(t, err)
	}
}
