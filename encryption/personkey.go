package encryption

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"github.com/crmguard/crmguard/encryption/keystore"
)

// ownerKeys is what the store knows about an owner. But for its age it is never
// changed after it was put into the cache.
type ownerKeys struct {
	age
	state  keystore.OwnerState
	merged bool
	into   string       // whom, where merged
	keys   []*personKey // one a key version
	active uint32       // the key version that sealed then
}

// maxOwners bounds the owners of one query.
const maxOwners = 4096

// lookup returns what is known about the owners, from memory where the lease
// allows it, otherwise with one query for all that are missing. Unknown
// owners are left out. The grant is that of the answer; who took its time to
// read may find it over.
func (v *Vault) lookup(ctx context.Context, tenant string, owners []string, early bool) (map[string]*ownerKeys, grant, error) {
	granted, err := v.fresh(ctx, early)
	if err != nil {
		return nil, granted, err
	}
	out := make(map[string]*ownerKeys, len(owners))
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
		found, err := v.fetch(ctx, tenant, chunk)
		if err != nil {
			return nil, granted, err
		}
		maps.Copy(out, found)
	}
	return out, granted, nil
}

// fetch reads owners afresh, in one query, and caches them.
func (v *Vault) fetch(ctx context.Context, tenant string, owners []string) (map[string]*ownerKeys, error) {
	found, _, err := v.fetchRows(ctx, tenant, owners)
	return found, err
}

// fetchRows is fetch with the rows as the store has them.
func (v *Vault) fetchRows(ctx context.Context, tenant string, owners []string) (map[string]*ownerKeys, keystore.Rows, error) {
	begun, g := v.reading()
	v.mu.RLock()
	barrier := v.state.Barrier
	v.mu.RUnlock()
	rows, err := v.cfg.Keys.Owners(ctx, tenant, owners)
	if err != nil {
		return nil, rows, storeError(err)
	}
	v.cfg.Observe(ctx, "encryption.keys.fetched", float64(len(rows.Keys)))
	out := make(map[string]*ownerKeys, len(rows.Owners))
	for _, row := range rows.Owners {
		out[row.Owner] = &ownerKeys{age: begun, state: row.State}
	}
	for _, row := range rows.Aliases {
		if o := out[row.Alias]; o != nil {
			o.merged, o.into = true, row.Owner
		}
	}
	for _, row := range rows.Keys {
		o := out[row.Owner]
		if o == nil || o.state == keystore.Tombstone {
			continue // no key opens under a tombstone, whoever put it there
		}
		key, err := v.unwrap(ctx, row)
		if err != nil {
			return nil, rows, err
		}
		o.keys = append(o.keys, key)
	}
	k, err := v.tenant(ctx, tenant)
	if err != nil {
		return nil, rows, err
	}
	for _, o := range out {
		o.active = k.active
		o.keys = slices.DeleteFunc(o.keys, func(key *personKey) bool {
			return k.keyVersions[key.keyVersion].State == keystore.Destroyed // somebody put the row back
		})
	}
	v.remember(tenant, out, g)
	v.mu.Lock()
	v.recent.note(rows, barrier, g.start)
	v.mu.Unlock()
	return out, rows, nil
}

// unwrap opens a key row; a wrap id that is unknown here makes it read the
// tenant's keyset afresh once. A row that does not unwrap stays apart from
// the owner's other keys.
func (v *Vault) unwrap(ctx context.Context, row keystore.KeyRow) (*personKey, error) {
	wrap, err := v.keyset(ctx, row.Tenant, purposeWrap)
	if err != nil {
		return nil, err
	}
	raw, known, err := wrap.unwrapKey(row)
	if !known {
		k, loadErr := v.loadTenant(ctx, row.Tenant)
		if loadErr != nil {
			return nil, loadErr
		}
		if wrap, err = v.keysetOf(ctx, k, purposeWrap); err != nil {
			return nil, err
		}
		raw, _, err = wrap.unwrapKey(row)
	}
	key := &personKey{
		keyVersion: row.KeyVersion, err: err,
		allotted: row.Owner == tenantOwner, slot: v.counters.slot(keyName{row.Tenant, row.Owner, row.KeyVersion}),
	}
	copy(key.raw[:], raw)
	return key, nil
}

// openKey finds the one key that opens a value of this owner and key version:
// an exact lookup, one fresh read on a miss, never another owner, alias or
// key version. A key that took longer to get than its lease runs is not used.
func (v *Vault) openKey(ctx context.Context, tenant, owner string, keyVersion uint32) (*personKey, grant, error) {
	for range slowAttempts {
		key, g, err := v.findKey(ctx, tenant, owner, keyVersion)
		if err != nil || !g.over(v.cfg.Now()) {
			return key, g, err
		}
	}
	return nil, grant{}, errSlow("open", keyVersion)
}

