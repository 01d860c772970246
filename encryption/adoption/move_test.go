package adoption_test

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/adoption"
	"github.com/crmguard/crmguard/internal/testdb"
)

func newLite(t *testing.T) *env {
	t.Helper()
	return newEnv(t, testdb.New(t, testdb.SQLite), contactsDef, emailColumn, contactsSQL)
}

// A process that stood still for longer than a lease writes nothing of what it has
// made before: others may be two stages further.
func TestAProcessThatSleptWritesNothing(t *testing.T) {
	e := newLite(t)
	for _, stage := range []adoption.Stage{adoption.Plain, adoption.WriteBoth} {
		if stage != adoption.Plain {
			e.to(t, stage)
		}
		w, err := e.a.Writer(t.Context(), tenant, "p1")
		require.NoError(t, err)
		require.Equal(t, stage, w.Stage())
		values := []adoption.Value{w.Plain("email", "a@b.example"), w.Text("email", "a@b.example"), w.Int64("email_sealed_idx", "a@b.example"), w.Index("email_sealed_idx", "a@b.example")}
		for _, v := range values {
			require.NoError(t, v.Err())
		}
		e.clock.Move(adoption.DefaultLease)
		for _, v := range values {
			require.ErrorIs(t, v.Err(), adoption.ErrLease)
			_, err := e.db.ExecContext(t.Context(), `INSERT INTO contacts (id, person, email) VALUES ('x', 'p1', ?)`, v)
			require.ErrorIs(t, err, adoption.ErrLease)
		}
		w, err = e.a.Writer(t.Context(), tenant, "p1")
		require.NoError(t, err)
		require.NoError(t, w.Plain("email", "a@b.example").Err())
		e.clock.Move(-time.Hour) // the wall clock was set back
		require.ErrorIs(t, w.Plain("email", "a@b.example").Err(), adoption.ErrLease)
	}
}

// The other process learns of a move within the lease, and keeps to the stage
// before until then.
func TestAStageIsTrustedForALease(t *testing.T) {
	e := newLite(t)
	e.prepare(t)
	other := e.process(t)
	writes := func() adoption.Stage {
		w, err := other.Writer(t.Context(), tenant, "p1")
		require.NoError(t, err)
		return w.Stage()
	}
	require.Equal(t, adoption.Plain, writes())
	e.clock.before = func() { require.Equal(t, adoption.Plain, writes(), "while the move waits") }
	e.move(t, adoption.WriteBoth, adoption.MoveOptions{})
	require.Equal(t, adoption.WriteBoth, writes(), "when it has returned")
}

// A move returns when every transaction has ended that wrote for the stage before.
// (SQLite has one writer at a time: none is open while a stage is written.)
func TestAMoveWaitsForOpenTransactions(t *testing.T) {
	for _, name := range []testdb.Name{testdb.PostgresC, testdb.PostgresICU, testdb.MariaDB} {
		t.Run(string(name), func(t *testing.T) {
			d := testdb.New(t, name)
			e := newEnv(t, d, contactsDef, emailColumn, contactsSQL)
			e.prepare(t)
			tx, err := e.db.BeginTx(t.Context(), nil)
			require.NoError(t, err)
			_, err = tx.ExecContext(t.Context(), `INSERT INTO contacts (id, person, email) VALUES ('1', 'p1', 'a@b.example')`)
			require.NoError(t, err)
			ended := make(chan error, 1)
			waited := false
			require.NoError(t, e.a.Move(t.Context(), tenant, adoption.WriteBoth, adoption.MoveOptions{Waiting: func(what string) {
				if waited || !strings.Contains(what, "transactions") {
					return
				}
				waited = true
				_, settled, err := e.a.Stage(t.Context(), tenant)
				if err == nil && !settled {
					err = tx.Commit()
				}
				ended <- err
			}}))
			require.True(t, waited, "the move returned over an open transaction")
			require.NoError(t, <-ended)
			require.True(t, e.backfill(t).Clean)
			e.move(t, adoption.ReadSealed, adoption.MoveOptions{})
			require.Equal(t, map[string]string{"1": "a@b.example"}, e.read(t, e.a))
			require.Zero(t, e.seen.of("encryption.adoption.fallbacks"))
		})
	}
}

