package encryption

import "github.com/crmguard/crmguard/encryption/primitives"

// AuditKeys returns all that an audit trail needs of a vault, in one value: what
// it seals about a person opens under that person's key alone and is gone with it
// (PersonSealer("audit")), what it queues is tagged (Tagger("log")), and what it
// tags in great numbers, inside transactions, it tags itself under MAC keys that it
// took before (MACKeys). Its Prepare makes the keys of persons, and is called where
// Ensure would be: before the transaction.
//
// MACKeys hands out key bytes, which is what no other primitive does: they serve
// one tenant and one use of package audit, and open nothing.
func (v *Vault) AuditKeys() primitives.AuditKeys { return v.primitives.AuditKeys() }
