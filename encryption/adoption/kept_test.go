package adoption_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/adoption"
	"github.com/crmguard/crmguard/internal/testdb"
)

// A row that is sealed only keeps its value, also where it is given to another
// owner while the guard Reset still stands: there is nothing to fall back to. A
// value of the tenant is nobody's, and stays sealed.
func TestTheGuardLeavesTheOnlyCopyAlone(t *testing.T) {
	for _, name := range []testdb.Name{testdb.SQLite, testdb.PostgresC, testdb.MariaDB} {
		t.Run(string(name), func(t *testing.T) {
			def := contactsDef
			def.Columns = []encryption.Column{contactsDef.Columns[0], {Name: "note", SQL: "note_sealed", Level: encryption.LevelTenant}}
			cols := []adoption.Column{{Name: "email", Plain: "email"}, {Name: "note", Plain: "note"}}
			e := newEnv(t, testdb.New(t, name), def, cols, strings.Replace(contactsSQL, "seen", "note VARCHAR(200), seen", 1))
			e.exec(t, `INSERT INTO contacts (id, person, email, note) VALUES ('1', 'p1', 'ann@b.example', 'tea')`)
			e.to(t, adoption.ReadSealed)
			e.exec(t, `UPDATE contacts SET person = 'p2' WHERE id = '1'`)
			require.Equal(t, 1, e.count(t, `email_sealed IS NULL AND note_sealed IS NOT NULL`), "what is bound to the owner falls back to the clear")
			require.True(t, e.backfill(t).Clean)
			e.move(t, adoption.SealedOnly, adoption.MoveOptions{OldReleaseGone: true})
			report, err := e.a.Clear(t.Context(), tenant, adoption.JobOptions{})
			require.NoError(t, err)
			require.EqualValues(t, 1, report.Changed)
			require.False(t, report.Clean, "others may write in the clear until the guard Refuse stands")
			require.Contains(t, report.Listed[0].Why, "Refuse")
			require.Equal(t, encryption.HealthNotice, e.finding(t, "encryption.adoption.guard").Level)
			e.exec(t, `UPDATE contacts SET person = 'p3' WHERE id = '1'`)
			require.Equal(t, 1, e.count(t, `email_sealed IS NOT NULL AND note_sealed IS NOT NULL`))
			e.exec(t, `UPDATE contacts SET person = 'p2' WHERE id = '1'`)
			require.Equal(t, map[string]string{"1": "ann@b.example"}, e.read(t, e.a))
			e.guard(t, adoption.Refuse)
			report, err = e.a.Clear(t.Context(), tenant, adoption.JobOptions{})
			require.NoError(t, err)
			require.True(t, report.Clean)
			require.Equal(t, encryption.HealthOK, e.finding(t, "encryption.adoption.guard").Level)
		})
	}
}

