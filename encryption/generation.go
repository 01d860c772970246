package encryption

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
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
	var retired []uint32
	_, err := v.update(ctx, func(tx KeyTx) error {
		now, err := tx.Tenant(ctx, tenant)
		if err != nil {
			return err
		}
		retired = nil
		for _, g := range now.Generations {
			if g.State == Active {
				retired = append(retired, g.Generation)
			}
		}
		generation, err = beginGeneration(ctx, tx, tenant, now.Generations, v.cfg.Now())
		return err
	})
	if err != nil {
		return generation, err
	}
	for _, was := range retired {
		v.retired.since(tenant, was, v.cfg.Now())
	}
	return generation, nil
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
// needs it. Name every holder: tables, rows of other packages, streams, and the
// kept snapshots, which become unreadable for ever.
//
// Every holder must answer 0 twice: once this process has known for a lease and
// the longest transaction that the generation seals no more (it waits for that
// moment, by its own clock), and again a lease after the generation was marked.
// A table waits before it counts until all have ended who were writing to it
// (SealedTable.Holder), so a transaction that takes longer loses nothing either,
// provided that its statement came within LongestTransaction of the sealing.
//
// Otherwise it answers *InUseError (ErrInUse), which names the holder's place,
// and the generation is retired as before. Interrupted, it may be called again.
// Once the first key is deleted there is no way back: the generation stays
// Deleting until a call finishes it. A holder that still answers then has cells
// of which some are lost; reseal the others, and give up those that Reseal lists.
func (v *Vault) DestroyGeneration(ctx context.Context, tenant string, generation uint32, holders ...Holder) error {
	if len(holders) == 0 {
		return fmt.Errorf("%w: destroying needs at least one holder to ask", ErrDefinition)
	}
	if err := v.refresh(ctx); err != nil { // the lease that the store has now
		return err
	}
	state, known, err := v.retirement(ctx, tenant, generation)
	if err != nil || state == Destroyed {
		return err
	}
	if state == Retired { // whoever marked it before has waited for this
		if early := known.Add(v.leaseWait() + v.cfg.LongestTransaction).Sub(v.cfg.Now()); early > 0 {
			if err := v.cfg.Wait(ctx, early); err != nil {
				return err
			}
		}
		if err := ask(ctx, tenant, generation, holders); err != nil {
			return err
		}
		if err := v.setGeneration(ctx, tenant, generation, Retired, Destroying); err != nil {
			return err
		}
	}
	if err := v.cfg.Wait(ctx, v.leaseWait()); err != nil {
		return err
	}
	if err := ask(ctx, tenant, generation, holders); err != nil {
		return errors.Join(err, v.setGeneration(ctx, tenant, generation, Destroying, Retired))
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

// retirement returns the state of a generation that seals no more, and since
// when this process has known that it does not. What the hosts that made it and
// its successor take for the time has no part in it.
func (v *Vault) retirement(ctx context.Context, tenant string, generation uint32) (state GenerationState, known time.Time, err error) {
	all, err := v.Generations(ctx, tenant)
	if err != nil {
		return "", time.Time{}, err
	}
	i := slices.IndexFunc(all, func(g GenerationRow) bool { return g.Generation == generation })
	if i < 0 {
		return "", time.Time{}, &KeyError{Op: "unknown generation", Generation: generation, Err: ErrGeneration}
	}
	switch state = all[i].State; state {
	case Retired, Destroying, Deleting, Destroyed:
		return state, v.retired.since(tenant, generation, v.cfg.Now()), nil
	case Active:
		return state, time.Time{}, &KeyError{Op: "an active generation is not destroyed: NewGeneration and Reseal come first", Generation: generation, Err: ErrGeneration}
	default: // of a later version of the library, which may need it
		return state, time.Time{}, &KeyError{Op: "in a state that this version does not know", Generation: generation, Err: ErrGeneration}
	}
}

// retirements remembers since when this process has known of generations that
// they seal no more.
type retirements struct {
	mu    sync.Mutex
	known map[retiredID]time.Time
}

type retiredID struct {
	tenant     string
	generation uint32
}

// since returns when it was known first, which is now if it was not.
func (r *retirements) since(tenant string, generation uint32, now time.Time) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	id := retiredID{tenant, generation}
	first, ok := r.known[id]
	if ok && !now.Before(first) { // a clock that was put back would make it wait for ever
		return first
	}
	if r.known == nil {
		r.known = map[retiredID]time.Time{}
	}
	r.known[id] = now
	return now
}

// setGeneration moves a generation from one state to another. Once keys of it are
// deleted there is no way back: it stays what it is.
func (v *Vault) setGeneration(ctx context.Context, tenant string, generation uint32, from, to GenerationState) error {
	_, err := v.update(ctx, func(tx KeyTx) error {
		now, err := tx.Tenant(ctx, tenant)
		if err != nil {
			return err
		}
		for _, g := range now.Generations {
			if g.Generation != generation {
				continue
			}
			if g.State == from {
				g.State = to
				return tx.Write(ctx, Change{Put: Rows{Generations: []GenerationRow{g}}, Narrows: true, Of: Scope{Tenant: tenant}})
			}
			if g.State == to || g.State == Deleting || g.State == Destroyed { // by another process
				return nil
			}
			return &KeyError{Op: "not retired", Generation: generation, Err: ErrGeneration}
		}
		return &KeyError{Op: "unknown generation", Generation: generation, Err: ErrGeneration}
	})
	return err
}

// deleteKeys deletes the key rows of a destroying generation, page by page. The
// first page says so in the same change, so that nobody takes the generation for
// whole again; the page that finds none marks it destroyed.
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
			if i >= 0 && now.Generations[i].State == Destroyed { // by another process
				n = 0
				return nil
			}
			if i < 0 || now.Generations[i].State != Destroying && now.Generations[i].State != Deleting {
				return &KeyError{Op: "no longer marked", Generation: generation, Err: ErrGeneration}
			}
			rows, err := tx.Page(ctx, Page{Kind: KindKey, Tenant: tenant, Generation: generation, Limit: pageSize})
			if err != nil {
				return err
			}
			now.Generations[i].State = Deleting
			if n = len(rows.Keys); n == 0 {
				now.Generations[i].State = Destroyed
			}
			return tx.Write(ctx, Change{Remove: Rows{Keys: rows.Keys}, Put: Rows{Generations: now.Generations[i : i+1]}, Narrows: true, Of: Scope{Tenant: tenant}})
		})
		if err != nil || n == 0 {
			return deleted, err
		}
		deleted += n
	}
}

// refresh compares with the key store, whatever the lease allows to remember.
func (v *Vault) refresh(ctx context.Context) error {
	v.mu.RLock()
	before := v.state
	v.mu.RUnlock()
	start := v.cfg.Now()
	state, err := v.compare(ctx, before)
	if err == nil {
		err = state.checkLease()
	}
	if err != nil {
		return storeError(err)
	}
	v.observed(ctx, state, start)
	return nil
}
