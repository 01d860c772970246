package encryption_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/internal/testdb"
)

// Who hands in the rows of an application on PostgreSQL reads that this is not
// offered yet, and not the server's complaint about a placeholder.
func TestRowsOnPostgreSQLAreRefusedByName(t *testing.T) {
	vault := encryptiontest.Vault(t, "main")
	table, err := vault.Table(encryption.Table{
		Name: "contacts", Tenant: "tenant", Owner: "person",
		Columns: []encryption.Column{{Name: "email", Index: []encryption.Index{{Column: "email_idx", As: encryption.Email, Bits: 32}}}},
	})
	require.NoError(t, err)
	d := testdb.New(t, testdb.PostgresC)
	for _, driver := range d.Name.Drivers() {
		db := d.OpenWith(t, driver)
		_, census := table.Census(t.Context(), db, "main")
		_, reseal := table.Reseal(t.Context(), db, "main", encryption.ResealOptions{})
		_, redact := table.Redact(t.Context(), db, "main", "c1", encryption.Redaction{
			Edit: func(string, []byte) ([]byte, error) { return nil, nil },
		})
		_, _, holder := table.Holder(db)(t.Context(), "main", 1)
		for verb, err := range map[string]error{
			"Census": census, "Reseal": reseal, "Redact": redact, "Holder": holder,
			"RebuildIndexes": table.RebuildIndexes(db, "main")(t.Context()),
			"ClearRows":      table.ClearRows(db)(t.Context(), "main", "p1"),
		} {
			require.ErrorIs(t, err, errors.ErrUnsupported, verb)
			require.ErrorContains(t, err, "on PostgreSQL yet", verb)
			require.NotContains(t, err.Error(), "syntax", verb)
		}
	}
}
