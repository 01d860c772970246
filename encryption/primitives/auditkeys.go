package primitives

import (
	"context"
	"fmt"

	"github.com/crmguard/crmguard/encryption/internal/format"
	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/internal/frame"
)

// The purpose of what is person-sealed for the trail, frozen, and how the label
// begins of whatever a MAC key is derived for.
const (
	purposeAudit = "audit"
	labelAudit   = "crmguard/audit/"
)

// AuditKeys are all that an audit trail needs of a vault in one value: it seals and
// opens as the [PersonSealer] of the purpose "audit", tags and verifies as the
// [Tagger] of the purpose "log", and derives MAC keys. No other purpose is within
// its reach. It is safe for concurrent use.
type AuditKeys struct {
	PersonSealer
	Tagger
}

// AuditKeys is that of encryption.Vault.
func (k *Keys) AuditKeys() AuditKeys {
	return AuditKeys{PersonSealer: k.PersonSealer(purposeAudit), Tagger: k.Tagger(keyring.PurposeLog)}
}

// Prepare is Ensure: it makes or fetches the keys of these persons and of the
// tenant's own data, and the keyset of tags and MAC keys. Persons that get no key
// are a PersonsError of package encryption, which names their positions.
func (a AuditKeys) Prepare(ctx context.Context, tenant string, persons ...string) error {
	return a.Ensure(ctx, tenant, persons...)
}

// MACKeys derives a key for HMAC-SHA256 from every key of the tenant's keyset of
// tags: HKDF-SHA256(key, info). The one that makes what is new comes first, the
// others the newest first; each goes by the id of the key that it comes from, which
// that key's tags name, too. So a key that is added to the keyset is a new id, and
// what was made under an older one verifies for as long as that one stays. One that
// was added elsewhere less than a lease ago may be missing: ask again after it.
//
// info is LP parts (formats.md), the first of them a label that begins with
// "crmguard/audit/": anything else is ErrKeyset. Infos that differ give keys that
// tell nothing of each other, nor of the keyset.
//
// The bytes are copies that belong to the caller, who may wipe them. Whoever holds
// one makes and verifies MACs for this tenant and this info, for ever: neither the
// lease nor an erasure nor the end of the tenant takes it back. It opens nothing,
// makes no tag of [Tagger], and no other key follows from it. To be called where a
// connection may be used, as before a transaction: what is known of the tenant is no
// older than the lease, so that a tenant that was taken away is ErrTenant. A KEK is
// asked where the tenant's keysets are not in memory yet.
func (a AuditKeys) MACKeys(ctx context.Context, tenant string, info []byte) (keyIDs []uint32, keys [][]byte, err error) {
	if !frame.Labelled(info, labelAudit) {
		return nil, nil, fmt.Errorf("%w: MAC keys are derived for package audit alone: info is LP parts, the first of them a label that begins with %q", keyring.ErrKeyset, labelAudit)
	}
	if err := keyring.CheckTenant(tenant); err != nil {
		return nil, nil, err
	}
	set, err := a.Tagger.keys.ring.Keyset(ctx, tenant, keyring.PurposeLog)
	if err != nil {
		return nil, nil, err
	}
	keyIDs = make([]uint32, 0, len(set.Roots))
	keys = make([][]byte, 0, len(set.Roots))
	for _, r := range set.Roots {
		key, err := format.Derive(r.Key, info)
		if err != nil {
			return nil, nil, err
		}
		keyIDs, keys = append(keyIDs, r.ID), append(keys, key)
	}
	return keyIDs, keys, nil
}
