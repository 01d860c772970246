package keyring

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/crmguard/crmguard/encryption/keystore"
)

// Tenant is what the store knows about a tenant; keysets are unwrapped
// when first needed, and again only when their bytes have changed: one KEK
// call a tenant, not one a lease.
type Tenant struct {
	age
	tenant      string
	Rows        keystore.Rows
	Active      uint32
	keyVersions map[uint32]keystore.KeyVersionRow

	mu   sync.Mutex // held for moments: never while a KEK is asked
	open map[string]*Keyset
	// derived is what others have derived from the keysets and the rows that stand
	// here, by place.
	derived map[Place]any
}

// maxDerived bounds what is derived from the keys of one tenant: two values of
// each table.
const maxDerived = 512

// A Place is where somebody keeps what they have derived from a tenant's keys.
type Place uint64

// NewPlace returns one that nobody else has.
func (v *Ring) NewPlace() Place { return Place(v.places.Add(1)) }

// Derived returns what KeepDerived has put there, or nil.
func (k *Tenant) Derived(at Place) any {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.derived[at]
}

// KeepDerived keeps what was derived as long as the tenant is what it is.
func (k *Tenant) KeepDerived(at Place, what any) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.derived) >= maxDerived {
		clear(k.derived) // whoever declares a table again for each use gets no profit of it
	}
	k.derived[at] = what
}

// AddTenant does what Vault.AddTenant promises.
func (v *Ring) AddTenant(ctx context.Context, tenant string) error {
	if err := CheckTenant(tenant); err != nil {
		return err
	}
	if _, err := v.Tenant(ctx, tenant); err == nil || !errors.Is(err, ErrTenant) {
		return err
	}
	state, err := v.cfg.Keys.State(ctx)
	if err != nil {
		return StoreError(err)
	}
	keysets, err := v.newKeysets(ctx, tenant, state.KEK, state.Epoch)
	if errors.Is(err, ErrKEK) { // an epoch that was closed meanwhile has another one
		if now, readErr := v.cfg.Keys.State(ctx); readErr == nil && now.KEK != state.KEK {
			return v.AddTenant(ctx, tenant)
		}
	}
	if err != nil {
		return err
	}
	keyVersion, err := newKeyID()
	if err != nil {
		return err
	}
	_, err = v.Update(ctx, func(tx keystore.Tx) error {
		now, err := tx.State(ctx)
		if err != nil {
			return err
		}
		have, err := tx.Tenant(ctx, tenant)
		if err != nil || len(have.Keysets) > 0 {
			return err
		}
		if now.KEK != state.KEK {
			return ErrStale
		}
		if err := isNew(ctx, tx, tenant, have); err != nil {
			return err
		}
		return tx.Write(ctx, keystore.Change{Narrows: true, Keeps: true, Of: keystore.Scope{Tenant: tenant}, Put: keystore.Rows{
			Keysets:     rowsOf(keysets),
			KeyVersions: []keystore.KeyVersionRow{{Tenant: tenant, KeyVersion: keyVersion, State: keystore.Active, Created: v.cfg.Now().UTC().Truncate(time.Microsecond)}},
			Owners:      []keystore.OwnerRow{{Tenant: tenant, Owner: TenantOwner, State: keystore.Live, Sequence: now.Sequence}},
		}})
	})
	if errors.Is(err, ErrStale) {
		return v.AddTenant(ctx, tenant)
	}
	if err == nil {
		v.KeepKeysets(ctx, tenant, keysets)
	}
	return err
}

// isNew refuses a tenant without keysets of which other rows are there: its keysets
// are lost. What were sealed under new ones would be lost in its turn when the old
// ones come back.
func isNew(ctx context.Context, tx keystore.Tx, tenant string, have keystore.Rows) error {
	left := have.Len()
	for _, kind := range []keystore.Kind{keystore.KindOwner, keystore.KindKey, keystore.KindAlias} {
		if left > 0 {
			break
		}
		rows, err := tx.Page(ctx, keystore.Page{Kind: kind, Tenant: tenant, Limit: 1})
		if err != nil {
			return err
		}
		left = rows.Len()
	}
	if left > 0 {
		return fmt.Errorf("%w: the keysets of the tenant are lost, and other rows of it are there: bring them back (RepairFromCopy, RestoreCopy); nothing was written", ErrDamaged)
	}
	return nil
}

