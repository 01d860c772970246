package encryption_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption/keycopy"
	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/internal/testdb"
)

// The columns of a key store have types of their own on each database. What is judged
// row by row on SQLite is judged so on servers: keys outlive a row that says they are
// gone, and rows that nobody can have written stop nothing, all of them at once.
func TestOddRowsAreJudgedAlikeOnServers(t *testing.T) {
	for _, name := range []testdb.Name{testdb.PostgresC, testdb.MariaDB} {
		t.Run(string(name), func(t *testing.T) {
			w := newWorn(t, testdb.New(t, name))
			_, err := w.vault.NewKeyVersion(t.Context(), tenant)
			require.NoError(t, err)
			require.NoError(t, w.vault.Ensure(t.Context(), tenant, "p9"))
			whole, err := w.vault.WriteCopy(t.Context(), w.copies())
			require.NoError(t, err)
			copied := kept(t, whole.Path)
			opens := w.opens(t)
			require.NotEmpty(t, opens)

			w.spoil(t, saysDestroyed)
			_, err = w.another(t).WriteCopy(t.Context(), w.copies())
			require.Equal(t, keystore.KindKey, damagedRows(t, err).Rows[0].Kind)
			w.spoil(t, `UPDATE crmguard_encryption_generation SET state = 'retired' WHERE state = 'destroyed'`)
			w.spoil(t, `UPDATE crmguard_encryption_owner SET state = 'tombstone' WHERE owner = 'p2'`)
			_, err = w.another(t).RepairFromCopy(t.Context(), copied)
			require.Equal(t, "p2", damagedRows(t, err).Rows[0].Owner)
			w.requireKeys(t, "p2", 1)
			w.spoil(t, `UPDATE crmguard_encryption_owner SET state = 'live' WHERE state = 'tombstone'`)
			require.Equal(t, opens, w.opens(t))

			for _, odd := range []string{
				`UPDATE crmguard_encryption_owner SET sequence = 9223372036854775807 WHERE owner = 'p3'`,
				`UPDATE crmguard_encryption_owner SET state = 'x' WHERE owner = 'p5'`,
				`INSERT INTO crmguard_encryption_owner (tenant, owner, state, sequence) VALUES ('t1', '', 'live', 1)`,
				`UPDATE crmguard_encryption_generation SET created = 9223372036854775807 WHERE state = 'retired'`,
				`UPDATE crmguard_encryption_generation SET created = -9223372036854775807 WHERE state = 'active' AND tenant = 't1'`,
				`INSERT INTO crmguard_encryption_generation (tenant, generation, state, created) VALUES ('t1', 0, 'retired', 0)`,
				`UPDATE crmguard_encryption_key SET seals = -5 WHERE owner = 'p6'`,
				`UPDATE crmguard_encryption_key SET seals = 9223372036854775807 WHERE owner = 'p7'`,
				`UPDATE crmguard_encryption_index SET state = 'x'`,
				`UPDATE crmguard_encryption_keyset SET version = 9223372036854775807 WHERE tenant = 't1' AND purpose = 'wrap'`,
				`INSERT INTO crmguard_encryption_alias (tenant, alias, owner) VALUES ('t1', 'a', 'b'), ('t1', '', 'p1')`,
			} {
				w.spoil(t, odd)
			}
			v := w.another(t)
			_, err = v.RepairFromCopy(t.Context(), copied)
			require.NoError(t, err)
			_, err = v.WriteCopy(t.Context(), w.copies())
			require.NoError(t, err)
			require.Equal(t, opens, w.opens(t))
			_, err = w.another(t).RewrapKeys(t.Context(), keycopy.Rewrap{KEK: "kek-2", Copy: v.Copier(w.copies())})
			require.NoError(t, err)
			require.Equal(t, opens, w.opens(t))
		})
	}
}
