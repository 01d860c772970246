package encryption

import (
	"context"

	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/encryption/keystore"
)

// What the adoption of a table asks about values that were never sealed: whether
// their owner was erased, and what authenticates the stage that it keeps.

// Erased says whether an owner, as it stands in a row, was erased: a value of that
// owner which stands somewhere in the clear is to be read as little as a sealed
// one. The owner is one of those that the Reader was made for; what names nobody
// was never erased.
func (r *Reader) Erased(ctx context.Context, owner string) (bool, error) {
	owner = keyring.Fold(owner)
	if keyring.CheckOwner(owner) != nil {
		return false, nil
	}
	r.look()
	if _, asked := r.keys[owner]; !asked || !r.leased {
		owners := []string{owner}
		for other := range r.keys {
			owners = append(owners, other)
		}
		found, g, err := r.table.vault.ring.Owners(ctx, r.tenant, owners, false)
		if err != nil {
			return false, err
		}
		for _, one := range owners {
			if _, known := found[one]; !known {
				found[one] = nil // asked for
			}
		}
		r.keys, r.lease, r.last = found, g, lastKey{}
	}
	o := r.keys[owner]
	return o != nil && o.State == keystore.Tombstone, nil
}

// Tagger returns Vault.Tagger for row seals ("seal"): for what a room keeps beside
// the table. Its data begin with a domain of their own.
func (t *SealedTable) Tagger() Tagger { return t.vault.Tagger(keyring.PurposeSeal) }
