package keyring

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/crmguard/crmguard/encryption/keystore"
)

// Owner is what the store knows about an owner. But for its age it is never
// changed after it was put into the cache.
type Owner struct {
	age
	State  keystore.OwnerState
	lost   bool     // keys or an alias stand, and no owner row: State is empty
	shut   []uint32 // key versions of keys that stand, and are not opened: the row says that they are gone
	merged bool
	into   string // whom, where merged
	keys   []*Key // one a key version
	active uint32 // the key version that sealed then
}

// maxOwners bounds the owners of one query.
const maxOwners = 4096

// Owners returns what is known about the owners, from memory where the lease
// allows it, otherwise with one query for all that are missing. Unknown
// owners are left out. The grant is that of the answer; who took its time to
// read may find it over.
func (v *Ring) Owners(ctx context.Context, tenant string, owners []string, early bool) (map[string]*Owner, Grant, error) {
	granted, err := v.Fresh(ctx, early)
	if err != nil {
		return nil, granted, err
	}
	out := make(map[string]*Owner, len(owners))
	var missing []string
	asked := map[string]bool{}
	v.mu.RLock()
	for _, owner := range owners {
		if known := v.owners[ownerID{tenant, owner}]; known != nil && !known.narrowed {
			out[owner] = known
		} else if !asked[owner] {
			asked[owner] = true
			missing = append(missing, owner)
		}
	}
	v.mu.RUnlock()
	for chunk := range slices.Chunk(missing, maxOwners) {
		found, err := v.Fetch(ctx, tenant, chunk)
		if err != nil {
			return nil, granted, err
		}
		maps.Copy(out, found)
	}
	return out, granted, nil
}

// Fetch reads owners afresh, in one query, and caches them.
func (v *Ring) Fetch(ctx context.Context, tenant string, owners []string) (map[string]*Owner, error) {
	found, _, err := v.fetchRows(ctx, tenant, owners)
	return found, err
}

// fetchRows is fetch with the rows as the store has them. Keys that name a wrap key
// which there is not may be of before an epoch that ended while their keyset was
// opened: they are read once more.
func (v *Ring) fetchRows(ctx context.Context, tenant string, owners []string) (map[string]*Owner, keystore.Rows, error) {
	found, rows, strange, err := v.fetchOnce(ctx, tenant, owners)
	if err == nil && strange {
		found, rows, _, err = v.fetchOnce(ctx, tenant, owners)
	}
	return found, rows, err
}

// fetchOnce says whether a key is wrapped by a strange one.
func (v *Ring) fetchOnce(ctx context.Context, tenant string, owners []string) (out map[string]*Owner, rows keystore.Rows, strange bool, err error) {
	begun, g := v.reading()
	v.mu.RLock()
	barrier := v.state.Barrier
	v.mu.RUnlock()
	rows, err = v.cfg.Keys.Owners(ctx, tenant, owners)
	if err != nil {
		return nil, rows, false, StoreError(err)
	}
	v.cfg.Observe(ctx, "encryption.keys.fetched", float64(len(rows.Keys)))
	out = make(map[string]*Owner, len(rows.Owners))
	for _, row := range rows.Owners {
		out[row.Owner] = &Owner{age: begun, State: row.State}
	}
	named := func(owner string) *Owner {
		if out[owner] == nil {
			out[owner] = &Owner{age: begun, lost: true}
		}
		return out[owner]
	}
	for _, row := range rows.Aliases {
		o := named(row.Alias)
		o.merged, o.into = true, row.Owner
	}
	for _, row := range rows.Keys {
		o := named(row.Owner)
		if o.lost || o.State == keystore.Tombstone {
			o.shut = append(o.shut, row.KeyVersion)
			continue // no key opens under a tombstone, whoever put it there
		}
		key, known, err := v.unwrap(ctx, row)
		if err != nil {
			return nil, rows, false, err
		}
		strange = strange || !known
		o.keys = append(o.keys, key)
	}
	k, err := v.Tenant(ctx, tenant)
	if err != nil {
		return nil, rows, false, err
	}
	for _, o := range out {
		o.active = k.Active
		o.keys = slices.DeleteFunc(o.keys, func(key *Key) bool {
			destroyed := k.keyVersions[key.keyVersion].State == keystore.Destroyed // somebody put the row back
			if destroyed {
				o.shut = append(o.shut, key.keyVersion)
			}
			return destroyed
		})
	}
	v.remember(tenant, out, g)
	v.mu.Lock()
	v.recent.note(rows, barrier, g.start)
	v.mu.Unlock()
	return out, rows, strange, nil
}

