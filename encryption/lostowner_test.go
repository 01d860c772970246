package encryption_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/encryption/keycopy"
	"github.com/crmguard/crmguard/internal/testdb"
)

// openError is what a process answers that opens the e-mail of a contact.
func (e *env) openError(t *testing.T, v *encryption.Vault, id string) error {
	t.Helper()
	for _, c := range e.read(t) {
		if c.ID != id {
			continue
		}
		r, err := e.table(t, v, contactsTable).Reader(t.Context(), tenant, c.Person)
		if err != nil {
			return err
		}
		_, err = r.Row(c.Person, id).Text(t.Context(), "email", c.email.Bytes())
		return err
	}
	t.Fatal("no such row")
	return nil
}

func (e *env) writes(t *testing.T, v *encryption.Vault, person string) error {
	t.Helper()
	_, err := e.table(t, v, contactsTable).Writer(t.Context(), tenant, person)
	return err
}

// A person whose owner row is lost is erased like any other, with everyone merged
// with them: the keys go, and no state that somebody writes afterwards opens a value.
func TestAnErasureReachesKeysWithoutAnOwnerRow(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		e := newEnvOn(t, d)
		for i, person := range []string{"p1", "p2", "p3", "p4"} {
			e.insert(t, fmt.Sprint("c", i+1), person)
		}
		require.NoError(t, e.vault.AddAlias(t.Context(), tenant, "p3", "p2"))
		e.spoil(t, `DELETE FROM crmguard_encryption_owner WHERE owner IN ('p1', 'p3')`)
		v := e.another(t)
		e.requireKeys(t, "p1", 1)
		others, err := v.Aliases(t.Context(), tenant, "p3")
		require.NoError(t, err)
		require.Equal(t, []string{"p2"}, others)

		receipts, err := v.EraseMany(t.Context(), tenant, "p1", "p3", "nobody")
		require.NoError(t, err)
		require.Equal(t, []int{1, 2, 0}, []int{receipts[0].Keys, receipts[1].Keys, receipts[2].Keys})
		require.Equal(t, []bool{false, false, true}, []bool{receipts[0].Unknown, receipts[1].Unknown, receipts[2].Unknown})
		for _, person := range []string{"p1", "p2", "p3"} {
			e.requireKeys(t, person, 0)
		}
		e.spoil(t, `UPDATE crmguard_encryption_owner SET state = 'live' WHERE state = 'tombstone'`)
		for _, id := range []string{"c1", "c2", "c3"} {
			require.ErrorIs(t, e.openError(t, e.another(t), id), encryption.ErrNoKey)
		}
		require.NoError(t, e.openError(t, e.another(t), "c4"))
	})
}

// Where keys or a merge of an owner stand and the owner row is lost, nobody knows
// whether the owner lives: no key and no merge is made, with an error that says so,
// nobody else is kept from anything, and a copy brings the row back.
func TestNothingIsMadeWhereAnOwnerRowIsLost(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		e := newEnvOn(t, d)
		for i, person := range []string{"p1", "p2", "p3"} {
			e.insert(t, fmt.Sprint("c", i+1), person)
		}
		require.NoError(t, e.vault.AddAlias(t.Context(), tenant, "p3", "p2"))
		whole, err := e.vault.WriteCopy(t.Context(), t.TempDir())
		require.NoError(t, err)
		for _, spoil := range []string{`DELETE FROM crmguard_encryption_owner WHERE owner IN ('p1', 'p3')`, `UPDATE crmguard_encryption_owner SET state = 'odd' WHERE owner IN ('p1', 'p3')`} {
			e.spoil(t, spoil)
			v := e.another(t)
			require.ErrorIs(t, e.writes(t, v, "p1"), encryption.ErrDamaged)
			err := v.Ensure(t.Context(), tenant, "p2", "p1", "p3", "p9")
			persons, ok := err.(*encryption.PersonsError) //nolint:errorlint // this very one
			require.True(t, ok, "%v", err)
			require.Len(t, persons.Persons, 2)
			require.ErrorIs(t, persons.Persons[1], encryption.ErrDamaged)
			require.ErrorIs(t, persons.Persons[2], encryption.ErrDamaged)
			for _, into := range []string{"p2", "p4"} {
				require.ErrorIs(t, v.AddAlias(t.Context(), tenant, "p3", into), encryption.ErrDamaged)
			}
			require.ErrorIs(t, v.AddAlias(t.Context(), tenant, "p9", "p1"), encryption.ErrDamaged)
			require.ErrorIs(t, v.Unmerge(t.Context(), tenant, "p3", "p2"), encryption.ErrDamaged)
			report, err := v.RepairFromCopy(t.Context(), whole.Path)
			require.NoError(t, err)
			require.Equal(t, 2, report.Owners)
			v = e.another(t)
			require.NoError(t, e.writes(t, v, "p1"))
			require.ErrorIs(t, e.writes(t, v, "p3"), encryption.ErrMerged)
			e.requireOpens(t, e.table(t, v, contactsTable))
		}
	})
}

