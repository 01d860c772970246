package keyring

import (
	"context"
	"time"

	"github.com/crmguard/crmguard/encryption/keystore"
)

// Receipt is Receipt of package encryption.
type Receipt struct {
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
func (v *Ring) Erase(ctx context.Context, tenant, person string) (Receipt, error) {
	if err := CheckNamed(person); err != nil {
		return Receipt{}, err
	}
	return v.erase(ctx, tenant, Fold(person))
}

// EraseRecord does what Vault.EraseRecord promises.
func (v *Ring) EraseRecord(ctx context.Context, tenant, owner string) (Receipt, error) {
	if err := CheckRecordOwner(owner); err != nil {
		return Receipt{}, err
	}
	return v.erase(ctx, tenant, owner)
}

// Eraser does what Vault.Eraser promises.
func (v *Ring) Eraser() func(ctx context.Context, tenant, person string) error {
	return func(ctx context.Context, tenant, person string) error {
		_, err := v.Erase(ctx, tenant, person)
		return err
	}
}

func (v *Ring) erase(ctx context.Context, tenant, owner string) (Receipt, error) {
	receipts, err := v.eraseAll(ctx, tenant, []string{owner})
	if len(receipts) == 0 {
		return Receipt{}, err
	}
	return receipts[0], err
}

// scrub asks the store to forget deleted bytes, a few times while others read.
func (v *Ring) scrub(ctx context.Context) (bool, error) {
	scrubber, ok := v.cfg.Keys.(keystore.Scrubber)
	if !ok {
		return false, nil
	}
	for range 5 {
		clean, err := scrubber.Scrub(ctx)
		if err != nil || clean {
			return clean, StoreError(err)
		}
		if err := v.cfg.Wait(ctx, 20*time.Millisecond); err != nil {
			return false, err
		}
	}
	return false, nil
}

// WrappedKeys does what Vault.WrappedKeys promises.
func (v *Ring) WrappedKeys(ctx context.Context, tenant, person string) ([][]byte, error) {
	if err := CheckTenant(tenant); err != nil {
		return nil, err
	}
	if err := checkNamedOwner(person); err != nil {
		return nil, err
	}
	var out [][]byte
	err := v.cfg.Keys.Snapshot(ctx, func(tx keystore.Tx) error {
		closure, err := mergeSet(ctx, tx, tenant, Fold(person))
		if err != nil {
			return err
		}
		rows, err := tx.Owners(ctx, tenant, closure)
		for _, key := range rows.Keys {
			out = append(out, key.Wrapped)
		}
		return err
	})
	return out, StoreError(err)
}
