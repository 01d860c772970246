package roles

import (
	"hash/crc32"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/crmguard/crmguard/accesscontrol"
)

// cache keeps principals that were read: at most two generations of cacheSize, the
// scopes and the entities that stand below them counted.
type cache struct {
	age        time.Duration
	changes    [256]atomic.Uint64 // by tenants: what was read before a change is not fresh after it
	mu         sync.Mutex
	young, old map[person]*kept
	size       int // of the young ones
}

const cacheSize = 1 << 15

type person struct{ tenant, id string }

// kept is a principal that was read, whether a map holds it or an Actor.
type kept struct {
	principal accesscontrol.Principal
	began     time.Time // before the database was asked
	lasts     time.Duration
	changes   *atomic.Uint64
	seen      uint64 // of changes, before the database was asked
}

// find returns nil where the database is to be asked.
func (c *cache) find(who person) *kept {
	c.mu.Lock()
	k := c.young[who]
	if k == nil {
		k = c.old[who]
	}
	c.mu.Unlock()
	if k == nil || !k.fresh(time.Now()) {
		return nil
	}
	return k
}

// fresh compares both clocks: the steady one stands still while a machine
// sleeps, the other one may be set. Neither says what is held, only when the
// database is asked again.
func (k *kept) fresh(now time.Time) bool {
	steady, wall := now.Sub(k.began), now.Round(0).Sub(k.began.Round(0))
	return k.changes.Load() == k.seen && steady < k.lasts && wall < k.lasts && wall >= 0
}

// of is the counter of a tenant. Some share one: then a change of the one lets
// the others be read again, too.
func (c *cache) of(tenant string) *atomic.Uint64 {
	return &c.changes[crc32.ChecksumIEEE([]byte(tenant))%uint32(len(c.changes))]
}

// begin is what is to be filled, and kept, with what the database answers from
// now on.
func (c *cache) begin(tenant string) *kept {
	changes := c.of(tenant)
	return &kept{began: time.Now(), changes: changes, seen: changes.Load()}
}

// keep keeps a principal for as long as the answer lasts, and no longer than the
// age.
func (c *cache) keep(who person, k *kept, lasts time.Duration, p accesscontrol.Principal) {
	k.principal, k.lasts = p, min(c.age, lasts)
	c.mu.Lock()
	defer c.mu.Unlock()
	size := sizeOf(p)
	if c.young == nil || c.size+size > cacheSize {
		c.young, c.old, c.size = map[person]*kept{}, c.young, 0
	}
	c.young[who] = k
	c.size += size
}

// sizeOf is what a principal takes, in the size of an entity, about 100 bytes. A
// reference counts as one: a head may hold a role in thousands of units.
func sizeOf(p accesscontrol.Principal) int {
	size := 8 + len(p.Parents) + len(p.Entities)
	for _, v := range p.Attrs {
		refs, _ := v.([]accesscontrol.Ref)
		size += 1 + len(refs)
	}
	for i := range p.Entities {
		size += max(0, len(p.Entities[i].Parents)-1)
	}
	return size
}

// forget is told of a change: what was read of the tenant, or is being read, is
// no longer fresh.
func (c *cache) forget(tenant string) { c.of(tenant).Add(1) }

// forgetAll is forget for every tenant.
func (c *cache) forgetAll() {
	for i := range c.changes {
		c.changes[i].Add(1)
	}
}

// own is a principal that the caller may change.
func own(p accesscontrol.Principal) accesscontrol.Principal {
	p.Attrs = maps.Clone(p.Attrs)
	for name, v := range p.Attrs {
		if refs, is := v.([]accesscontrol.Ref); is {
			p.Attrs[name] = slices.Clone(refs)
		}
	}
	p.Parents, p.Entities = slices.Clone(p.Parents), slices.Clone(p.Entities)
	for i := range p.Entities {
		p.Entities[i].Parents = slices.Clone(p.Entities[i].Parents)
	}
	return p
}