// newKeysets makes one fresh keyset for each purpose: the branch key wrapped by
// the KEK, the others by the branch key.
func (v *Ring) newKeysets(ctx context.Context, tenant, kek string, epoch int64) ([]*Keyset, error) {
	branch, err := v.newBranch(ctx, keystore.KeysetRow{Tenant: tenant, Purpose: PurposeBranch, Epoch: epoch, KEK: kek, Version: 1})
	if err != nil {
		return nil, err
	}
	out := []*Keyset{branch}
	for _, purpose := range PurposesOf(tenant)[1:] {
		handle, err := newKeyset(purpose)
		if err != nil {
			return nil, err
		}
		open, err := branchKey{branch}.wraps(keystore.KeysetRow{Tenant: tenant, Purpose: purpose, Epoch: epoch, Version: 1}, handle)
		if err != nil {
			return nil, err
		}
		out = append(out, open)
	}
	return out, nil
}

func rowsOf(keysets []*Keyset) []keystore.KeysetRow {
	rows := make([]keystore.KeysetRow, 0, len(keysets))
	for _, open := range keysets {
		rows = append(rows, open.Row)
	}
	return rows
}

// Tenants does what Vault.Tenants promises.
func (v *Ring) Tenants(ctx context.Context) ([]string, error) {
	var out []string
	err := v.cfg.Keys.Snapshot(ctx, func(tx keystore.Tx) error {
		return EachPage(ctx, tx, keystore.Page{Kind: keystore.KindKeyset, Limit: PageSize}, func(rows keystore.Rows) error {
			for _, row := range rows.Keysets {
				if row.Tenant != "" && (len(out) == 0 || out[len(out)-1] != row.Tenant) {
					out = append(out, row.Tenant)
				}
			}
			return nil
		})
	})
	return out, StoreError(err)
}

// PageSize is how many rows of a key store are read at a time.
const PageSize = 500

// EachPage calls f for every page of rows.
func EachPage(ctx context.Context, tx keystore.Tx, page keystore.Page, f func(keystore.Rows) error) error {
	for {
		rows, err := tx.Page(ctx, page)
		if err != nil {
			return err
		}
		page.After = rows.After(page.Kind)
		if page.After == nil {
			return nil
		}
		if err := f(rows); err != nil {
			return err
		}
	}
}

// Tenant returns what is known about a tenant, no older than the lease.
func (v *Ring) Tenant(ctx context.Context, tenant string) (*Tenant, error) {
	if _, err := v.Fresh(ctx, false); err != nil {
		return nil, err
	}
	v.mu.RLock()
	known := v.tenants[tenant]
	good := known != nil && !known.narrowed
	v.mu.RUnlock()
	if good {
		return known, nil
	}
	return v.LoadTenant(ctx, tenant)
}

