package keycopy

import (
	"errors"

	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/encryption/keystore"
)

// graves say who was erased, and which key versions were destroyed.
//
// The rule, for all callers: an erasure deletes the keys in the change that writes
// the tombstone, and a destruction writes "destroyed" in a change that finds no key
// left. So a key that stands under either is a contradiction, which one row of the
// two has made: somebody put the key back, or wrote the state, and the store does not
// tell which. It is settled by what is believed beside it, a whole copy that was
// verified, or that this process has done it itself. What it has read is not, for
// that may be the row in question. Where they say so, the key is a stray, and goes.
// So is what opens nothing, and no copy has. Else it is damage: it stays, nothing is
// deleted, and nobody comes back to life, before an operator decides (Erase or
// DestroyKeyVersion once more take it away for good).
type graves struct {
	ring     *keyring.Ring
	versions []map[genKey]*keystore.KeyVersionRow // one a copy
	cursors  []*copyCursor
	owners   []*owners
}

// believe adds a whole copy that was verified.
func (g *graves) believe(from source) error {
	if from.path == "" {
		return nil
	}
	versions, err := versionsIn(from)
	if err != nil {
		return err
	}
	c, err := openCursor(from)
	if err != nil {
		return err
	}
	g.versions, g.cursors = append(g.versions, versions), append(g.cursors, c)
	g.owners = append(g.owners, &owners{next: ownersIn(c)})
	return nil
}

func (g *graves) close() (err error) {
	for _, c := range g.cursors {
		err = errors.Join(err, c.close())
	}
	return err
}

// destroyed reports whether a key version is known to be gone for ever.
func (g *graves) destroyed(tenant string, keyVersion uint32) bool {
	for _, versions := range g.versions {
		if row := versions[genKey{tenant, keyVersion}]; row != nil && row.State == keystore.Destroyed {
			return true
		}
	}
	return g.ring.HasDestroyed(tenant, keyVersion)
}

// erased reports whether an owner is known to be gone for ever. Owners are asked
// for in their order.
func (g *graves) erased(tenant, owner string) (bool, error) {
	for _, known := range g.owners {
		row, found, err := known.find(tenant, owner)
		if err != nil {
			return false, err
		}
		if found && row.State == keystore.Tombstone {
			return true, nil
		}
	}
	return g.ring.HasErased(tenant, owner), nil
}
