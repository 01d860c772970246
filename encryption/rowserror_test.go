package encryption_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/encryption/keycopy"
)

// One line of a log says why rows did not open, and which rows is in the detail.
func TestRowsThatDoNotOpenAreCountedByReason(t *testing.T) {
	erased := &encryption.KeyError{Op: "open", Table: "contacts", Err: encryption.ErrErased}
	for want, rows := range map[string]map[int]error{
		"encryption: 1 row did not open: 1 erased (ErrErased)": {3: erased},
		"encryption: 4 rows did not open: 2 erased (ErrErased), 1 damaged, moved, or of another owner, row or column than named (ErrOpen), 1 for another reason (RowsError.Rows)": {0: erased, 1: encryption.ErrOpen, 2: erased, 9: errors.New("x")},
		"encryption: 1 row did not open: 1 not reached because the key store failed (ErrStore)":                                                                                   {0: fmt.Errorf("%w: %w", encryption.ErrStore, errors.New("gone"))},
		"encryption: 0 rows did not open": {},
	} {
		require.EqualError(t, &encryption.RowsError{Rows: rows}, want)
	}
}

// A misspelt column is answered with those that there are.
func TestAMisspeltColumnIsAnsweredWithThoseThatAreDeclared(t *testing.T) {
	vault := newEnv(t, 1).vault
	require.NoError(t, vault.AddTenant(t.Context(), "a"))
	contacts, err := vault.Table(encryption.Table{Name: "people", Columns: []encryption.Column{{Name: "email", SQL: "email_sealed"}, {Name: "notes"}}})
	require.NoError(t, err)
	w, err := contacts.Writer(t.Context(), "a", "p1")
	require.NoError(t, err)
	err = w.Text("email_sealed", "x").Err()
	require.ErrorIs(t, err, encryption.ErrDefinition)
	require.ErrorContains(t, err, "the table has email (email_sealed in SQL), notes. There is no people.email_sealed")
}

// The text of an error ends with what to do about it.
func TestAnErrorSaysWhatToDo(t *testing.T) {
	for want, err := range map[string]error{
		"encryption: value does not open: open contacts.email (key version 0000002a): it was changed, or is not of the owner, row, table and column that were named": &encryption.KeyError{Op: "open", Table: "contacts", Column: "email", KeyVersion: 42, Err: encryption.ErrOpen},
		"encryption: lease has passed: seal contacts.email: call again, with a new Writer":                                                                           &encryption.KeyError{Op: "seal", Table: "contacts", Column: "email", Err: encryption.ErrLease},
		"encryption: erased: open contacts.email": &encryption.KeyError{Op: "open", Table: "contacts", Column: "email", Err: encryption.ErrErased},
		"encryption: key version is still in use: key version 0000002a, 7 in table contacts: reseal them (SealedTable.Reseal), or let the snapshots go that hold them": &jobs.InUseError{KeyVersion: 42, Count: 7, Where: "table contacts"},
	} {
		require.EqualError(t, err, want)
	}
	vault := newEnv(t, 1).vault
	_, err := vault.Table(encryption.Table{Name: "people"})
	require.ErrorContains(t, err, "name those that are sealed in Table.Columns")
	_, err = keycopy.Newest(t.TempDir())
	require.ErrorContains(t, err, "name the folder that WriteCopy writes to")
	_, err = encryption.Open(t.Context(), encryption.Config{})
	require.ErrorContains(t, err, "sqlkeys.Open")
	_, err = encryption.Open(t.Context(), encryption.Config{Keys: encryptiontest.Keys()})
	require.ErrorContains(t, err, "insecurekeys.Folder")
}
