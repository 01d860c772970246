package keyring

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/crmguard/crmguard/encryption/keystore"
)

// holder is Holder of package encryption.
type holder = func(ctx context.Context, tenant string, keyVersion uint32) (count int, where string, err error)

// NewKeyVersion does what Vault.NewKeyVersion promises.
func (v *Ring) NewKeyVersion(ctx context.Context, tenant string) (uint32, error) {
	if err := CheckTenant(tenant); err != nil {
		return 0, err
	}
	if _, err := v.Tenant(ctx, tenant); err != nil {
		return 0, err
	}
	var keyVersion uint32
	var retired []uint32
	_, err := v.Update(ctx, func(tx keystore.Tx) error {
		now, err := tx.Tenant(ctx, tenant)
		if err != nil {
			return err
		}
		retired = nil
		for _, g := range now.KeyVersions {
			if g.State == keystore.Active {
				retired = append(retired, g.KeyVersion)
			}
		}
		keyVersion, err = beginKeyVersion(ctx, tx, tenant, now.KeyVersions, v.cfg.Now())
		return err
	})
	if err != nil {
		return keyVersion, err
	}
	for _, was := range retired {
		v.retired.from(tenant, was, v.cfg.Now())
	}
	return keyVersion, nil
}

// KeyVersions does what Vault.KeyVersions promises.
func (v *Ring) KeyVersions(ctx context.Context, tenant string) ([]keystore.KeyVersionRow, error) {
	if err := CheckTenant(tenant); err != nil {
		return nil, err
	}
	rows, err := v.cfg.Keys.Tenant(ctx, tenant)
	if err != nil {
		return nil, StoreError(err)
	}
	if len(rows.Keysets) == 0 {
		return nil, fmt.Errorf("%w: unknown to the key store (AddTenant)", ErrTenant)
	}
	rows.KeyVersions = slices.DeleteFunc(rows.KeyVersions, func(g keystore.KeyVersionRow) bool { return g.Unfit != 0 })
	slices.SortFunc(rows.KeyVersions, func(a, b keystore.KeyVersionRow) int { return a.Created.Compare(b.Created) })
	return rows.KeyVersions, nil
}

// DestroyKeyVersion does what Vault.DestroyKeyVersion promises.
func (v *Ring) DestroyKeyVersion(ctx context.Context, tenant string, keyVersion uint32, holders ...holder) error {
	if len(holders) == 0 {
		return fmt.Errorf("%w: destroying needs at least one holder to ask", ErrDefinition)
	}
	if err := v.refresh(ctx); err != nil { // the lease that the store has now
		return err
	}
	state, known, err := v.retirement(ctx, tenant, keyVersion)
	if err != nil {
		return err
	}
	if state == keystore.Destroyed {
		if left, err := v.keysLeft(ctx, tenant, keyVersion); err != nil || !left {
			return err
		}
	}
	asked := func() error {
		err := ask(ctx, tenant, keyVersion, holders)
		if err == nil || state != keystore.Destroying {
			return err // one that is destroyed while keys stand is so because somebody wrote it
		}
		return errors.Join(err, v.setKeyVersion(ctx, tenant, keyVersion, keystore.Destroying, keystore.Retired))
	}
	// Whatever state it is found in: who put it there has waited for this perhaps, and
	// perhaps it was a slip over the active one.
	if early := known.Add(v.LeaseWait() + v.LongestTransaction()).Sub(v.cfg.Now()); early > 0 {
		if err := asked(); err != nil {
			return err // who has something now is not waited for
		}
		if err := v.cfg.Wait(ctx, early); err != nil {
			return err
		}
	}
	if err := asked(); err != nil {
		return err
	}
	if state == keystore.Retired {
		if err := v.setKeyVersion(ctx, tenant, keyVersion, keystore.Retired, keystore.Destroying); err != nil {
			return err
		}
		state = keystore.Destroying
	}
	if err := v.cfg.Wait(ctx, v.LeaseWait()); err != nil {
		return err
	}
	if err := asked(); err != nil {
		return err
	}
	deleted, err := v.deleteKeys(ctx, tenant, keyVersion)
	if err != nil {
		return err
	}
	if _, err := v.scrub(ctx); err != nil {
		return err
	}
	v.cfg.Observe(ctx, "encryption.key_version.destroyed", float64(deleted), slog.Uint64("generation", uint64(keyVersion)))
	return nil
}

func ask(ctx context.Context, tenant string, keyVersion uint32, holders []holder) error {
	for _, answers := range holders {
		count, where, err := answers(ctx, tenant, keyVersion)
		if err != nil {
			return fmt.Errorf("encryption: a holder of key version %08x did not answer: %w", keyVersion, err)
		}
		if count != 0 {
			return &InUseError{KeyVersion: keyVersion, Count: count, Where: where}
		}
	}
	return nil
}

