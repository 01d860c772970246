package encryption

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/crmguard/crmguard/encryption/internal/blindindex"
	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/encryption/keystore"
)

// declared remembers which indexes this vault's tables have, so that all of
// them are known to a tenant before its first key is made: what is sealed
// later than that has index values from the first row on.
type declared struct {
	mu      sync.Mutex
	indexes []keystore.IndexRow // tenant, root and state are empty
	count   atomic.Uint64       // of them
	columns map[string]bool     // "table.column", in SQL: sealed by a declaration
	tables  map[string]*SealedTable
}

func (d *declared) add(t *SealedTable) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tables[t.def.Name+"\x00"+t.def.SQL] = t
	for _, col := range t.def.Columns {
		if !col.Stream {
			d.columns[t.def.SQL+"."+col.SQL] = true
		}
	}
	for _, index := range t.indexes {
		row := keystore.IndexRow{Table: t.def.Name, Index: index.Name, Version: index.Version, Normaliser: string(index.As), Bits: index.Bits}
		if !slices.ContainsFunc(d.indexes, row.Same) {
			d.indexes = append(d.indexes, row)
			d.count.Add(1)
		}
	}
}

// sealed says whether a declaration names the column, in any case of its letters
// where the database knows one.
func (d *declared) sealed(anyCase bool, column string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.columns[column] || !anyCase {
		return d.columns[column]
	}
	for name := range d.columns {
		if strings.EqualFold(name, column) {
			return true
		}
	}
	return false
}

// missing lists the declared versions that a tenant does not have.
func (d *declared) missing(rows []keystore.IndexRow) (out []keystore.IndexRow) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, row := range d.indexes {
		if !slices.ContainsFunc(rows, row.Same) {
			out = append(out, row)
		}
	}
	return out
}

// registerAttempts bounds how often versions are registered that another change
// overtakes.
const registerAttempts = 20

