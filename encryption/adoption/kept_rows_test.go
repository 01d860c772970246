package adoption_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/adoption"
	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/internal/testdb"
)

// Rows that were read, and a condition that was made, are of their stage: kept over
// two moves they say so, and never find less or read NULL in silence.
func TestWhatIsKeptOverTwoMovesSaysSo(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		e := newEnv(t, d, contactsDef, emailColumn, contactsSQL)
		e.to(t, adoption.WriteBoth)
		e.write(t, e.a, "1", "p1", "ann@b.example")
		made, err := e.a.Lookup(t.Context(), tenant, "email", "ann@b.example")
		require.NoError(t, err)
		search := func() error {
			where, args := made.Where("")
			if e.bind("?") != "?" {
				where, args = made.Postgres("", 1)
			}
			var n int
			err := e.db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM contacts WHERE `+where, args...).Scan(&n)
			if err == nil {
				require.Equal(t, 1, n)
			}
			return err
		}
		require.NoError(t, search())
		require.True(t, e.backfill(t).Clean)
		e.move(t, adoption.ReadSealed, adoption.MoveOptions{})
		require.ErrorIs(t, search(), adoption.ErrLease)
		require.True(t, e.backfill(t).Clean)
		e.move(t, adoption.SealedOnly, adoption.MoveOptions{OldReleaseGone: true})
		require.ErrorIs(t, search(), adoption.ErrLease)
		require.True(t, e.clear(t).Clean)

		kept := e.rows(t, "")
		require.Nil(t, kept[0].plain)
		e.move(t, adoption.ReadSealed, adoption.MoveOptions{})
		report, err := e.a.Unseal(t.Context(), tenant, adoption.JobOptions{})
		require.NoError(t, err)
		require.True(t, report.Clean)
		require.NoError(t, adoption.OpenAll(t.Context(), e.a, tenant, kept), "the neighbour reads it")
		require.Equal(t, "ann@b.example", kept[0].Email)
		kept[0].Email = "-"
		for _, stage := range []adoption.Stage{adoption.WriteBoth, adoption.Plain} {
			e.move(t, stage, adoption.MoveOptions{})
			err := adoption.OpenAll(t.Context(), e.a, tenant, kept)
			var some *encryption.RowsError
			require.ErrorAs(t, err, &some)
			require.ErrorIs(t, some.Rows[0], adoption.ErrStage)
			require.ErrorContains(t, some.Rows[0], "read the row again")
			require.Equal(t, "-", kept[0].Email)
			require.Equal(t, map[string]string{"1": "ann@b.example"}, e.read(t, e.a), "read again it is there")
		}
	})
}

// Who was erased is read nowhere from ReadSealed on, also where the sealed value is
// gone and the clear is left; and what is left goes at each stage.
func TestErasedPersonsAreNotReadInTheClear(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		for _, stage := range []adoption.Stage{adoption.Plain, adoption.WriteBoth, adoption.ReadSealed, adoption.SealedOnly} {
			t.Run(string(stage), func(t *testing.T) {
				e := newEnvOn(t, d.Name, testdb.New(t, d.Name).Open(t), contactsDef, emailColumn, contactsSQL)
				for i := range 4 {
					e.old(t, fmt.Sprint(i), fmt.Sprintf("p%d", i%2), fmt.Sprintf("v%d@b.example", i))
				}
				if stage == adoption.Plain {
					e.prepare(t)
				} else {
					e.to(t, stage)
				}
				e.old(t, "nobody", "", "x@b.example")
				table, err := e.vault.Table(e.def)
				require.NoError(t, err)
				require.NoError(t, e.vault.Ensure(t.Context(), tenant, "p0", "p1"))
				e.erase(t, "p1")
				require.NoError(t, table.ClearRows(e.db)(t.Context(), tenant, "p1"))
				require.Equal(t, 2, e.count(t, `person = 'p1' AND email IS NOT NULL AND email_sealed IS NULL`))
				rows := e.rows(t, "WHERE id < '4'")
				err = adoption.OpenAll(t.Context(), e.a, tenant, rows)
				if stage == adoption.ReadSealed || stage == adoption.SealedOnly {
					var some *encryption.RowsError
					require.ErrorAs(t, err, &some)
					require.Len(t, some.Rows, 2)
					require.ErrorIs(t, some.Rows[1], encryption.ErrErased)
					require.ErrorIs(t, some.Rows[3], encryption.ErrErased)
					require.Equal(t, "-", rows[1].Email)
					e.exec(t, `UPDATE contacts SET email_sealed = ? WHERE id = '3'`, []byte("no sealed value"))
					require.Error(t, adoption.OpenAll(t.Context(), e.a, tenant, e.rows(t, "WHERE id = '3'")), "nor where what is sealed is damaged")
				} else {
					require.NoError(t, err, "the clear is what counts there")
				}
				require.Equal(t, "v0@b.example", rows[0].Email)

				dry, err := e.a.ClearErased(t.Context(), tenant, adoption.JobOptions{DryRun: true})
				require.NoError(t, err)
				require.EqualValues(t, 2, dry.Changed)
				require.Equal(t, 2, e.count(t, `person = 'p1' AND email IS NOT NULL`))
				report, err := e.a.ClearErased(t.Context(), tenant, adoption.JobOptions{Batch: 2})
				require.NoError(t, err)
				require.True(t, report.Clean, "%+v", report)
				require.EqualValues(t, 2, report.Changed)
				require.EqualValues(t, 3, report.Same)
				require.Equal(t, 2, e.count(t, `email IS NULL AND email_sealed IS NULL AND email_sealed_idx IS NULL AND person = 'p1'`))
				require.Equal(t, 3, e.count(t, `email IS NOT NULL`))
				require.NoError(t, adoption.OpenAll(t.Context(), e.a, tenant, e.rows(t, "WHERE id < '4'")))
			})
		}
	})
}

// One person's values go, in each spelling of the id and nobody else's, and what the
// database refuses is said.
func TestOnePersonsRowsAreCleared(t *testing.T) {
	const small = "0b1d2c3e-4f50-4a61-8b72-9c83ad94be05"
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		e := newEnv(t, d, contactsDef, emailColumn, contactsSQL)
		for id, person := range map[string]string{"1": small, "2": strings.ToUpper(small), "3": "p3", "4": strings.Replace(small, "0", "1", 1)} {
			e.old(t, id, person, "v@b.example")
		}
		e.to(t, adoption.WriteBoth)
		require.True(t, e.backfill(t).Clean)
		require.ErrorIs(t, e.a.ClearRows(t.Context(), tenant, ""), encryption.ErrID)
		left := func(want int) {
			t.Helper()
			for _, person := range []string{small, strings.ToUpper(small)} {
				n, err := e.a.RowsLeft(t.Context(), tenant, person)
				require.NoError(t, err)
				require.Equal(t, want, n)
			}
		}
		left(2)
		require.NoError(t, e.a.ClearRows(t.Context(), tenant, strings.ToUpper(small)))
		left(0)
		require.NoError(t, e.a.ClearRows(t.Context(), tenant, small), "again")
		require.Equal(t, 2, e.count(t, `email IS NULL AND email_sealed IS NULL AND email_sealed_idx IS NULL AND id IN ('1', '2')`))
		require.Equal(t, 2, e.count(t, `email IS NOT NULL AND email_sealed IS NOT NULL AND email_sealed_idx IS NOT NULL AND id IN ('3', '4')`))
		if d.Name == testdb.SQLite {
			e.exec(t, `CREATE TRIGGER keep BEFORE UPDATE OF email ON contacts WHEN OLD.id = '3' BEGIN SELECT RAISE(ABORT, 'kept'); END`)
			var refused *jobs.RefusedError
			require.ErrorAs(t, e.a.ClearRows(t.Context(), tenant, "p3"), &refused)
			require.Equal(t, 1, refused.Count)
			require.Equal(t, "3", refused.Rows[0].Key)
		}
	})
}

// Somebody empties the clear while no guard stands: on the way forward that is a
// mismatch, is listed, blocks the move and is never written back; on the way back a
// row that is sealed only is as it should be until Unseal has filled it.
func TestAnEmptiedValueIsNotPutBackInSilence(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		e := newEnv(t, d, contactsDef, emailColumn, contactsSQL)
		for i := range 3 {
			e.old(t, fmt.Sprint(i), "p1", fmt.Sprintf("v%d@b.example", i))
		}
		e.to(t, adoption.ReadSealed)
		require.Equal(t, encryption.HealthOK, e.finding(t, "encryption.adoption.emptied").Level)
		e.guard(t, adoption.NoGuard)
		e.exec(t, `UPDATE contacts SET email = NULL WHERE id = '1'`)
		e.guard(t, adoption.Reset)
		emptied := func() {
			t.Helper()
			before := e.seen.of("encryption.adoption.mismatches")
			require.Equal(t, "v1@b.example", e.read(t, e.a)["1"])
			require.InDelta(t, before+1, e.seen.of("encryption.adoption.mismatches"), 0)
			require.Equal(t, encryption.HealthAlarm, e.finding(t, "encryption.adoption.emptied").Level)
			report := e.backfill(t)
			require.False(t, report.Clean)
			require.EqualValues(t, 1, report.Differ)
			require.Contains(t, report.Listed[0].Why, "emptied")
			report, err := e.a.Unseal(t.Context(), tenant, adoption.JobOptions{})
			require.NoError(t, err)
			require.False(t, report.Clean)
			require.EqualValues(t, 1, report.Differ)
			require.Equal(t, 1, e.count(t, `id = '1' AND email IS NULL AND email_sealed IS NOT NULL`))
		}
		emptied()
		require.ErrorIs(t, e.a.Move(t.Context(), tenant, adoption.SealedOnly, adoption.MoveOptions{OldReleaseGone: true}), adoption.ErrNotReady)
		e.exec(t, `UPDATE contacts SET email_sealed = NULL, email_sealed_idx = NULL WHERE email IS NULL`)
		require.True(t, e.backfill(t).Clean)
		e.move(t, adoption.SealedOnly, adoption.MoveOptions{OldReleaseGone: true})
		require.True(t, e.clear(t).Clean)

		e.move(t, adoption.ReadSealed, adoption.MoveOptions{})
		require.Equal(t, encryption.HealthNotice, e.finding(t, "encryption.adoption.emptied").Level)
		before := e.seen.of("encryption.adoption.mismatches")
		require.Equal(t, map[string]string{"0": "v0@b.example", "1": "-", "2": "v2@b.example"}, e.read(t, e.a))
		require.InDelta(t, before, e.seen.of("encryption.adoption.mismatches"), 0)
		report, err := e.a.Unseal(t.Context(), tenant, adoption.JobOptions{})
		require.NoError(t, err)
		require.True(t, report.Clean)
		e.exec(t, `UPDATE contacts SET email = 'v1@b.example' WHERE id = '1'`)
		require.True(t, e.backfill(t).Clean)
		e.clock.Move(time.Minute) // a lease, and the longest transaction
		e.guard(t, adoption.NoGuard)
		e.exec(t, `UPDATE contacts SET email = NULL WHERE id = '1'`)
		e.guard(t, adoption.Reset)
		emptied() // and so it is once Unseal was clean
	})
}

// A Writer that named another owner than the row has is found by the first Backfill,
// where the clear still reads, and Status names it until one finds none.
func TestAWriterForAnotherOwnerIsFound(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		e := newEnv(t, d, contactsDef, emailColumn, contactsSQL)
		e.to(t, adoption.WriteBoth)
		wrong := func(id string) {
			w, err := e.a.Writer(t.Context(), tenant, "p9")
			require.NoError(t, err)
			e.exec(t, `INSERT INTO contacts (id, person, email, email_sealed, email_sealed_idx) VALUES (?, 'p1', ?, ?, ?)`,
				id, w.Plain("email", "a@b.example"), w.Text("email", "a@b.example"), w.Int64("email_sealed_idx", "a@b.example"))
		}
		wrong("1")
		e.write(t, e.a, "2", "p1", "b@b.example")
		require.Equal(t, encryption.HealthOK, e.finding(t, "encryption.adoption.owners").Level)
		report := e.backfill(t)
		require.EqualValues(t, 1, report.Owners)
		require.EqualValues(t, 1, report.Changed, "it is sealed for the owner of its row")
		require.Contains(t, report.Listed[0].Why, "owner")
		require.Equal(t, encryption.HealthAlarm, e.finding(t, "encryption.adoption.owners").Level)
		require.Zero(t, e.backfill(t).Owners)
		require.Equal(t, encryption.HealthOK, e.finding(t, "encryption.adoption.owners").Level)
		e.move(t, adoption.ReadSealed, adoption.MoveOptions{})
		wrong("3")
		require.Equal(t, "a@b.example", e.read(t, e.a)["3"])
		require.InDelta(t, 1, e.seen.of("encryption.adoption.owners"), 0)
		require.Equal(t, encryption.HealthAlarm, e.finding(t, "encryption.adoption.owners").Level)
		e.exec(t, `UPDATE contacts SET email_sealed = ? WHERE id = '3'`, []byte("no sealed value"))
		require.Zero(t, e.backfill(t).Owners, "what is no sealed value by its form is of nobody")
		e.move(t, adoption.SealedOnly, adoption.MoveOptions{OldReleaseGone: true})
		e.guard(t, adoption.NoGuard)
		wrong("4")
		e.exec(t, `UPDATE contacts SET email = 'a@b.example' WHERE id = '4'`)
		report, err := e.a.Clear(t.Context(), tenant, adoption.JobOptions{})
		require.NoError(t, err)
		require.EqualValues(t, 1, report.Owners, "%+v", report)
	})
}

// What is nothing to the normaliser is unique no more once the index takes the place
// of UNIQUE, and that is said.
func TestValuesThatAreNothingAreNotUnique(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		def := contactsDef
		def.Columns = []encryption.Column{{Name: "email", SQL: "email_sealed", Index: []encryption.Index{{Column: "email_sealed_idx", As: encryption.Email, Unique: true}}}}
		e := newEnv(t, d, def, emailColumn, contactsSQL)
		e.to(t, adoption.SealedOnly)
		e.exec(t, `CREATE UNIQUE INDEX one ON contacts (email_sealed_idx)`)
		write := func(id, mail string) {
			w, err := e.a.Writer(t.Context(), tenant, "p1")
			require.NoError(t, err)
			e.exec(t, `INSERT INTO contacts (id, person, email, email_sealed, email_sealed_idx) VALUES (?, 'p1', ?, ?, ?)`,
				id, w.Plain("email", mail), w.Text("email", mail), w.Index("email_sealed_idx", mail))
		}
		write("1", "")
		write("2", "a@b.example")
		require.Equal(t, encryption.HealthOK, e.finding(t, "encryption.adoption.unique").Level, "one of them is unique")
		write("3", " ")
		f := e.finding(t, "encryption.adoption.unique")
		require.Equal(t, encryption.HealthNotice, f.Level)
		require.InDelta(t, 1, f.Value, 0)
	})
}
