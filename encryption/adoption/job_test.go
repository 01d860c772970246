package adoption_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/adoption"
	"github.com/crmguard/crmguard/internal/testdb"
)

// One bad row among many stops nothing: it is counted, listed, and read in the
// clear; all others are sealed.
func TestBadRowsStopNothing(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		refusing := `CREATE TABLE contacts (id VARCHAR(40) NOT NULL PRIMARY KEY, person VARCHAR(40), email VARCHAR(200), seen INTEGER NOT NULL DEFAULT 0, CHECK (seen < 2))`
		e := newEnv(t, d, contactsDef, emailColumn, refusing)
		for i := range 30 {
			e.old(t, fmt.Sprintf("r%02d", i), fmt.Sprintf("p%d", i), fmt.Sprintf("v%d@b.example", i))
		}
		e.exec(t, `UPDATE contacts SET person = NULL WHERE id = 'r03'`)
		e.exec(t, `UPDATE contacts SET person = 'ann@b.example' WHERE id = 'r04'`)
		require.NoError(t, e.vault.Ensure(t.Context(), tenant, "p5", "p6", "p7"))
		e.erase(t, "p5")
		require.NoError(t, e.vault.AddAlias(t.Context(), tenant, "p6", "p7"))
		e.to(t, adoption.WriteBoth)
		// A constraint of which only one row knows: what is sealed there is refused.
		e.exec(t, `ALTER TABLE contacts ADD CONSTRAINT none CHECK (id <> 'r08' OR email_sealed IS NULL)`, skipOn(d.Name, testdb.SQLite)...)
		dry, err := e.a.Backfill(t.Context(), tenant, adoption.JobOptions{DryRun: true})
		require.NoError(t, err)
		require.EqualValues(t, 30, dry.Rows)
		require.False(t, dry.Clean)
		require.Zero(t, e.count(t, `email_sealed IS NOT NULL`), "a dry run changes nothing")

		report, err := e.a.Backfill(t.Context(), tenant, adoption.JobOptions{Batch: 7})
		require.NoError(t, err)
		refused := map[testdb.Name]int64{testdb.SQLite: 3}[d.Name]
		if refused == 0 {
			refused = 4
		}
		require.EqualValues(t, 30, report.Rows)
		require.EqualValues(t, 1, report.Erased)
		require.Equal(t, refused, report.Refused, "%+v", report)
		require.EqualValues(t, 30-1-refused, report.Changed)
		require.Len(t, report.Listed, int(refused)+1)
		require.True(t, report.Clean, "what is in the clear only is in nobody's way at ReadSealed")
		e.move(t, adoption.ReadSealed, adoption.MoveOptions{})
		rows := e.rows(t, "")
		var some *encryption.RowsError
		require.ErrorAs(t, adoption.OpenAll(t.Context(), e.a, tenant, rows), &some)
		require.Len(t, some.Rows, 1)
		require.ErrorIs(t, some.Rows[5], encryption.ErrErased)
		for i := range 30 {
			if i != 5 {
				require.Equal(t, fmt.Sprintf("v%d@b.example", i), rows[i].Email)
			}
			require.Equal(t, []string{fmt.Sprintf("r%02d", i)}, e.find(t, e.a, fmt.Sprintf("v%d@b.example", i)))
		}
		require.EqualValues(t, refused, e.seen.of("encryption.adoption.fallbacks"))
		require.Equal(t, encryption.HealthNotice, e.finding(t, "encryption.adoption.unsealed").Level)
	})
}

// skipOn makes exec do nothing on a database: SQLite adds no constraint.
func skipOn(have, which testdb.Name) []any {
	if have == which {
		return []any{skipped}
	}
	return nil
}

const skipped = "skip"