// slowAttempts bounds how often keys are read that come later than their lease
// ends. The second time they are in memory, unless they were narrowed.
const slowAttempts = 3

func errSlow(op string, keyVersion uint32) error {
	return &KeyError{Op: op + ": key store or KEK took longer than the lease", KeyVersion: keyVersion, Err: ErrLease}
}

func (v *Vault) findKey(ctx context.Context, tenant, owner string, keyVersion uint32) (*personKey, grant, error) {
	if key, g := v.leasedKey(tenant, owner, keyVersion); key != nil && key.err == nil {
		return key, g, nil
	}
	found, g, err := v.lookup(ctx, tenant, []string{owner}, false)
	if err != nil {
		return nil, g, err
	}
	if key := found[owner].key(keyVersion); key != nil {
		return key, g, key.err
	}
	if o := found[owner]; o == nil || o.state != keystore.Tombstone {
		if found, err = v.fetch(ctx, tenant, []string{owner}); err != nil {
			return nil, g, err
		}
		if key := found[owner].key(keyVersion); key != nil {
			return key, g, key.err
		}
	}
	return nil, g, v.whyMissing(ctx, tenant, found[owner], keyVersion)
}

// leasedKey answers from memory alone while the lease of the entry runs, also
// when it was narrowed: inside a transaction nothing is fetched.
func (v *Vault) leasedKey(tenant, owner string, keyVersion uint32) (*personKey, grant) {
	now := v.cfg.Now()
	v.mu.RLock()
	defer v.mu.RUnlock()
	o := v.owners[ownerID{tenant, owner}]
	if o == nil {
		return nil, grant{}
	}
	g := v.leaseLocked(&o.age)
	if g.over(now) {
		return nil, g
	}
	return o.key(keyVersion), g
}

func (o *ownerKeys) key(keyVersion uint32) *personKey {
	if ref := o.keyRef(keyVersion); ref != nil {
		return *ref
	}
	return nil
}

