package keyring

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/crmguard/crmguard/encryption/keystore"
)

// Inventory is what there is, and what a judgement of it needs besides.
type Inventory struct {
	keystore.Inventory
	State        keystore.State
	Installation []string                        // names of the KEKs that wrap its keysets
	created      map[string]map[uint32]time.Time // of the key versions, by tenant
}

// Next is when the key version after this one was made.
func (x Inventory) Next(tenant string, keyVersion uint32) (out time.Time) {
	of := x.created[tenant]
	for _, created := range of {
		if created.After(of[keyVersion]) && (out.IsZero() || created.Before(out)) {
			out = created
		}
	}
	return out
}

// Inventory reads the state of the key store.
func (v *Ring) Inventory(ctx context.Context) (Inventory, error) {
	out := Inventory{created: map[string]map[uint32]time.Time{}}
	tenants := map[string]*keystore.TenantInventory{}
	of := func(tenant string) *keystore.TenantInventory {
		if tenants[tenant] == nil {
			tenants[tenant] = &keystore.TenantInventory{Tenant: tenant, KeyVersions: map[uint32]keystore.KeyVersionState{}}
			out.created[tenant] = map[uint32]time.Time{}
		}
		return tenants[tenant]
	}
	err := v.cfg.Keys.Snapshot(ctx, func(tx keystore.Tx) error {
		state, err := tx.State(ctx)
		if err != nil {
			return err
		}
		out.State = state
		out.Inventory = keystore.Inventory{Store: state.Store, Epoch: state.Epoch, Sequence: state.Sequence, KEK: state.KEK, Retiring: state.Retiring}
		collect := func(rows keystore.Rows) error {
			for _, row := range rows.Keysets {
				if t := of(row.Tenant); row.KEK != "" && !slices.Contains(t.KEKs, row.KEK) {
					t.KEKs = append(t.KEKs, row.KEK)
				}
			}
			for _, row := range rows.KeyVersions {
				if row.Unfit != 0 {
					continue
				}
				of(row.Tenant).KeyVersions[row.KeyVersion] = row.State
				out.created[row.Tenant][row.KeyVersion] = row.Created
			}
			return nil
		}
		if err := EachPage(ctx, tx, keystore.Page{Kind: keystore.KindKeyset, Limit: PageSize}, collect); err != nil {
			return err
		}
		if err := EachPage(ctx, tx, keystore.Page{Kind: keystore.KindKeyVersion, Limit: PageSize}, collect); err != nil {
			return err
		}
		for name, t := range tenants {
			rows, err := tx.Owners(ctx, name, []string{TenantOwner})
			if err != nil {
				return err
			}
			for _, row := range rows.Keys {
				if t.KeyVersions[row.KeyVersion] == keystore.Active {
					t.MostSeals = max(t.MostSeals, uint64(row.Seals))
				}
			}
		}
		return nil
	})
	if err != nil {
		return Inventory{}, StoreError(err)
	}
	v.countSeals(func(tenant string, keyVersion uint32, seals uint64) {
		if t := tenants[tenant]; t != nil && t.KeyVersions[keyVersion] == keystore.Active {
			t.MostSeals = max(t.MostSeals, seals)
		}
	})
	for name, t := range tenants {
		if name == "" {
			out.Installation = t.KEKs
			continue
		}
		out.Tenants = append(out.Tenants, *t)
	}
	slices.SortFunc(out.Tenants, func(a, b keystore.TenantInventory) int { return strings.Compare(a.Tenant, b.Tenant) })
	return out, nil
}