func (e *env) count(t *testing.T, where string) (n int) {
	t.Helper()
	require.NoError(t, e.db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM contacts WHERE `+where).Scan(&n))
	return n
}

func (e *env) erase(t *testing.T, person string) {
	t.Helper()
	_, err := e.vault.Erase(t.Context(), tenant, person)
	require.NoError(t, err)
}

// What is sealed already is opened and compared, always: outdated, damaged,
// somebody else's and without its index value are sealed anew.
func TestBackfillMendsWhatIsSealedAlready(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		e := newEnv(t, d, contactsDef, emailColumn, contactsSQL)
		e.to(t, adoption.WriteBoth)
		for i := range 6 {
			e.write(t, e.a, fmt.Sprint(i), fmt.Sprintf("p%d", i), fmt.Sprintf("v%d@b.example", i))
		}
		e.guard(t, adoption.NoGuard)
		e.exec(t, `UPDATE contacts SET email = 'new@b.example' WHERE id = '0'`)
		e.exec(t, `UPDATE contacts SET email = NULL WHERE id = '1'`)
		e.exec(t, `UPDATE contacts SET person = 'p0' WHERE id = '2'`)
		e.exec(t, `UPDATE contacts SET email_sealed_idx = 7 WHERE id = '3'`)
		e.exec(t, `UPDATE contacts SET email_sealed = ? WHERE id = '4'`, []byte("no sealed value"))
		e.guard(t, adoption.Reset)
		report := e.backfill(t)
		require.EqualValues(t, 5, report.Changed)
		require.EqualValues(t, 1, report.Same)
		require.True(t, report.Clean)
		e.move(t, adoption.ReadSealed, adoption.MoveOptions{})
		require.Equal(t, map[string]string{"0": "new@b.example", "1": "-", "2": "v2@b.example", "3": "v3@b.example", "4": "v4@b.example", "5": "v5@b.example"}, e.read(t, e.a))
		require.Equal(t, []string{"3"}, e.find(t, e.a, "v3@b.example"))
		require.Zero(t, e.seen.of("encryption.adoption.fallbacks")+e.seen.of("encryption.adoption.mismatches"))
	})
}

// What the two columns say otherwise is seen and counted at ReadSealed, never
// shown to anybody, and mended from the clear.
func TestMismatchesAreCounted(t *testing.T) {
	e := newLite(t)
	e.to(t, adoption.ReadSealed)
	for i := range 3 {
		e.write(t, e.a, fmt.Sprint(i), fmt.Sprintf("p%d", i), "v@b.example")
	}
	e.guard(t, adoption.NoGuard)
	e.exec(t, `UPDATE contacts SET email = 'new@b.example' WHERE id = '0'`)
	e.exec(t, `UPDATE contacts SET email_sealed = x'0102' WHERE id = '1'`)
	e.erase(t, "p2")
	rows := e.rows(t, "")
	err := adoption.OpenAll(t.Context(), e.a, tenant, rows)
	var some *encryption.RowsError
	require.ErrorAs(t, err, &some)
	require.Len(t, some.Rows, 1)
	require.ErrorIs(t, some.Rows[2], encryption.ErrErased, "the clear does not stand in for who was erased")
	require.Equal(t, "v@b.example", rows[0].Email)
	require.Equal(t, "v@b.example", rows[1].Email)
	require.Equal(t, encryption.HealthAlarm, e.finding(t, "encryption.adoption.mismatches").Level)
	require.Equal(t, encryption.HealthAlarm, e.finding(t, "encryption.adoption.unreadable").Level)
	require.Equal(t, encryption.HealthAlarm, e.finding(t, "encryption.adoption.guard").Level)
	report := e.backfill(t)
	require.EqualValues(t, 2, report.Changed)
	require.EqualValues(t, 1, report.Erased)
	rows = e.rows(t, "WHERE id < '2'")
	require.NoError(t, adoption.OpenAll(t.Context(), e.a, tenant, rows))
	require.Equal(t, "new@b.example", rows[0].Email)
}

// Between reading a row and changing it, somebody else does, who knows nothing of
// the sealed column.
func TestBackfillNeverOverwritesWhatChangedMeanwhile(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		e := newEnv(t, d, contactsDef, emailColumn, contactsSQL)
		e.old(t, "1", "p1", "v0@b.example")
		e.to(t, adoption.WriteBoth)
		e.keys.meanwhile = func() { e.exec(t, `UPDATE contacts SET email = 'v1@b.example' WHERE id = '1'`) }
		_, err := e.a.Backfill(t.Context(), tenant, adoption.JobOptions{})
		require.NoError(t, err)
		require.Positive(t, e.seen.of("encryption.adoption.conflicts"), "nothing fell in between")
		require.Equal(t, "v1@b.example", e.opened(t, e.rows(t, "")[0]), "an outdated value was sealed")
	})
}

// A large batch of which others have changed every row is read again in parts.
func TestALargeBatchIsReadAgain(t *testing.T) {
	e := newLite(t)
	for i := range 1200 {
		e.old(t, fmt.Sprint(i), "p1", "v@b.example")
	}
	e.to(t, adoption.WriteBoth)
	e.keys.meanwhile = func() { e.exec(t, `UPDATE contacts SET email = 'w' || email`) }
	report, err := e.a.Backfill(t.Context(), tenant, adoption.JobOptions{Batch: 1200})
	require.NoError(t, err)
	require.EqualValues(t, 1200, report.Rows)
	require.Positive(t, e.seen.of("encryption.adoption.conflicts"), "nothing fell in between")
}

// opened is what the sealed column says.
func (e *env) opened(t *testing.T, c *contact) string {
	t.Helper()
	table, err := e.vault.Table(e.def)
	require.NoError(t, err)
	row, err := table.Row(t.Context(), tenant, c.person, c.id)
	require.NoError(t, err)
	text, err := row.Text(t.Context(), "email", c.sealed.Bytes())
	require.NoError(t, err)
	return text
}

// A job that ended in the middle goes on from where it was, in another process,
// too; in another stage it begins anew.
func TestAJobGoesOn(t *testing.T) {
	e := newLite(t)
	for i := range 20 {
		e.old(t, fmt.Sprintf("r%02d", i), "p1", "v@b.example")
	}
	e.to(t, adoption.WriteBoth)
	enough := errors.New("enough")
	calls := 0
	stop := func(context.Context, adoption.Progress) (time.Duration, error) {
		if calls++; calls == 2 {
			return 0, enough
		}
		return 0, nil
	}
	var said []string
	report, err := e.a.Backfill(t.Context(), tenant, adoption.JobOptions{Batch: 4, Pause: stop, Progress: func(p adoption.Progress) {
		said = append(said, p.String())
	}})
	require.ErrorIs(t, err, enough)
	require.EqualValues(t, 8, report.Changed)
	require.Equal(t, []string{"4 rows of about 20 (20 %), 4 changed, 0 left", "8 rows of about 20 (40 %), 8 changed, 0 left"}, said)
	read := 0
	report, err = e.process(t).Backfill(t.Context(), tenant, adoption.JobOptions{Batch: 4, Progress: func(adoption.Progress) { read++ }})
	require.NoError(t, err)
	require.Equal(t, 3, read, "what was done is not read again")
	require.EqualValues(t, 20, report.Rows)
	require.EqualValues(t, 20, report.Changed)
	require.True(t, report.Clean)
	calls = 0
	_, err = e.a.Backfill(t.Context(), tenant, adoption.JobOptions{Batch: 4, Pause: stop})
	require.ErrorIs(t, err, enough)
	e.move(t, adoption.ReadSealed, adoption.MoveOptions{})
	report, err = e.a.Backfill(t.Context(), tenant, adoption.JobOptions{})
	require.NoError(t, err)
	require.EqualValues(t, 20, report.Same)
}

// A job holds to the stage that it began at: nobody moves beside a batch, and after
// a move the next batch changes nothing.
func TestAJobEndsWhereTheStageIsMoved(t *testing.T) {
	e := newLite(t)
	e.to(t, adoption.SealedOnly)
	for i := range 20 {
		e.write(t, e.a, fmt.Sprintf("r%02d", i), "p1", "v@b.example")
	}
	e.move(t, adoption.ReadSealed, adoption.MoveOptions{})
	report, err := e.a.Unseal(t.Context(), tenant, adoption.JobOptions{})
	require.NoError(t, err)
	require.True(t, report.Clean)
	require.True(t, e.backfill(t).Clean)
	e.move(t, adoption.SealedOnly, adoption.MoveOptions{OldReleaseGone: true})
	moved := false
	report, err = e.a.Clear(t.Context(), tenant, adoption.JobOptions{Batch: 4, Pause: func(ctx context.Context, _ adoption.Progress) (time.Duration, error) {
		if !moved {
			moved = true
			return 0, e.a.Move(ctx, tenant, adoption.ReadSealed, adoption.MoveOptions{})
		}
		return 0, nil
	}})
	require.ErrorIs(t, err, adoption.ErrMoved)
	require.EqualValues(t, 4, report.Changed)
	require.Equal(t, 4, e.count(t, `email IS NULL`))
}

// A row that others hold locked is put off, tried again at the end, and then
// counted: the pass is not clean. (SQLite locks no rows; the other PostgreSQL has
// nothing but another order of text.)
func TestLockedRowsArePutOff(t *testing.T) {
	for _, name := range []testdb.Name{testdb.PostgresICU, testdb.MariaDB} {
		t.Run(string(name), func(t *testing.T) {
			d := testdb.New(t, name)
			e := newEnv(t, d, contactsDef, emailColumn, contactsSQL)
			for i := range 5 {
				e.old(t, fmt.Sprint(i), "p1", "v@b.example")
			}
			e.to(t, adoption.WriteBoth)
			tx, err := e.db.BeginTx(t.Context(), nil)
			require.NoError(t, err)
			_, err = tx.ExecContext(t.Context(), `UPDATE contacts SET seen = 5 WHERE id = '2'`)
			require.NoError(t, err)
			done := make(chan struct{})
			report, err := e.a.Backfill(t.Context(), tenant, adoption.JobOptions{Progress: func(adoption.Progress) { // behind the first pass
				go func() {
					defer close(done)
					_ = tx.Rollback()
				}()
			}})
			require.NoError(t, err)
			<-done
			require.EqualValues(t, 5, report.Changed, "%+v", report)
			require.Zero(t, report.Locked)
			require.True(t, report.Clean)
		})
	}
}

// The pace is kept by the clock.
func TestThePaceIsKept(t *testing.T) {
	e := newLite(t)
	for i := range 20 {
		e.old(t, fmt.Sprintf("r%02d", i), "p1", "v@b.example")
	}
	e.to(t, adoption.WriteBoth)
	begin := e.clock.Now()
	var left time.Duration
	_, err := e.a.Backfill(t.Context(), tenant, adoption.JobOptions{Batch: 5, RowsPerSecond: 10, Progress: func(p adoption.Progress) {
		if p.Rows == 15 {
			left = p.Left
		}
	}})
	require.NoError(t, err)
	require.Equal(t, 2*time.Second, e.clock.Now().Sub(begin))
	require.Equal(t, 333*time.Millisecond, left.Truncate(time.Millisecond), "5 of 20 rows are left after a second")
}

// On PostgreSQL the pace goes by what is logged and by standbys, too.
func TestThePaceGoesByTheWriteAheadLog(t *testing.T) {
	e := newEnv(t, testdb.New(t, testdb.PostgresC), contactsDef, emailColumn, contactsSQL)
	for i := range 20 {
		e.old(t, fmt.Sprintf("r%02d", i), "p1", "v@b.example")
	}
	e.to(t, adoption.WriteBoth)
	begin := e.clock.Now()
	report, err := e.a.Backfill(t.Context(), tenant, adoption.JobOptions{Batch: 5, MaxWAL: 1, MaxLag: time.Second})
	require.NoError(t, err)
	require.True(t, report.Clean)
	require.Equal(t, 3*time.Minute, e.clock.Now().Sub(begin), "more than a byte was logged: a minute, the longest pause, between measurements")
}

// Places of jobs come back as they were, whatever their type.
func TestPlacesComeBack(t *testing.T) {
	for _, cursor := range [][]any{{"a", int64(7)}, {""}, {[]byte{}, []byte{0xff, 0}}, {uint64(1 << 63)}, {1.5}, {"7"}, {"\xff"}} {
		text, err := adoption.PlaceText(cursor)
		require.NoError(t, err)
		back, err := adoption.PlaceOf(text)
		require.NoError(t, err)
		require.Equal(t, cursor, back)
	}
	for _, bad := range []string{"x", `[{}]`} {
		_, err := adoption.PlaceOf(bad)
		require.Error(t, err)
	}
	_, err := adoption.PlaceText([]any{true})
	require.ErrorIs(t, err, adoption.ErrDefinition)
}

// Clear takes nothing away that the sealed value does not open to, and Unseal
// overwrites nothing and lists what the clear does not take.
func TestClearAndUnsealTouchNothingElse(t *testing.T) {
	e := newLite(t)
	e.to(t, adoption.ReadSealed)
	for i := range 5 {
		e.write(t, e.a, fmt.Sprint(i), fmt.Sprintf("p%d", i), fmt.Sprintf("v%d@b.example", i))
	}
	require.True(t, e.backfill(t).Clean)
	e.move(t, adoption.SealedOnly, adoption.MoveOptions{OldReleaseGone: true})
	e.guard(t, adoption.NoGuard)
	e.exec(t, `UPDATE contacts SET email = 'other@b.example' WHERE id = '1'`)
	e.exec(t, `UPDATE contacts SET email_sealed = x'0102' WHERE id = '2'`)
	e.erase(t, "p3")
	report, err := e.a.Clear(t.Context(), tenant, adoption.JobOptions{})
	require.NoError(t, err)
	require.EqualValues(t, 2, report.Changed)
	require.EqualValues(t, 1, report.Differ)
	require.EqualValues(t, 1, report.Refused)
	require.EqualValues(t, 1, report.Erased)
	require.Len(t, report.Listed, 3)
	require.False(t, report.Clean)
	require.Equal(t, 3, e.count(t, `email IS NOT NULL`))
	again, err := e.a.Backfill(t.Context(), tenant, adoption.JobOptions{})
	require.NoError(t, err)
	require.Zero(t, again.Changed, "at SealedOnly the sealed value counts")
	require.EqualValues(t, 2, again.Differ)

	e.move(t, adoption.ReadSealed, adoption.MoveOptions{})
	e.exec(t, `CREATE UNIQUE INDEX one ON contacts (email)`)
	e.exec(t, `UPDATE contacts SET email = 'v4@b.example' WHERE id = '1'`)
	report, err = e.a.Unseal(t.Context(), tenant, adoption.JobOptions{})
	require.NoError(t, err)
	require.EqualValues(t, 1, report.Changed)
	require.EqualValues(t, 1, report.Refused, "the clear is UNIQUE")
	require.False(t, report.Clean)
	var refused *adoption.NotReadyError
	require.ErrorAs(t, e.a.Move(t.Context(), tenant, adoption.WriteBoth, adoption.MoveOptions{}), &refused)
	require.EqualValues(t, 1, refused.Rows)
	e.move(t, adoption.WriteBoth, adoption.MoveOptions{Accept: 1})
}
