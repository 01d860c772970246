package keycopy

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/encryption/keystore"
)

// Config is what key copies need where no vault is open.
type Config struct {
	// Keys is the key store. Verify needs none.
	Keys keystore.Store
	// KEK returns the key encryption key of that name, as encryption.Config.KEK.
	KEK func(ctx context.Context, tenant, kek string) (tink.AEADWithContext, error)
	// KEKs are the names that a KEK may have, as encryption.Config.KEKs.
	KEKs []string
	// KEKTimeout bounds one call of a KEK; 0 is ten seconds.
	KEKTimeout time.Duration
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Wait waits; nil waits for real. Repair waits where keys come back that others
	// could find no rows of: see Vault.RepairFromCopy.
	Wait func(ctx context.Context, d time.Duration) error
}

// Verify reads a key copy in full, whichever key store it is of: what
// Vault.VerifyCopy does.
func Verify(ctx context.Context, cfg Config, path string) (Copy, error) {
	c, err := cfg.open()
	if err != nil {
		return Copy{}, err
	}
	return c.Verify(ctx, path)
}

// Restore verifies a key copy and loads it into an empty key store, in one
// transaction: what RestoreCopy of package encryption does before it opens the
// vault. need are the key positions that the copy has to cover.
func Restore(ctx context.Context, cfg Config, path string, need ...[]byte) error {
	c, state, err := cfg.over(ctx)
	if err != nil {
		return err
	}
	if state.Store != "" {
		return keyring.ErrNotEmpty
	}
	return c.Restore(ctx, path, func(keystore.State) error { return nil }, need...)
}

// Repair brings rows of a key store back that are damaged or lost, from a key
// copy that has them: what Vault.RepairFromCopy does.
func Repair(ctx context.Context, cfg Config, path string) (RepairReport, error) {
	c, state, err := cfg.over(ctx)
	if err != nil {
		return RepairReport{}, err
	}
	if state.Store == "" {
		return RepairReport{}, keyring.ErrEmpty
	}
	return c.Repair(ctx, path)
}

func (cfg Config) open() (*Copies, error) {
	if cfg.KEK == nil || cfg.KEKTimeout < 0 {
		return nil, fmt.Errorf("%w: Config.KEK is nil, or Config.KEKTimeout negative", keyring.ErrDefinition)
	}
	if err := keyring.CheckKEKs(cfg.KEKs); err != nil {
		return nil, err
	}
	full := keyring.Config{Keys: cfg.Keys, KEK: cfg.KEK, KEKs: cfg.KEKs, KEKTimeout: cfg.KEKTimeout, Now: cfg.Now, Wait: cfg.Wait}
	if full.KEKTimeout == 0 {
		full.KEKTimeout = 10 * time.Second
	}
	if full.Now == nil {
		full.Now = time.Now
	}
	if full.Wait == nil {
		full.Wait = keyring.Wait
	}
	full.Observe = func(context.Context, string, float64, ...slog.Attr) {}
	return New(keyring.New(full), full), nil
}

// over is open with the state of the key store.
func (cfg Config) over(ctx context.Context) (*Copies, keystore.State, error) {
	c, err := cfg.open()
	if err != nil {
		return nil, keystore.State{}, err
	}
	if cfg.Keys == nil {
		return nil, keystore.State{}, fmt.Errorf("%w: Config.Keys is nil", keyring.ErrDefinition)
	}
	start := c.cfg.Now()
	state, err := cfg.Keys.State(ctx)
	if err != nil {
		return nil, state, keyring.StoreError(err)
	}
	if state.Store != "" {
		err = c.ring.Begin(state, start)
	}
	return c, state, err
}
