package keyring

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/crmguard/crmguard/encryption/internal/format"
	"github.com/crmguard/crmguard/encryption/keystore"
)

// AES-GCM with random IVs holds for 2^32 messages a key. What a process seals
// under a person's key is few, and it counts that by itself up to freeSeals.
// Beyond, and for the tenant's own key from the first one on, it seals what the
// key store has allotted to it: blocks that stand in the key row before the
// first seal of them is made, whatever becomes of the process. A block begins
// small, so that a process that lives for a minute wastes little.
const (
	FreeSeals  = 1 << 20
	FirstBlock = 1 << 14
	LastBlock  = 1 << 20
	WornSeals  = 1 << 31 // of one key: the tenant gets a new key version
	MaxSeals   = 1 << 32
)

// keyName names one key.
type keyName struct {
	tenant, owner string
	keyVersion    uint32
}

// counters is what this process counts. The counts of persons' keys lie in
// slots that keys share which hash alike: so they outlive the cache, cost 4 MiB
// however many persons there are, and count too many, never too few.
type counters struct {
	seed  maphash.Seed
	parts [slotParts]atomic.Pointer[[slotParts]atomic.Uint32]

	mu     sync.Mutex
	blocks map[keyName]*block
}

const slotParts = 1 << 10

func newCounters() *counters {
	return &counters{seed: maphash.MakeSeed(), blocks: map[keyName]*block{}}
}

func (c *counters) slot(name keyName) *atomic.Uint32 {
	at := maphash.Comparable(c.seed, name) % (slotParts * slotParts)
	part := &c.parts[at/slotParts]
	if part.Load() == nil {
		part.CompareAndSwap(nil, new([slotParts]atomic.Uint32))
	}
	return &part.Load()[at%slotParts]
}

// block is what is left of the seals that the key store has allotted to this
// process for one key.
type block struct {
	left     atomic.Int64
	low      atomic.Int64  // below it more is asked for: a Writer has at least so many
	allotted atomic.Int64  // to all processes, when this one asked last
	next     int64         // how many are asked for; who has the turn changes it
	turn     chan struct{} // one asks at a time
}

func (c *counters) block(name keyName) *block {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.blocks[name]
	if b == nil {
		b = &block{next: FirstBlock, turn: make(chan struct{}, 1)}
		b.low.Store(1)
		c.blocks[name] = b
	}
	return b
}

// forget drops the blocks of key versions that seal no more.
func (c *counters) forget(tenant string, active uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name := range c.blocks {
		if name.tenant == tenant && name.keyVersion != active {
			delete(c.blocks, name)
		}
	}
}

// draw takes n seals, or answers that there are not so many. It takes no lock.
func (k *Key) draw(n uint32) bool {
	if b := k.block.Load(); b != nil {
		if b.left.Add(-int64(n)) >= 0 {
			return true
		}
		b.left.Add(int64(n))
		return false
	}
	if k.allotted || k.slot.Load() >= FreeSeals {
		return false
	}
	k.slot.Add(n)
	return true
}

// ample reports whether a Writer may be handed out without asking for more: what
// allot would find, from memory alone.
func (k *Key) ample() bool {
	if !k.allotted && k.slot.Load() < FreeSeals/2 {
		return true
	}
	b := k.block.Load()
	return b != nil && b.left.Load() >= b.low.Load()
}

// allot makes sure that keys of the active key version have seals left. errStale
// says that the key version is no longer active: it may have ended here.
func (v *Ring) allot(ctx context.Context, tenant string, owners []string, found map[string]*Owner, keyVersion uint32) error {
	for _, owner := range owners {
		key := found[owner].Key(keyVersion)
		if !key.allotted && key.slot.Load() < FreeSeals/2 {
			continue
		}
		b := v.counters.block(keyName{tenant, owner, keyVersion})
		key.block.Store(b)
		if b.left.Load() >= b.low.Load() {
			continue
		}
		if err := v.refill(ctx, tenant, owner, keyVersion, b); err != nil {
			return err
		}
	}
	return nil
}

func (v *Ring) refill(ctx context.Context, tenant, owner string, keyVersion uint32, b *block) error {
	select {
	case b.turn <- struct{}{}:
		defer func() { <-b.turn }()
	case <-ctx.Done():
		return StoreError(ctx.Err())
	}
	if b.left.Load() >= b.low.Load() {
		return nil // another one has asked meanwhile
	}
	allotted, err := v.reserve(ctx, tenant, owner, keyVersion, b.next)
	switch {
	case err != nil && !errors.Is(err, ErrStale) && b.left.Load() > 0:
		return nil // asked early: what is left lasts for now
	case err != nil:
		return err
	}
	b.allotted.Store(allotted)
	b.low.Store(b.next / 2)
	b.left.Add(b.next)
	b.next = min(2*b.next, LastBlock)
	v.counters.forget(tenant, keyVersion)
	return nil
}

