package keyring

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/crmguard/crmguard/encryption/keystore"
)

// Ring is the key hierarchy: KEK, keysets, persons' keys, their key versions and
// epochs, and how long what was read of them may be trusted. It knows neither
// SQL nor tables, streams or key copies; whoever does stands around it.
type Ring struct {
	cfg settings

	// prepared is asked for the tenant before keys are made: it sees to it that
	// whatever the keys will seal for is known to the key store by then.
	Prepared func(ctx context.Context, tenant string) (*Tenant, error)

	keks     kekCalls
	retired  retirements
	deeds    deeds
	counters *counters
	check    chan struct{} // one freshness check at a time; whoever waits for it can stop waiting
	mu       sync.RWMutex
	state    keystore.State
	grant    Grant  // no narrowing change before its start is unknown here
	flush    uint64 // raised whenever entries of the cache are narrowed
	seen     []sighting
	history  []sawMark // the youngest pairs of sequence and mark that this process saw, the oldest first
	tenants  map[string]*Tenant
	owners   map[ownerID]*Owner
	narrow   map[ownerID]bool       // owners that were narrowed, to be swept
	held     map[string][]CachedKey // see HoldKeys
	made     *madeKey               // the last one that this process created
	recent   recentKeys

	places atomic.Uint64 // handed out
}

// settings is ringConfig without its Lease: what counts is what the store says
// (keystore.State.Lease), and nobody shall read the other one by accident.
type settings struct {
	Config
	Lease struct{}
}

type ownerID struct{ tenant, owner string }

// New returns a ring over a key store that it has not read yet.
func New(cfg Config) *Ring {
	v := &Ring{
		cfg: settings{Config: cfg}, check: make(chan struct{}, 1), counters: newCounters(),
		tenants: map[string]*Tenant{}, owners: map[ownerID]*Owner{}, narrow: map[ownerID]bool{},
	}
	v.Prepared = v.Tenant
	return v
}

// Begin trusts the first state row that was read, after start, as long as it says.
func (v *Ring) Begin(state keystore.State, start time.Time) error {
	if err := CheckLeaseOf(state); err != nil {
		return err
	}
	v.state = state
	v.grant = grantFrom(start, state.Lease)
	v.sightLocked(state, v.cfg.Now())
	return nil
}

// Create makes a new installation in a key store that is empty.
func (v *Ring) Create(ctx context.Context, id string, lease time.Duration) error {
	keysets, err := v.newKeysets(ctx, "", v.cfg.NewKEK, 1)
	if err != nil {
		return err
	}
	start := v.cfg.Now()
	state, err := v.cfg.Keys.Update(ctx, func(tx keystore.Tx) error {
		now, err := tx.State(ctx)
		if err != nil {
			return err
		}
		if err := CheckEmpty(ctx, tx); err != nil {
			return err
		}
		return tx.Write(ctx, keystore.Change{Put: keystore.Rows{Keysets: rowsOf(keysets)}, Narrows: true, Store: &keystore.State{
			Store: id, Epoch: 1, KEK: v.cfg.NewKEK, Lease: lease, LeaseWait: lease, LeaseSince: now.Sequence, LongestTransaction: whole(v.cfg.LongestTransaction),
		}})
	})
	if err != nil {
		return StoreError(err)
	}
	v.observed(ctx, state, start)
	v.KeepKeysets(ctx, "", keysets)
	return nil
}

// Unlock opens the keysets of the installation, so that a wrong KEK is found.
func (v *Ring) Unlock(ctx context.Context) error {
	for _, purpose := range PurposesOf("") {
		if _, err := v.Keyset(ctx, "", purpose); err != nil {
			return err
		}
	}
	return nil
}

// Known is the state of the key store that this process has seen last.
func (v *Ring) Known() keystore.State {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.state
}

// observed takes note of a state row that was read after start: it grants a
// lease, and what was narrowed since the state that is known is dropped first.
func (v *Ring) observed(ctx context.Context, state keystore.State, start time.Time) {
	before := v.Known()
	narrowed := v.narrowed(ctx, before, state)
	v.mu.Lock()
	defer v.mu.Unlock()
	// Where another call has come further meanwhile, it has dropped as much. Where
	// it has not, this one's list begins no later than what it knows.
	if state.Sequence > v.state.Sequence || v.state.Store == "" {
		v.dropLocked(narrowed)
		if state.Taken != v.state.Taken {
			v.held = nil
		}
		v.state = state
		v.sightLocked(state, v.cfg.Now())
	}
	if start.After(v.grant.start) || v.grant.Over(v.cfg.Now()) {
		v.grant = grantFrom(start, state.Lease)
	}
	v.sweepLocked()
}

// Update runs f in a transaction of the key store and takes note of the
// state that it leaves. A store that was put back is not changed. Where the
// state row has no lease to wait for, the change stays and is an error.
func (v *Ring) Update(ctx context.Context, f func(keystore.Tx) error) (keystore.State, error) {
	start := v.cfg.Now()
	state, err := v.cfg.Keys.Update(ctx, func(tx keystore.Tx) error {
		if err := v.Recognise(ctx, tx); err != nil {
			return err
		}
		return f(tx)
	})
	if err == nil {
		err = CheckLeaseOf(state)
	}
	if err != nil {
		return keystore.State{}, StoreError(err)
	}
	v.observed(ctx, state, start)
	return state, nil
}
