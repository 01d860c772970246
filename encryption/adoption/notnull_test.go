package adoption_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/adoption"
	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/internal/testdb"
)

// A column that is NOT NULL in the clear is not emptied, which is said with the
// remedy, and all else of the row is.
func TestWhatIsNotNullInTheClearStaysAndSaysWhy(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		def := contactsDef
		def.Columns = append(def.Columns[:1:1], encryption.Column{Name: "phone", SQL: "phone_sealed"})
		cols := []adoption.Column{{Name: "email", Plain: "email"}, {Name: "phone", Plain: "phone"}}
		e := newEnv(t, d, def, cols, `CREATE TABLE contacts (id VARCHAR(40) NOT NULL PRIMARY KEY, person VARCHAR(40), email VARCHAR(200) NOT NULL, phone VARCHAR(200))`)
		for _, id := range []string{"1", "2", "3"} {
			e.exec(t, `INSERT INTO contacts (id, person, email, phone) VALUES (?, ?, 'ann@b.example', '0151')`, id, "p"+id)
		}
		e.to(t, adoption.WriteBoth)
		e.backfill(t)
		var why *adoption.NotNullError
		told := func(err error) {
			t.Helper()
			require.ErrorAs(t, err, &why)
			require.Equal(t, adoption.NotNullError{Table: "contacts", Column: "email"}, *why)
			require.ErrorContains(t, err, "delete the row")
			var refused *jobs.RefusedError
			require.ErrorAs(t, err, &refused)
			require.Equal(t, 1, refused.Count)
		}
		_, err := e.vault.Erase(t.Context(), tenant, "p1")
		require.NoError(t, err)
		told(e.a.ClearRows(t.Context(), tenant, "p1"))
		require.Equal(t, 1, e.count(t, `id = '1' AND email = 'ann@b.example' AND phone IS NULL AND phone_sealed IS NULL`))
		left, err := e.a.RowsLeft(t.Context(), tenant, "p1")
		require.NoError(t, err)
		require.Equal(t, 1, left)
		told(e.a.ClearRows(t.Context(), tenant, "p1")) // and again

		_, err = e.vault.Erase(t.Context(), tenant, "p2")
		require.NoError(t, err)
		report, err := e.a.ClearErased(t.Context(), tenant, adoption.JobOptions{})
		require.NoError(t, err)
		require.False(t, report.Clean)
		require.EqualValues(t, 2, report.Refused)
		require.Contains(t, report.Listed[0].Why, why.Error())
		require.Equal(t, 2, e.count(t, `phone IS NULL`))

		e.exec(t, `DELETE FROM contacts WHERE person IN ('p1', 'p2')`)
		require.NoError(t, e.a.ClearRows(t.Context(), tenant, "p1"))
		report, err = e.a.ClearErased(t.Context(), tenant, adoption.JobOptions{})
		require.NoError(t, err)
		require.True(t, report.Clean)
		require.Equal(t, 1, e.count(t, `phone = '0151' AND phone_sealed IS NOT NULL`), "another person's row is as it was")
	})
}