// A move that ends in the middle is called again, forward or back.
func TestAnInterruptedMoveIsCalledAgain(t *testing.T) {
	for _, to := range []adoption.Stage{adoption.ReadSealed, adoption.WriteBoth} {
		e := newLite(t)
		e.old(t, "1", "p1", "a@b.example")
		e.to(t, adoption.WriteBoth)
		require.True(t, e.backfill(t).Clean)
		ctx, cancel := context.WithCancel(t.Context())
		e.clock.before = cancel
		err := e.a.Move(ctx, tenant, adoption.ReadSealed, adoption.MoveOptions{})
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorContains(t, err, "call Move again")
		e.clock.before = nil
		stage, settled, err := e.a.Stage(t.Context(), tenant)
		require.NoError(t, err)
		require.Equal(t, adoption.ReadSealed, stage)
		require.False(t, settled)
		require.Equal(t, encryption.HealthNotice, e.finding(t, "encryption.adoption.move").Level)
		waits := 0
		e.clock.before = func() { waits++ }
		e.move(t, to, adoption.MoveOptions{})
		require.Equal(t, map[adoption.Stage]int{adoption.ReadSealed: 1, adoption.WriteBoth: 2}[to], waits, "first what was begun is waited for")
		require.Equal(t, encryption.HealthOK, e.finding(t, "encryption.adoption.move").Level)
	}
}

func (e *env) finding(t *testing.T, name string) encryption.Finding {
	t.Helper()
	all, err := e.a.Status(t.Context(), tenant)
	require.NoError(t, err)
	i := slices.IndexFunc(all, func(f encryption.Finding) bool { return f.Name == name })
	require.GreaterOrEqual(t, i, 0, name)
	return all[i]
}

// Moves go to a neighbour, and say what they lack.
func TestWhatStandsInTheWayOfAMove(t *testing.T) {
	e := newLite(t)
	e.old(t, "1", "p1", "a@b.example")
	refused := func(to adoption.Stage, options adoption.MoveOptions, why string) *adoption.NotReadyError {
		t.Helper()
		before, settled, err := e.a.Stage(t.Context(), tenant)
		require.NoError(t, err)
		require.True(t, settled)
		err = e.a.Move(t.Context(), tenant, to, options)
		require.ErrorIs(t, err, adoption.ErrNotReady)
		require.ErrorContains(t, err, why)
		after, settled, err2 := e.a.Stage(t.Context(), tenant)
		require.NoError(t, err2)
		require.True(t, settled)
		require.Equal(t, before, after, "nothing has changed")
		var detail *adoption.NotReadyError
		require.ErrorAs(t, err, &detail)
		return detail
	}
	require.ErrorIs(t, e.a.Move(t.Context(), tenant, adoption.WriteBoth, adoption.MoveOptions{}), adoption.ErrDefinition, "the columns are missing")
	require.ErrorIs(t, e.a.Move(t.Context(), tenant, "sealed-twice", adoption.MoveOptions{}), adoption.ErrStage)
	require.ErrorIs(t, e.a.Move(t.Context(), tenant, adoption.ReadSealed, adoption.MoveOptions{}), adoption.ErrStage, "two stages away")
	_, err := e.a.Backfill(t.Context(), tenant, adoption.JobOptions{})
	require.ErrorIs(t, err, adoption.ErrStage)
	e.to(t, adoption.WriteBoth)
	e.guard(t, adoption.NoGuard)
	require.NotEmpty(t, refused(adoption.ReadSealed, adoption.MoveOptions{}, "trigger").SQL)
	require.False(t, e.backfill(t).Clean, "what is written without a guard may be of yesterday at once")
	refused(adoption.ReadSealed, adoption.MoveOptions{OldReleaseGone: true}, "Backfill")
	require.True(t, e.backfill(t).Clean, "the statement is recorded")
	e.move(t, adoption.WriteBoth, adoption.MoveOptions{})
	e.move(t, adoption.ReadSealed, adoption.MoveOptions{})
	e.exec(t, `INSERT INTO contacts (id, person, email) VALUES ('2', NULL, 'b@b.example')`)
	require.EqualValues(t, 1, refused(adoption.SealedOnly, adoption.MoveOptions{}, "1 rows stand in the clear only").Rows)
	refused(adoption.SealedOnly, adoption.MoveOptions{Accept: 1}, "Backfill")
	require.False(t, e.backfill(t).Clean, "one is in the clear only")
	e.move(t, adoption.SealedOnly, adoption.MoveOptions{Accept: 1})
	require.Equal(t, map[string]string{"1": "a@b.example", "2": "b@b.example"}, e.read(t, e.a), "a row in the clear breaks no page")
	e.guard(t, adoption.Refuse)
	require.NotEmpty(t, refused(adoption.ReadSealed, adoption.MoveOptions{}, "trigger").SQL)
	e.guard(t, adoption.NoGuard)
	report, err := e.a.Clear(t.Context(), tenant, adoption.JobOptions{})
	require.NoError(t, err)
	require.False(t, report.Clean)
	require.EqualValues(t, 1, report.Refused)
	require.ErrorIs(t, adoption.Finished(t.Context(), e.db, "contacts"), adoption.ErrStage)
	e.move(t, adoption.ReadSealed, adoption.MoveOptions{})
	require.EqualValues(t, 1, refused(adoption.WriteBoth, adoption.MoveOptions{}, "Unseal").Rows)
	report, err = e.a.Unseal(t.Context(), tenant, adoption.JobOptions{})
	require.NoError(t, err)
	require.True(t, report.Clean)
	e.move(t, adoption.WriteBoth, adoption.MoveOptions{})
	e.move(t, adoption.Plain, adoption.MoveOptions{})
	for _, job := range []func(context.Context, string, adoption.JobOptions) (adoption.Report, error){e.a.Clear, e.a.Unseal, e.a.Backfill} {
		_, err := job(t.Context(), tenant, adoption.JobOptions{})
		require.ErrorIs(t, err, adoption.ErrStage)
	}
}

