package encryption_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/keystore"
)

// crowd is a key store that has many more owners than are anywhere: their rows
// are made when a page is read, in front of those of the store behind it.
type crowd struct {
	keystore.Store
	people int
}

func (c *crowd) Snapshot(ctx context.Context, f func(keystore.Tx) error) error {
	return c.Store.Snapshot(ctx, func(tx keystore.Tx) error { return f(crowdTx{tx, c}) })
}

type crowdTx struct {
	keystore.Tx
	crowd *crowd
}

// Page lists owners c0000000 and so on, erased, so that they need no keys.
func (t crowdTx) Page(ctx context.Context, page keystore.Page) (keystore.Rows, error) {
	next := 0
	if page.Kind == keystore.KindOwner && page.After != nil {
		if _, err := fmt.Sscanf(page.After[1].(string), "c%d", &next); err != nil {
			return t.Tx.Page(ctx, page)
		}
		next++
	}
	if page.Kind != keystore.KindOwner || next >= t.crowd.people {
		return t.Tx.Page(ctx, page)
	}
	var out keystore.Rows
	for i := range min(page.Limit, t.crowd.people-next) {
		out.Owners = append(out.Owners, keystore.OwnerRow{Tenant: tenant, Owner: fmt.Sprintf("c%07d", next+i), State: keystore.Tombstone, Sequence: 1})
	}
	return out, nil
}

// watched is a context whose Err looks how much is alive.
type watched struct {
	context.Context
	mu    sync.Mutex // database/sql asks from goroutines of its own
	calls int
	least uint64
	most  uint64
}

func (w *watched) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.calls++; w.calls%4000 == 0 {
		runtime.GC()
		var now runtime.MemStats
		runtime.ReadMemStats(&now)
		w.most = max(w.most, now.HeapAlloc)
		if w.least == 0 {
			w.least = now.HeapAlloc
		}
	}
	return w.Context.Err()
}

// A key copy is written, verified and compared with the one before line by line,
// however many persons there are: none of them stays in memory.
func TestACopyOfManyPersonsStaysSmallInMemory(t *testing.T) {
	e := newEnv(t, 1)
	e.insert(t, "c1", "p1")
	store := &crowd{Store: e.store, people: 20_000}
	cfg := e.cfg
	cfg.Keys = store
	vault, err := encryption.Open(t.Context(), cfg)
	require.NoError(t, err)
	dir := t.TempDir()
	for range 2 { // the second one is compared with the first
		ctx := &watched{Context: t.Context()}
		written, err := vault.WriteCopy(ctx, dir)
		require.NoError(t, err)
		require.Greater(t, written.Rows, store.people)
		require.Greater(t, ctx.calls, store.people)
		require.Less(t, ctx.most, ctx.least+1<<20, "20,000 owners would take 2 MB and more")
	}
}