// unwrap opens a key row; a wrap id that is unknown here makes it read the
// tenant's keyset afresh once. A row that does not unwrap stays apart from
// the owner's other keys.
func (v *Ring) unwrap(ctx context.Context, row keystore.KeyRow) (key *Key, known bool, err error) {
	wrap, err := v.Keyset(ctx, row.Tenant, PurposeWrap)
	if err != nil {
		return nil, false, err
	}
	raw, known, err := wrap.UnwrapKey(row)
	if !known {
		k, loadErr := v.LoadTenant(ctx, row.Tenant)
		if loadErr != nil {
			return nil, false, loadErr
		}
		if wrap, err = v.KeysetOf(ctx, k, PurposeWrap); err != nil {
			return nil, false, err
		}
		raw, known, err = wrap.UnwrapKey(row)
	}
	key = &Key{
		keyVersion: row.KeyVersion, Err: err,
		allotted: row.Owner == TenantOwner, slot: v.counters.slot(keyName{row.Tenant, row.Owner, row.KeyVersion}),
	}
	copy(key.Raw[:], raw)
	return key, known, nil
}

// OpenKey finds the one key that opens a value of this owner and key version:
// an exact lookup, one fresh read on a miss, never another owner, alias or
// key version. A key that took longer to get than its lease runs is not used.
func (v *Ring) OpenKey(ctx context.Context, tenant, owner string, keyVersion uint32) (*Key, Grant, error) {
	for range SlowAttempts {
		key, g, err := v.findKey(ctx, tenant, owner, keyVersion)
		if err != nil || !g.Over(v.cfg.Now()) {
			return key, g, err
		}
	}
	return nil, Grant{}, SlowError("open", keyVersion)
}

// SlowAttempts bounds how often keys are read that come later than their lease
// ends. The second time they are in memory, unless they were narrowed.
const SlowAttempts = 3

// SlowError says that key store or KEK took longer than the lease.
func SlowError(op string, keyVersion uint32) error {
	return &KeyError{Op: op + ": key store or KEK took longer than the lease", KeyVersion: keyVersion, Err: ErrLease}
}

func (v *Ring) findKey(ctx context.Context, tenant, owner string, keyVersion uint32) (*Key, Grant, error) {
	if key, g := v.leasedKey(tenant, owner, keyVersion); key != nil && key.Err == nil {
		return key, g, nil
	}
	found, g, err := v.Owners(ctx, tenant, []string{owner}, false)
	if err != nil {
		return nil, g, err
	}
	if key := found[owner].Key(keyVersion); key != nil {
		return key, g, key.Err
	}
	if o := found[owner]; o == nil || o.State != keystore.Tombstone {
		if found, err = v.Fetch(ctx, tenant, []string{owner}); err != nil {
			return nil, g, err
		}
		if key := found[owner].Key(keyVersion); key != nil {
			return key, g, key.Err
		}
	}
	return nil, g, v.whyMissing(ctx, tenant, found[owner], keyVersion)
}

// Stands reports whether there is a key of an owner, though it is not opened: its
// owner's row says that it was erased, or its key version's that it was destroyed,
// and either may be put right.
func (v *Ring) Stands(ctx context.Context, tenant, owner string, keyVersion uint32) (bool, error) {
	found, _, err := v.Owners(ctx, tenant, []string{owner}, false)
	if err != nil || found[owner] == nil {
		return false, err
	}
	return slices.Contains(found[owner].shut, keyVersion), nil
}

// leasedKey answers from memory alone while the lease of the entry runs, also
// when it was narrowed: inside a transaction nothing is fetched.
func (v *Ring) leasedKey(tenant, owner string, keyVersion uint32) (*Key, Grant) {
	now := v.cfg.Now()
	v.mu.RLock()
	defer v.mu.RUnlock()
	o := v.owners[ownerID{tenant, owner}]
	if o == nil {
		return nil, Grant{}
	}
	g := v.leaseLocked(&o.age)
	if g.Over(now) {
		return nil, g
	}
	return o.Key(keyVersion), g
}

// Key returns the key of a key version, or nil.
func (o *Owner) Key(keyVersion uint32) *Key {
	if ref := o.KeyRef(keyVersion); ref != nil {
		return *ref
	}
	return nil
}

