package encryption

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/crmguard/crmguard/encryption/keystore"
)

// tenantKeys is what the store knows about a tenant; keysets are unwrapped
// when first needed, and again only when their bytes have changed: one KEK
// call a tenant, not one a lease.
type tenantKeys struct {
	age
	tenant      string
	rows        keystore.Rows
	active      uint32
	keyVersions map[uint32]keystore.KeyVersionRow

	mu   sync.Mutex // held for moments: never while a KEK is asked
	open map[string]*openKeyset
	// indexes are derived from the keyset and the rows that stand here.
	indexes map[*SealedTable]*tenantIndexes
	ready   map[*SealedTable]*readyTable
}

// AddTenant makes the keysets and the first key version of a tenant. Its
// KEK has opened again what it wrapped before anything is written. It is
// idempotent. An unknown tenant is an error everywhere else, so that a
// misspelt name never becomes a tenant.
func (v *Vault) AddTenant(ctx context.Context, tenant string) error {
	if err := checkTenant(tenant); err != nil {
		return err
	}
	if _, err := v.tenant(ctx, tenant); err == nil || !errors.Is(err, ErrTenant) {
		return err
	}
	state, err := v.cfg.Keys.State(ctx)
	if err != nil {
		return storeError(err)
	}
	keysets, err := v.newKeysets(ctx, tenant, state.KEK, state.Epoch)
	if err != nil {
		return err
	}
	keyVersion, err := newKeyID()
	if err != nil {
		return err
	}
	_, err = v.update(ctx, func(tx keystore.Tx) error {
		now, err := tx.State(ctx)
		if err != nil {
			return err
		}
		have, err := tx.Tenant(ctx, tenant)
		if err != nil || len(have.Keysets) > 0 {
			return err
		}
		if now.KEK != state.KEK {
			return errStale
		}
		return tx.Write(ctx, keystore.Change{Narrows: true, Of: keystore.Scope{Tenant: tenant}, Put: keystore.Rows{
			Keysets:     rowsOf(keysets),
			KeyVersions: []keystore.KeyVersionRow{{Tenant: tenant, KeyVersion: keyVersion, State: keystore.Active, Created: v.cfg.Now().UTC().Truncate(time.Microsecond)}},
			Owners:      []keystore.OwnerRow{{Tenant: tenant, Owner: tenantOwner, State: keystore.Live, Sequence: now.Sequence}},
		}})
	})
	if errors.Is(err, errStale) {
		return v.AddTenant(ctx, tenant)
	}
	if err == nil {
		v.keepKeysets(ctx, tenant, keysets)
	}
	return err
}

