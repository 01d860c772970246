package keycopy

import (
	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/internal/durable"
)

// Copies are the key copies of one key store.
type Copies struct {
	ring   *keyring.Ring
	cfg    keyring.Config
	over   func(durable.Disk) durable.Disk // tests put disks there that fail
	record copyRecord
}

// New returns the key copies of the key store of a ring.
func New(ring *keyring.Ring, cfg keyring.Config) *Copies {
	return &Copies{ring: ring, cfg: cfg}
}

// OverDisk is for tests: disks that fail.
func (v *Copies) OverDisk(over func(durable.Disk) durable.Disk) { v.over = over }
