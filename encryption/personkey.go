package encryption

import (
	"context"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// personKey is one key of one owner and generation, unwrapped.
type personKey struct {
	generation uint32
	raw        [keySize]byte
	err        error // the row is there but does not unwrap
	seals      atomic.Uint64
	build      sync.Once // of the cipher, which takes forty times the room of the key
	gcm        cipher.AEAD
	broken     error // what the cipher answered
}

// aead is the cipher of the key, built when it is first used: an import makes
// many keys at once, and of several generations one is used.
func (k *personKey) aead() (cipher.AEAD, error) {
	k.build.Do(func() { k.gcm, k.broken = newGCM(k.raw[:]) })
	return k.gcm, k.broken
}

// appendSeal appends mark ‖ generation ‖ IV ‖ ciphertext ‖ tag.
func (k *personKey) appendSeal(dst, plaintext, ad []byte) ([]byte, error) {
	gcm, err := k.aead()
	if err != nil {
		return nil, err
	}
	k.seals.Add(1)
	dst = append(dst, fieldMark)
	dst = binary.BigEndian.AppendUint32(dst, k.generation)
	return gcm.Seal(dst, nil, plaintext, ad), nil //nolint:gosec // the AEAD draws its nonce itself
}

// appendOpen appends what was sealed so.
func (k *personKey) appendOpen(dst, sealed, ad []byte) ([]byte, error) {
	gcm, err := k.aead()
	if err != nil {
		return nil, err
	}
	return gcm.Open(dst, nil, sealed[prefixSize:], ad)
}

// ownerKeys is what the store knows about an owner. It is never changed
// after it was put into the cache.
type ownerKeys struct {
	state  OwnerState
	merged bool
	into   string       // whom, where merged
	keys   []*personKey // one a generation
	loaded time.Time    // before the read
	flush  uint64       // of the vault, before the read
	active uint32       // the generation that sealed then
}

// maxOwners bounds the owners of one query.
const maxOwners = 4096

// lookup returns what is known about the owners, from memory where the lease
// allows it, otherwise with one query for all that are missing. Unknown
// owners are left out. The returned moment begins the lease of the answer.
func (v *Vault) lookup(ctx context.Context, tenant string, owners []string, early bool) (map[string]*ownerKeys, time.Time, error) {
	granted, err := v.fresh(ctx, early)
	if err != nil {
		return nil, granted, err
	}
	out := make(map[string]*ownerKeys, len(owners))
	var missing []string
	asked := map[string]bool{}
	v.mu.RLock()
	for _, owner := range owners {
		if known := v.owners[ownerID{tenant, owner}]; known != nil && known.flush == v.flush {
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
func (v *Vault) fetchRows(ctx context.Context, tenant string, owners []string) (map[string]*ownerKeys, Rows, error) {
	v.mu.RLock()
	flush, barrier := v.flush, v.state.Barrier
	v.mu.RUnlock()
	loaded := v.cfg.Now()
	rows, err := v.cfg.Keys.Owners(ctx, tenant, owners)
	if err != nil {
		return nil, rows, storeError(err)
	}
	v.cfg.Observe(ctx, "encryption.keys.fetched", float64(len(rows.Keys)))
	out := make(map[string]*ownerKeys, len(rows.Owners))
	for _, row := range rows.Owners {
		out[row.Owner] = &ownerKeys{state: row.State, loaded: loaded, flush: flush}
	}
	for _, row := range rows.Aliases {
		if o := out[row.Alias]; o != nil {
			o.merged, o.into = true, row.Owner
		}
	}
	for _, row := range rows.Keys {
		o := out[row.Owner]
		if o == nil || o.state == Tombstone {
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
	}
	v.remember(tenant, out)
	v.mu.Lock()
	v.recent.note(rows, barrier, loaded)
	v.mu.Unlock()
	return out, rows, nil
}

// remember puts owners into the cache unless something newer is there.
func (v *Vault) remember(tenant string, found map[string]*ownerKeys) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for owner, keys := range found {
		if known := v.owners[ownerID{tenant, owner}]; known != nil && known.flush > keys.flush {
			continue
		}
		if len(v.owners) >= v.cfg.CacheKeys {
			for id := range v.owners { // any one goes: map order is random enough
				delete(v.owners, id)
				break
			}
		}
		v.owners[ownerID{tenant, owner}] = keys
	}
}

// unwrap opens a key row; a wrap id that is unknown here makes it read the
// tenant's keyset afresh once. A row that does not unwrap stays apart from
// the owner's other keys.
func (v *Vault) unwrap(ctx context.Context, row KeyRow) (*personKey, error) {
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
	key := &personKey{generation: row.Generation, err: err}
	copy(key.raw[:], raw)
	return key, nil
}

// openKey finds the one key that opens a value of this owner and generation:
// an exact lookup, one fresh read on a miss, never another owner, alias or
// generation.
func (v *Vault) openKey(ctx context.Context, tenant, owner string, generation uint32) (*personKey, time.Time, error) {
	if key := v.leasedKey(tenant, owner, generation); key != nil && key.err == nil {
		return key, v.lastCheck(), nil
	}
	found, granted, err := v.lookup(ctx, tenant, []string{owner}, false)
	if err != nil {
		return nil, granted, err
	}
	if key := found[owner].key(generation); key != nil {
		return key, granted, key.err
	}
	if o := found[owner]; o == nil || o.state != Tombstone {
		if found, err = v.fetch(ctx, tenant, []string{owner}); err != nil {
			return nil, granted, err
		}
		if key := found[owner].key(generation); key != nil {
			return key, granted, key.err
		}
	}
	return nil, granted, v.whyMissing(ctx, tenant, found[owner], generation)
}

// leasedKey answers from memory alone while the lease of the entry runs, also
// when the barrier has moved: inside a transaction nothing is fetched.
func (v *Vault) leasedKey(tenant, owner string, generation uint32) *personKey {
	now := v.cfg.Now()
	v.mu.RLock()
	defer v.mu.RUnlock()
	o := v.owners[ownerID{tenant, owner}]
	if o == nil || !v.leasedLocked(o.flush, o.loaded, now) {
		return nil
	}
	return o.key(generation)
}

func (o *ownerKeys) key(generation uint32) *personKey {
	if o == nil {
		return nil
	}
	for _, key := range o.keys {
		if key.generation == generation {
			return key
		}
	}
	return nil
}

func (v *Vault) whyMissing(ctx context.Context, tenant string, o *ownerKeys, generation uint32) error {
	if o != nil && o.state == Tombstone {
		return &KeyError{Op: "open", Generation: generation, Err: ErrErased}
	}
	k, err := v.loadTenant(ctx, tenant)
	if err != nil {
		return err
	}
	if g, ok := k.generations[generation]; ok && g.State == Destroyed {
		return &KeyError{Op: "open", Generation: generation, Err: ErrDestroyed}
	}
	return &KeyError{Op: "open", Generation: generation, Err: ErrNoKey}
}

// sealable returns why an owner seals no more, or nil.
func (o *ownerKeys) sealable() error {
	switch {
	case o == nil:
		return nil
	case o.state != Live:
		return &KeyError{Op: "seal", Err: ErrErased}
	case o.merged:
		return &KeyError{Op: "seal", Err: ErrMerged}
	}
	return nil
}

// sealAttempts bounds how often keys are prepared that another change overtakes:
// a creation queues behind the changes that wait already, so several new
// generations and an epoch in a row each cost one.
const sealAttempts = 20

// sealKeys returns the owners' keys of the active generation, creating those
// that do not exist. Owners that seal no more make it fail, after the others
// got their keys.
func (v *Vault) sealKeys(ctx context.Context, tenant string, owners []string) (map[string]*ownerKeys, uint32, time.Time, error) {
	for range sealAttempts {
		found, granted, err := v.lookup(ctx, tenant, owners, true)
		if err != nil {
			return nil, 0, granted, err
		}
		k, err := v.tenant(ctx, tenant)
		if err != nil {
			return nil, 0, granted, err
		}
		missing, refused := lacking(found, owners, k.active)
		if len(missing) == 0 {
			return found, k.active, granted, refused
		}
		if err := v.createKeys(ctx, tenant, missing); err != nil && !errors.Is(err, errStale) {
			return nil, 0, granted, err
		}
	}
	return nil, 0, time.Time{}, fmt.Errorf("%w: keysets or generations change all the time", ErrStore)
}

// lacking lists the owners without a key of the generation, and why others
// will not get one.
func lacking(found map[string]*ownerKeys, owners []string, generation uint32) (missing []string, refused error) {
	for _, owner := range owners {
		o := found[owner]
		if err := o.sealable(); err != nil {
			refused = err
			continue
		}
		key := o.key(generation)
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

// createKeys creates the keys of the active generation for owners who have
// none, then reads back what the store really holds: the one key of an owner
// and generation is the one that was committed first, whoever made it. Any
// number of goroutines and processes may do so at once, for the same owners,
// too.
func (v *Vault) createKeys(ctx context.Context, tenant string, owners []string) error {
	for chunk := range slices.Chunk(owners, maxCreated) {
		if err := v.createSome(ctx, tenant, chunk); err != nil {
			return err
		}
	}
	return nil
}

func (v *Vault) createSome(ctx context.Context, tenant string, owners []string) error {
	k, err := v.tenant(ctx, tenant)
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
	err = storeError(v.cfg.Keys.Create(ctx, func(tx KeyTx) (err error) {
		if err := v.recognise(ctx, tx); err != nil {
			return err
		}
		barrier, err = putKeys(ctx, tx, tenant, k.active, wrap.row.Version, fresh)
		return err
	}))
	if errors.Is(err, errStale) {
		v.drop()
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
func (v *Vault) readBack(ctx context.Context, tenant string, owners []string, generation uint32, barrier int64) error {
	var last KeyRow
	for chunk := range slices.Chunk(owners, maxOwners) {
		_, rows, err := v.fetchRows(ctx, tenant, chunk)
		if err != nil {
			return err
		}
		for _, row := range rows.Keys {
			if row.Generation == generation {
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

func freshKeys(wrap *openKeyset, tenant string, owners []string, generation uint32) ([]KeyRow, error) {
	rows := make([]KeyRow, 0, len(owners))
	for _, owner := range owners {
		raw, err := randomKey()
		if err != nil {
			return nil, err
		}
		rows = append(rows, KeyRow{Tenant: tenant, Owner: owner, Generation: generation, Wrapped: wrap.wrapKey(raw, tenant, owner, generation)})
	}
	return rows, nil
}

// putKeys inserts keys where none is, under owners that are live, while the
// generation is active and the wrap key current: all of it stays so until the
// transaction has ended. It returns the barrier as it is then.
func putKeys(ctx context.Context, tx KeyTx, tenant string, generation uint32, version int64, fresh []KeyRow) (barrier int64, err error) {
	state, err := tx.State(ctx)
	if err != nil {
		return 0, err
	}
	now, err := tx.Tenant(ctx, tenant)
	if err != nil {
		return 0, err
	}
	current := slices.ContainsFunc(now.Keysets, func(k KeysetRow) bool { return k.Purpose == purposeWrap && k.Version == version })
	active := slices.ContainsFunc(now.Generations, func(g GenerationRow) bool { return g.Generation == generation && g.State == Active })
	if !current || !active {
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
		closed[o.Owner] = o.State != Live // erased meanwhile: the caller finds the tombstone when it reads back
	}
	for _, a := range have.Aliases {
		closed[a.Alias] = true
	}
	for _, key := range have.Keys {
		closed[key.Owner] = closed[key.Owner] || key.Generation == generation
	}
	put := Rows{Owners: make([]OwnerRow, 0, len(fresh)), Keys: make([]KeyRow, 0, len(fresh))}
	for _, row := range fresh {
		if closed[row.Owner] {
			continue
		}
		if !known[row.Owner] {
			put.Owners = append(put.Owners, OwnerRow{Tenant: tenant, Owner: row.Owner, State: Live, Sequence: state.Sequence})
		}
		put.Keys = append(put.Keys, row)
	}
	if len(put.Keys) == 0 {
		return state.Barrier, nil
	}
	return state.Barrier, tx.Write(ctx, Change{Put: put})
}

// Ensure fetches or creates the keys of many persons in few transactions:
// before an import, and before a transaction in which keys must not be
// fetched.
func (v *Vault) Ensure(ctx context.Context, tenant string, persons ...string) error {
	if err := checkTenant(tenant); err != nil {
		return err
	}
	for _, person := range persons {
		if err := checkPerson(person); err != nil {
			return err
		}
	}
	return v.ensure(ctx, tenant, persons)
}

// ensure makes the keys of owners and the keysets of the taggers ready.
func (v *Vault) ensure(ctx context.Context, tenant string, owners []string) error {
	if _, _, _, err := v.sealKeys(ctx, tenant, owners); err != nil {
		return err
	}
	for _, purpose := range []string{purposeSeal, purposeLog} {
		if _, err := v.keyset(ctx, tenant, purpose); err != nil {
			return err
		}
	}
	return nil
}
