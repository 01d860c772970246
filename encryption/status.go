package encryption

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// sealWarning is where a key comes close to the bound of AES-GCM with random
// IVs, 2^32 messages.
const sealWarning = 1 << 31

// Status is what a health page shows.
type Status struct {
	Store    string         // id of the key store
	Epoch    int64          // current epoch
	Sequence int64          // of the last change
	KEK      string         // name of the KEK for new keysets
	Closing  bool           // an epoch is half closed: call CloseEpoch again
	Tenants  []TenantStatus // sorted by name
	Warnings []string       // what needs an operator; empty is well
}

// TenantStatus is the part of a Status about one tenant.
type TenantStatus struct {
	Tenant      string                     // its name
	Generations map[uint32]GenerationState // every one it ever had
	KEKs        []string                   // names of the KEKs that wrap its keysets
	MostSeals   uint64                     // of one key, by this process since its key was loaded
}

// Status reads the state of the key store.
func (v *Vault) Status(ctx context.Context) (Status, error) {
	var out Status
	tenants := map[string]*TenantStatus{}
	of := func(tenant string) *TenantStatus {
		if tenants[tenant] == nil {
			tenants[tenant] = &TenantStatus{Tenant: tenant, Generations: map[uint32]GenerationState{}}
		}
		return tenants[tenant]
	}
	err := v.cfg.Keys.Snapshot(ctx, func(tx KeyTx) error {
		state, err := tx.State(ctx)
		if err != nil {
			return err
		}
		out = Status{Store: state.Store, Epoch: state.Epoch, Sequence: state.Sequence, KEK: state.KEK, Closing: len(state.Retiring) > 0}
		collect := func(rows Rows) error {
			for _, row := range rows.Keysets {
				if t := of(row.Tenant); !slices.Contains(t.KEKs, row.KEK) {
					t.KEKs = append(t.KEKs, row.KEK)
				}
			}
			for _, row := range rows.Generations {
				of(row.Tenant).Generations[row.Generation] = row.State
			}
			return nil
		}
		if err := eachPage(ctx, tx, Page{Kind: KindKeyset, Limit: pageSize}, collect); err != nil {
			return err
		}
		return eachPage(ctx, tx, Page{Kind: KindGeneration, Limit: pageSize}, collect)
	})
	if err != nil {
		return Status{}, storeError(err)
	}
	v.countSeals(of)
	if out.Closing {
		out.Warnings = append(out.Warnings, "an epoch is half closed: call CloseEpoch again with the same KEK name")
	}
	for name, t := range tenants {
		if name == "" {
			continue // the installation
		}
		out.Tenants = append(out.Tenants, *t)
		if t.MostSeals >= sealWarning {
			out.Warnings = append(out.Warnings, fmt.Sprintf("tenant %q: a key has sealed 2^31 values: begin a new generation", name))
		}
	}
	slices.SortFunc(out.Tenants, func(a, b TenantStatus) int { return strings.Compare(a.Tenant, b.Tenant) })
	slices.Sort(out.Warnings)
	return out, nil
}

func (v *Vault) countSeals(of func(string) *TenantStatus) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	for id, o := range v.owners {
		for _, key := range o.keys {
			t := of(id.tenant)
			t.MostSeals = max(t.MostSeals, key.seals.Load())
		}
	}
}
