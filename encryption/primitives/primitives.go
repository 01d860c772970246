// Package primitives has what package encryption hands to other packages, each over
// the keys of a vault and none with a table: a [PersonSealer] seals bytes that they
// keep (an AEAD), a [Tagger] and a [ManifestTagger] tag what they sign (a MAC), and
// digests are keyed hashes of what they must know again (a PRF). The field calls
// such things primitives. [AuditKeys] are those of an audit trail in one value, and
// the only ones that hand out bytes of a key, derived for that one use.
//
// A vault hands them out (Vault.PersonSealer, Vault.Tagger, Vault.AuditKeys,
// Vault.ManifestTagger, Vault.Digests, Vault.LedgerDigests); the interfaces of the other packages fit
// them, so an application seldom names a type of this one. Errors are those of
// package encryption (ErrErased, ErrOpen, ErrTag, ErrKeyset, …), and so is what is
// promised.
package primitives

import "github.com/crmguard/crmguard/encryption/internal/keyring"

// Keys are the keys of one vault.
type Keys struct {
	ring *keyring.Ring // one pointer more for the primitives: package fmt follows the first for some verbs
}

// New returns the primitives over the keys of a ring.
func New(ring *keyring.Ring) *Keys { return &Keys{ring: ring} }