// registered makes sure that the tenant has every index that was declared, and
// returns the tenant as it is then. A version is live at once where the tenant
// has no key at all: nothing is sealed there, so no row can lack it. Anywhere
// else rows without it may exist, and processes that write more of them.
func (v *Vault) registered(ctx context.Context, tenant string) (*keyring.Tenant, error) {
	for range registerAttempts {
		k, err := v.ring.Tenant(ctx, tenant)
		if err != nil {
			return nil, err
		}
		missing := v.declared.missing(k.Rows.Indexes)
		if len(missing) == 0 {
			return k, nil
		}
		open, err := v.ring.KeysetOf(ctx, k, keyring.PurposeIndex)
		if err != nil {
			return nil, err
		}
		if err := v.register(ctx, tenant, missing, open.Primary()); err != nil && !errors.Is(err, keyring.ErrStale) {
			return nil, err
		}
		if _, err := v.ring.LoadTenant(ctx, tenant); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%w: index versions change all the time", ErrStore)
}

// register inserts version rows under the primary root.
func (v *Vault) register(ctx context.Context, tenant string, missing []keystore.IndexRow, root uint32) error {
	_, err := v.ring.Update(ctx, func(tx keystore.Tx) error {
		now, err := tx.Tenant(ctx, tenant)
		if err != nil {
			return err
		}
		keys, err := tx.Page(ctx, keystore.Page{Kind: keystore.KindKey, Tenant: tenant, Limit: 1})
		if err != nil {
			return err
		}
		state := keystore.IndexLive
		if len(keys.Keys) > 0 {
			state = keystore.IndexBuilding
		}
		var put keystore.Rows
		for _, row := range missing {
			if slices.ContainsFunc(now.Indexes, row.Same) {
				return keyring.ErrStale
			}
			row.Tenant, row.Root, row.State = tenant, root, state
			put.Indexes = append(put.Indexes, row)
		}
		return tx.Write(ctx, keystore.Change{Put: put, Narrows: true, Keeps: true, Of: keystore.Scope{Tenant: tenant}})
	})
	return err
}

// FenceOldWriters shuts out of the table whoever does not know its indexes: the
// processes of an older release, whose rows a search would not find. From then
// on each Writer of a definition without them is ErrDefinition. It returns when
// none that was handed out before can commit any more, a lease and the longest
// transaction later. Call it when the older release is gone, then
// RebuildIndexes: the two together are what a search needs. It is idempotent,
// and interrupted it may be called again.
func (t *SealedTable) FenceOldWriters(ctx context.Context, tenant string) error {
	if len(t.indexes) == 0 {
		return &KeyError{Op: "fence: no index is declared in", Table: t.def.Name, Err: ErrDefinition}
	}
	if _, err := t.tenantIndexes(ctx, tenant); err != nil {
		return err
	}
	fencing := false
	err := t.moveIndexes(ctx, tenant, func(row keystore.IndexRow) keystore.IndexState {
		if row.State == keystore.IndexBuilding {
			row.State = keystore.IndexFencing
		}
		fencing = fencing || row.State == keystore.IndexFencing
		return row.State
	})
	if err != nil || !fencing {
		return err
	}
	if err := t.vault.cfg.Wait(ctx, t.vault.ring.LeaseWait()+t.vault.ring.LongestTransaction()); err != nil {
		return fmt.Errorf("encryption: fence: older writers are shut out, but may still commit; call again: %w", err)
	}
	return t.moveIndexes(ctx, tenant, func(row keystore.IndexRow) keystore.IndexState {
		if row.State == keystore.IndexFencing {
			return keystore.IndexFenced
		}
		return row.State
	})
}

// fenced lists the versions whose older writers are gone: what is counted from
// now on misses none of their rows. returned is when keys came back last: what is
// in memory may be a lease old, and older than that.
func (t *SealedTable) fenced(ctx context.Context, tenant string) (out []keystore.IndexRow, returned int64, err error) {
	if _, err := t.tenantIndexes(ctx, tenant); err != nil {
		return nil, 0, err
	}
	var rows keystore.Rows
	err = t.vault.cfg.Keys.Snapshot(ctx, func(tx keystore.Tx) error {
		state, err := tx.State(ctx)
		if err != nil {
			return err
		}
		returned = state.Returned
		rows, err = tx.Tenant(ctx, tenant)
		return err
	})
	if err != nil {
		return nil, 0, keyring.StoreError(err)
	}
	out = slices.DeleteFunc(rows.Indexes, func(row keystore.IndexRow) bool { return !t.declares(row) || row.State != keystore.IndexFenced })
	if len(out) > 0 {
		t.vault.ring.Doubt()
	}
	return out, returned, nil
}

// promote makes versions live that were fenced before a census found nothing
// to correct. It answers keyring.ErrStale where keys have come back since: the
// census may have passed over what they open.
func (t *SealedTable) promote(ctx context.Context, tenant string, fenced []keystore.IndexRow, returned int64) error {
	if len(fenced) == 0 {
		return nil
	}
	same := func(state keystore.State) error {
		if state.Returned != returned {
			return keyring.ErrStale
		}
		return nil
	}
	return t.moveIndexesIf(ctx, tenant, same, func(row keystore.IndexRow) keystore.IndexState {
		if row.State == keystore.IndexFenced && slices.ContainsFunc(fenced, row.Same) {
			return keystore.IndexLive
		}
		return row.State
	})
}

// moveIndexes gives the declared versions the state that next answers.
func (t *SealedTable) moveIndexes(ctx context.Context, tenant string, next func(keystore.IndexRow) keystore.IndexState) error {
	return t.moveIndexesIf(ctx, tenant, nil, next)
}

// moveIndexesIf asks may in the transaction of the change, where it is not nil.
func (t *SealedTable) moveIndexesIf(ctx context.Context, tenant string, may func(keystore.State) error, next func(keystore.IndexRow) keystore.IndexState) error {
	return t.setIndexStates(ctx, tenant, may, func(rows []keystore.IndexRow) ([]keystore.IndexRow, error) {
		var put []keystore.IndexRow
		for _, row := range rows {
			if !t.declares(row) {
				continue
			}
			if state := next(row); state != row.State {
				row.State = state
				put = append(put, row)
			}
		}
		return put, nil
	})
}

func (t *SealedTable) declares(row keystore.IndexRow) bool {
	return row.Table == t.def.Name && slices.ContainsFunc(t.indexes, func(x tableIndex) bool { return x.Name == row.Index && x.Version == row.Version })
}

// complete refuses to write a table that has an index which this definition
// lacks, once others search by it or are about to.
func (t *SealedTable) complete(rows []keystore.IndexRow) error {
	for _, row := range rows {
		if row.Table == t.def.Name && row.UnfitVersion == 0 && row.State != keystore.IndexBuilding && row.State != keystore.IndexRetired && !t.declares(row) {
			return &KeyError{
				Op:    "write: this release does not know an index that others search by; deploy the newer one, or take the index back with RetireIndex:",
				Table: t.def.Name, Column: row.Index, Err: ErrDefinition,
			}
		}
	}
	return nil
}

// notLive says what a version still lacks before it is searched.
func (t *SealedTable) notLive(index string, states []keystore.IndexState) error {
	return &KeyError{Op: "lookup: " + blindindex.Lacks(states) + ":", Table: t.def.Name, Column: index, Err: ErrIncomplete}
}

// RetireIndex retires a version of an index: it is neither written nor asked
// any more. Another version must be live, unless the index is declared here no
// longer: then it is given up, and nobody searches by it.
//
// Processes that do not know of it yet search by the version alone for as long
// as their lease runs: an older release that declares no other one, or one that
// has not heard that another is live. So it goes in two steps, and no row that is
// written meanwhile lacks the version: first it is asked no more, then, a lease
// and the longest transaction later, written no more. RetireIndex returns when
// both are done. It is idempotent, and interrupted it may be called again; until
// then everybody writes the version.
func (t *SealedTable) RetireIndex(ctx context.Context, tenant, index string, version uint32) error {
	asked, err := t.retire(ctx, tenant, index, version, keystore.IndexRetiring)
	if err != nil || !asked {
		return err
	}
	if err := t.vault.cfg.Wait(ctx, t.vault.ring.LeaseWait()+t.vault.ring.LongestTransaction()); err != nil {
		return fmt.Errorf("encryption: retire an index: it is asked no more, but written still; call again: %w", err)
	}
	_, err = t.retire(ctx, tenant, index, version, keystore.IndexRetired)
	return err
}

// retire moves a version that may be asked to the state named, and one that nobody
// asks to the end. asked says that it is not at the end. What is live beside
// it is read in the same transaction.
func (t *SealedTable) retire(ctx context.Context, tenant, index string, version uint32, to keystore.IndexState) (asked bool, err error) {
	err = t.setIndexStates(ctx, tenant, nil, func(rows []keystore.IndexRow) ([]keystore.IndexRow, error) {
		name := t.indexName(index)
		other := name == "" // given up: nobody searches by it
		if other {
			name = index
		}
		var found *keystore.IndexRow
		for i, row := range rows {
			switch {
			case row.Table != t.def.Name || row.Index != name:
			case row.Version == version:
				found = &rows[i]
			case row.State == keystore.IndexLive:
				other = true
			}
		}
		if found == nil || !other {
			return nil, &KeyError{Op: "retire: unknown version, or no other one is live", Table: t.def.Name, Column: index, Err: ErrDefinition}
		}
		state := keystore.IndexRetired
		// A repair may have fenced what was live a moment ago.
		if found.State == keystore.IndexLive || found.State == keystore.IndexRetiring || found.State == keystore.IndexFencing {
			state = to
		}
		if asked = state != keystore.IndexRetired; state == found.State {
			return nil, nil
		}
		found.State = state
		return []keystore.IndexRow{*found}, nil
	})
	return asked, err
}