// NOT NULL and UNIQUE in the clear go with it: the error says what to execute, and
// the way back what brings it back.
func TestConstraintsInTheClearAreHandedOver(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		def := encryption.Table{Name: "contacts", Columns: []encryption.Column{{
			Name: "email", SQL: "email_sealed", Find: encryption.Email,
		}}}
		create := `CREATE TABLE contacts (id VARCHAR(40) NOT NULL PRIMARY KEY, person VARCHAR(40), email VARCHAR(200) NOT NULL UNIQUE)`
		e := newEnv(t, d, def, emailColumn, create)
		e.prepare(t)
		var refused *adoption.NotReadyError
		require.ErrorAs(t, e.a.Move(t.Context(), tenant, adoption.WriteBoth, adoption.MoveOptions{}), &refused)
		require.Contains(t, refused.Why, "at least 128 bits")

		e.def.Columns = []encryption.Column{{
			Name: "email", SQL: "email_sealed", Find: encryption.Email, Index: []encryption.Index{{Column: "email_unique", As: encryption.Email, Bits: 128}},
		}}
		e.a = e.process(t)
		e.old(t, "1", "p1", "a@b.example")
		e.old(t, "2", "p2", "b@b.example")
		e.to(t, adoption.ReadSealed)
		require.True(t, e.backfill(t).Clean)
		err := e.a.Move(t.Context(), tenant, adoption.SealedOnly, adoption.MoveOptions{OldReleaseGone: true})
		require.ErrorAs(t, err, &refused)
		require.ErrorContains(t, err, "email is NOT NULL")
		require.ErrorContains(t, err, "email is UNIQUE")
		if d.Name == testdb.SQLite { // which has no statement for it
			return
		}
		for _, statement := range refused.SQL {
			e.exec(t, statement)
		}
		e.move(t, adoption.SealedOnly, adoption.MoveOptions{OldReleaseGone: true})
		w, err := e.a.Writer(t.Context(), tenant, "p3")
		require.NoError(t, err)
		insert := func(id, email string) error {
			_, err := e.db.ExecContext(t.Context(), e.bind(`INSERT INTO contacts (id, person, email, email_sealed, email_unique) VALUES (?, 'p3', ?, ?, ?)`),
				id, w.Plain("email", email), w.Text("email", email), w.Index("email_unique", email))
			return err
		}
		require.NoError(t, insert("3", "c@b.example"))
		require.Error(t, insert("4", "A@b.example"), "unique without the clear")
		report := e.clear(t)
		require.True(t, report.Clean)
		e.move(t, adoption.ReadSealed, adoption.MoveOptions{})
		report, err = e.a.Unseal(t.Context(), tenant, adoption.JobOptions{})
		require.NoError(t, err)
		require.True(t, report.Clean)
		restore, err := e.a.RestoreSQL(t.Context(), tenant)
		require.NoError(t, err)
		require.Len(t, restore, 1)
		for _, statement := range restore {
			e.exec(t, statement)
		}
		_, err = e.db.ExecContext(t.Context(), `INSERT INTO contacts (id, person) VALUES ('5', 'p5')`)
		require.Error(t, err, "NOT NULL is back")
	})
}