// What a column does not keep as it is written is not written: it stays sealed, and
// is listed. A column that is too short cuts without an error where MariaDB is not
// strict, a trigger changes what it likes, PostgreSQL takes blanks away, SQLite makes numbers of digits.
func TestUnsealWritesWhatTheColumnKeeps(t *testing.T) {
	for name, one := range map[testdb.Name]struct{ typ, value string }{
		testdb.SQLite:    {"STRING", "0151"},
		testdb.PostgresC: {"VARCHAR(20)", "ann@b.example              "},
		testdb.MariaDB:   {"VARCHAR(200)", "a-name-that-does-not-fit@b.example"},
	} {
		t.Run(string(name), func(t *testing.T) {
			d := testdb.New(t, name)
			e := newEnvOn(t, name, d.Open(t), contactsDef, emailColumn, strings.Replace(contactsSQL, "email VARCHAR(200)", "email "+one.typ, 1))
			if name == testdb.MariaDB { // as a session that is not strict does with VARCHAR(20)
				e.exec(t, `CREATE TRIGGER cut BEFORE UPDATE ON contacts FOR EACH ROW SET NEW.email = LEFT(NEW.email, 20)`)
			}
			e.to(t, adoption.SealedOnly)
			e.write(t, e.a, "1", "p1", one.value)
			e.write(t, e.a, "2", "p1", "b@b.example")
			want := map[string]string{"1": one.value, "2": "b@b.example"}
			e.move(t, adoption.ReadSealed, adoption.MoveOptions{})
			report, err := e.a.Unseal(t.Context(), tenant, adoption.JobOptions{})
			require.NoError(t, err)
			require.EqualValues(t, 1, report.Refused, "%+v", report)
			require.EqualValues(t, 1, report.Changed)
			require.Contains(t, report.Listed[0].Why, "does not keep")
			require.Equal(t, want, e.read(t, e.a))

			// What is accepted to stay behind is there again on the way forward.
			e.move(t, adoption.WriteBoth, adoption.MoveOptions{Accept: 1})
			rows := e.rows(t, "")
			var some *encryption.RowsError
			require.ErrorAs(t, adoption.OpenAll(t.Context(), e.a, tenant, rows), &some, "what was accepted is not read, and that is said")
			require.ErrorIs(t, some.Rows[0], adoption.ErrStage)
			require.Equal(t, "b@b.example", rows[1].Email)
			report = e.backfill(t)
			require.EqualValues(t, 1, report.Refused)
			require.True(t, report.Clean)
			e.move(t, adoption.ReadSealed, adoption.MoveOptions{})
			require.Equal(t, want, e.read(t, e.a))
		})
	}
}

// A sealed or index column that is too short keeps nothing that Backfill could
// count on, either.
func TestBackfillWritesWhatTheColumnsKeep(t *testing.T) {
	e := newEnv(t, testdb.New(t, testdb.MariaDB), contactsDef, emailColumn, contactsSQL)
	e.prepare(t)
	e.exec(t, `CREATE TRIGGER cut BEFORE UPDATE ON contacts FOR EACH ROW SET NEW.email_sealed = LEFT(NEW.email_sealed, 40)`)
	e.old(t, "1", "p1", "ann@b.example")
	e.move(t, adoption.WriteBoth, adoption.MoveOptions{})
	report := e.backfill(t)
	require.EqualValues(t, 1, report.Refused)
	require.Zero(t, report.Changed)
	e.move(t, adoption.ReadSealed, adoption.MoveOptions{})
	require.Equal(t, map[string]string{"1": "ann@b.example"}, e.read(t, e.a))
	require.Equal(t, []string{"1"}, e.find(t, e.a, "ann@b.example"))
}

// Who was merged into another has his values put back, which no Backfill takes away.
func TestUnsealPutsBackWhatAMergedPersonHad(t *testing.T) {
	e := newLite(t)
	e.to(t, adoption.SealedOnly)
	e.write(t, e.a, "1", "p1", "ann@b.example")
	require.NoError(t, e.vault.Ensure(t.Context(), tenant, "p2"))
	require.NoError(t, e.vault.AddAlias(t.Context(), tenant, "p1", "p2"))
	e.move(t, adoption.ReadSealed, adoption.MoveOptions{})
	report, err := e.a.Unseal(t.Context(), tenant, adoption.JobOptions{})
	require.NoError(t, err)
	require.True(t, report.Clean, "%+v", report)
	require.Equal(t, map[string]string{"1": "ann@b.example"}, e.read(t, e.a))
	e.move(t, adoption.WriteBoth, adoption.MoveOptions{})
	e.backfill(t)
	e.move(t, adoption.ReadSealed, adoption.MoveOptions{})
	require.Equal(t, map[string]string{"1": "ann@b.example"}, e.read(t, e.a))
	require.Equal(t, []string{"1"}, e.find(t, e.a, "ann@b.example"))
}

