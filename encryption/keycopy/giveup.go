package keycopy

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/encryption/keystore"
)

// GiveUp does what Vault.GiveUp promises.
func (v *Copies) GiveUp(ctx context.Context, rows ...DamagedRow) error {
	byTenant := map[string][]DamagedRow{}
	for _, row := range rows {
		if row.Kind != keystore.KindKey || row.Digest == "" || row.Tenant == "" {
			return fmt.Errorf("%w: only a key that is there is given up, not: %v", keyring.ErrDamaged, row)
		}
		byTenant[row.Tenant] = append(byTenant[row.Tenant], row)
	}
	newest, err := v.refuseKnown(ctx, rows)
	if err != nil {
		return err
	}
	return v.ring.Retry(func() error { return v.giveUp(ctx, byTenant, newest) })
}

func (v *Copies) giveUp(ctx context.Context, byTenant map[string][]DamagedRow, newest verifiedCopy) error {
	wraps := map[string]*keyring.Keyset{}
	for tenant := range byTenant {
		wrap, err := v.ring.Keyset(ctx, tenant, keyring.PurposeWrap)
		if errors.Is(err, keyring.ErrTenant) && newest.Path != "" && newest.keysets[[2]string{tenant, keyring.PurposeWrap}] == nil {
			continue // neither the store nor the newest copy knows such a tenant
		}
		if err != nil {
			return err // with the keyset the keys would open again
		}
		if err := v.soundKeysets(ctx, tenant, newest); err != nil {
			return err
		}
		wraps[tenant] = wrap
	}
	_, err := v.ring.Update(ctx, func(tx keystore.Tx) error {
		state, err := tx.State(ctx)
		if err != nil {
			return err
		}
		var gone []keystore.KeyRow
		var owners []keystore.OwnerRow
		for tenant, rows := range byTenant {
			keys, err := givenUp(ctx, tx, wraps[tenant], newest.keysets[[2]string{tenant, keyring.PurposeWrap}], rows)
			if err != nil {
				return err
			}
			gone = append(gone, keys...)
			have, err := tx.Owners(ctx, tenant, ownersOf(keys))
			if err != nil {
				return err
			}
			for _, owner := range have.Owners {
				if owner.State == keystore.Live {
					owner.Sequence = state.Sequence // from here on another key is no damage
					owners = append(owners, owner)
				}
			}
		}
		if len(gone) == 0 {
			return nil
		}
		return tx.Write(ctx, keystore.Change{Remove: keystore.Rows{Keys: gone}, Put: keystore.Rows{Owners: owners}, Narrows: true, Keeps: true})
	})
	return err
}

// soundKeysets refuses where a keyset of the tenant is damaged, or older than in the
// newest copy: under the right ones the keys may open.
func (v *Copies) soundKeysets(ctx context.Context, tenant string, newest verifiedCopy) error {
	var state keystore.State
	var rows keystore.Rows
	err := v.cfg.Keys.Snapshot(ctx, func(tx keystore.Tx) (err error) {
		if state, err = tx.State(ctx); err == nil {
			rows, err = tx.Tenant(ctx, tenant)
		}
		return err
	})
	if err != nil {
		return keyring.StoreError(err)
	}
	slices.SortFunc(rows.Keysets, func(a, b keystore.KeysetRow) int { return strings.Compare(a.Purpose, b.Purpose) })
	e, err := v.examinerOf(ctx, state, rows.Keysets)
	if err != nil {
		return err
	}
	for _, purpose := range keyring.PurposesOf(tenant) {
		id := [2]string{tenant, purpose}
		have, kept := e.keysets[id], newest.keysets[id]
		if have.open == nil || kept != nil && have.row.Version < kept.Row.Version {
			return fmt.Errorf("%w: its keyset %s is damaged, or older than in a key copy, and keys may open under the right one: bring the keysets back first (RepairFromCopy); nothing of %s is given up", keyring.ErrDamaged, purpose, tenantText(tenant))
		}
	}
	return nil
}

func ownersOf(keys []keystore.KeyRow) (out []string) {
	for _, key := range keys {
		if !slices.Contains(out, key.Owner) {
			out = append(out, key.Owner)
		}
	}
	return out
}