// Who declares it otherwise, or does not know the stage, does not start.
func TestAnotherDefinitionIsRefused(t *testing.T) {
	e := newLite(t)
	table := func(def encryption.Table) *encryption.SealedTable {
		vault, err := encryption.Open(t.Context(), e.cfg)
		require.NoError(t, err)
		table, err := vault.Table(def)
		require.NoError(t, err)
		return table
	}
	open := func(def encryption.Table, cols []adoption.Column, lease time.Duration) error {
		_, err := adoption.Open(t.Context(), adoption.Config{DB: e.db, Table: table(def), Columns: cols, Lease: lease})
		return err
	}
	wider := encryption.Table{Name: "contacts", Columns: []encryption.Column{{Name: "email", SQL: "email_sealed", Find: encryption.Exact}}}
	require.NoError(t, open(wider, emailColumn, 0), "at Plain the definition may change")
	e.to(t, adoption.WriteBoth)
	require.ErrorIs(t, open(wider, emailColumn, 0), adoption.ErrDefinition)
	require.ErrorIs(t, open(contactsDef, emailColumn, time.Second), adoption.ErrDefinition)
	require.NoError(t, open(contactsDef, emailColumn, adoption.DefaultLease))
	require.NoError(t, open(contactsDef, []adoption.Column{{Name: "email", Plain: "email", Compare: "lower({column}) = lower({value})"}}, 0), "how the clear is searched is each release's own")
	for _, bad := range [][]adoption.Column{
		nil,
		{{Name: "phone", Plain: "phone"}},
		{{Name: "email", Plain: "email_sealed"}},
		{{Name: "email", Plain: "e mail"}},
		{{Name: "email", Plain: "email"}, {Name: "email", Plain: "email2"}},
		{{Name: "email", Plain: "email", Compare: "{column} = ?"}},
		{{Name: "email", Plain: "email", Index: "email_sealed_idx"}},
	} {
		require.ErrorIs(t, open(contactsDef, bad, 0), adoption.ErrDefinition, "%v", bad)
	}
	_, err := adoption.Open(t.Context(), adoption.Config{})
	require.ErrorIs(t, err, adoption.ErrDefinition)
	_, err = e.a.Lookup(t.Context(), tenant, "phone", "x")
	require.ErrorIs(t, err, adoption.ErrDefinition)
	_, err = e.a.Lookup(t.Context(), tenant, "email", " ")
	require.ErrorIs(t, err, encryption.ErrDefinition)

	e.exec(t, `UPDATE crmguard_adoption SET stage = 'sealed-thrice'`)
	e.clock.Move(time.Minute)
	require.ErrorIs(t, open(contactsDef, emailColumn, 0), adoption.ErrStage)
	_, err = e.a.Writer(t.Context(), tenant, "p1")
	require.ErrorIs(t, err, adoption.ErrStage, "nor does one that runs go on")
	require.ErrorIs(t, adoption.Finished(t.Context(), e.db, "contacts"), adoption.ErrStage)
	require.ErrorIs(t, adoption.Finished(t.Context(), e.db, "letters"), adoption.ErrStage)
}

// What is recorded of a definition is frozen: another digest would refuse every
// database that is being adopted.
func TestTheRecordedDefinitionIsFrozen(t *testing.T) {
	e := newLite(t)
	require.Equal(t, "0c626b7fd0776b42727721cbc6cfc6662241266811c8fe181f0bd29c20ed6a6f", e.a.Digest())
}

