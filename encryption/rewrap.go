package encryption

import (
	"context"

	"github.com/crmguard/crmguard/encryption/internal/keyring"
)

// Rewrap says how an epoch is closed.
type Rewrap struct {
	// KEK is the name of the new KEK; the KEK func must already answer to it,
	// and to the old names until the epoch is closed.
	KEK string
	// Copy writes a verified key copy and deletes older ones: Vault.Copier.
	Copy func(ctx context.Context) error
	// Destroy destroys an old KEK that no keyset names any more; it must bear
	// being called again. nil leaves it to the caller (RewrapReport.Old).
	Destroy func(ctx context.Context, kek string) error
}

// RewrapReport says what RewrapKeys did.
type RewrapReport struct {
	Epoch     int64    // the number of the new epoch
	Rewrapped int      // key rows wrapped anew by this call
	Repaired  int      // damaged rows that were brought back from the newest key copy first
	Old       []string // names of the KEKs that nothing needs any more: destroy them
}

// RewrapKeys makes every older key copy useless: each tenant gets a new wrap
// key, every key row is wrapped anew (the keys themselves, and every sealed
// byte, stay as they are), a key copy is written, each tenant gets a new branch
// key under the new KEK, with all its keysets under that, but for the old wrap
// keys, which go, a second key copy replaces the first, the old KEK goes, and a
// last copy says so: it restores to the closed epoch. A process that has opened
// nothing yet asks KEKs three times a tenant for it. Do it at least once a window W:
// an erasure is final in key copies only then.
//
// It covers all tenants and the installation. It may be interrupted anywhere
// and called again with the same KEK name; another name is refused (ErrRewrap)
// until it is done, and so is a name that is already in use. Nothing begins and
// no key goes while a row of the key store is damaged. It is brought back first
// (RepairFromCopy) from the newest copy in the folders that this vault was told
// of (Copier, KeyCopy, WriteCopy); what that one has not is ErrRewrap, with a
// *DamagedError that names the rows.
func (v *Vault) RewrapKeys(ctx context.Context, epoch Rewrap) (RewrapReport, error) {
	report, err := v.ring.RewrapKeys(ctx, keyring.Rewrap(epoch), v.copies.Sound)
	return RewrapReport(report), err
}
