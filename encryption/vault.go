package encryption

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/encryption/internal/rowjob"
	"github.com/crmguard/crmguard/encryption/keycopy"
	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/encryption/primitives"
)

// Vault holds the keys of an installation in use: it hands out writers and
// readers of declared tables, sealers and taggers for other packages, and
// does the work of the key lifecycle. It is safe for concurrent use; several
// processes may each have one over the same key store.
type Vault struct {
	ring       *keyring.Ring
	cfg        vaultConfig
	copies     *keycopy.Copies
	primitives *primitives.Keys
	jobs       *rowjob.Vault
	neighbours neighbours
	declared   declared // indexes of all tables
}

// vaultConfig is Config without its Lease: what counts is what the key store says
// (keystore.State.Lease), and nobody shall read the other one by accident.
type vaultConfig struct {
	Config
	Lease struct{}
}

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
	return v, v.ring.Create(ctx, id.String(), v.cfg.Config.Lease)
}

// Open opens the vault of an installation that exists. It unwraps the
// keysets of the installation, so that a wrong KEK is found at once (ErrKEK,
// with the name of the KEK); it writes nothing, unless its
// Config.LongestTransaction is longer than any that the key store knows of. An empty
// key store is ErrEmpty: a lost file must not silently become a new installation. A
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
	if err := v.ring.Unlock(ctx); err != nil {
		return v, err
	}
	return v, v.ring.StateLongest(ctx)
}

func prepare(ctx context.Context, cfg Config) (*Vault, keystore.State, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, keystore.State{}, err
	}
	ring := keyring.New(cfg.ring())
	v := &Vault{ring: ring, cfg: vaultConfig{Config: cfg}, copies: keycopy.New(ring, cfg.ring()), primitives: primitives.New(ring), declared: declared{columns: map[string]bool{}, tables: map[string]*SealedTable{}}}
	v.jobs = &rowjob.Vault{Ring: ring, Config: cfg.ring(), Met: v.neighbours.meet}
	v.ring.Prepared = v.registered
	v.neighbours.meet(cfg.Data...)
	start := cfg.Now()
	state, err := cfg.Keys.State(ctx)
	if err != nil {
		return nil, keystore.State{}, keyring.StoreError(err)
	}
	if state.Store == "" {
		return v, state, nil
	}
	return v, state, v.ring.Begin(state, start)
}

// agree refuses a configuration that expects another lease than the store has.
// While one is being shortened both are right.
func (v *Vault) agree(state keystore.State) error {
	if want := v.cfg.Config.Lease; want != 0 && want != state.Lease && want != state.LeaseWait {
		return fmt.Errorf("%w: Config.Lease is %v, the key store has %v: leave it 0, which takes the store's, and change that with ChangeLease", ErrDefinition, want, state.Lease)
	}
	return nil
}

// PersonSealer returns the sealer for a purpose, a frozen name that is part
// of every value: "opening", "undo", "journal", ….
func (v *Vault) PersonSealer(purpose string) primitives.PersonSealer {
	return v.primitives.PersonSealer(purpose)
}

// Tagger returns the tagger for a purpose: "seal" (row seals, votes) or "log"
// (the audit queue). Another purpose fails at its first use with ErrKeyset.
func (v *Vault) Tagger(purpose string) primitives.Tagger { return v.primitives.Tagger(purpose) }

// ManifestTagger returns the tagger for backup manifests.
func (v *Vault) ManifestTagger() primitives.ManifestTagger { return v.primitives.ManifestTagger() }

// Digests returns a func that computes keyed digests under every root of a
// tenant's keyset, the primary first, the others newest first. The only
// purpose is "suppression"; another one fails at the first use.
//
// A digest is HMAC-SHA256(HKDF(root, info), data), where info is LP encoded by
// the caller (formats.md 11 has four parts); roots are Tink key ids.
func (v *Vault) Digests(purpose string) func(ctx context.Context, tenant string, info, data []byte) (roots []uint32, digests [][]byte, err error) {
	return v.primitives.Digests(purpose)
}

// LedgerDigests returns the digests of the installation's ledger keyset, in
// the form of Digests with the info LP(label).
func (v *Vault) LedgerDigests() func(ctx context.Context, label string, data []byte) (roots []uint32, digests [][]byte, err error) {
	return v.primitives.LedgerDigests()
}
