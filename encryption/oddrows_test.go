package encryption_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/keycopy"
)

// One row that nobody can have written so stops no copy, epoch or repair for ever: a
// repair puts it right or takes it away, whatever was taken away since the copy was
// written, and no value is lost.
func TestOneOddRowStopsNothingForEver(t *testing.T) {
	for name, spoil := range map[string]string{
		"an owner's number":          `UPDATE crmguard_encryption_owner SET sequence = 9223372036854775807 WHERE owner = 'p1'`,
		"an owner in no state":       `UPDATE crmguard_encryption_owner SET state = 'x' WHERE owner = 'p1'`,
		"an owner whom none can be":  `INSERT INTO crmguard_encryption_owner (tenant, owner, state, sequence) VALUES ('t1', '', 'live', 1)`,
		"a key version's time":       `UPDATE crmguard_encryption_generation SET created = 9223372036854775807 WHERE state = 'retired'`,
		"the active version's time":  `UPDATE crmguard_encryption_generation SET created = -9223372036854775807 WHERE state = 'active'`,
		"a key version in no state":  `UPDATE crmguard_encryption_generation SET state = 'x' WHERE state = 'retired'`,
		"a key version nobody draws": `INSERT INTO crmguard_encryption_generation (tenant, generation, state, created) VALUES ('t1', 0, 'retired', 0)`,
		"a key's negative seals":     `UPDATE crmguard_encryption_key SET seals = -5 WHERE owner = 'p1'`,
		"a key's endless seals":      `UPDATE crmguard_encryption_key SET seals = 9223372036854775807 WHERE owner = 'p1'`,
		"an index in no state":       `UPDATE crmguard_encryption_index SET state = 'x'`,
		"a keyset's number":          `UPDATE crmguard_encryption_keyset SET version = 9223372036854775807 WHERE tenant = 't1' AND purpose = 'wrap'`,
		"an alias of strangers":      `INSERT INTO crmguard_encryption_alias VALUES ('t1', 'a', 'b')`,
		"an alias nobody can have":   `INSERT INTO crmguard_encryption_alias VALUES ('t1', '', 'p1')`,
	} {
		for when, narrows := range map[string]bool{"": false, ", narrowed": true} {
			t.Run(name+when, func(t *testing.T) {
				e, _, dir, copied := twoKeyVersions(t)
				if narrows {
					_, err := e.vault.Erase(t.Context(), tenant, "p9")
					require.NoError(t, err)
				}
				e.spoil(t, spoil)
				v := e.another(t)
				_, err := v.RepairFromCopy(t.Context(), copied)
				require.NoError(t, err)
				_, err = v.WriteCopy(t.Context(), dir)
				require.NoError(t, err)
				e.requireOpens(t, e.table(t, e.another(t), contactsTable))
				_, err = e.another(t).RewrapKeys(t.Context(), keycopy.Rewrap{KEK: "kek-2", Copy: v.Copier(dir)})
				require.NoError(t, err)
				e.requireOpens(t, e.table(t, e.another(t), contactsTable))
			})
		}
	}
}

// What hangs on a row that no copy can hold is left out with it, and all others are
// copied.
func TestOneOddRowStopsNoCopyOfOthers(t *testing.T) {
	for name, spoil := range map[string]string{
		"owner":  `UPDATE crmguard_encryption_owner SET sequence = 9223372036854775807 WHERE owner = 'p1'`,
		"keyset": `UPDATE crmguard_encryption_keyset SET version = 9223372036854775807 WHERE purpose = 'wrap' AND tenant = 't1'`,
		"branch": `UPDATE crmguard_encryption_keyset SET version = 9223372036854775807 WHERE purpose = 'branch' AND tenant = 't1'`,
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, 1)
			e.insert(t, "c1", "p1")
			require.NoError(t, e.vault.AddTenant(t.Context(), "t2"))
			require.NoError(t, e.vault.Ensure(t.Context(), "t2", "q1"))
			e.spoil(t, spoil)
			_, err := e.another(t).WriteCopy(t.Context(), t.TempDir())
			holes := holesOf(t, err)
			_, err = e.vault.VerifyCopy(t.Context(), holes)
			require.NoError(t, err)
			kept := 0
			for _, row := range rowsOf(t, holes) {
				if strings.Contains(row, `"kind":"key",`) {
					require.NotContains(t, row, `"owner":"p1"`)
					kept++
				}
			}
			require.NotZero(t, kept)
		})
	}
}

// A key of a tenant whom neither the store nor the newest copy knows opens nowhere,
// and can be given up; without such a copy it may be all that is left of a tenant.
func TestAKeyOfNoTenantIsGivenUpWhereACopyTellsSo(t *testing.T) {
	e, _, dir, _ := twoKeyVersions(t)
	e.spoil(t, `INSERT INTO crmguard_encryption_key (tenant, owner, generation, wrapped) SELECT 'nobody', owner, generation, wrapped FROM crmguard_encryption_key WHERE owner = 'p1'`)
	v := e.another(t)
	_, err := v.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: "kek-2", Copy: func(context.Context) error { return nil }})
	rows := damagedRows(t, err).Rows
	require.Len(t, rows, 1)
	require.ErrorIs(t, v.GiveUp(t.Context(), rows...), encryption.ErrTenant)
	v.Copier(dir) // which tells it of the folder
	own := keycopy.DamagedRow{Kind: rows[0].Kind, Tenant: tenant, Owner: "p1", KeyVersion: rows[0].KeyVersion, Digest: rows[0].Digest}
	require.Error(t, v.GiveUp(t.Context(), own), "one of a tenant that is there")
	require.NoError(t, v.GiveUp(t.Context(), rows...))
	_, err = v.WriteCopy(t.Context(), dir)
	require.NoError(t, err)
	e.requireOpens(t, e.table(t, e.another(t), contactsTable))
}
