package encryption

import (
	"context"
	"sync"
	"time"

	"github.com/crmguard/crmguard/encryption/keystore"
)

// ring is the key hierarchy: KEK, keysets, persons' keys, their key versions and
// epochs, and how long what was read of them may be trusted. It knows neither
// SQL nor tables, streams or key copies; whoever does stands around it.
type ring struct {
	cfg settings

	// prepared is asked for the tenant before keys are made: it sees to it that
	// whatever the keys will seal for is known to the key store by then.
	prepared func(ctx context.Context, tenant string) (*tenantKeys, error)

	keks     kekCalls
	retired  retirements
	counters *counters
	check    chan struct{} // one freshness check at a time; whoever waits for it can stop waiting
	mu       sync.RWMutex
	state    keystore.State
	grant    grant  // no narrowing change before its start is unknown here
	flush    uint64 // raised whenever entries of the cache are narrowed
	seen     []sighting
	history  []sawMark // the youngest pairs of sequence and mark that this process saw, the oldest first
	tenants  map[string]*tenantKeys
	owners   map[ownerID]*ownerKeys
	narrow   map[ownerID]bool // owners that were narrowed, to be swept
	made     *madeKey         // the last one that this process created
	recent   recentKeys
}

// settings is ringConfig without its Lease: what counts is what the store says
// (keystore.State.Lease), and nobody shall read the other one by accident.
type settings struct {
	ringConfig
	Lease struct{}
}

type ownerID struct{ tenant, owner string }

func newRing(cfg ringConfig) *ring {
	v := &ring{
		cfg: settings{ringConfig: cfg}, check: make(chan struct{}, 1), counters: newCounters(),
		tenants: map[string]*tenantKeys{}, owners: map[ownerID]*ownerKeys{}, narrow: map[ownerID]bool{},
	}
	v.prepared = v.tenant
	return v
}

// begin trusts the first state row that was read, after start, as long as it says.
func (v *ring) begin(state keystore.State, start time.Time) error {
	if err := checkLeaseOf(state); err != nil {
		return err
	}
	v.state = state
	v.grant = grantFrom(start, state.Lease)
	v.sightLocked(state, v.cfg.Now())
	return nil
}

// create makes a new installation in a key store that is empty.
func (v *ring) create(ctx context.Context, id string, lease time.Duration) error {
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
		if now.Store != "" {
			return ErrNotEmpty
		}
		return tx.Write(ctx, keystore.Change{Put: keystore.Rows{Keysets: rowsOf(keysets)}, Narrows: true, Store: &keystore.State{
			Store: id, Epoch: 1, KEK: v.cfg.NewKEK, Lease: lease, LeaseWait: lease, LeaseSince: now.Sequence,
		}})
	})
	if err != nil {
		return storeError(err)
	}
	v.observed(ctx, state, start)
	v.keepKeysets(ctx, "", keysets)
	return nil
}

// unlock opens the keysets of the installation, so that a wrong KEK is found.
func (v *ring) unlock(ctx context.Context) error {
	for _, purpose := range purposesOf("") {
		if _, err := v.keyset(ctx, "", purpose); err != nil {
			return err
		}
	}
	return nil
}

// known is the state of the key store that this process has seen last.
func (v *ring) known() keystore.State {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.state
}

// observed takes note of a state row that was read after start: it grants a
// lease, and what was narrowed since the state that is known is dropped first.
func (v *ring) observed(ctx context.Context, state keystore.State, start time.Time) {
	before := v.known()
	narrowed := v.narrowed(ctx, before, state)
	v.mu.Lock()
	defer v.mu.Unlock()
	// Where another call has come further meanwhile, it has dropped as much. Where
	// it has not, this one's list begins no later than what it knows.
	if state.Sequence > v.state.Sequence || v.state.Store == "" {
		v.dropLocked(narrowed)
		v.state = state
		v.sightLocked(state, v.cfg.Now())
	}
	if start.After(v.grant.start) || v.grant.over(v.cfg.Now()) {
		v.grant = grantFrom(start, state.Lease)
	}
	v.sweepLocked()
}

// update runs f in a transaction of the key store and takes note of the
// state that it leaves. A store that was put back is not changed. Where the
// state row has no lease to wait for, the change stays and is an error.
func (v *ring) update(ctx context.Context, f func(keystore.Tx) error) (keystore.State, error) {
	start := v.cfg.Now()
	state, err := v.cfg.Keys.Update(ctx, func(tx keystore.Tx) error {
		if err := v.recognise(ctx, tx); err != nil {
			return err
		}
		return f(tx)
	})
	if err == nil {
		err = checkLeaseOf(state)
	}
	if err != nil {
		return keystore.State{}, storeError(err)
	}
	v.observed(ctx, state, start)
	return state, nil
}
