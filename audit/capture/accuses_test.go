package capture_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What a migration has done is not said to be somebody's hand in the function.
func TestMissingAccusesNobodyOfAMigration(t *testing.T) {
	one(t, func(b *bench) {
		b.exec(contactsTable, `ALTER TABLE contacts ALTER email SET NOT NULL`, `CREATE COLLATION nd (provider = icu, locale = 'und-u-ks-level2', deterministic = false)`)
		b.pack(contacts())
		for _, migration := range []string{`ALTER TABLE contacts ALTER email TYPE text COLLATE nd`, `ALTER TABLE contacts DROP CONSTRAINT contacts_pkey, ADD PRIMARY KEY (email)`} {
			b.exec(migration)
			require.Contains(b, b.lack(contacts()), "columns or the key have changed", migration)
			b.pack(contacts())
			require.Empty(b, b.lack(contacts()), migration)
		}
		b.exec(`ALTER TABLE contacts DROP CONSTRAINT contacts_pkey`)
		require.Contains(b, b.lack(contacts()), "columns or the key have changed")
	})
}