// A guard that was away while a Backfill paused, or between it and the move, is not
// the one that the pass rests on: somebody may have written in the clear.
func TestAGuardThatWasAwayCountsForNone(t *testing.T) {
	for _, name := range []testdb.Name{testdb.SQLite, testdb.PostgresC, testdb.MariaDB} {
		t.Run(string(name), func(t *testing.T) {
			e := newEnv(t, testdb.New(t, name), contactsDef, emailColumn, contactsSQL)
			for i := range 4 {
				e.old(t, fmt.Sprint(i), "p1", "old@b.example")
			}
			e.to(t, adoption.WriteBoth)
			away := func() {
				e.guard(t, adoption.NoGuard)
				e.exec(t, `UPDATE contacts SET email = 'new@b.example' WHERE id = '0'`)
				e.guard(t, adoption.Reset)
			}
			enough := errors.New("enough")
			_, err := e.a.Backfill(t.Context(), tenant, adoption.JobOptions{Batch: 2, Pause: func(context.Context, adoption.Progress) (time.Duration, error) { return 0, enough }})
			require.ErrorIs(t, err, enough)
			away()
			require.False(t, e.backfill(t).Clean, "the guard was another one")
			require.True(t, e.backfill(t).Clean)
			e.exec(t, `UPDATE contacts SET email = 'old@b.example' WHERE id = '0'`)
			away()
			err = e.a.Move(t.Context(), tenant, adoption.ReadSealed, adoption.MoveOptions{})
			require.ErrorIs(t, err, adoption.ErrNotReady)
			require.ErrorContains(t, err, "not the one")
			require.True(t, e.backfill(t).Clean)
			e.move(t, adoption.ReadSealed, adoption.MoveOptions{})
			require.Equal(t, "new@b.example", e.read(t, e.a)["0"])
			require.Equal(t, []string{"0"}, e.find(t, e.a, "new@b.example"))
		})
	}
}

// The move to SealedOnly wants that each sealed value was compared: one of yesterday
// would be read from then on.
func TestNoSealedValueOfYesterdayGoesToSealedOnly(t *testing.T) {
	e := newLite(t)
	e.old(t, "1", "p1", "old@b.example")
	e.to(t, adoption.ReadSealed)
	e.guard(t, adoption.NoGuard)
	e.exec(t, `UPDATE contacts SET email = 'new@b.example'`)
	gone := adoption.MoveOptions{OldReleaseGone: true}
	alarm := func() {
		t.Helper()
		require.Equal(t, encryption.HealthAlarm, e.finding(t, "encryption.adoption.guard").Level)
	}
	require.ErrorIs(t, e.a.Move(t.Context(), tenant, adoption.Plain, gone), adoption.ErrStage)
	alarm() // a move that is none states nothing
	err := e.a.Move(t.Context(), tenant, adoption.SealedOnly, gone)
	require.ErrorIs(t, err, adoption.ErrNotReady)
	require.ErrorContains(t, err, "Backfill")
	alarm() // nor does one that is refused
	e.guard(t, adoption.Reset)
	require.True(t, e.backfill(t).Clean)
	e.move(t, adoption.SealedOnly, gone)
	require.Equal(t, map[string]string{"1": "new@b.example"}, e.read(t, e.a))
	e.guard(t, adoption.NoGuard)
	e.move(t, adoption.ReadSealed, adoption.MoveOptions{})
	alarm() // the release before may be back
	require.ErrorIs(t, e.a.Move(t.Context(), tenant, adoption.SealedOnly, adoption.MoveOptions{}), adoption.ErrNotReady)
}

