package adoption_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption/adoption"
	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/internal/testdb"
)

// frozen lets no UPDATE change one row, with a state of the trigger's choice.
func frozen(t *testing.T, e *env, state string) {
	t.Helper()
	if e.name == testdb.MariaDB {
		e.exec(t, `CREATE TRIGGER frozen BEFORE UPDATE ON contacts FOR EACH ROW BEGIN IF OLD.id = 'c2' THEN SIGNAL SQLSTATE '`+state+`' SET MESSAGE_TEXT = 'frozen'; END IF; END`)
		return
	}
	e.exec(t, `CREATE FUNCTION frozen() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN IF OLD.id = 'c2' THEN RAISE EXCEPTION 'frozen' USING ERRCODE = '`+state+`'; END IF; RETURN NEW; END$$`)
	e.exec(t, `CREATE TRIGGER frozen BEFORE UPDATE ON contacts FOR EACH ROW EXECUTE FUNCTION frozen()`)
}

// A trigger that refuses one row says so with whatever state it likes, also with that of
// a missing right: the row is counted and listed, and all others are done.
func TestATriggerRefusesOneRowWithAnyState(t *testing.T) {
	for _, one := range []struct {
		name  testdb.Name
		state string
	}{
		{testdb.PostgresC, "42501"}, {testdb.PostgresC, "55000"}, {testdb.MariaDB, "42000"},
	} {
		t.Run(string(one.name)+" "+one.state, func(t *testing.T) {
			e := newEnv(t, testdb.New(t, one.name), contactsDef, emailColumn, contactsSQL)
			for i := range 4 {
				e.old(t, fmt.Sprint("c", i), "p1", fmt.Sprintf("ann%d@b.example", i))
			}
			e.prepare(t)
			e.move(t, adoption.WriteBoth, adoption.MoveOptions{})
			frozen(t, e, one.state)
			obstacles, err := e.a.Obstacles(t.Context(), tenant)
			require.NoError(t, err)
			require.Len(t, obstacles, 1)
			require.Contains(t, obstacles[0].Why, "the trigger")
			require.Equal(t, "c2", obstacles[0].Listed[0].Row)

			report := e.backfill(t)
			require.EqualValues(t, []int64{3, 1}, []int64{report.Changed, report.Refused}, "%+v", report)
			require.Equal(t, "c2", report.Listed[0].Row)

			_, err = e.vault.Erase(t.Context(), tenant, "p1")
			require.NoError(t, err)
			report, err = e.a.ClearErased(t.Context(), tenant, adoption.JobOptions{})
			require.NoError(t, err)
			require.EqualValues(t, []int64{3, 1}, []int64{report.Changed, report.Refused}, "%+v", report)
			var refused *jobs.RefusedError
			require.ErrorAs(t, e.a.ClearRows(t.Context(), tenant, "p1"), &refused)
			require.Equal(t, 1, refused.Count)
			var left int
			require.NoError(t, e.db.QueryRowContext(t.Context(), `SELECT COUNT(email) FROM contacts`).Scan(&left))
			require.Equal(t, 1, left, "all other rows of the person are cleared")
		})
	}
}

// What is answered to a change of no row, too, is about the statement, and ends the job.
func TestATriggerRefusesTheStatement(t *testing.T) {
	e := newEnv(t, testdb.New(t, testdb.PostgresC), contactsDef, emailColumn, contactsSQL)
	e.old(t, "c1", "p1", "ann@b.example")
	e.prepare(t)
	e.move(t, adoption.WriteBoth, adoption.MoveOptions{})
	e.exec(t, `CREATE FUNCTION closed() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'closed' USING ERRCODE = '42501'; END$$`)
	e.exec(t, `CREATE TRIGGER closed BEFORE UPDATE ON contacts FOR EACH STATEMENT EXECUTE FUNCTION closed()`)
	_, err := e.a.Backfill(t.Context(), tenant, adoption.JobOptions{})
	require.ErrorContains(t, err, "42501")
	_, err = e.a.Obstacles(t.Context(), tenant)
	require.ErrorContains(t, err, "42501")
}
