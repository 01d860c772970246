package jobs

import (
	"strings"

	"github.com/crmguard/crmguard/encryption/internal/keyring"
)

// RebuildReport says what Rebuild did.
type RebuildReport struct {
	Rows       int          // rows read in the last pass
	Corrected  int          // index values corrected
	Unreadable int          // indexed cells that do not open: their index columns stay as they are
	Listed     []Unreadable // the first 100 of them
	Refused    int          // index values that the database refuses to store
	Refusals   []Refused    // the first 100 of them
}

// FoundRow is a row that holds one of the identities.
type FoundRow struct {
	Table string // as it is named in SQL
	Key   string // of the row, as RowText writes it
	Owner string // whose keys seal it, "" where nobody is named
	// Confirmed says that the value was opened and is the one searched for. Where it
	// is false, the value does not open (its owner was erased, it is damaged): the
	// index says it is hers, or another one that is equal in so many bits.
	Confirmed bool
}

// NotSearchedError says that FindRows has handed out all that it found in a
// database, and that this is not all: the vault declares an index for the identities
// in tables that the database does not have, or does not show this user. Search the
// databases that have them; a table that every one of them lacks was searched
// nowhere.
type NotSearchedError struct {
	Tables []string // as they are named in SQL
}

// Error names the tables and the remedy.
func (e *NotSearchedError) Error() string {
	return "encryption: not searched, because this database does not have it, or does not show it to this user: table " + strings.Join(e.Tables, ", table ") + ": search the database that has it, too"
}

// Unwrap returns ErrDefinition: in this database the tables are not as declared.
func (e *NotSearchedError) Unwrap() error { return keyring.ErrDefinition }