// Rows of tenants whom nobody has asked for, without a tenant, or with one that is
// spelt otherwise are not forgotten, and a tenant that comes later begins where the
// others are.
func TestNoTenantIsForgotten(t *testing.T) {
	for _, name := range []testdb.Name{testdb.SQLite, testdb.PostgresC, testdb.MariaDB} {
		t.Run(string(name), func(t *testing.T) {
			def := contactsDef
			def.Tenant = "tenant"
			e := newEnv(t, testdb.New(t, name), def, emailColumn, strings.Replace(contactsSQL, "person", "tenant VARCHAR(40), person", 1))
			for i, of := range []any{tenant, "t2", nil, "T1"} {
				e.exec(t, `INSERT INTO contacts (id, tenant, person, email) VALUES (?, ?, 'p1', 'a@b.example')`, fmt.Sprint(i), of)
			}
			e.to(t, adoption.SealedOnly)
			for _, id := range []string{"1", "2", "3"} {
				_, err := e.a.GuardSQL(t.Context(), adoption.Refuse)
				require.ErrorIs(t, err, adoption.ErrStage)
				require.ErrorContains(t, err, "tenants that were never moved")
				report, err := e.a.Clear(t.Context(), tenant, adoption.JobOptions{})
				require.NoError(t, err)
				require.False(t, report.Clean)
				require.ErrorIs(t, adoption.Finished(t.Context(), e.db, "contacts"), adoption.ErrStage)
				e.exec(t, `DELETE FROM contacts WHERE id = ?`, id)
			}
			e.guard(t, adoption.Refuse)
			report, err := e.a.Clear(t.Context(), tenant, adoption.JobOptions{})
			require.NoError(t, err)
			require.True(t, report.Clean)
			require.NoError(t, e.vault.AddTenant(t.Context(), "t3"))
			w, err := e.a.Writer(t.Context(), "t3", "p1")
			require.NoError(t, err)
			require.Equal(t, adoption.SealedOnly, w.Stage())
			e.exec(t, `INSERT INTO contacts (id, tenant, person, email, email_sealed, email_sealed_idx) VALUES ('9', 't3', 'p1', ?, ?, ?)`,
				w.Plain("email", "x@b.example"), w.Text("email", "x@b.example"), w.Int64("email_sealed_idx", "x@b.example"))
		})
	}
}

// The rows of a table without a column of tenants are of one tenant: the jobs of
// another would take its values away.
func TestATableWithoutTenantsIsMovedForOne(t *testing.T) {
	e := newLite(t)
	require.NoError(t, e.vault.AddTenant(t.Context(), "t2"))
	require.NoError(t, e.vault.AddTenant(t.Context(), "t3"))
	_, _, err := e.a.Stage(t.Context(), "t2")
	require.NoError(t, err)
	e.to(t, adoption.SealedOnly)
	require.ErrorIs(t, e.a.Move(t.Context(), "t2", adoption.WriteBoth, adoption.MoveOptions{}), adoption.ErrDefinition)
	_, err = e.a.Writer(t.Context(), "t3", "p1")
	require.ErrorIs(t, err, adoption.ErrDefinition)
}

