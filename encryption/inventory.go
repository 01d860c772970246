package encryption

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/encryption/keystore"
)

// Inventory says which keys there are, for reports; [Vault.Status] says what
// is wrong with them.
type Inventory struct {
	Store    string            // id of the key store
	Epoch    int64             // current epoch
	Sequence int64             // of the last change
	KEK      string            // name of the KEK for new keysets
	Retiring []string          // names of the KEKs that go once the epoch that is half closed is closed
	Tenants  []TenantInventory // sorted by name

	lease        keystore.State
	installation []string // names of the KEKs that wrap its keysets
}

// TenantInventory is the part of an Inventory about one tenant.
type TenantInventory struct {
	Tenant      string                              // its name
	KeyVersions map[uint32]keystore.KeyVersionState // every one it ever had
	KEKs        []string                            // names of the KEKs that its keysets name: that of its branch key
	MostSeals   uint64                              // of one key that seals: allotted by the key store, or counted by this process

	created map[uint32]time.Time // of its key versions
}

// Inventory reads the state of the key store.
func (v *Vault) Inventory(ctx context.Context) (Inventory, error) {
	var out Inventory
	tenants := map[string]*TenantInventory{}
	of := func(tenant string) *TenantInventory {
		if tenants[tenant] == nil {
			tenants[tenant] = &TenantInventory{Tenant: tenant, KeyVersions: map[uint32]keystore.KeyVersionState{}, created: map[uint32]time.Time{}}
		}
		return tenants[tenant]
	}
	err := v.cfg.Keys.Snapshot(ctx, func(tx keystore.Tx) error {
		state, err := tx.State(ctx)
		if err != nil {
			return err
		}
		out = Inventory{Store: state.Store, Epoch: state.Epoch, Sequence: state.Sequence, KEK: state.KEK, Retiring: state.Retiring, lease: state}
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
				t := of(row.Tenant)
				t.KeyVersions[row.KeyVersion], t.created[row.KeyVersion] = row.State, row.Created
			}
			return nil
		}
		if err := keyring.EachPage(ctx, tx, keystore.Page{Kind: keystore.KindKeyset, Limit: keyring.PageSize}, collect); err != nil {
			return err
		}
		if err := keyring.EachPage(ctx, tx, keystore.Page{Kind: keystore.KindKeyVersion, Limit: keyring.PageSize}, collect); err != nil {
			return err
		}
		for name, t := range tenants {
			rows, err := tx.Owners(ctx, name, []string{keyring.TenantOwner})
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
		return Inventory{}, keyring.StoreError(err)
	}
	v.ring.CountSeals(func(tenant string, keyVersion uint32, seals uint64) {
		if t := tenants[tenant]; t != nil && t.KeyVersions[keyVersion] == keystore.Active {
			t.MostSeals = max(t.MostSeals, seals)
		}
	})
	for name, t := range tenants {
		if name == "" {
			out.installation = t.KEKs
			continue
		}
		out.Tenants = append(out.Tenants, *t)
	}
	slices.SortFunc(out.Tenants, func(a, b TenantInventory) int { return strings.Compare(a.Tenant, b.Tenant) })
	return out, nil
}
