package jobs

import (
	"context"

	"github.com/crmguard/crmguard/encryption/internal/keyring"
)

// Census counts the sealed cells of a table, or the values that another holder has
// (primitives.PersonSealer.Census), by key version.
type Census struct {
	KeyVersions map[uint32]int64 // cells a key version
	Null        int64            // cells that are NULL
	Unsealed    int64            // cells that do not begin like a sealed field: clear or damaged
}

// Holder counts what still needs a key version of a tenant, and says
// where: a table (encryption.SealedTable.Holder), the rows of another package, the
// kept snapshots of a backup.
type Holder = func(ctx context.Context, tenant string, keyVersion uint32) (count int, where string, err error)

// InUseError names what still needs a key version. Its fields:
//
//	KeyVersion uint32 // the key version that was to be destroyed
//	Count      int    // how many values or snapshots need it
//	Where      string // as the holder named it
type InUseError = keyring.InUseError

// UndeclaredColumn is a column that holds sealed values and that no table of the
// vault declares: the definition forgot it, or the application sealed by hand.
type UndeclaredColumn struct {
	Table  string // in the database, with its schema
	Column string // in the database; "" where the table could not be read
	// KeyVersions counts the rows by the key version that a value in them needs: a
	// field in its binary form, or one in the text form anywhere in the text.
	KeyVersions map[uint32]int64
	// Unread says why the table could not be read, nil where it was.
	Unread error
}
