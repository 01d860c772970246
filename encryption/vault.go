package encryption

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/crmguard/crmguard/internal/durable"
)

// Vault holds the keys of an installation in use: it hands out writers and
// readers of declared tables, sealers and taggers for other packages, and
// does the work of the key lifecycle. It is safe for concurrent use; several
// processes may each have one over the same key store.
type Vault struct {
	cfg    Config
	over   func(durable.Disk) durable.Disk // tests put disks there that fail
	copies copyRecord

	check chan struct{} // one freshness check at a time; whoever waits for it can stop waiting

	mu      sync.RWMutex
	state   StoreState
	checked time.Time // no narrowing change before this moment is unknown here
	flush   uint64    // raised when the barrier moves: older entries are read afresh …
	eras    []era     // … but serve transactions that began before, while their lease runs
	seen    []sighting
	tenants map[string]*tenantKeys
	owners  map[ownerID]*ownerKeys
	made    *madeKey // the last one that this process created
	recent  recentKeys
}

type ownerID struct{ tenant, owner string }

// era remembers until when entries of an earlier flush were known to be good.
type era struct {
	flush   uint64
	checked time.Time
}

// sighting remembers when a sequence was known to be committed.
type sighting struct {
	sequence int64
	at       time.Time
}

// Create makes a new installation in an empty key store: its id, and the
// keysets of the installation. It refuses a key store in use with ErrNotEmpty.
func Create(ctx context.Context, cfg Config) (*Vault, error) {
	v, state, err := prepare(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if state.Store != "" {
		return nil, ErrNotEmpty
	}
	id, err := uuid.NewRandom()
	if err != nil {
		return nil, fmt.Errorf("encryption: create: %w", err)
	}
	rows, err := v.newKeysets(ctx, "", v.cfg.NewKEK, 1)
	if err != nil {
		return nil, err
	}
	state, err = v.cfg.Keys.Update(ctx, func(tx KeyTx) error {
		now, err := tx.State(ctx)
		if err != nil {
			return err
		}
		if now.Store != "" {
			return ErrNotEmpty
		}
		return tx.Write(ctx, Change{Put: Rows{Keysets: rows}, Narrows: true, Store: &StoreState{Store: id.String(), Epoch: 1, KEK: v.cfg.NewKEK}})
	})
	if err != nil {
		return nil, storeError(err)
	}
	v.observed(state, v.cfg.Now())
	return v, nil
}

// Open opens the vault of an installation that exists. It unwraps the
// keysets of the installation, so that a wrong KEK is found at once (ErrKEK,
// with the name of the KEK); it writes nothing. An empty key store is
// ErrEmpty: a lost file must not silently become a new installation.
func Open(ctx context.Context, cfg Config) (*Vault, error) {
	v, state, err := prepare(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if state.Store == "" {
		return nil, ErrEmpty
	}
	for _, purpose := range purposesOf("") {
		if _, err := v.keyset(ctx, "", purpose); err != nil {
			return nil, err
		}
	}
	return v, nil
}

func prepare(ctx context.Context, cfg Config) (*Vault, StoreState, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, StoreState{}, err
	}
	v := &Vault{cfg: cfg, tenants: map[string]*tenantKeys{}, owners: map[ownerID]*ownerKeys{}, check: make(chan struct{}, 1)}
	start := cfg.Now()
	state, err := cfg.Keys.State(ctx)
	if err != nil {
		return nil, StoreState{}, storeError(err)
	}
	v.state = state
	v.checked = start
	v.seen = []sighting{{state.Sequence, cfg.Now()}}
	return v, state, nil
}

// fresh makes sure that what is cached was compared with the key store within
// the lease, and returns the moment of that comparison. early compares once
// half the lease has passed, so that what is handed out then lasts; a failing
// early comparison is forgiven while the lease runs.
func (v *Vault) fresh(ctx context.Context, early bool) (time.Time, error) {
	limit := v.cfg.Lease
	if early {
		limit /= 2
	}
	if checked := v.lastCheck(); v.cfg.Now().Sub(checked) < limit {
		return checked, nil
	}
	select {
	case v.check <- struct{}{}:
		defer func() { <-v.check }()
	case <-ctx.Done():
		return time.Time{}, storeError(ctx.Err())
	}
	checked := v.lastCheck()
	if v.cfg.Now().Sub(checked) < limit {
		return checked, nil
	}
	v.mu.RLock()
	before := v.state
	v.mu.RUnlock()
	start := v.cfg.Now()
	state, err := v.compare(ctx, before)
	if errors.Is(err, ErrRewound) {
		v.drop()
		return time.Time{}, err
	}
	if err != nil {
		if early && start.Sub(checked) < v.cfg.Lease {
			return checked, nil
		}
		return time.Time{}, storeError(err)
	}
	v.observed(state, start)
	return start, nil
}

func (v *Vault) lastCheck() time.Time {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.checked
}

// observed takes note of a state row that was read after start.
func (v *Vault) observed(state StoreState, start time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.cfg.Now()
	if state.Barrier > v.state.Barrier {
		v.dropLocked()
	}
	if state.Sequence > v.state.Sequence || v.state.Store == "" {
		v.state = state
		v.seen = append(v.seen, sighting{state.Sequence, now})
	}
	if start.After(v.checked) {
		v.checked = start
	}
	v.sweepLocked(now)
	// Of the sightings older than the lease only the last one matters.
	for len(v.seen) > 1 && now.Sub(v.seen[1].at) >= v.cfg.Lease {
		v.seen = v.seen[1:]
	}
}

// settled reports whether a change of this sequence is known to be older than
// the lease, so that no process acts on anything earlier.
func (v *Vault) settled(sequence int64) bool {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return len(v.seen) > 0 && sequence <= v.seen[0].sequence && v.cfg.Now().Sub(v.seen[0].at) >= v.cfg.Lease
}

func (v *Vault) drop() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.dropLocked()
}

