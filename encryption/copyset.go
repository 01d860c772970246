package encryption

import (
	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/internal/durable"
)

// copies are the key copies of one key store.
type copies struct {
	ring   *keyring.Ring
	cfg    keyring.Config
	over   func(durable.Disk) durable.Disk // tests put disks there that fail
	record copyRecord
}

// newCopies returns the key copies of the key store of a ring.
func newCopies(ring *keyring.Ring, cfg keyring.Config) *copies {
	return &copies{ring: ring, cfg: cfg}
}

// overDisk is for tests: disks that fail.
func (v *copies) overDisk(over func(durable.Disk) durable.Disk) { v.over = over }
