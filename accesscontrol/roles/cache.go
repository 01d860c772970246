package roles

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/crmguard/crmguard/accesscontrol"
)

// cache keeps principals that were read: at most two generations of cacheSize.
type cache struct {
	age        time.Duration
	mu         sync.Mutex
	changes    uint64 // what was read before a change is not kept after it
	young, old map[person]kept
}

const cacheSize = 4096

type person struct{ tenant, id string }

type kept struct {
	principal accesscontrol.Principal
	began     time.Time // before the database was asked
	lasts     time.Duration
}

func (c *cache) find(who person) (p accesscontrol.Principal, fresh bool) {
	c.mu.Lock()
	k, known := c.young[who]
	if !known {
		k, known = c.old[who]
	}
	c.mu.Unlock()
	if !known || !k.fresh(c.age) {
		return p, false
	}
	return own(k.principal), true
}

// fresh compares both clocks: the steady one stands still while a machine
// sleeps, the other one may be set. Neither says what is held, only when the
// database is asked again.
func (k *kept) fresh(age time.Duration) bool {
	lasts := min(age, k.lasts)
	now := time.Now()
	steady, wall := now.Sub(k.began), now.Round(0).Sub(k.began.Round(0))
	return steady < lasts && wall < lasts && wall >= 0
}

func (c *cache) begin() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changes
}

func (c *cache) keep(who person, since uint64, began time.Time, lasts time.Duration, p accesscontrol.Principal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changes != since {
		return
	}
	if c.young == nil || len(c.young) >= cacheSize {
		c.young, c.old = map[person]kept{}, c.young
	}
	c.young[who] = kept{p, began, lasts}
}

// forget drops a tenant, and what is being read of any.
func (c *cache) forget(tenant string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes++
	for _, m := range []map[person]kept{c.young, c.old} {
		maps.DeleteFunc(m, func(who person, _ kept) bool { return who.tenant == tenant })
	}
}

// own is a principal that the caller may add to.
func own(p accesscontrol.Principal) accesscontrol.Principal {
	p.Attrs = maps.Clone(p.Attrs)
	p.Parents, p.Entities = slices.Clone(p.Parents), slices.Clone(p.Entities)
	return p
}