// newKeysets makes one fresh keyset for each purpose: the branch key wrapped by
// the KEK, the others by the branch key.
func (v *Vault) newKeysets(ctx context.Context, tenant, kek string, epoch int64) ([]*openKeyset, error) {
	branch, err := v.newBranch(ctx, keystore.KeysetRow{Tenant: tenant, Purpose: purposeBranch, Epoch: epoch, KEK: kek, Version: 1})
	if err != nil {
		return nil, err
	}
	out := []*openKeyset{branch}
	for _, purpose := range purposesOf(tenant)[1:] {
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

func rowsOf(keysets []*openKeyset) []keystore.KeysetRow {
	rows := make([]keystore.KeysetRow, 0, len(keysets))
	for _, open := range keysets {
		rows = append(rows, open.row)
	}
	return rows
}

// Tenants lists the tenants of the key store in the order of their bytes.
func (v *Vault) Tenants(ctx context.Context) ([]string, error) {
	var out []string
	err := v.cfg.Keys.Snapshot(ctx, func(tx keystore.Tx) error {
		return eachPage(ctx, tx, keystore.Page{Kind: keystore.KindKeyset, Limit: pageSize}, func(rows keystore.Rows) error {
			for _, row := range rows.Keysets {
				if row.Tenant != "" && (len(out) == 0 || out[len(out)-1] != row.Tenant) {
					out = append(out, row.Tenant)
				}
			}
			return nil
		})
	})
	return out, storeError(err)
}

const pageSize = 500

// eachPage calls f for every page of rows.
func eachPage(ctx context.Context, tx keystore.Tx, page keystore.Page, f func(keystore.Rows) error) error {
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

// tenant returns what is known about a tenant, no older than the lease.
func (v *Vault) tenant(ctx context.Context, tenant string) (*tenantKeys, error) {
	if _, err := v.fresh(ctx, false); err != nil {
		return nil, err
	}
	v.mu.RLock()
	known := v.tenants[tenant]
	good := known != nil && !known.narrowed
	v.mu.RUnlock()
	if good {
		return known, nil
	}
	return v.loadTenant(ctx, tenant)
}

// loadTenant reads a tenant afresh.
func (v *Vault) loadTenant(ctx context.Context, tenant string) (*tenantKeys, error) {
	begun, g := v.reading()
	v.mu.RLock()
	old := v.tenants[tenant]
	v.mu.RUnlock()
	rows, err := v.cfg.Keys.Tenant(ctx, tenant)
	if err != nil {
		return nil, storeError(err)
	}
	if len(rows.Keysets) == 0 {
		return nil, fmt.Errorf("%w: unknown to the key store (AddTenant)", ErrTenant)
	}
	k := &tenantKeys{age: begun, tenant: tenant, rows: rows, keyVersions: map[uint32]keystore.KeyVersionRow{}, open: map[string]*openKeyset{}, indexes: map[*SealedTable]*tenantIndexes{}}
	for _, g := range rows.KeyVersions {
		k.keyVersions[g.KeyVersion] = g
		if g.State == keystore.Active {
			k.active = g.KeyVersion
		}
	}
	if old != nil {
		old.mu.Lock()
		for _, row := range rows.Keysets {
			if o := old.open[row.Purpose]; o != nil && o.row.KEK == row.KEK && bytes.Equal(o.row.Wrapped, row.Wrapped) {
				k.open[row.Purpose] = o.as(row)
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

// keyset returns an unwrapped keyset of a tenant or, for "", the installation.
func (v *Vault) keyset(ctx context.Context, tenant, purpose string) (*openKeyset, error) {
	k, err := v.tenant(ctx, tenant)
	if err != nil {
		return nil, err
	}
	return v.keysetOf(ctx, k, purpose)
}

// knownKeyset returns a keyset from memory, however old: tags are not taken
// back by an erasure, and a tag is made inside transactions.
func (v *Vault) knownKeyset(ctx context.Context, tenant, purpose string) (*openKeyset, error) {
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
	return v.keyset(ctx, tenant, purpose)
}

// keysetOf unwraps a keyset once, whoever needs it at that time: the KEK is asked
// where the branch key of the tenant is not in memory yet. Nobody waits
// for a KEK longer than its context, nor for that of another tenant.
func (v *Vault) keysetOf(ctx context.Context, k *tenantKeys, purpose string) (*openKeyset, error) {
	row, err := rowOf(k.rows.Keysets, purpose)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	open := k.open[purpose]
	k.mu.Unlock()
	if open != nil {
		return open, nil
	}
	if purpose == purposeBranch {
		open, err = v.openKeyset(ctx, row)
	} else if open, err = v.keysetOf(ctx, k, purposeBranch); err == nil {
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

// errStale says that what a change was prepared from is no longer so: the
// caller reads afresh and prepares again.
var errStale = errors.New("encryption: prepared from an older state")

// storeError marks what the key store itself answered; errors of ours pass.
func storeError(err error) error {
	if err == nil {
		return nil
	}
	for _, ours := range []error{
		ErrErased, ErrDestroyed, ErrNoKey, ErrOpen, ErrKEK, ErrKeyset, ErrStore, ErrEmpty, ErrNotEmpty, ErrTenant, ErrID,
		ErrMerged, ErrInUse, ErrDefinition, ErrIncomplete, ErrKeyVersion, ErrRewrap, ErrCopy, ErrNotCovered, ErrRewound, ErrDamaged, ErrLease, errStale,
	} {
		if errors.Is(err, ours) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", ErrStore, err)
}
