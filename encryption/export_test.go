package encryption

import (
	"path"

	"github.com/crmguard/crmguard/internal/durable/durabletest"
)

// FailDisk makes the vault's key copies go to a disk that asks first: an error
// of ask is the outcome of that step, which is not carried out.
func (v *Vault) FailDisk(ask func(step string) error) {
	v.over = durabletest.Ask(func(step, name string) error {
		switch {
		case step == "open" || step == "stat" || step == "close" && name == ".": // reading
			return nil
		case step == "remove" && isCopyFile(path.Base(name)):
			step = "remove older"
		case step == "remove":
			step = "remove unfinished"
		}
		return ask(step)
	})
}

// Bounds of what one key seals.
const (
	FreeSeals  = freeSeals
	FirstBlock = firstBlock
	LastBlock  = lastBlock
	WornSeals  = wornSeals
)

// HasSealed makes the vault believe that it has sealed so much under a person's
// key by itself.
func (v *Vault) HasSealed(tenant, owner string, generation uint32, n uint32) {
	v.counters.slot(keyName{tenant, owner, generation}).Store(n)
}

// SealsLeft is what is left of what was allotted to the vault for a key.
func (v *Vault) SealsLeft(tenant, owner string, generation uint32) int64 {
	return v.counters.block(keyName{tenant, owner, generation}).left.Load()
}

// UseUp leaves so much of it.
func (v *Vault) UseUp(tenant, owner string, generation uint32, left int64) {
	v.counters.block(keyName{tenant, owner, generation}).left.Store(left)
}
