package adoption_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption/adoption"
	"github.com/crmguard/crmguard/internal/testdb"
)

// A trigger that waits for COMMIT changes a row when the job has written it: the row
// stays as it was, nothing is lost, and the report does not say that it was done.
func TestWhatWaitsForCommitIsSeenBeforeIt(t *testing.T) {
	for _, name := range []testdb.Name{testdb.PostgresC, testdb.PostgresICU} {
		t.Run(string(name), func(t *testing.T) {
			e := newEnv(t, testdb.New(t, name), contactsDef, emailColumn, contactsSQL)
			e.old(t, "1", "p1", "ann@b.example")
			e.old(t, "2", "p2", "bob@b.example")
			// Of row 1 alone: the other one is done all the same.
			deferred := func(when, set string) (drop func()) {
				t.Helper()
				e.exec(t, `CREATE FUNCTION later() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE contacts SET `+set+` WHERE id = NEW.id; RETURN NULL; END $$`)
				e.exec(t, `CREATE CONSTRAINT TRIGGER later AFTER UPDATE ON contacts DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.id = '1' AND `+when+`) EXECUTE FUNCTION later()`)
				return func() { e.exec(t, `DROP FUNCTION later CASCADE`) }
			}
			stays := func(report adoption.Report) {
				t.Helper()
				require.EqualValues(t, 1, report.Refused, "%+v", report)
				require.EqualValues(t, 1, report.Changed)
				require.Equal(t, "1", report.Listed[0].Row)
				require.Contains(t, report.Listed[0].Why, "does not keep the value")
			}
			both := map[string]string{"1": "ann@b.example", "2": "bob@b.example"}
			e.prepare(t)
			e.move(t, adoption.WriteBoth, adoption.MoveOptions{})
			drop := deferred(`NEW.email_sealed IS NOT NULL`, `email_sealed = NULL`)
			stays(e.backfill(t))
			drop()
			require.EqualValues(t, 1, e.backfill(t).Changed)
			e.move(t, adoption.ReadSealed, adoption.MoveOptions{})
			require.True(t, e.backfill(t).Clean)
			e.move(t, adoption.SealedOnly, gone)

			e.guard(t, adoption.Refuse)
			drop = deferred(`NEW.email IS NULL AND NEW.email_sealed IS NOT NULL`, `email_sealed = NULL, email_sealed_idx = NULL`)
			report, err := e.a.Clear(t.Context(), tenant, adoption.JobOptions{})
			require.NoError(t, err)
			stays(report)
			require.Equal(t, both, e.read(t, e.a))
			drop()
			report, err = e.a.Clear(t.Context(), tenant, adoption.JobOptions{})
			require.NoError(t, err)
			require.True(t, report.Clean)

			e.guard(t, adoption.Reset)
			e.move(t, adoption.ReadSealed, adoption.MoveOptions{})
			drop = deferred(`NEW.email IS NOT NULL`, `email = NULL`)
			report, err = e.a.Unseal(t.Context(), tenant, adoption.JobOptions{})
			require.NoError(t, err)
			stays(report)
			drop()
			require.Equal(t, both, e.read(t, e.a))

			// And of erased persons, whose values are to be gone.
			_, err = e.a.Unseal(t.Context(), tenant, adoption.JobOptions{})
			require.NoError(t, err)
			_, err = e.vault.Erase(t.Context(), tenant, "p1")
			require.NoError(t, err)
			drop = deferred(`OLD.email IS NOT NULL AND NEW.email IS NULL`, `email = 'ann@b.example'`)
			defer drop()
			require.ErrorContains(t, e.a.ClearRows(t.Context(), tenant, "p1"), "does not keep the value")
		})
	}
}

// A constraint that waits for COMMIT and refuses a row refuses that row alone.
func TestAConstraintThatWaitsForCommitRefusesItsRowAlone(t *testing.T) {
	e := newEnv(t, testdb.New(t, testdb.PostgresC), contactsDef, emailColumn, contactsSQL)
	for _, id := range []string{"1", "2", "3"} {
		e.old(t, id, "p"+id, id+"@b.example")
	}
	e.prepare(t)
	e.move(t, adoption.WriteBoth, adoption.MoveOptions{})
	e.exec(t, `CREATE FUNCTION refuses() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$`)
	e.exec(t, `CREATE CONSTRAINT TRIGGER refuses AFTER UPDATE ON contacts DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.id = '2') EXECUTE FUNCTION refuses()`)
	report := e.backfill(t)
	require.EqualValues(t, 2, report.Changed)
	require.EqualValues(t, 1, report.Refused)
	require.Equal(t, "2", report.Listed[0].Row)
}

// What Unseal takes back out of the clear, of a person who was erased meanwhile, is
// looked at again, too.
func TestWhatIsTakenBackIsSeenToBeGone(t *testing.T) {
	e := newEnv(t, testdb.New(t, testdb.PostgresC), contactsDef, emailColumn, contactsSQL)
	e.old(t, "1", "p1", "ann@b.example")
	e.to(t, adoption.SealedOnly)
	require.True(t, e.clear(t).Clean)
	e.move(t, adoption.ReadSealed, adoption.MoveOptions{})
	e.exec(t, `CREATE FUNCTION later() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE contacts SET email = OLD.email WHERE id = NEW.id; RETURN NULL; END $$`)
	e.exec(t, `CREATE CONSTRAINT TRIGGER later AFTER UPDATE ON contacts DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (OLD.email IS NOT NULL AND NEW.email IS NULL) EXECUTE FUNCTION later()`)
	other := e.process(t)
	e.keys.meanwhile = func() {
		e.keys.meanwhile = func() {
			_, err := e.vault.Erase(t.Context(), tenant, "p1")
			require.NoError(t, err)
		}
	}
	report, err := other.Unseal(t.Context(), tenant, adoption.JobOptions{})
	require.NoError(t, err)
	require.Equal(t, 1, e.count(t, `email = 'ann@b.example'`), "the trigger has put it back")
	require.EqualValues(t, 1, report.Refused, "%+v", report)
	require.Contains(t, report.Listed[0].Why, "does not keep the value")
}