func (v *Vault) dropLocked() {
	v.eras = append(v.eras, era{v.flush, v.checked})
	v.flush++
}

// evict forgets owners at once: they were erased here.
func (v *Vault) evict(tenant string, owners []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, owner := range owners {
		delete(v.owners, ownerID{tenant, owner})
	}
}

// sweepLocked forgets the eras whose lease is over, and their keys.
func (v *Vault) sweepLocked(now time.Time) {
	n := len(v.eras)
	for len(v.eras) > 0 && now.Sub(v.eras[0].checked) >= v.cfg.Lease {
		v.eras = v.eras[1:]
	}
	if len(v.eras) == n {
		return
	}
	oldest := v.flush
	if len(v.eras) > 0 {
		oldest = v.eras[0].flush
	}
	maps.DeleteFunc(v.owners, func(_ ownerID, o *ownerKeys) bool { return o.flush < oldest && now.Sub(o.loaded) >= v.cfg.Lease })
}

// leasedLocked reports whether what was read in an era still runs its lease.
func (v *Vault) leasedLocked(flush uint64, loaded, now time.Time) bool {
	granted := loaded
	if flush == v.flush && v.checked.After(granted) {
		granted = v.checked
	}
	for _, e := range v.eras {
		if e.flush == flush && e.checked.After(granted) {
			granted = e.checked
		}
	}
	return now.Sub(granted) < v.cfg.Lease
}

// update runs f in a transaction of the key store and takes note of the
// state that it leaves. A store that was put back is not changed.
func (v *Vault) update(ctx context.Context, f func(KeyTx) error) (StoreState, error) {
	start := v.cfg.Now()
	state, err := v.cfg.Keys.Update(ctx, func(tx KeyTx) error {
		if err := v.recognise(ctx, tx); err != nil {
			return err
		}
		return f(tx)
	})
	if err != nil {
		return StoreState{}, storeError(err)
	}
	v.observed(state, start)
	return state, nil
}
