package keyring

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/crmguard/crmguard/encryption/keystore"
)

// maxErased bounds the persons of one transaction, during which no key of
// anybody is created.
const maxErased = 100

// EraseMany does what Vault.EraseMany promises.
func (v *Ring) EraseMany(ctx context.Context, tenant string, persons ...string) ([]Receipt, error) {
	for i, person := range persons {
		if err := CheckNamed(person); err != nil {
			return nil, fmt.Errorf("encryption: erase: person %d of %d: %w", i+1, len(persons), err)
		}
	}
	return v.eraseAll(ctx, tenant, FoldAll(persons))
}

func (v *Ring) eraseAll(ctx context.Context, tenant string, owners []string) ([]Receipt, error) {
	if err := CheckTenant(tenant); err != nil {
		return nil, err
	}
	if _, err := v.Tenant(ctx, tenant); err != nil {
		return nil, err
	}
	receipts := make([]Receipt, 0, len(owners))
	for chunk := range slices.Chunk(owners, maxErased) {
		some, err := v.eraseSome(ctx, tenant, chunk)
		if err != nil {
			return receipts, err
		}
		receipts = append(receipts, some...)
	}
	if wait := v.unsettled(receipts); wait > 0 {
		if err := v.cfg.Wait(ctx, wait); err != nil {
			return receipts, fmt.Errorf("encryption: erase: the keys are gone, but the lease of other processes is not over: %w", err)
		}
	}
	scrubbed, err := v.scrub(ctx)
	keys, gone := 0, 0
	for i := range receipts {
		receipts[i].Scrubbed = scrubbed
		keys, gone = keys+receipts[i].Keys, gone+receipts[i].Owners
	}
	if err != nil {
		return receipts, err
	}
	v.cfg.Observe(ctx, "encryption.erased", float64(keys), slog.Int("owners", gone))
	return receipts, nil
}

// unsettled returns how long to wait where one of the erasures may be younger
// than a lease, and writes into the receipts of those from when on nobody has
// the keys.
func (v *Ring) unsettled(receipts []Receipt) (wait time.Duration) {
	lease, at := v.LeaseWait(), v.cfg.Now().UTC()
	for i := range receipts {
		if r := &receipts[i]; !v.settled(r.Sequence) {
			r.At, r.Unreadable, wait = at, at.Add(lease), lease
		}
	}
	return wait
}

// eraseSome makes tombstones in one transaction. This process stops at once,
// what it has handed out within the lease.
func (v *Ring) eraseSome(ctx context.Context, tenant string, owners []string) ([]Receipt, error) {
	var receipts []Receipt
	var buried []string
	state, err := v.Update(ctx, func(tx keystore.Tx) (err error) {
		receipts, buried, err = bury(ctx, tx, tenant, owners)
		return err
	})
	if err != nil {
		return nil, err
	}
	v.evict(tenant, buried)
	v.deeds.erase(tenant, buried)
	for i := range receipts {
		receipts[i].Epoch = state.Epoch
	}
	return receipts, nil
}

// bury makes tombstones of the owners and of everyone they were merged with, and
// deletes their key rows, in one change.
func bury(ctx context.Context, tx keystore.Tx, tenant string, owners []string) (receipts []Receipt, buried []string, err error) {
	state, err := tx.State(ctx)
	if err != nil {
		return nil, nil, err
	}
	closures := make([][]string, len(owners))
	for i, owner := range owners {
		if closures[i], err = mergeSet(ctx, tx, tenant, owner); err != nil {
			return nil, nil, err
		}
		buried = append(buried, closures[i]...)
	}
	slices.Sort(buried)
	buried = slices.Compact(buried)
	have, err := tx.Owners(ctx, tenant, buried)
	if err != nil {
		return nil, nil, err
	}
	dead := map[string]int64{} // sequence of the tombstone that is there, and under which no key is
	heard := map[string]bool{}
	for _, row := range have.Owners {
		heard[row.Owner] = true
		if row.State == keystore.Tombstone {
			dead[row.Owner] = row.Sequence
		}
	}
	keys := map[string]int{}
	for _, row := range have.Keys {
		heard[row.Owner] = true
		keys[row.Owner]++
		delete(dead, row.Owner) // a tombstone over keys is none of an erasure: this one is
	}
	for _, row := range have.Aliases {
		heard[row.Alias] = true
	}
	var put []keystore.OwnerRow
	for _, owner := range buried {
		if _, ok := dead[owner]; !ok {
			put = append(put, keystore.OwnerRow{Tenant: tenant, Owner: owner, State: keystore.Tombstone, Sequence: state.Sequence})
		}
	}
	for _, closure := range closures {
		receipt := Receipt{Tenant: tenant, Owners: len(closure), Unknown: !slices.ContainsFunc(closure, func(owner string) bool { return heard[owner] })}
		for _, owner := range closure {
			sequence, ok := dead[owner]
			if !ok {
				sequence = state.Sequence
			}
			receipt.Sequence = max(receipt.Sequence, sequence)
			receipt.Keys += keys[owner]
			delete(keys, owner) // of two receipts for one person the first one has them
		}
		receipts = append(receipts, receipt)
	}
	if len(put) == 0 {
		return receipts, buried, nil
	}
	return receipts, buried, tx.Write(ctx, keystore.Change{
		Put: keystore.Rows{Owners: put}, Remove: keystore.Rows{Keys: have.Keys}, Narrows: true, Of: keystore.Scope{Tenant: tenant, Owners: buried},
	})
}