// refuseKnown refuses keys that open in the newest copy that this process knows of.
func (v *Copies) refuseKnown(ctx context.Context, rows []DamagedRow) (verified verifiedCopy, err error) {
	newest, err := v.newestKnown(ctx)
	if err != nil || newest.path == "" {
		return verified, err
	}
	if verified, err = v.verifyOwn(ctx, newest.path, nil); err != nil {
		return verified, fmt.Errorf("encryption: give up: whether the newest key copy has the keys: %w", err)
	}
	return verified, verified.file.each(ctx, func(line copyRow) error {
		i := slices.IndexFunc(rows, func(row DamagedRow) bool {
			return line.Kind == keystore.KindKey && row.Tenant == line.Tenant && row.Owner == line.Owner && row.KeyVersion == line.KeyVersion
		})
		wrap := verified.keysets[[2]string{line.Tenant, keyring.PurposeWrap}]
		if i < 0 || wrap == nil {
			return nil
		}
		has, err := line.rows()
		if err != nil {
			return err
		}
		if _, _, err := wrap.UnwrapKey(has.Keys[0]); err == nil {
			return fmt.Errorf("%w: a key copy has it (RepairFromCopy), it is not given up: %v", keyring.ErrDamaged, rows[i])
		}
		return nil
	})
}

// givenUp finds the keys of one tenant, all or none; kept is the keyset of the newest
// copy, which may be missing.
func givenUp(ctx context.Context, tx keystore.Tx, wrap, kept *keyring.Keyset, rows []DamagedRow) ([]keystore.KeyRow, error) {
	now, err := tx.Tenant(ctx, rows[0].Tenant)
	if err != nil {
		return nil, err
	}
	if wrap == nil && len(now.Keysets) > 0 {
		return nil, keyring.ErrStale
	}
	if wrap != nil && !slices.ContainsFunc(now.Keysets, func(k keystore.KeysetRow) bool {
		return k.Purpose == keyring.PurposeWrap && k.Version == wrap.Row.Version
	}) {
		return nil, keyring.ErrStale
	}
	var gone []keystore.KeyRow
	for _, row := range rows {
		have, err := keysLike(ctx, tx, row)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(have, func(k keystore.KeyRow) bool { return keyDigest(k.Wrapped) == row.Digest })
		if i < 0 {
			return nil, fmt.Errorf("%w: it is not there any more, or has changed: %v", keyring.ErrDamaged, row)
		}
		if wrap == nil {
			gone = append(gone, have[i])
			continue
		}
		if _, _, err := wrap.UnwrapKey(have[i]); err == nil {
			return nil, fmt.Errorf("%w: it opens, and is not given up (where nothing but the row of its key version is lost, RepairFromCopy and RewrapKeys bring that back): %v", keyring.ErrDamaged, row)
		}
		if kept != nil {
			if _, _, err := kept.UnwrapKey(have[i]); err == nil {
				return nil, fmt.Errorf("%w: it opens under the keyset of a key copy (RepairFromCopy), it is not given up: %v", keyring.ErrDamaged, row)
			}
		}
		gone = append(gone, have[i])
	}
	return gone, nil
}

// keysLike reads the keys of an owner and key version, also where the owner is
// unknown. There is one, or several whose numbers do not fit.
func keysLike(ctx context.Context, tx keystore.Tx, row DamagedRow) (out []keystore.KeyRow, err error) {
	page := keystore.Page{Kind: keystore.KindKey, Tenant: row.Tenant, After: []any{row.Tenant, row.Owner, int64(math.MinInt64)}, Limit: keyring.PageSize}
	for {
		rows, err := tx.Page(ctx, page)
		if err != nil {
			return nil, err
		}
		for _, k := range rows.Keys {
			if k.Owner != row.Owner {
				return out, nil
			}
			if k.KeyVersion == row.KeyVersion {
				out = append(out, k)
			}
		}
		if page.After = rows.After(keystore.KindKey); page.After == nil {
			return out, nil
		}
	}
}
