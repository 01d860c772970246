package adoption_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/adoption"
	"github.com/crmguard/crmguard/internal/testdb"
)

// policed is a table of six rows of six persons at a stage, and an account to which a
// policy will show two of them.
func policed(t *testing.T, stage adoption.Stage) (*env, *adoption.Adoption) {
	t.Helper()
	d := testdb.New(t, testdb.PostgresC)
	e := newEnv(t, d, contactsDef, emailColumn, contactsSQL)
	role, as := d.Role(t)
	for i := range 6 {
		e.old(t, string(rune('1'+i)), "p"+string(rune('1'+i)), "ann"+string(rune('1'+i))+"@b.example")
	}
	e.to(t, stage)
	for _, table := range []string{"contacts", "crmguard_adoption", "crmguard_adoption_job", "crmguard_schema"} {
		e.exec(t, "GRANT SELECT, INSERT, UPDATE, DELETE ON "+table+" TO "+role)
	}
	e.exec(t, `CREATE POLICY shown ON contacts USING (id < '3')`)
	return e, e.as(t, as.Open(t))
}

// A policy that comes into force while a job goes over the table, and stays, ends the
// job: it has not seen the whole table, and goes on once it is shown all of it, with
// what it was not shown.
func TestPolicyDuringAJob(t *testing.T) {
	const (
		on  = `ALTER TABLE contacts ENABLE ROW LEVEL SECURITY`
		off = `ALTER TABLE contacts DISABLE ROW LEVEL SECURITY`
	)
	for name, one := range map[string]struct {
		stage adoption.Stage
		job   func(a *adoption.Adoption, o adoption.JobOptions) (adoption.Report, error)
	}{
		"clear": {adoption.SealedOnly, func(a *adoption.Adoption, o adoption.JobOptions) (adoption.Report, error) {
			return a.Clear(t.Context(), tenant, o)
		}},
		"erased": {adoption.ReadSealed, func(a *adoption.Adoption, o adoption.JobOptions) (adoption.Report, error) {
			return a.ClearErased(t.Context(), tenant, o)
		}},
		"backfill": {adoption.ReadSealed, func(a *adoption.Adoption, o adoption.JobOptions) (adoption.Report, error) {
			return a.Backfill(t.Context(), tenant, o)
		}},
	} {
		for _, moment := range []string{"between two pages", "between reading and writing a page"} {
			if name != "erased" && moment != "between two pages" { // which asks for keys at that moment
				continue
			}
			t.Run(name+" "+moment, func(t *testing.T) {
				e, a := policed(t, one.stage)
				switch name {
				case "clear":
					e.guard(t, adoption.Refuse)
				case "erased":
					for i := range 6 {
						_, err := e.vault.Erase(t.Context(), tenant, "p"+string(rune('1'+i)))
						require.NoError(t, err)
					}
				default:
					e.exec(t, `UPDATE contacts SET email = 'x' || email`)
				}
				comes := func() {
					_, err := e.db.ExecContext(context.Background(), `DO $$ BEGIN SET LOCAL lock_timeout = '1s'; `+on+`; END $$`)
					require.NoError(t, err)
				}
				pages := 0
				o := adoption.JobOptions{Batch: 2, Progress: func(adoption.Progress) {
					pages++
					switch {
					case pages > 1:
					case moment == "between two pages":
						comes()
					default:
						e.keys.meanwhile = comes
					}
				}}
				report, err := one.job(a, o)
				require.ErrorIs(t, err, adoption.ErrDefinition)
				require.False(t, report.Clean)
				require.NotContains(t, err.Error(), "@")
				e.exec(t, off)
				report, err = one.job(a, adoption.JobOptions{})
				require.NoError(t, err)
				require.True(t, report.Clean, "%+v", report)
				require.EqualValues(t, 6, report.Changed)
			})
		}
	}
}

// Counting says that rows are hidden in the statement that counts.
func TestPolicyBeforeACount(t *testing.T) {
	e, a := policed(t, adoption.ReadSealed)
	e.exec(t, `ALTER TABLE contacts ENABLE ROW LEVEL SECURITY`)
	_, err := a.Unsealed(t.Context(), tenant)
	require.ErrorIs(t, err, adoption.ErrDefinition)
	_, err = a.RowsLeft(t.Context(), tenant, "p1")
	require.ErrorIs(t, err, adoption.ErrDefinition)
	require.ErrorIs(t, a.ClearRows(t.Context(), tenant, "p1"), encryption.ErrDefinition)
}
