package encryption

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/internal/durable"
)

// Vault holds the keys of an installation in use: it hands out writers and
// readers of declared tables, sealers and taggers for other packages, and
// does the work of the key lifecycle. It is safe for concurrent use; several
// processes may each have one over the same key store.
type Vault struct {
	cfg    settings
	over   func(durable.Disk) durable.Disk // tests put disks there that fail
	copies copyRecord
	keks   kekCalls

	neighbours neighbours

	retired retirements

	declared declared // indexes of all tables
	counters *counters

	check chan struct{} // one freshness check at a time; whoever waits for it can stop waiting

	mu      sync.RWMutex
	state   keystore.State
	grant   grant  // no narrowing change before its start is unknown here
	flush   uint64 // raised whenever entries of the cache are narrowed
	seen    []sighting
	history []sawMark // the youngest pairs of sequence and mark that this process saw, the oldest first
	tenants map[string]*tenantKeys
	owners  map[ownerID]*ownerKeys
	narrow  map[ownerID]bool // owners that were narrowed, to be swept
	made    *madeKey         // the last one that this process created
	recent  recentKeys
}

// settings is Config without its Lease: what counts is what the store says
// (keystore.State.Lease), and nobody shall read the other one by accident.
type settings struct {
	Config
	Lease struct{}
}

type ownerID struct{ tenant, owner string }

// Create makes a new installation in an empty key store: its id, and the
// keysets of the installation, and the lease (Config.Lease). It refuses a key
// store in use with ErrNotEmpty.
func Create(ctx context.Context, cfg Config) (*Vault, error) {
	if cfg.Lease == 0 {
		cfg.Lease = DefaultLease
	}
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
	if !v.cfg.permitsKEK(v.cfg.NewKEK) {
		return nil, fmt.Errorf("%w: Config.KEKs does not permit Config.NewKEK, the name of the first KEK", ErrDefinition)
	}
	keysets, err := v.newKeysets(ctx, "", v.cfg.NewKEK, 1)
	if err != nil {
		return nil, err
	}
	start := v.cfg.Now()
	state, err = v.cfg.Keys.Update(ctx, func(tx keystore.Tx) error {
		now, err := tx.State(ctx)
		if err != nil {
			return err
		}
		if now.Store != "" {
			return ErrNotEmpty
		}
		lease := v.cfg.Config.Lease
		return tx.Write(ctx, keystore.Change{Put: keystore.Rows{Keysets: rowsOf(keysets)}, Narrows: true, Store: &keystore.State{
			Store: id.String(), Epoch: 1, KEK: v.cfg.NewKEK, Lease: lease, LeaseWait: lease, LeaseSince: now.Sequence,
		}})
	})
	if err != nil {
		return nil, storeError(err)
	}
	v.observed(ctx, state, start)
	v.keepKeysets(ctx, "", keysets)
	return v, nil
}

// Open opens the vault of an installation that exists. It unwraps the
// keysets of the installation, so that a wrong KEK is found at once (ErrKEK,
// with the name of the KEK); it writes nothing. An empty key store is
// ErrEmpty: a lost file must not silently become a new installation. A
// Config.Lease other than the store's is refused (ErrDefinition).
func Open(ctx context.Context, cfg Config) (*Vault, error) {
	v, state, err := prepare(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if state.Store == "" {
		return nil, ErrEmpty
	}
	if err := v.agree(state); err != nil {
		return nil, err
	}
	for _, purpose := range purposesOf("") {
		if _, err := v.keyset(ctx, "", purpose); err != nil {
			return nil, err
		}
	}
	return v, nil
}

func prepare(ctx context.Context, cfg Config) (*Vault, keystore.State, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, keystore.State{}, err
	}
	v := &Vault{
		cfg: settings{Config: cfg}, check: make(chan struct{}, 1),
		tenants: map[string]*tenantKeys{}, owners: map[ownerID]*ownerKeys{}, narrow: map[ownerID]bool{}, declared: declared{columns: map[string]bool{}, tables: map[string]*SealedTable{}}, counters: newCounters(),
	}
	v.neighbours.meet(cfg.Data...)
	start := cfg.Now()
	state, err := cfg.Keys.State(ctx)
	if err != nil {
		return nil, keystore.State{}, storeError(err)
	}
	if state.Store == "" {
		return v, state, nil
	}
	if err := checkLeaseOf(state); err != nil {
		return nil, keystore.State{}, err
	}
	v.state = state
	v.grant = grantFrom(start, state.Lease)
	v.sightLocked(state, cfg.Now())
	return v, state, nil
}

// agree refuses a configuration that expects another lease than the store has.
// While one is being shortened both are right.
func (v *Vault) agree(state keystore.State) error {
	if want := v.cfg.Config.Lease; want != 0 && want != state.Lease && want != state.LeaseWait {
		return fmt.Errorf("%w: Config.Lease is %v, the key store has %v: leave it 0, which takes the store's, and change that with ChangeLease", ErrDefinition, want, state.Lease)
	}
	return nil
}

// observed takes note of a state row that was read after start: it grants a
// lease, and what was narrowed since the state that is known is dropped first.
func (v *Vault) observed(ctx context.Context, state keystore.State, start time.Time) {
	v.mu.RLock()
	before := v.state
	v.mu.RUnlock()
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
func (v *Vault) update(ctx context.Context, f func(keystore.Tx) error) (keystore.State, error) {
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
