package keycopy

import "context"

// Rewrap says how Vault.RewrapKeys of package encryption closes an epoch: key copies
// of before open nothing afterwards.
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
	Fenced    int      // index versions that are searched no more for that (RepairReport): call RebuildIndexes
	Old       []string // names of the KEKs that nothing needs any more: destroy them
}
