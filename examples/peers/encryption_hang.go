package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/sqlkeys"
)

const otherTenant = "other"

// hungKEK does not answer until whoever asks gives up.
type hungKEK struct {
	*kek
	asked chan<- struct{}
}

func (k hungKEK) DecryptWithContext(ctx context.Context, _, _ []byte) ([]byte, error) {
	k.asked <- struct{}{}
	<-ctx.Done()
	return nil, ctx.Err()
}

// A hanging is an installation of two tenants, each of which has a KMS of its own.
type hanging struct {
	store   *sqlkeys.Store
	key     *kek
	persons []string
}

func newHanging(ctx context.Context, p *bench) (*hanging, error) {
	db, err := p.database(ctx, "hanging")
	if err != nil {
		return nil, err
	}
	if err := sqlkeys.Install(ctx, db); err != nil {
		return nil, err
	}
	h := &hanging{persons: make([]string, 500)}
	if p.small {
		h.persons = h.persons[:50]
	}
	for i := range h.persons {
		h.persons[i] = personID(i)
	}
	if h.store, err = sqlkeys.Open(ctx, db); err != nil {
		return nil, err
	}
	if h.key, err = newKEK(); err != nil {
		return nil, err
	}
	vault, err := encryption.Create(ctx, encryption.Config{Keys: h.store, KEK: h.kek(nil)})
	if err != nil {
		return nil, err
	}
	for _, name := range []string{tenant, otherTenant} {
		if err := vault.AddTenant(ctx, name); err != nil {
			return nil, err
		}
		if err := vault.Ensure(ctx, name, h.persons...); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// kek hangs for the other tenant where asked is not nil.
func (h *hanging) kek(asked chan<- struct{}) func(context.Context, string, string) (tink.AEADWithContext, error) {
	return func(_ context.Context, of, _ string) (tink.AEADWithContext, error) {
		if asked != nil && of == otherTenant {
			return hungKEK{h.key, asked}, nil
		}
		return h.key, nil
	}
}

// times are how long a process that has just begun waits for the key of each
// person of one tenant, while eight others ask it all the time for what is the
// other tenant's.
func (h *hanging) times(ctx context.Context, hangs bool) ([]float64, error) {
	const others = 8
	begun := make(chan struct{}, others)
	var asked chan<- struct{}
	if hangs {
		asked = begun
	}
	vault, err := encryption.Open(ctx, encryption.Config{Keys: h.store, KEK: h.kek(asked), KEKTimeout: time.Minute})
	if err != nil {
		return nil, err
	}
	table, err := vault.Table(encryption.Table{Name: "contacts", Columns: columnsOf([]string{"email"})})
	if err != nil {
		return nil, err
	}
	if _, err := table.Reader(ctx, tenant, person); err != nil { // the keys of the tenant itself
		return nil, err
	}
	asking, enough := context.WithCancel(ctx)
	var all sync.WaitGroup
	var answered atomic.Int64
	for i := range others {
		all.Go(func() {
			for n := i; asking.Err() == nil; n++ {
				if _, err := table.Reader(asking, otherTenant, h.persons[n%len(h.persons)]); err == nil {
					answered.Add(1)
				}
				if n == i && !hangs {
					begun <- struct{}{}
				}
				select {
				case <-asking.Done():
				case <-time.After(2 * time.Millisecond):
				}
			}
		})
	}
	<-begun
	var out []float64
	for _, id := range h.persons {
		start := time.Now()
		if _, err = table.Reader(ctx, tenant, id); err != nil {
			break
		}
		out = append(out, float64(time.Since(start)))
	}
	enough()
	all.Wait()
	if n := answered.Load(); err == nil && hangs == (n > 0) {
		err = fmt.Errorf("the other tenant was answered %d times, and its KEK hangs: %t", n, hangs)
	}
	return out, err
}

// hungTenant is what one tenant waits for while the KMS of another one hangs.
func hungTenant(ctx context.Context, p *bench) ([]taken, error) {
	h, err := newHanging(ctx, p)
	if err != nil {
		return nil, err
	}
	rounds := 20
	if p.small {
		rounds = 1
	}
	all := map[bool][]float64{}
	for round := range 2 * rounds {
		hangs := round%2 == 1
		some, err := h.times(ctx, hangs)
		if err != nil {
			return nil, err
		}
		all[hangs] = append(all[hangs], some...)
	}
	quantiles := map[bool]float64{}
	for hangs, times := range all {
		slices.Sort(times)
		quantiles[hangs] = quantile(times, 0.99)
	}
	return []taken{
		{"99 of 100 waited at most, all KEKs answer", quantiles[false] / 1e6, "ms", ""},
		{"99 of 100 waited at most, the KEK of another tenant hangs", quantiles[true] / 1e6, "ms", ""},
		{"the second as a multiple of the first", quantiles[true] / quantiles[false], "times", "<= 2 times"},
	}, nil
}
