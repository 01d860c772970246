package encryption_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/encryption/streams"
)

// A KEK or a key store that takes longer to answer than a lease is waited for
// once: the second time what it said is in memory.
func TestAKeyThatComesLateIsAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kms := &keks{keys: map[string][]byte{}, gone: map[string]bool{}}
		memory := encryptiontest.Keys()
		first, err := encryption.Create(t.Context(), encryption.Config{Keys: memory, KEK: kms.get})
		require.NoError(t, err)
		require.NoError(t, first.AddTenant(t.Context(), tenant))
		sealed, err := first.PersonSealer("late").Seal(t.Context(), tenant, "p1", []byte("x"), nil)
		require.NoError(t, err)

		p := &process{m: &model{store: memory, kms: kms}, quiet: true}
		slow := &lateOwners{delayed: delayed{memory, p}, late: 1}
		vault, err := encryption.Open(t.Context(), encryption.Config{Keys: slow, KEK: kms.get})
		require.NoError(t, err)
		opened, err := vault.PersonSealer("late").Open(t.Context(), tenant, "p1", sealed, nil)
		require.NoError(t, err)
		require.Equal(t, "x", string(opened))

		// One that is always late is an error, and not a key that somebody erased.
		slow.late = 100
		_, err = first.Erase(t.Context(), tenant, "p9")
		require.NoError(t, err)
		_, err = vault.PersonSealer("late").Seal(t.Context(), tenant, "p2", nil, nil)
		require.ErrorIs(t, err, encryption.ErrLease)
		require.ErrorContains(t, err, "took longer than the lease")
	})
}

// lateOwners answers late, and each time something was taken from the owner
// meanwhile.
type lateOwners struct {
	delayed
	late int
}

func (s *lateOwners) Owners(ctx context.Context, tenant string, owners []string) (keystore.Rows, error) {
	rows, err := s.delayed.Owners(ctx, tenant, owners)
	if s.late > 0 {
		s.late--
		time.Sleep(2 * encryption.DefaultLease)
		_, updateErr := s.Update(ctx, func(tx keystore.Tx) error {
			return tx.Write(ctx, keystore.Change{Narrows: true, Of: keystore.Scope{Tenant: tenant, Owners: owners}})
		})
		err = errors.Join(err, updateErr)
	}
	return rows, err
}

// lateOnce does something between what the store has said of owners and its
// answer.
type lateOnce struct {
	keystore.Store
	then func()
}

func (s *lateOnce) Owners(ctx context.Context, tenant string, owners []string) (keystore.Rows, error) {
	rows, err := s.Store.Owners(ctx, tenant, owners)
	if then := s.then; then != nil {
		s.then = nil
		then()
	}
	return rows, err
}

// at calls f before the first read.
type at struct {
	src io.Reader
	f   func()
}

func (a *at) Read(p []byte) (int, error) {
	if f := a.f; f != nil {
		a.f = nil
		f()
	}
	return a.src.Read(p)
}

// A stream whose owner is erased while the store takes its time to say that
// nobody is, is not returned as good.
func TestAStreamIsNotGoodWhenTheLastAnswerComesLate(t *testing.T) {
	e := newEnv(t, 4)
	store := &lateOnce{Store: e.store}
	cfg := e.cfg
	cfg.Keys = store
	vault, err := encryption.Open(t.Context(), cfg)
	require.NoError(t, err)
	files := e.table(t, vault, filesTable)
	ref := streams.Ref{Tenant: tenant, Owner: "p1", Column: "content", Row: "f1"}
	src := &at{strings.NewReader("x"), func() {
		store.then = func() {
			_, err := e.vault.Erase(t.Context(), tenant, "p1")
			require.NoError(t, err)
		}
	}}
	err = files.SealStream(t.Context(), io.Discard, ref, "x.txt", 1, src)
	require.ErrorIs(t, err, encryption.ErrLease)
	require.ErrorContains(t, err, "took longer than the lease")
	require.NoError(t, files.SealStream(t.Context(), io.Discard, streams.Ref{Tenant: tenant, Owner: "p2", Column: "content", Row: "f1"}, "x.txt", 1, strings.NewReader("x")))
}

// A Reader that looks its other owners up again, and is held up by them, does not
// use the key that it had before.
func TestAReaderThatIsHeldUpUsesNoOldKey(t *testing.T) {
	e := newEnv(t, 4)
	e.insert(t, "c1", "p1")
	e.insert(t, "c2", "p2")
	cell := e.read(t)[0].email.Bytes()
	store := &lateOnce{Store: e.store}
	cfg := e.cfg
	cfg.Keys = store
	vault, err := encryption.Open(t.Context(), cfg)
	require.NoError(t, err)
	r, err := e.table(t, vault, contactsTable).Reader(t.Context(), tenant, "p1", "p2")
	require.NoError(t, err)
	_, err = e.vault.Erase(t.Context(), tenant, "p2")
	require.NoError(t, err)
	require.NoError(t, vault.PersonSealer("x").Ensure(t.Context(), tenant), "p1 stays in memory, p2 does not")
	store.then = func() {
		_, err := e.vault.Erase(t.Context(), tenant, "p1")
		require.NoError(t, err)
	}
	_, err = r.Row("p1", "").Open(t.Context(), "email", cell)
	require.ErrorIs(t, err, encryption.ErrErased)
	require.Nil(t, store.then, "it was held up")
}

// overtaken does something once, after the store has told its state.
type overtaken struct {
	keystore.Store
	then func()
}

func (s *overtaken) State(ctx context.Context) (keystore.State, error) {
	state, err := s.Store.State(ctx)
	if then := s.then; then != nil {
		s.then = nil
		then()
	}
	return state, err
}

// A later mark does not stand for one that is gone.
func TestALaterMarkDoesNotFillAGap(t *testing.T) {
	e := newEnv(t, 4)
	e.insert(t, "c1", "p1")
	cell := e.read(t)[0].email.Bytes()
	store := &overtaken{Store: e.store}
	cfg := e.cfg
	cfg.Keys = store
	vault, err := encryption.Open(t.Context(), cfg)
	require.NoError(t, err)
	contacts := e.table(t, vault, contactsTable)
	_, err = contacts.Reader(t.Context(), tenant, "p1")
	require.NoError(t, err)
	receipt, err := e.vault.Erase(t.Context(), tenant, "p1")
	require.NoError(t, err)
	_, err = e.vault.Erase(t.Context(), tenant, "p8")
	require.NoError(t, err)
	_, err = e.keysDB.ExecContext(t.Context(), `DELETE FROM crmguard_encryption_mark WHERE sequence = ?`, receipt.Sequence)
	require.NoError(t, err)
	store.then = func() {
		_, err := e.vault.Erase(t.Context(), tenant, "p9")
		require.NoError(t, err)
	}
	r, err := contacts.Reader(t.Context(), tenant, "p1")
	require.NoError(t, err)
	_, err = r.Row("p1", "").Open(t.Context(), "email", cell)
	require.ErrorIs(t, err, encryption.ErrErased)
	require.Nil(t, store.then)
}
