package keyring

import (
	"maps"

	"github.com/crmguard/crmguard/encryption/keystore"
)

// age is what an entry of the cache says about itself; Ring.mu guards it. An
// entry that was narrowed is read afresh by whoever takes keys, but serves
// transactions that began before, where nothing may be fetched, to the end of
// the lease that it then had.
type age struct {
	flush    uint64 // of the ring, before the read
	narrowed bool   // something was taken away since it was read, or may have been
	doubted  bool   // of an entry that was narrowed: nobody has said that something was taken away
	lease    Grant  // of an entry that was narrowed; others have the ring's
}

// narrowLocked marks an entry.
func (a *age) narrowLocked(g Grant) {
	a.doubted = false
	if !a.narrowed {
		a.narrowed, a.lease = true, g
	}
}

// reading begins the age of an entry that is about to be read, and returns the
// grant under which it is.
func (v *Ring) reading() (age, Grant) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return age{flush: v.flush}, v.grant
}

// readLocked ends it. What was dropped while the entry was read may have been
// dropped of it: it is then no newer than the grant under which it was read.
func (v *Ring) readLocked(a *age, g Grant) {
	if a.flush != v.flush {
		a.narrowLocked(g)
	}
}

// leaseLocked is how long an entry may be used without a question.
func (v *Ring) leaseLocked(a *age) Grant {
	if a.narrowed {
		return a.lease
	}
	return v.grant
}

func (v *Ring) drop(scopes []keystore.Scope) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.dropLocked(scopes)
}

// dropLocked narrows what is cached of the scopes.
func (v *Ring) dropLocked(scopes []keystore.Scope) {
	if len(scopes) == 0 {
		return
	}
	v.flush++
	for _, of := range scopes {
		for _, owner := range of.Owners {
			v.narrowOwnerLocked(ownerID{of.Tenant, owner}, v.grant)
		}
		if len(of.Owners) > 0 {
			continue
		}
		for tenant, k := range v.tenants {
			if of.Tenant == "" || of.Tenant == tenant {
				k.narrowLocked(v.grant)
			}
		}
		for id := range v.owners {
			if of.Tenant == "" || of.Tenant == id.tenant {
				v.narrowOwnerLocked(id, v.grant)
			}
		}
	}
}

// Doubt makes everybody read afresh, as drop does, where nothing is known to be
// taken away: the key store itself is in doubt. What it may have lost is still
// here (RepairFromCaches), and opens nothing once the lease is over.
func (v *Ring) Doubt() {
	v.mu.Lock()
	defer v.mu.Unlock()
	var sound []*age
	for _, k := range v.tenants {
		if !k.narrowed || k.doubted {
			sound = append(sound, &k.age)
		}
	}
	for _, o := range v.owners {
		if !o.narrowed || o.doubted {
			sound = append(sound, &o.age)
		}
	}
	v.dropLocked(everyone())
	for _, a := range sound {
		a.doubted = true
	}
}

func (v *Ring) narrowOwnerLocked(id ownerID, g Grant) {
	if o := v.owners[id]; o != nil {
		o.narrowLocked(g)
		v.narrow[id] = true
	}
}

// sweepLocked forgets the owners that were narrowed and whose lease is over, and
// with them keys that may have been erased.
func (v *Ring) sweepLocked() {
	now := v.cfg.Now()
	maps.DeleteFunc(v.narrow, func(id ownerID, _ bool) bool {
		o := v.owners[id]
		if o != nil && o.narrowed && !o.lease.Over(now) {
			return false
		}
		if o != nil && o.narrowed {
			delete(v.owners, id)
		}
		return true
	})
}

// remember puts owners that were read under the grant into the cache, unless
// something newer is there.
func (v *Ring) remember(tenant string, found map[string]*Owner, g Grant) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for owner, keys := range found {
		id := ownerID{tenant, owner}
		if known := v.owners[id]; known != nil && known.flush > keys.flush {
			continue
		}
		if len(v.owners) >= v.cfg.CacheKeys {
			for one := range v.owners { // any one goes: map order is random enough
				delete(v.owners, one)
				break
			}
		}
		v.owners[id] = keys
		if v.readLocked(&keys.age, g); keys.narrowed {
			v.narrow[id] = true
		}
	}
}

// evict forgets owners at once: they were erased here.
func (v *Ring) evict(tenant string, owners []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, owner := range owners {
		delete(v.owners, ownerID{tenant, owner})
	}
}