// reserve writes into the key row that n more seals are allotted. A key that
// has had its share ends with its key version.
func (v *Ring) reserve(ctx context.Context, tenant, owner string, keyVersion uint32, n int64) (allotted int64, err error) {
	renewed := false
	_, err = v.Update(ctx, func(tx keystore.Tx) error {
		renewed = false
		now, err := tx.Tenant(ctx, tenant)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(now.KeyVersions, func(g keystore.KeyVersionRow) bool { return g.KeyVersion == keyVersion && g.State == keystore.Active }) {
			return ErrStale
		}
		rows, err := tx.Owners(ctx, tenant, []string{owner})
		if err != nil {
			return err
		}
		i := slices.IndexFunc(rows.Keys, func(row keystore.KeyRow) bool { return row.KeyVersion == keyVersion })
		if i < 0 {
			return ErrStale
		}
		row := rows.Keys[i]
		if row.Seals < 0 || row.Seals > WornSeals-n {
			renewed = true
			_, err := beginKeyVersion(ctx, tx, tenant, now.KeyVersions, v.cfg.Now())
			return err
		}
		row.Seals += n
		allotted = row.Seals
		return tx.Write(ctx, keystore.Change{Put: keystore.Rows{Keys: []keystore.KeyRow{row}}})
	})
	if errors.Is(err, ErrStale) {
		v.drop([]keystore.Scope{{Tenant: tenant}}) // what is cached made it ask
	}
	if err != nil {
		return 0, err
	}
	if renewed {
		v.cfg.Observe(ctx, "encryption.key_version.worn", 1, slog.Uint64("generation", uint64(keyVersion)))
		return 0, ErrStale
	}
	return allotted, nil
}

// beginKeyVersion retires the active key version and makes the next one active.
func beginKeyVersion(ctx context.Context, tx keystore.Tx, tenant string, have []keystore.KeyVersionRow, now time.Time) (keyVersion uint32, err error) {
	taken := make([]uint32, 0, len(have))
	var put []keystore.KeyVersionRow
	for _, g := range have {
		taken = append(taken, g.KeyVersion)
		if g.State == keystore.Active {
			g.State = keystore.Retired
			put = append(put, g)
		}
	}
	if keyVersion, err = newKeyID(taken...); err != nil {
		return 0, err
	}
	put = append(put, keystore.KeyVersionRow{Tenant: tenant, KeyVersion: keyVersion, State: keystore.Active, Created: now.UTC().Truncate(time.Microsecond)})
	return keyVersion, tx.Write(ctx, keystore.Change{Put: keystore.Rows{KeyVersions: put}, Narrows: true, Of: keystore.Scope{Tenant: tenant}})
}

// SealWith seals under a key that sealKeys gave, and under the one that it gives
// then where nothing is left of it. resealing is as in activeKeys.
func (v *Ring) SealWith(ctx context.Context, tenant, owner string, key *Key, plaintext, ad []byte, resealing bool) ([]byte, error) {
	for range SealAttempts {
		sealed, err := key.appendSeal(make([]byte, 0, len(plaintext)+format.Overhead), plaintext, ad)
		if !errors.Is(err, ErrUsedUp) {
			return sealed, err
		}
		found, keyVersion, _, err := v.ActiveKeys(ctx, tenant, []string{owner}, resealing)
		if err != nil {
			return nil, err
		}
		key = found[owner].Key(keyVersion)
	}
	return nil, fmt.Errorf("%w: others take what is allotted all the time: call again", ErrStore)
}

// Restored marks keys whose count is not known: the store was put back, and
// what was allotted since is lost. They count as worn, so that they end with
// their key version before they seal again. Persons' keys that never had a block
// have sealed little.
//
// It takes indexes out of the search: the rows may be put back, too, with or
// without their index values, and written since by who knows the index. A Rebuild
// shows whether it is whole.
func Restored(rows keystore.Rows) keystore.Rows {
	for i, row := range rows.Indexes {
		if row.State == keystore.IndexLive {
			rows.Indexes[i].State = keystore.IndexFenced
		}
	}
	for i, row := range rows.Keys {
		if row.Owner == TenantOwner || row.Seals != 0 {
			rows.Keys[i].Seals = WornSeals
		}
	}
	return rows
}

// countSeals says how much of each key in memory has sealed: what the key store
// has allotted, or what this process has counted.
func (v *Ring) countSeals(say func(tenant string, keyVersion uint32, seals uint64)) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	for id, o := range v.owners {
		for _, key := range o.keys {
			if key.Err != nil {
				continue
			}
			say(id.tenant, key.keyVersion, uint64(key.slot.Load()))
			if b := key.block.Load(); b != nil {
				say(id.tenant, key.keyVersion, uint64(b.allotted.Load()))
			}
		}
	}
}