// KeyRef points at where the key stands: what an application holds keeps that,
// since package fmt prints what a pointer points at for a verb that does not suit
// it (%s), and here that is another pointer.
func (o *Owner) KeyRef(keyVersion uint32) **Key {
	if o == nil {
		return nil
	}
	for i, key := range o.keys {
		if key.keyVersion == keyVersion {
			return &o.keys[i]
		}
	}
	return nil
}

func (v *Ring) whyMissing(ctx context.Context, tenant string, o *Owner, keyVersion uint32) error {
	if o != nil && o.State == keystore.Tombstone {
		return &KeyError{Op: "open", KeyVersion: keyVersion, Err: ErrErased}
	}
	k, err := v.LoadTenant(ctx, tenant)
	if err != nil {
		return err
	}
	if g, ok := k.keyVersions[keyVersion]; ok && (g.State == keystore.Destroyed || g.State == keystore.Deleting) {
		return &KeyError{Op: "open", KeyVersion: keyVersion, Err: ErrDestroyed}
	}
	return &KeyError{Op: "open", KeyVersion: keyVersion, Err: ErrNoKey}
}

// Sealable returns why an owner seals no more, or nil.
func (o *Owner) Sealable() error {
	switch {
	case o == nil:
		return nil
	case o.lost:
		return &KeyError{Op: "seal", Err: ErrOwnerLost}
	case o.State == keystore.Tombstone:
		return &KeyError{Op: "seal", Err: ErrErased}
	case o.State != keystore.Live:
		return &KeyError{Op: "seal", Err: ErrOwnerLost}
	case o.merged:
		return &KeyError{Op: "seal", Err: ErrMerged}
	}
	return nil
}

// SealAttempts bounds how often keys are prepared that another change overtakes:
// a creation queues behind the changes that wait already, so several new
// key versions and an epoch in a row each cost one.
const SealAttempts = 20

// SealKeys returns the owners' keys of the active key version, creating those
// that do not exist, and sees to it that they may seal (counter.go). Owners that
// seal no more make it fail, after the others got their keys. The grant is not
// over yet.
func (v *Ring) SealKeys(ctx context.Context, tenant string, owners []string) (map[string]*Owner, uint32, Grant, error) {
	return v.ActiveKeys(ctx, tenant, owners, false)
}

// ActiveKeys is sealKeys; resealing gives keys to merged persons, too, for what
// they have sealed before and stays theirs.
func (v *Ring) ActiveKeys(ctx context.Context, tenant string, owners []string, resealing bool) (map[string]*Owner, uint32, Grant, error) {
	slow := 0
	for range SealAttempts {
		found, g, err := v.Owners(ctx, tenant, owners, true)
		if err != nil {
			return nil, 0, g, err
		}
		k, err := v.Tenant(ctx, tenant)
		if err != nil {
			return nil, 0, g, err
		}
		missing, refused := lacking(found, owners, k.Active, resealing)
		if len(missing) == 0 && refused == nil {
			refused = v.allot(ctx, tenant, owners, found, k.Active)
			if errors.Is(refused, ErrStale) {
				continue // with the next key version
			}
		}
		switch {
		case len(missing) > 0:
			if err := v.createKeys(ctx, tenant, missing, resealing); err != nil && !errors.Is(err, ErrStale) {
				return nil, 0, g, err
			}
		case refused != nil || !g.Over(v.cfg.Now()):
			return found, k.Active, g, refused
		default:
			if slow++; slow == SlowAttempts {
				return nil, 0, g, SlowError("seal", k.Active)
			}
		}
	}
	return nil, 0, Grant{}, fmt.Errorf("%w: keysets or key versions change all the time", ErrStore)
}

// lacking lists the owners without a key of the key version, and why others
// will not get one.
func lacking(found map[string]*Owner, owners []string, keyVersion uint32, resealing bool) (missing []string, refused error) {
	for _, owner := range owners {
		o := found[owner]
		if err := o.Sealable(); err != nil && (!resealing || !errors.Is(err, ErrMerged)) {
			refused = err
			continue
		}
		key := o.Key(keyVersion)
		if key == nil {
			missing = append(missing, owner)
		} else if key.Err != nil {
			refused = key.Err
		}
	}
	return missing, refused
}

// Refusal says why an owner will not get a key of the key version; nil where there
// is one, or may be.
func Refusal(found map[string]*Owner, owner string, keyVersion uint32) error {
	_, refused := lacking(found, []string{owner}, keyVersion, false)
	return refused
}