// retirement returns the state of a key version that seals no more, and since
// when this process has known that it does not. What the hosts that made it and
// its successor take for the time has no part in it.
func (v *Ring) retirement(ctx context.Context, tenant string, keyVersion uint32) (state keystore.KeyVersionState, known time.Time, err error) {
	all, err := v.KeyVersions(ctx, tenant)
	if err != nil {
		return "", time.Time{}, err
	}
	i := slices.IndexFunc(all, func(g keystore.KeyVersionRow) bool { return g.KeyVersion == keyVersion })
	if i < 0 {
		return "", time.Time{}, &KeyError{Op: "unknown key version", KeyVersion: keyVersion, Err: ErrKeyVersion}
	}
	switch state = all[i].State; state {
	case keystore.Retired, keystore.Destroying, keystore.Deleting, keystore.Destroyed:
		return state, v.retired.since(tenant, keyVersion, v.cfg.Now()), nil
	case keystore.Active:
		return state, time.Time{}, &KeyError{Op: "an active key version is not destroyed: NewKeyVersion and Reseal come first", KeyVersion: keyVersion, Err: ErrKeyVersion}
	default: // of a later version of the library, which may need it
		return state, time.Time{}, &KeyError{Op: "in a state that this version does not know", KeyVersion: keyVersion, Err: ErrKeyVersion}
	}
}

// retirements remembers since when this process has known of key versions that
// they seal no more.
type retirements struct {
	mu    sync.Mutex
	known map[retiredID]time.Time
}

type retiredID struct {
	tenant     string
	keyVersion uint32
}

// since returns when it was known first, which is now if it was not.
func (r *retirements) since(tenant string, keyVersion uint32, now time.Time) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	id := retiredID{tenant, keyVersion}
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

// from is since for a key version that has sealed until now: what was known of it
// before is about another time.
func (r *retirements) from(tenant string, keyVersion uint32, now time.Time) {
	r.mu.Lock()
	delete(r.known, retiredID{tenant, keyVersion})
	r.mu.Unlock()
	r.since(tenant, keyVersion, now)
}

// setKeyVersion moves a key version from one state to another. Once keys of it are
// deleted there is no way back: it stays what it is.
func (v *Ring) setKeyVersion(ctx context.Context, tenant string, keyVersion uint32, from, to keystore.KeyVersionState) error {
	_, err := v.Update(ctx, func(tx keystore.Tx) error {
		now, err := tx.Tenant(ctx, tenant)
		if err != nil {
			return err
		}
		for _, g := range now.KeyVersions {
			if g.KeyVersion != keyVersion {
				continue
			}
			if g.State == from {
				g.State = to
				return tx.Write(ctx, keystore.Change{Put: keystore.Rows{KeyVersions: []keystore.KeyVersionRow{g}}, Narrows: true, Of: keystore.Scope{Tenant: tenant}})
			}
			if g.State == to || g.State == keystore.Deleting || g.State == keystore.Destroyed { // by another process
				return nil
			}
			return &KeyError{Op: "not retired", KeyVersion: keyVersion, Err: ErrKeyVersion}
		}
		return &KeyError{Op: "unknown key version", KeyVersion: keyVersion, Err: ErrKeyVersion}
	})
	return err
}

// deleteKeys deletes the key rows of a destroying key version, page by page. The
// first page says so in the same change, so that nobody takes the key version for
// whole again; the page that finds none marks it destroyed.
func (v *Ring) deleteKeys(ctx context.Context, tenant string, keyVersion uint32) (int, error) {
	deleted := 0
	for {
		n := 0
		_, err := v.Update(ctx, func(tx keystore.Tx) error {
			now, err := tx.Tenant(ctx, tenant)
			if err != nil {
				return err
			}
			i := slices.IndexFunc(now.KeyVersions, func(g keystore.KeyVersionRow) bool { return g.KeyVersion == keyVersion })
			if i < 0 || !slices.Contains([]keystore.KeyVersionState{keystore.Destroying, keystore.Deleting, keystore.Destroyed}, now.KeyVersions[i].State) {
				return &KeyError{Op: "no longer marked", KeyVersion: keyVersion, Err: ErrKeyVersion}
			}
			rows, err := tx.Page(ctx, keystore.Page{Kind: keystore.KindKey, Tenant: tenant, KeyVersion: keyVersion, Limit: PageSize})
			if err != nil {
				return err
			}
			if n = len(rows.Keys); n == 0 && now.KeyVersions[i].State == keystore.Destroyed { // by another process
				return nil
			}
			now.KeyVersions[i].State = keystore.Deleting
			if n == 0 {
				now.KeyVersions[i].State = keystore.Destroyed
			}
			return tx.Write(ctx, keystore.Change{Remove: keystore.Rows{Keys: rows.Keys}, Put: keystore.Rows{KeyVersions: now.KeyVersions[i : i+1]}, Narrows: true, Of: keystore.Scope{Tenant: tenant}})
		})
		if err != nil {
			return deleted, err
		}
		if n == 0 {
			v.deeds.destroy(tenant, keyVersion)
			return deleted, nil
		}
		deleted += n
	}
}

// keysLeft reports whether keys stand under a key version: under one that is
// destroyed they are those that somebody put back, or it is not destroyed.
func (v *Ring) keysLeft(ctx context.Context, tenant string, keyVersion uint32) (left bool, err error) {
	err = v.cfg.Keys.Snapshot(ctx, func(tx keystore.Tx) error {
		rows, err := tx.Page(ctx, keystore.Page{Kind: keystore.KindKey, Tenant: tenant, KeyVersion: keyVersion, Limit: 1})
		left = len(rows.Keys) > 0
		return err
	})
	return left, StoreError(err)
}

// refresh compares with the key store, whatever the lease allows to remember.
func (v *Ring) refresh(ctx context.Context) error {
	before := v.Known()
	start := v.cfg.Now()
	state, err := v.Compare(ctx, before)
	if err == nil {
		err = CheckLeaseOf(state)
	}
	if err != nil {
		return StoreError(err)
	}
	v.observed(ctx, state, start)
	return nil
}