// A person whose owner row is lost stops no job over the rows of all others.
func TestALostOwnerRowStopsNoReseal(t *testing.T) {
	e := newEnv(t, 1)
	e.insert(t, "c1", "p1")
	e.insert(t, "c2", "p2")
	_, active := e.rotate(t)
	e.spoil(t, `DELETE FROM crmguard_encryption_owner WHERE owner = 'p1'`)
	report, err := e.table(t, e.another(t), contactsTable).Reseal(t.Context(), e.db, tenant, jobs.ResealOptions{})
	require.NoError(t, err)
	require.Equal(t, []int{3, 3}, []int{report.Cells, report.Unreadable})
	census, err := e.contacts.Census(t.Context(), e.db, tenant)
	require.NoError(t, err)
	require.Equal(t, int64(3), census.KeyVersions[active])
}

// What memory has of a person whose owner row is lost never replaces another key
// that stands; where the same one stands, the owner row comes back.
func TestMemoryReplacesNoKeyWithoutAnOwnerRow(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		e := newEnvOn(t, d)
		e.insert(t, "c1", "p1")
		e.insert(t, "c2", "p2")
		require.NoError(t, e.openError(t, e.vault, "c1"))
		require.NoError(t, e.openError(t, e.vault, "c2"))
		e.spoil(t, `DELETE FROM crmguard_encryption_owner WHERE owner IN ('p1', 'p2')`)
		e.spoil(t, `DELETE FROM crmguard_encryption_key WHERE owner = 'p1'`)
		require.NoError(t, e.writes(t, e.another(t), "p1")) // another process makes another key
		e.spoil(t, `DELETE FROM crmguard_encryption_owner WHERE owner = 'p1'`)
		before, err := e.another(t).WrappedKeys(t.Context(), tenant, "p1")
		require.NoError(t, err)
		report, err := e.vault.RepairFromCaches(t.Context())
		require.NoError(t, err)
		require.Len(t, report.Conflicts, 1)
		require.Equal(t, 0, report.Keys)
		now, err := e.another(t).WrappedKeys(t.Context(), tenant, "p1")
		require.NoError(t, err)
		require.Equal(t, before, now)
		require.NoError(t, e.writes(t, e.another(t), "p2"))
		require.NoError(t, e.openError(t, e.another(t), "c2"))
	})
}

// A key of an owner whom nobody knows, under a key version that was destroyed, is
// removed.
func TestAKeyOfNobodyUnderADestroyedKeyVersionIsRemoved(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		e := newEnvOn(t, d)
		e.insert(t, "c1", "p1")
		rows, err := e.store.Tenant(t.Context(), tenant)
		require.NoError(t, err)
		first := rows.KeyVersions[0].KeyVersion
		_, err = e.vault.NewKeyVersion(t.Context(), tenant)
		require.NoError(t, err)
		require.NoError(t, e.vault.DestroyKeyVersion(t.Context(), tenant, first, nobodyHolds))
		dir := t.TempDir()
		whole, err := e.vault.WriteCopy(t.Context(), dir)
		require.NoError(t, err)
		nothing := `x'00'`
		if strings.HasPrefix(string(d.Name), "postgres") {
			nothing = `decode('00', 'hex')`
		}
		e.spoil(t, fmt.Sprintf(`INSERT INTO crmguard_encryption_key (tenant, owner, generation, wrapped) VALUES ('t1', 'nobody', %d, %s)`, first, nothing))
		v := e.another(t)
		report, err := v.RepairFromCopy(t.Context(), whole.Path)
		require.NoError(t, err)
		require.Equal(t, 1, report.Removed)
		_, err = v.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: "kek-2", Copy: v.Copier(dir)})
		require.NoError(t, err)
	})
}