// keyRef points at where the key stands: what an application holds keeps that,
// since package fmt prints what a pointer points at for a verb that does not suit
// it (%s), and here that is another pointer.
func (o *ownerKeys) keyRef(keyVersion uint32) **personKey {
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

func (v *Vault) whyMissing(ctx context.Context, tenant string, o *ownerKeys, keyVersion uint32) error {
	if o != nil && o.state == keystore.Tombstone {
		return &KeyError{Op: "open", KeyVersion: keyVersion, Err: ErrErased}
	}
	k, err := v.loadTenant(ctx, tenant)
	if err != nil {
		return err
	}
	if g, ok := k.keyVersions[keyVersion]; ok && (g.State == keystore.Destroyed || g.State == keystore.Deleting) {
		return &KeyError{Op: "open", KeyVersion: keyVersion, Err: ErrDestroyed}
	}
	return &KeyError{Op: "open", KeyVersion: keyVersion, Err: ErrNoKey}
}

// sealable returns why an owner seals no more, or nil.
func (o *ownerKeys) sealable() error {
	switch {
	case o == nil:
		return nil
	case o.state != keystore.Live:
		return &KeyError{Op: "seal", Err: ErrErased}
	case o.merged:
		return &KeyError{Op: "seal", Err: ErrMerged}
	}
	return nil
}

// sealAttempts bounds how often keys are prepared that another change overtakes:
// a creation queues behind the changes that wait already, so several new
// key versions and an epoch in a row each cost one.
const sealAttempts = 20

// sealKeys returns the owners' keys of the active key version, creating those
// that do not exist, and sees to it that they may seal (counter.go). Owners that
// seal no more make it fail, after the others got their keys. The grant is not
// over yet.
func (v *Vault) sealKeys(ctx context.Context, tenant string, owners []string) (map[string]*ownerKeys, uint32, grant, error) {
	return v.activeKeys(ctx, tenant, owners, false)
}

// activeKeys is sealKeys; resealing gives keys to merged persons, too, for what
// they have sealed before and stays theirs.
func (v *Vault) activeKeys(ctx context.Context, tenant string, owners []string, resealing bool) (map[string]*ownerKeys, uint32, grant, error) {
	slow := 0
	for range sealAttempts {
		found, g, err := v.lookup(ctx, tenant, owners, true)
		if err != nil {
			return nil, 0, g, err
		}
		k, err := v.tenant(ctx, tenant)
		if err != nil {
			return nil, 0, g, err
		}
		missing, refused := lacking(found, owners, k.active, resealing)
		if len(missing) == 0 && refused == nil {
			refused = v.allot(ctx, tenant, owners, found, k.active)
			if errors.Is(refused, errStale) {
				continue // with the next key version
			}
		}
		switch {
		case len(missing) > 0:
			if err := v.createKeys(ctx, tenant, missing, resealing); err != nil && !errors.Is(err, errStale) {
				return nil, 0, g, err
			}
		case refused != nil || !g.over(v.cfg.Now()):
			return found, k.active, g, refused
		default:
			if slow++; slow == slowAttempts {
				return nil, 0, g, errSlow("seal", k.active)
			}
		}
	}
	return nil, 0, grant{}, fmt.Errorf("%w: keysets or key versions change all the time", ErrStore)
}

// lacking lists the owners without a key of the key version, and why others
// will not get one.
func lacking(found map[string]*ownerKeys, owners []string, keyVersion uint32, resealing bool) (missing []string, refused error) {
	for _, owner := range owners {
		o := found[owner]
		if err := o.sealable(); err != nil && (!resealing || !errors.Is(err, ErrMerged)) {
			refused = err
			continue
		}
		key := o.key(keyVersion)
		if key == nil {
			missing = append(missing, owner)
		} else if key.err != nil {
			refused = key.err
		}
	}
	return missing, refused
}

// maxCreated bounds the persons of one creation, which no change of another
// kind can overtake.
const maxCreated = maxOwners

// createKeys creates the keys of the active key version for owners who have
// none, then reads back what the store really holds: the one key of an owner
// and key version is the one that was committed first, whoever made it. Any
// number of goroutines and processes may do so at once, for the same owners,
// too.
func (v *Vault) createKeys(ctx context.Context, tenant string, owners []string, resealing bool) error {
	for chunk := range slices.Chunk(owners, maxCreated) {
		if err := v.createSome(ctx, tenant, chunk, resealing); err != nil {
			return err
		}
	}
	return nil
}

func (v *Vault) createSome(ctx context.Context, tenant string, owners []string, resealing bool) error {
	k, err := v.registered(ctx, tenant)
	if err != nil {
		return err
	}
	wrap, err := v.keysetOf(ctx, k, purposeWrap)
	if err != nil {
		return err
	}
	fresh, err := freshKeys(wrap, tenant, owners, k.active)
	if err != nil {
		return err
	}
	var barrier int64
	err = storeError(v.cfg.Keys.Create(ctx, func(tx keystore.Tx) (err error) {
		if err := v.recognise(ctx, tx); err != nil {
			return err
		}
		barrier, err = putKeys(ctx, tx, k, wrap.row.Version, fresh, resealing)
		return err
	}))
	if errors.Is(err, errStale) {
		v.drop([]keystore.Scope{{Tenant: tenant}})
		if _, err := v.loadTenant(ctx, tenant); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	v.cfg.Observe(ctx, "encryption.keys.created", float64(len(owners)), slog.Int("owners", len(owners)))
	return v.readBack(ctx, tenant, owners, k.active, barrier)
}

// readBack caches what stands in the store now that the creation is committed.
func (v *Vault) readBack(ctx context.Context, tenant string, owners []string, keyVersion uint32, barrier int64) error {
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

func freshKeys(wrap *openKeyset, tenant string, owners []string, keyVersion uint32) ([]keystore.KeyRow, error) {
	rows := make([]keystore.KeyRow, 0, len(owners))
	for _, owner := range owners {
		raw, err := randomKey()
		if err != nil {
			return nil, err
		}
		rows = append(rows, keystore.KeyRow{Tenant: tenant, Owner: owner, KeyVersion: keyVersion, Wrapped: wrap.wrapKey(raw, tenant, owner, keyVersion)})
	}
	return rows, nil
}

// putKeys inserts keys where none is, under owners that are live, and not merged
// unless it is for resealing, while the key version is active, the wrap key
// current, and no index was added since the tenant was read: all of it stays so
// until the transaction has ended. It returns the barrier as it is then.
func putKeys(ctx context.Context, tx keystore.Tx, k *tenantKeys, version int64, fresh []keystore.KeyRow, resealing bool) (barrier int64, err error) {
	tenant, keyVersion := k.tenant, k.active
	state, err := tx.State(ctx)
	if err != nil {
		return 0, err
	}
	now, err := tx.Tenant(ctx, tenant)
	if err != nil {
		return 0, err
	}
	current := slices.ContainsFunc(now.Keysets, func(k keystore.KeysetRow) bool { return k.Purpose == purposeWrap && k.Version == version })
	active := slices.ContainsFunc(now.KeyVersions, func(g keystore.KeyVersionRow) bool { return g.KeyVersion == keyVersion && g.State == keystore.Active })
	if !current || !active || !sameIndexRows(now.Indexes, k.rows.Indexes) {
		return 0, errStale
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
		closed[a.Alias] = closed[a.Alias] || !resealing
	}
	for _, key := range have.Keys {
		closed[key.Owner] = closed[key.Owner] || key.KeyVersion == keyVersion
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
