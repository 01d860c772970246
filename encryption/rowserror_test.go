package encryption_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
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
