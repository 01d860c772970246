package adoption_test

import (
	"strings"
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

// A domain or a CHECK that wants a value is NOT NULL, too, and what else stands in the
// row goes; one over several columns is the database's refusal, which names it.
func TestWhatADomainOrACheckWantsStaysAndSaysWhy(t *testing.T) {
	def := contactsDef
	def.Columns = append(def.Columns[:1:1], encryption.Column{Name: "phone", SQL: "phone_sealed"})
	cols := []adoption.Column{{Name: "email", Plain: "email"}, {Name: "phone", Plain: "phone"}}
	const table = `CREATE TABLE contacts (id VARCHAR(40) NOT NULL PRIMARY KEY, person VARCHAR(40), email VARCHAR(200), phone VARCHAR(200), seen INTEGER DEFAULT 0`
	for _, one := range []struct {
		name       testdb.Name
		create, by string
	}{
		{testdb.SQLite, table + `, CONSTRAINT wants CHECK (email IS NOT NULL AND email <> ''))`, "CHECK wants"},
		{testdb.PostgresC, table + `, CONSTRAINT wants CHECK (email IS NOT NULL AND email <> ''))`, "CHECK wants"},
		{testdb.MariaDB, table + `, CONSTRAINT wants CHECK (email IS NOT NULL AND email <> ''))`, "CHECK wants"},
		{testdb.PostgresICU, strings.Replace(table, `email VARCHAR(200)`, `email mail`, 1) + `)`, "domain mail"},
		{testdb.PostgresC, table + `, CONSTRAINT wants CHECK (email IS NOT NULL OR seen > 3))`, ""},
	} {
		t.Run(string(one.name)+" "+one.by, func(t *testing.T) {
			d := testdb.New(t, one.name)
			if one.by == "domain mail" {
				_, err := d.Open(t).ExecContext(t.Context(), `CREATE DOMAIN mail AS varchar(200) CHECK (VALUE IS NOT NULL)`)
				require.NoError(t, err)
			}
			e := newEnv(t, d, def, cols, one.create)
			for _, id := range []string{"1", "2"} {
				e.exec(t, `INSERT INTO contacts (id, person, email, phone) VALUES (?, ?, 'ann@b.example', '0151')`, id, "p"+id)
			}
			e.to(t, adoption.WriteBoth)
			e.backfill(t)
			_, err := e.vault.Erase(t.Context(), tenant, "p1")
			require.NoError(t, err)
			err = e.a.ClearRows(t.Context(), tenant, "p1")
			var why *adoption.NotNullError
			if one.by == "" {
				require.NotErrorAs(t, err, &why)
				require.ErrorContains(t, err, "constraint wants")
				return
			}
			require.ErrorAs(t, err, &why)
			require.Equal(t, adoption.NotNullError{Table: "contacts", Column: "email", By: one.by}, *why)
			require.ErrorContains(t, err, "delete the row")
			require.Equal(t, 1, e.count(t, `id = '1' AND email = 'ann@b.example' AND phone IS NULL AND phone_sealed IS NULL`))
			report, err := e.a.ClearErased(t.Context(), tenant, adoption.JobOptions{})
			require.NoError(t, err)
			require.EqualValues(t, 1, report.Refused)
			require.Equal(t, why.Error(), report.Listed[0].Why)
		})
	}
}
