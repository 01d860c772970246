package encryption

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// Holder counts what still needs a key generation of a tenant, and says
// where: a table (SealedTable.Holder), the rows of another package, the kept
// snapshots of a backup.
type Holder = func(ctx context.Context, tenant string, generation uint32) (count int, where string, err error)

// NewGeneration begins a new key generation of a tenant and retires the one
// that was active. Nothing is rewritten: what is sealed from now on carries
// the new generation, Reseal moves the rest. Other processes follow within
// the lease.
func (v *Vault) NewGeneration(ctx context.Context, tenant string) (uint32, error) {
	if err := checkTenant(tenant); err != nil {
		return 0, err
	}
	if _, err := v.tenant(ctx, tenant); err != nil {
		return 0, err
	}
	var generation uint32
	_, err := v.update(ctx, func(tx KeyTx) error {
		now, err := tx.Tenant(ctx, tenant)
		if err != nil {
			return err
		}
		taken := make([]uint32, 0, len(now.Generations))
		var put []GenerationRow
		for _, g := range now.Generations {
			taken = append(taken, g.Generation)
			if g.State == Active {
				g.State = Retired
				put = append(put, g)
			}
		}
		if generation, err = newKeyID(taken...); err != nil {
			return err
		}
		put = append(put, GenerationRow{Tenant: tenant, Generation: generation, State: Active, Created: v.cfg.Now().UTC().Truncate(time.Microsecond)})
		return tx.Write(ctx, Change{Put: Rows{Generations: put}, Narrows: true, Of: Scope{Tenant: tenant}})
	})
	return generation, err
}

// Generations lists every generation that the tenant ever had, oldest first.
func (v *Vault) Generations(ctx context.Context, tenant string) ([]GenerationRow, error) {
	if err := checkTenant(tenant); err != nil {
		return nil, err
	}
	rows, err := v.cfg.Keys.Tenant(ctx, tenant)
	if err != nil {
		return nil, storeError(err)
	}
	if len(rows.Keysets) == 0 {
		return nil, fmt.Errorf("%w: unknown to the key store (AddTenant)", ErrTenant)
	}
	slices.SortFunc(rows.Generations, func(a, b GenerationRow) int { return a.Created.Compare(b.Created) })
	return rows.Generations, nil
}

// DestroyGeneration deletes the keys of a retired generation once nothing
// needs it: every holder answers 0, begun later than retirement + lease +
// longest transaction (it waits for that moment), and again a lease after the
// generation was marked. Otherwise it answers *InUseError (ErrInUse), which
// names the holder's place, and the generation stays retired. Name every
// holder: tables, rows of other packages, streams, and the kept snapshots,
// which become unreadable for ever. Interrupted, it may be called again.
func (v *Vault) DestroyGeneration(ctx context.Context, tenant string, generation uint32, holders ...Holder) error {
	if len(holders) == 0 {
		return fmt.Errorf("%w: destroying needs at least one holder to ask", ErrDefinition)
	}
	retired, state, err := v.retirement(ctx, tenant, generation)
	if err != nil || state == Destroyed {
		return err
	}
	if early := retired.Add(v.leaseWait() + v.cfg.LongestTransaction).Sub(v.cfg.Now()); early > 0 {
		if err := v.cfg.Wait(ctx, early); err != nil {
			return err
		}
	}
	if err := ask(ctx, tenant, generation, holders); err != nil {
		return errors.Join(err, v.setGeneration(ctx, tenant, generation, Retired))
	}
	if err := v.setGeneration(ctx, tenant, generation, Destroying); err != nil {
		return err
	}
	if err := v.cfg.Wait(ctx, v.leaseWait()); err != nil {
		return err
	}
	if err := ask(ctx, tenant, generation, holders); err != nil {
		return errors.Join(err, v.setGeneration(ctx, tenant, generation, Retired))
	}
	deleted, err := v.deleteKeys(ctx, tenant, generation)
	if err != nil {
		return err
	}
	if _, err := v.scrub(ctx); err != nil {
		return err
	}
	v.cfg.Observe(ctx, "encryption.generation.destroyed", float64(deleted), slog.Uint64("generation", uint64(generation)))
	return nil
}

func ask(ctx context.Context, tenant string, generation uint32, holders []Holder) error {
	for _, holder := range holders {
		count, where, err := holder(ctx, tenant, generation)
		if err != nil {
			return fmt.Errorf("encryption: a holder of generation %08x did not answer: %w", generation, err)
		}
		if count != 0 {
			return &InUseError{Generation: generation, Count: count, Where: where}
		}
	}
	return nil
}

// retirement returns when a generation was retired: when its successor began.
func (v *Vault) retirement(ctx context.Context, tenant string, generation uint32) (time.Time, GenerationState, error) {
	all, err := v.Generations(ctx, tenant)
	if err != nil {
		return time.Time{}, "", err
	}
	i := slices.IndexFunc(all, func(g GenerationRow) bool { return g.Generation == generation })
	if i < 0 {
		return time.Time{}, "", &KeyError{Op: "unknown generation", Generation: generation, Err: ErrGeneration}
	}
	if all[i].State == Active {
		return time.Time{}, "", &KeyError{Op: "an active generation is not destroyed: NewGeneration and Reseal come first", Generation: generation, Err: ErrGeneration}
	}
	retired := all[i].Created
	if i+1 < len(all) {
		retired = all[i+1].Created
	}
	return retired, all[i].State, nil
}

// setGeneration moves a generation between retired and destroying.
func (v *Vault) setGeneration(ctx context.Context, tenant string, generation uint32, state GenerationState) error {
	_, err := v.update(ctx, func(tx KeyTx) error {
		now, err := tx.Tenant(ctx, tenant)
		if err != nil {
			return err
		}
		for _, g := range now.Generations {
			if g.Generation != generation {
				continue
			}
			if g.State == Active || g.State == Destroyed {
				return &KeyError{Op: "not retired", Generation: generation, Err: ErrGeneration}
			}
			if g.State == state {
				return nil
			}
			g.State = state
			return tx.Write(ctx, Change{Put: Rows{Generations: []GenerationRow{g}}, Narrows: true, Of: Scope{Tenant: tenant}})
		}
		return &KeyError{Op: "unknown generation", Generation: generation, Err: ErrGeneration}
	})
	return err
}

// deleteKeys deletes the key rows of a destroying generation, page by page;
// the page that finds none marks it destroyed.
func (v *Vault) deleteKeys(ctx context.Context, tenant string, generation uint32) (int, error) {
	deleted := 0
	for {
		n := 0
		_, err := v.update(ctx, func(tx KeyTx) error {
			now, err := tx.Tenant(ctx, tenant)
			if err != nil {
				return err
			}
			i := slices.IndexFunc(now.Generations, func(g GenerationRow) bool { return g.Generation == generation })
			if i < 0 || now.Generations[i].State != Destroying {
				return &KeyError{Op: "no longer marked", Generation: generation, Err: ErrGeneration}
			}
			rows, err := tx.Page(ctx, Page{Kind: KindKey, Tenant: tenant, Generation: generation, Limit: pageSize})
			if err != nil {
				return err
			}
			change := Change{Remove: Rows{Keys: rows.Keys}, Narrows: true, Of: Scope{Tenant: tenant}}
			if n = len(rows.Keys); n == 0 {
				now.Generations[i].State = Destroyed
				change.Put.Generations = now.Generations[i : i+1]
			}
			return tx.Write(ctx, change)
		})
		if err != nil || n == 0 {
			return deleted, err
		}
		deleted += n
	}
}