// A database that is put back brings its own stage along, and processes that knew
// a later one read and write by it.
func TestAnOlderDatabaseIsPutBack(t *testing.T) {
	d := testdb.New(t, testdb.SQLite)
	e := newEnv(t, d, contactsDef, emailColumn, contactsSQL)
	e.old(t, "1", "p1", "a@b.example")
	e.to(t, adoption.WriteBoth)
	e.write(t, e.a, "2", "p2", "b@b.example")
	backup := filepath.Join(t.TempDir(), "backup.db")
	e.exec(t, `VACUUM INTO '`+backup+`'`)
	require.True(t, e.backfill(t).Clean)
	e.move(t, adoption.ReadSealed, adoption.MoveOptions{})
	require.True(t, e.backfill(t).Clean)
	e.move(t, adoption.SealedOnly, adoption.MoveOptions{OldReleaseGone: true})
	require.True(t, e.clear(t).Clean)

	e.exec(t, `ATTACH '`+backup+`' AS backup`)
	for _, table := range []string{"contacts", "crmguard_adoption", "crmguard_adoption_job"} {
		e.exec(t, `DELETE FROM main.`+table)
		e.exec(t, `INSERT INTO main.`+table+` SELECT * FROM backup.`+table)
	}
	e.clock.Move(adoption.DefaultLease)
	want := map[string]string{"1": "a@b.example", "2": "b@b.example"}
	require.Equal(t, want, e.read(t, e.a))
	require.ErrorIs(t, adoption.Finished(t.Context(), e.db, "contacts"), adoption.ErrStage)
	e.write(t, e.a, "3", "p3", "c@b.example")
	want["3"] = "c@b.example"
	require.Equal(t, want, e.read(t, e.a))
	require.True(t, e.backfill(t).Clean)
	e.move(t, adoption.ReadSealed, adoption.MoveOptions{})
	require.Equal(t, want, e.read(t, e.a))
	require.Equal(t, []string{"3"}, e.find(t, e.a, "c@b.example"))
}

// A standby is not asked for the stage, and a database without the tables says
// which call is missing.
func TestTheTablesAreMissing(t *testing.T) {
	e := newLite(t)
	bare := testdb.New(t, testdb.SQLite).Open(t)
	table, err := e.vault.Table(contactsDef)
	require.NoError(t, err)
	_, err = adoption.Open(t.Context(), adoption.Config{DB: bare, Table: table, Columns: emailColumn})
	var missing *adoption.ErrSchema
	require.ErrorAs(t, err, &missing)
	require.ErrorAs(t, adoption.Finished(t.Context(), bare, "contacts"), &missing)
}

// A tenant that had keys before the index was declared: nothing is searched by it
// until the sealed table's own fence and rebuild have passed.
func TestAnIndexHasToBeSearchedBeforeSealedIsRead(t *testing.T) {
	e := newLite(t)
	e.old(t, "1", "p1", "a@b.example")
	bare, err := encryption.Open(t.Context(), e.cfg)
	require.NoError(t, err)
	require.NoError(t, bare.Ensure(t.Context(), tenant, "p9"))
	other, err := bare.Table(encryption.Table{Name: "letters", Columns: []encryption.Column{{Name: "body"}}})
	require.NoError(t, err)
	_, err = other.Writer(t.Context(), tenant, "p9")
	require.NoError(t, err)

	e.to(t, adoption.WriteBoth)
	require.True(t, e.backfill(t).Clean)
	err = e.a.Move(t.Context(), tenant, adoption.ReadSealed, adoption.MoveOptions{})
	require.ErrorIs(t, err, adoption.ErrNotReady)
	require.ErrorContains(t, err, "FenceOldWriters")
	table, err := e.vault.Table(e.def)
	require.NoError(t, err)
	require.NoError(t, table.FenceOldWriters(t.Context(), tenant))
	_, err = table.Rebuild(t.Context(), e.db, tenant)
	require.NoError(t, err)
	e.move(t, adoption.ReadSealed, adoption.MoveOptions{})
	require.Equal(t, []string{"1"}, e.find(t, e.a, "a@b.example"))
}
