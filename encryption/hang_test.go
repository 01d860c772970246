package encryption_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
)

// hungStore does not answer State from when it is told to, until it is let go.
type hungStore struct {
	encryption.KeyStore
	hangs   atomic.Bool
	entered chan struct{}
	free    chan struct{}
}

func (s *hungStore) State(ctx context.Context) (encryption.StoreState, error) {
	if s.hangs.Load() {
		s.entered <- struct{}{}
		<-s.free
	}
	return s.KeyStore.State(ctx)
}

// A key store that does not answer one caller without a deadline does not hold
// those who have one.
func TestWhoeverWaitsForTheComparisonOfAnotherEndsWithItsContext(t *testing.T) {
	e := newEnv(t, 2)
	store := &hungStore{KeyStore: e.store, entered: make(chan struct{}), free: make(chan struct{})}
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