// LoadTenant reads a tenant afresh.
func (v *Ring) LoadTenant(ctx context.Context, tenant string) (*Tenant, error) {
	begun, g := v.reading()
	v.mu.RLock()
	old := v.tenants[tenant]
	v.mu.RUnlock()
	rows, err := v.cfg.Keys.Tenant(ctx, tenant)
	if err != nil {
		return nil, StoreError(err)
	}
	if len(rows.Keysets) == 0 {
		return nil, fmt.Errorf("%w: unknown to the key store (AddTenant)", ErrTenant)
	}
	k := &Tenant{age: begun, tenant: tenant, Rows: rows, keyVersions: map[uint32]keystore.KeyVersionRow{}, open: map[string]*Keyset{}, derived: map[Place]any{}}
	for _, g := range rows.KeyVersions {
		if g.KeyVersion == 0 {
			continue // no key version has this number, or it does not fit
		}
		k.keyVersions[g.KeyVersion] = g
		if g.State == keystore.Active {
			k.Active = g.KeyVersion
		}
	}
	if old != nil {
		old.mu.Lock()
		for _, row := range rows.Keysets {
			if o := old.open[row.Purpose]; o != nil && o.Row.KEK == row.KEK && bytes.Equal(o.Row.Wrapped, row.Wrapped) {
				k.open[row.Purpose] = o.As(row)
			}
		}
		old.mu.Unlock()
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.tenants[tenant] = k
	v.readLocked(&k.age, g)
	return k, nil
}

// Keyset returns an unwrapped keyset of a tenant or, for "", the installation.
func (v *Ring) Keyset(ctx context.Context, tenant, purpose string) (*Keyset, error) {
	k, err := v.Tenant(ctx, tenant)
	if err != nil {
		return nil, err
	}
	return v.KeysetOf(ctx, k, purpose)
}

// KnownKeyset returns a keyset from memory, however old: tags are not taken
// back by an erasure, and a tag is made inside transactions.
func (v *Ring) KnownKeyset(ctx context.Context, tenant, purpose string) (*Keyset, error) {
	v.mu.RLock()
	k := v.tenants[tenant]
	v.mu.RUnlock()
	if k != nil {
		k.mu.Lock()
		open := k.open[purpose]
		k.mu.Unlock()
		if open != nil {
			return open, nil
		}
	}
	return v.Keyset(ctx, tenant, purpose)
}

// KeysetOf unwraps a keyset once, whoever needs it at that time: the KEK is asked
// where the branch key of the tenant is not in memory yet. Nobody waits
// for a KEK longer than its context, nor for that of another tenant.
//
// What is known of the tenant may be a lease old, and its KEK gone with an epoch that
// another process has closed meanwhile: before a KEK is said not to serve, the store is
// read once more. What a keyset says is the same under any branch key.
func (v *Ring) KeysetOf(ctx context.Context, k *Tenant, purpose string) (*Keyset, error) {
	open, err := v.keysetOf(ctx, k, purpose)
	if !v.askedInVain(ctx, err) {
		return open, err
	}
	fresh, readErr := v.LoadTenant(ctx, k.tenant)
	if readErr != nil || sameBranch(k.Rows, fresh.Rows) {
		return nil, err
	}
	return v.keysetOf(ctx, fresh, purpose)
}

// askedInVain tells a KEK that did not serve just now from one that is left alone
// after a failure: whoever meets that one costs the store nothing.
func (v *Ring) askedInVain(ctx context.Context, err error) bool {
	kek, detailed := errors.AsType[*KEKError](err)
	remembered := detailed && kek.remembered
	return ctx.Err() == nil && errors.Is(err, ErrKEK) && !remembered
}

// sameBranch reports whether the keysets of a tenant stand under one branch key.
func sameBranch(a, b keystore.Rows) bool {
	left, err := rowOf(a.Keysets, PurposeBranch)
	right, err2 := rowOf(b.Keysets, PurposeBranch)
	return err == nil && err2 == nil && left.KEK == right.KEK && bytes.Equal(left.Wrapped, right.Wrapped)
}

func (v *Ring) keysetOf(ctx context.Context, k *Tenant, purpose string) (*Keyset, error) {
	row, err := rowOf(k.Rows.Keysets, purpose)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	open := k.open[purpose]
	k.mu.Unlock()
	if open != nil {
		return open, nil
	}
	if purpose == PurposeBranch {
		open, err = v.openKeyset(ctx, row)
	} else if open, err = v.keysetOf(ctx, k, PurposeBranch); err == nil {
		open, err = branchKey{open}.opens(row)
	}
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.open[purpose] = open
	return open, nil
}

// ErrStale says that what a change was prepared from is no longer so: the
// caller reads afresh and prepares again.
var ErrStale = errors.New("encryption: prepared from an older state")

// StoreError marks what the key store itself answered; errors of ours pass.
func StoreError(err error) error {
	if err == nil {
		return nil
	}
	for _, ours := range []error{
		ErrErased, ErrDestroyed, ErrNoKey, ErrOpen, ErrKEK, ErrKeyset, ErrStore, ErrEmpty, ErrNotEmpty, ErrTenant, ErrID,
		ErrMerged, ErrInUse, ErrDefinition, ErrIncomplete, ErrKeyVersion, ErrRewrap, ErrCopy, ErrNotCovered, ErrRewound, ErrDamaged, ErrLease, ErrStale,
	} {
		if errors.Is(err, ours) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", ErrStore, err)
}
