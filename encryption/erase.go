package encryption

import (
	"context"
	"time"

	"github.com/crmguard/crmguard/encryption/keystore"
)

// receipt is Receipt of package encryption.
type receipt struct {
	Tenant     string
	Owners     int
	Keys       int
	Sequence   int64
	Epoch      int64
	At         time.Time
	Unreadable time.Time
	Unknown    bool
	Scrubbed   bool
}

// Erase does what Vault.Erase promises.
func (v *ring) Erase(ctx context.Context, tenant, person string) (receipt, error) {
	if err := checkNamed(person); err != nil {
		return receipt{}, err
	}
	return v.erase(ctx, tenant, person)
}

// EraseRecord does what Vault.EraseRecord promises.
func (v *ring) EraseRecord(ctx context.Context, tenant, owner string) (receipt, error) {
	if err := checkRecordOwner(owner); err != nil {
		return receipt{}, err
	}
	return v.erase(ctx, tenant, owner)
}

// Eraser does what Vault.Eraser promises.
func (v *ring) Eraser() func(ctx context.Context, tenant, person string) error {
	return func(ctx context.Context, tenant, person string) error {
		_, err := v.Erase(ctx, tenant, person)
		return err
	}
}

func (v *ring) erase(ctx context.Context, tenant, owner string) (receipt, error) {
	receipts, err := v.eraseAll(ctx, tenant, []string{owner})
	if len(receipts) == 0 {
		return receipt{}, err
	}
	return receipts[0], err
}

// scrub asks the store to forget deleted bytes, a few times while others read.
func (v *ring) scrub(ctx context.Context) (bool, error) {
	scrubber, ok := v.cfg.Keys.(keystore.Scrubber)
	if !ok {
		return false, nil
	}
	for range 5 {
		clean, err := scrubber.Scrub(ctx)
		if err != nil || clean {
			return clean, storeError(err)
		}
		if err := v.cfg.Wait(ctx, 20*time.Millisecond); err != nil {
			return false, err
		}
	}
	return false, nil
}

// WrappedKeys does what Vault.WrappedKeys promises.
func (v *ring) WrappedKeys(ctx context.Context, tenant, person string) ([][]byte, error) {
	if err := checkTenant(tenant); err != nil {
		return nil, err
	}
	if err := checkNamedOwner(person); err != nil {
		return nil, err
	}
	var out [][]byte
	err := v.cfg.Keys.Snapshot(ctx, func(tx keystore.Tx) error {
		closure, err := mergeSet(ctx, tx, tenant, person)
		if err != nil {
			return err
		}
		rows, err := tx.Owners(ctx, tenant, closure)
		for _, key := range rows.Keys {
			out = append(out, key.Wrapped)
		}
		return err
	})
	return out, storeError(err)
}
