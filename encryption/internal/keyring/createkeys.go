package keyring

import (
	"context"
	"errors"
	"log/slog"
	"slices"

	"github.com/crmguard/crmguard/encryption/keystore"
)

// maxCreated bounds the persons of one creation, which no change of another
// kind can overtake.
const maxCreated = maxOwners

// createKeys creates the keys of the active key version for owners who have
// none, then reads back what the store really holds: the one key of an owner
// and key version is the one that was committed first, whoever made it. Any
// number of goroutines and processes may do so at once, for the same owners,
// too.
func (v *Ring) createKeys(ctx context.Context, tenant string, owners []string, resealing bool) error {
	for chunk := range slices.Chunk(owners, maxCreated) {
		if err := v.createSome(ctx, tenant, chunk, resealing); err != nil {
			return err
		}
	}
	return nil
}

func (v *Ring) createSome(ctx context.Context, tenant string, owners []string, resealing bool) error {
	k, err := v.Prepared(ctx, tenant)
	if err != nil {
		return err
	}
	wrap, err := v.KeysetOf(ctx, k, PurposeWrap)
	if err != nil {
		return err
	}
	fresh, err := freshKeys(wrap, tenant, owners, k.Active)
	if err != nil {
		return err
	}
	var barrier int64
	err = StoreError(v.cfg.Keys.Create(ctx, func(tx keystore.Tx) (err error) {
		if err := v.Recognise(ctx, tx); err != nil {
			return err
		}
		barrier, err = putKeys(ctx, tx, k, wrap.Row.Version, fresh, resealing)
		return err
	}))
	if errors.Is(err, ErrStale) {
		v.drop([]keystore.Scope{{Tenant: tenant}})
		if _, err := v.LoadTenant(ctx, tenant); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	v.cfg.Observe(ctx, "encryption.keys.created", float64(len(owners)), slog.Int("owners", len(owners)))
	return v.readBack(ctx, tenant, owners, k.Active, barrier)
}

// readBack caches what stands in the store now that the creation is committed.
func (v *Ring) readBack(ctx context.Context, tenant string, owners []string, keyVersion uint32, barrier int64) error {
	var last keystore.KeyRow
	for chunk := range slices.Chunk(owners, maxOwners) {
		_, rows, err := v.fetchRows(ctx, tenant, chunk)
		if err != nil {
			return err
		}
		for _, row := range rows.Keys {
			if row.KeyVersion == keyVersion {
				last = row
			}
		}
	}
	if last.Wrapped != nil {
		v.mu.Lock()
		v.made = &madeKey{row: last, barrier: barrier}
		v.mu.Unlock()
	}
	return nil
}

func freshKeys(wrap *Keyset, tenant string, owners []string, keyVersion uint32) ([]keystore.KeyRow, error) {
	rows := make([]keystore.KeyRow, 0, len(owners))
	for _, owner := range owners {
		raw, err := randomKey()
		if err != nil {
			return nil, err
		}
		rows = append(rows, keystore.KeyRow{Tenant: tenant, Owner: owner, KeyVersion: keyVersion, Wrapped: wrap.WrapKey(raw, tenant, owner, keyVersion)})
	}
	return rows, nil
}

// putKeys inserts keys where none is, under owners that are live, and not merged
// unless it is for resealing, while the key version is active, the wrap key
// current, and no index was added since the tenant was read: all of it stays so
// until the transaction has ended. It returns the barrier as it is then.
func putKeys(ctx context.Context, tx keystore.Tx, k *Tenant, version int64, fresh []keystore.KeyRow, resealing bool) (barrier int64, err error) {
	tenant, keyVersion := k.tenant, k.Active
	state, err := tx.State(ctx)
	if err != nil {
		return 0, err
	}
	now, err := tx.Tenant(ctx, tenant)
	if err != nil {
		return 0, err
	}
	current := slices.ContainsFunc(now.Keysets, func(k keystore.KeysetRow) bool { return k.Purpose == PurposeWrap && k.Version == version })
	active := slices.ContainsFunc(now.KeyVersions, func(g keystore.KeyVersionRow) bool { return g.KeyVersion == keyVersion && g.State == keystore.Active })
	if !current || !active || !sameIndexRows(now.Indexes, k.Rows.Indexes) {
		return 0, ErrStale
	}
	owners := make([]string, len(fresh))
	for i, row := range fresh {
		owners[i] = row.Owner
	}
	have, err := tx.Owners(ctx, tenant, owners)
	if err != nil {
		return 0, err
	}
	known, closed := map[string]bool{}, map[string]bool{}
	for _, o := range have.Owners {
		known[o.Owner] = true
		closed[o.Owner] = o.State != keystore.Live // erased meanwhile: the caller finds the tombstone when it reads back
	}
	for _, a := range have.Aliases {
		closed[a.Alias] = closed[a.Alias] || !resealing || !known[a.Alias]
	}
	for _, key := range have.Keys { // of whose owner the row is lost gets no other one: the caller finds that, too
		closed[key.Owner] = closed[key.Owner] || key.KeyVersion == keyVersion || !known[key.Owner]
	}
	put := keystore.Rows{Owners: make([]keystore.OwnerRow, 0, len(fresh)), Keys: make([]keystore.KeyRow, 0, len(fresh))}
	for _, row := range fresh {
		if closed[row.Owner] {
			continue
		}
		if !known[row.Owner] {
			put.Owners = append(put.Owners, keystore.OwnerRow{Tenant: tenant, Owner: row.Owner, State: keystore.Live, Sequence: state.Sequence})
		}
		put.Keys = append(put.Keys, row)
	}
	if len(put.Keys) == 0 {
		return state.Barrier, nil
	}
	return state.Barrier, tx.Write(ctx, keystore.Change{Put: put})
}
