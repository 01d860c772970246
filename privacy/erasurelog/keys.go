package erasurelog

import (
	"context"
	"fmt"

	"github.com/crmguard/crmguard/internal/alone"
)

// Digests answers, for each ledger root, newest first, its id and
// HMAC-SHA256(HKDF-SHA256(root, LP(label)), data). LedgerDigests of a vault of
// package encryption is one, [KeysFrom] makes another.
type Digests = func(ctx context.Context, label string, data []byte) (roots []uint32, digests [][]byte, err error)

// KeysFrom returns the digests of a ledger that works without package
// encryption: one root that derives from a secret of 32 random bytes. Packages
// audit and integrity may derive theirs from the same secret.
//
// Without a vault there are no keys of persons to destroy: erasures delete, and
// whoever holds a backup from before one still reads there what was erased,
// until the last such backup is gone.
//
// Keep a copy of the secret where neither the database nor its backups are:
// under another one the ledger is another system's ([ErrForeign]), and
// nobody can tell any more whom to erase again after a restore. To move on to
// the roots of a vault, hand in a func that answers the vault's roots and
// digests first and these after them, for as long as the ledger is kept.
func KeysFrom(secret []byte) (Digests, error) {
	root, err := alone.From(secret)
	if err != nil {
		return nil, fmt.Errorf("%w: keys: %w", ErrConfig, err)
	}
	return root.Ledger(), nil
}

// KeysFile is [KeysFrom] the secret in a file that [NewKeysFile] has made, or
// another program in the same form: one line of 64 lower-case hex digits,
// which on unix neither group nor others may read.
func KeysFile(path string) (Digests, error) {
	root, err := alone.Read(path)
	if err != nil {
		return nil, fmt.Errorf("%w: keys: %w", ErrConfig, err)
	}
	return root.Ledger(), nil
}

// NewKeysFile draws a secret and stores it in a file, once: where the file
// exists the error is fs.ErrExist, and it stays as it is.
func NewKeysFile(path string) error {
	if err := alone.Create(path); err != nil {
		return fmt.Errorf("%w: keys: %w", ErrConfig, err)
	}
	return nil
}
