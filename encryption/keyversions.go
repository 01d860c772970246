package encryption

import "github.com/crmguard/crmguard/encryption/keystore"

// KeyVersionRow is one key version of a tenant, as [Vault.KeyVersions] lists them.
type KeyVersionRow = keystore.KeyVersionRow

// KeyVersionState is the state of a key version.
type KeyVersionState = keystore.KeyVersionState

// The states of a key version, in their order.
const (
	Active     = keystore.Active     // seals and opens; one a tenant
	Retired    = keystore.Retired    // opens, never seals
	Destroying = keystore.Destroying // about to be destroyed: opens, and may go back to retired
	Deleting   = keystore.Deleting   // some of its keys are gone: opens the others, and only goes on
	Destroyed  = keystore.Destroyed  // no key is left; for ever
)
