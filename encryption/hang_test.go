package encryption_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/keystore"
)

// hungStore does not answer State from when it is told to, until it is let go.
type hungStore struct {
	keystore.Store
	hangs   atomic.Bool
	entered chan struct{}
	free    chan struct{}
}

func (s *hungStore) State(ctx context.Context) (keystore.State, error) {
	if s.hangs.Load() {
		s.entered <- struct{}{}
		<-s.free
	}
	return s.Store.State(ctx)
}

// A key store that does not answer one caller without a deadline does not hold
// those who have one.
func TestWhoeverWaitsForTheComparisonOfAnotherEndsWithItsContext(t *testing.T) {
	e := newEnv(t, 2)
	store := &hungStore{Store: e.store, entered: make(chan struct{}), free: make(chan struct{})}
	cfg := e.cfg
	cfg.Keys = store
	vault, err := encryption.Open(t.Context(), cfg)
	require.NoError(t, err)
	e.clock.Move(encryption.DefaultLease)
	store.hangs.Store(true)
	first := make(chan error)
	go func() { first <- vault.Ensure(context.WithoutCancel(t.Context()), tenant, "p1") }()
	<-store.entered

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	second := make(chan error, 1)
	go func() { second <- vault.Ensure(ctx, tenant, "p2") }()
	select {
	case err := <-second:
		require.ErrorIs(t, err, context.Canceled)
	case <-time.After(time.Minute):
		t.Error("its context is over, and it still waits")
	}
	store.hangs.Store(false)
	close(store.free)
	require.NoError(t, <-first)
	require.NoError(t, vault.Ensure(t.Context(), tenant, "p2"))
}

// askedStore says when it has told what it knows of owners.
type askedStore struct {
	keystore.Store
	said chan struct{}
}

func (s *askedStore) Owners(ctx context.Context, tenant string, owners []string) (keystore.Rows, error) {
	rows, err := s.Store.Owners(ctx, tenant, owners)
	if s.said != nil {
		s.said <- struct{}{}
	}
	return rows, err
}

// A KEK that does not answer one caller holds neither other tenants nor those
// who wait for the same keyset and have a deadline.
func TestAKEKThatHangsHoldsNobodyWhoCanStopWaiting(t *testing.T) {
	e := newEnv(t, 4)
	require.NoError(t, e.vault.AddTenant(t.Context(), "t2"))
	entered, free := make(chan struct{}), make(chan struct{})
	var hung atomic.Int32
	store := &askedStore{Store: e.store}
	cfg := e.cfg
	cfg.Keys = store
	cfg.KEK = func(ctx context.Context, of, name string) (tink.AEADWithContext, error) {
		if of == "t2" && hung.Add(1) == 1 {
			close(entered)
			<-free
		}
		return e.cfg.KEK(ctx, of, name)
	}
	vault, err := encryption.Open(t.Context(), cfg)
	require.NoError(t, err)
	first := make(chan error)
	go func() { first <- vault.Ensure(context.WithoutCancel(t.Context()), "t2", "p1") }()
	<-entered

	require.NoError(t, vault.Ensure(t.Context(), tenant, "p1"), "of another tenant")
	store.said = make(chan struct{}, 2)
	ctx, cancel := context.WithCancel(t.Context())
	others := make(chan error, 2)
	for _, person := range []string{"p2", "p3"} {
		go func() { others <- vault.Ensure(ctx, "t2", person) }()
		<-store.said // what is asked next is the keyset
	}
	cancel()
	for range 2 {
		select {
		case err := <-others:
			require.ErrorIs(t, err, context.Canceled)
		case <-time.After(time.Minute):
			t.Fatal("its context is over, and it still waits")
		}
	}
	store.said = nil
	close(free)
	require.NoError(t, <-first)
	require.NoError(t, vault.Ensure(t.Context(), "t2", "p2", "p3"))
}