// Who is erased while Unseal waits for a row is not put back in the clear.
func TestUnsealWritesNobodyWhoWasErasedMeanwhile(t *testing.T) {
	e := newEnv(t, testdb.New(t, testdb.PostgresC), contactsDef, emailColumn, contactsSQL)
	e.to(t, adoption.SealedOnly)
	e.write(t, e.a, "1", "p1", "ann@b.example")
	e.move(t, adoption.ReadSealed, adoption.MoveOptions{})
	// It has opened the value, and waits for the row.
	tx, err := e.db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	_, err = tx.ExecContext(t.Context(), `SELECT * FROM contacts WHERE id = '1' FOR UPDATE`)
	require.NoError(t, err)
	type ended struct {
		report adoption.Report
		err    error
	}
	done := make(chan ended, 1)
	go func() {
		report, err := e.a.Unseal(context.WithoutCancel(t.Context()), tenant, adoption.JobOptions{})
		done <- ended{report, err}
	}()
	require.Eventually(t, func() bool {
		var n int
		err := e.db.QueryRowContext(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()`).Scan(&n)
		return err == nil && n > 0
	}, time.Minute, time.Millisecond)
	e.erase(t, "p1")
	require.NoError(t, tx.Commit())
	end := <-done
	require.NoError(t, end.err)
	require.EqualValues(t, 1, end.report.Erased, "%+v", end.report)
	require.Equal(t, 1, e.count(t, `email IS NULL`))
}

// Two adoptions of columns of one table have a guard each, and an owner that is
// nobody's lets the clear stand in.
func TestTwoAdoptionsOfOneTableHaveAGuardEach(t *testing.T) {
	for _, name := range []testdb.Name{testdb.SQLite, testdb.MariaDB} {
		t.Run(string(name), func(t *testing.T) {
			e := newEnv(t, testdb.New(t, name), contactsDef, emailColumn, strings.Replace(contactsSQL, "seen", "phone VARCHAR(40), seen", 1))
			e.old(t, "1", "p1", "ann@b.example")
			e.to(t, adoption.ReadSealed)
			table, err := e.vault.Table(encryption.Table{Name: "phones", SQL: "contacts", Columns: []encryption.Column{{Name: "phone", SQL: "phone_sealed"}}})
			require.NoError(t, err)
			second, err := adoption.Open(t.Context(), adoption.Config{DB: e.db, Table: table, Columns: []adoption.Column{{Name: "phone", Plain: "phone"}}})
			require.NoError(t, err)
			statements, err := second.SQL(t.Context())
			require.NoError(t, err)
			for _, statement := range statements {
				e.exec(t, statement)
			}
			for _, a := range []*adoption.Adoption{e.a, second} {
				have, err := a.Guard(t.Context())
				require.NoError(t, err)
				require.Equal(t, adoption.Reset, have)
			}
			e.exec(t, `UPDATE contacts SET email = 'new@b.example' WHERE id = '1'`)
			require.Equal(t, map[string]string{"1": "new@b.example"}, e.read(t, e.a))
			require.True(t, e.backfill(t).Clean)
			e.guard(t, adoption.NoGuard)
			e.exec(t, `UPDATE contacts SET person = NULL`)
			require.Equal(t, map[string]string{"1": "new@b.example"}, e.read(t, e.a))
			require.Positive(t, e.seen.of("encryption.adoption.unreadable"))
		})
	}
}

// Names in a condition are the column's and no keyword's, and a condition prints no
// value.
func TestAConditionNamesItsColumn(t *testing.T) {
	for _, plain := range []string{"user", "eMail"} {
		e := newEnv(t, testdb.New(t, testdb.PostgresC), contactsDef, []adoption.Column{{Name: "email", Plain: plain}}, strings.Replace(contactsSQL, "email", `"`+plain+`"`, 1))
		e.prepare(t)
		e.exec(t, `INSERT INTO contacts (id, person, "`+plain+`") VALUES ('1', 'p1', 'ann@b.example')`)
		c, err := e.a.Lookup(t.Context(), tenant, "email", "ann@b.example")
		require.NoError(t, err)
		require.Equal(t, "condition(masked) condition(masked)", fmt.Sprintf("%v %+v", c, c))
		where, args := c.Postgres("contacts", 1)
		var n int
		require.NoError(t, e.db.QueryRowContext(t.Context(), `SELECT count(*) FROM contacts WHERE `+where, args...).Scan(&n))
		require.Equal(t, 1, n)
	}
}

// Two tables with columns of one name have an index each.
func TestASecondTableHasItsIndex(t *testing.T) {
	e := newLite(t)
	e.prepare(t)
	e.exec(t, strings.Replace(contactsSQL, "contacts", "leads", 1))
	def := contactsDef
	def.Name = "leads"
	table, err := e.vault.Table(def)
	require.NoError(t, err)
	a, err := adoption.Open(t.Context(), adoption.Config{DB: e.db, Table: table, Columns: emailColumn})
	require.NoError(t, err)
	statements, err := a.SQL(t.Context())
	require.NoError(t, err)
	for _, statement := range statements {
		e.exec(t, statement)
	}
	var n int
	require.NoError(t, e.db.QueryRowContext(t.Context(), `SELECT count(*) FROM pragma_index_list('leads') WHERE origin = 'c'`).Scan(&n))
	require.Equal(t, 1, n)
}
