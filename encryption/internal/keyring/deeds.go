package keyring

import (
	"crypto/sha256"
	"sync"
)

// maxDeeds bounds what a process remembers of its own erasures. Of those beyond it a
// key copy tells, or Erase once more.
const maxDeeds = 1 << 16

// deeds are what this process has taken away for ever itself. What it has read of
// the store is not among them: that may be what somebody planted.
type deeds struct {
	mu        sync.Mutex
	destroyed map[retiredID]bool
	erased    map[[16]byte]bool
}

func (d *deeds) destroy(tenant string, keyVersion uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.destroyed == nil {
		d.destroyed = map[retiredID]bool{}
	}
	d.destroyed[retiredID{tenant, keyVersion}] = true
}

func (d *deeds) erase(tenant string, owners []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.erased == nil {
		d.erased = map[[16]byte]bool{}
	}
	for _, owner := range owners {
		if len(d.erased) >= maxDeeds {
			return
		}
		d.erased[deedOf(tenant, owner)] = true
	}
}

// deedOf names an owner in a few bytes.
func deedOf(tenant, owner string) (out [16]byte) {
	sum := sha256.Sum256([]byte(tenant + "\x00" + owner)) // ids hold no NUL
	copy(out[:], sum[:])
	return out
}

// HasDestroyed reports whether this process has destroyed a key version.
func (v *Ring) HasDestroyed(tenant string, keyVersion uint32) bool {
	v.deeds.mu.Lock()
	defer v.deeds.mu.Unlock()
	return v.deeds.destroyed[retiredID{tenant, keyVersion}]
}

// HasErased reports whether this process has erased an owner.
func (v *Ring) HasErased(tenant, owner string) bool {
	v.deeds.mu.Lock()
	defer v.deeds.mu.Unlock()
	return v.deeds.erased[deedOf(tenant, owner)]
}
