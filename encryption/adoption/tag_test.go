package adoption_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/adoption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/internal/testdb"
)

// Once Clear has found nothing left, a value in the clear is of somebody who knows
// nothing of the adoption: it is an error and an alarm, and never sealed as if it
// were genuine.
func TestNothingIsReadInTheClearAfterClear(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		e := newEnv(t, d, contactsDef, emailColumn, contactsSQL)
		e.old(t, "1", "p1", "ann@b.example")
		e.to(t, adoption.SealedOnly)
		e.exec(t, `INSERT INTO contacts (id, person, email) VALUES ('2', 'p2', 'bob@b.example')`)
		require.Equal(t, "bob@b.example", e.read(t, e.a)["2"], "until then it is one that nobody has sealed yet")
		e.backfill(t)
		require.True(t, e.clear(t).Clean)
		e.clock.Move(adoption.DefaultLease)
		e.guard(t, adoption.NoGuard)
		e.exec(t, `INSERT INTO contacts (id, person, email) VALUES ('3', 'p3', 'forged@b.example')`)
		e.exec(t, `UPDATE contacts SET email = 'forged@b.example' WHERE id = '2'`)
		e.exec(t, `UPDATE contacts SET email_sealed = NULL WHERE id = '1'`)
		rows := e.rows(t, "")
		var some *encryption.RowsError
		require.ErrorAs(t, adoption.OpenAll(t.Context(), e.a, tenant, rows), &some)
		require.Len(t, some.Rows, 1)
		require.ErrorIs(t, some.Rows[2], adoption.ErrInClear)
		require.Equal(t, "-", rows[2].Email)
		require.Equal(t, "bob@b.example", rows[1].Email)
		require.InDelta(t, 2, e.seen.of("encryption.adoption.inclear"), 0, "beside a sealed value, too")
		for _, name := range []string{"encryption.adoption.inclear", "encryption.adoption.unsealed"} {
			require.Equal(t, encryption.HealthAlarm, e.finding(t, name).Level)
		}
		all, err := e.process(t).Status(t.Context(), tenant)
		require.NoError(t, err)
		for _, f := range all {
			if f.Name == "encryption.adoption.inclear" {
				require.Equal(t, encryption.HealthAlarm, f.Level, "a process that has read nothing counts them, too")
				require.InDelta(t, 2, f.Value, 0)
			}
		}
		require.Equal(t, []string{"3"}, e.find(t, e.a, "forged@b.example"), "found, so that it is noticed")
		report := e.backfill(t)
		require.Zero(t, report.Changed)
		require.EqualValues(t, 1, report.Refused)
		require.Equal(t, 1, e.count(t, `id = '3' AND email_sealed IS NULL`))
		e.move(t, adoption.ReadSealed, adoption.MoveOptions{})
		require.Equal(t, "forged@b.example", e.read(t, e.a)["3"], "who moves back takes it for genuine")
	})
}

// A stage that somebody without the key has changed is refused, whatever was changed,
// and Status says so. One that is gone is no new beginning for who has known it, and
// an older one, as a database that is put back brings, is followed and counted.
func TestAStageThatWasChangedByHandIsFound(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		e := newEnv(t, d, contactsDef, emailColumn, contactsSQL)
		e.old(t, "1", "p1", "ann@b.example")
		e.to(t, adoption.ReadSealed)
		e.exec(t, `CREATE TABLE kept AS SELECT * FROM crmguard_adoption`)
		require.True(t, e.backfill(t).Clean)
		e.move(t, adoption.SealedOnly, adoption.MoveOptions{OldReleaseGone: true})
		e.exec(t, `CREATE TABLE good AS SELECT * FROM crmguard_adoption`)
		back := func(from string) {
			e.exec(t, `DELETE FROM crmguard_adoption`)
			e.exec(t, `INSERT INTO crmguard_adoption SELECT * FROM `+from)
		}
		refused := func(what string, ok bool) {
			t.Helper()
			for _, a := range []*adoption.Adoption{e.a, e.process(t)} {
				e.clock.Move(adoption.DefaultLease)
				_, err := a.Writer(t.Context(), tenant, "p1")
				require.ErrorIs(t, err, adoption.ErrStage, what)
				require.ErrorIs(t, adoption.OpenAll(t.Context(), a, tenant, e.rows(t, "")), adoption.ErrStage)
				require.Error(t, a.Move(t.Context(), tenant, adoption.ReadSealed, adoption.MoveOptions{}), what)
				all, err := a.Status(t.Context(), tenant)
				require.NoError(t, err)
				require.Len(t, all, 1)
				require.Equal(t, encryption.HealthAlarm, all[0].Level)
				if !ok {
					break
				}
			}
		}
		for _, set := range []string{
			`stage = 'plain'`, `stage = 'plain', revision = 1, gone = 0`, `stage = 'write-both', revision = revision - 1`, `settled = 0`, `revision = revision + 1`,
			`lease = lease + 1`, `gone = gone + 1`, `clean = revision`, `changed = 7`,
		} {
			e.exec(t, `UPDATE crmguard_adoption SET `+set)
			refused(set, true)
			back("good")
		}
		e.exec(t, `UPDATE crmguard_adoption SET stage = 'plain', tag = ?`, []byte{})
		refused("no tag", true)
		back("good")
		e.exec(t, `UPDATE crmguard_adoption SET stage = 'plain', revision = 1, gone = 0, clean = 0, tag = ?`, []byte{})
		refused("as before the first move", false)
		e.exec(t, `DELETE FROM crmguard_adoption`)
		refused("gone", false)
		back("good")
		require.Equal(t, encryption.HealthOK, e.finding(t, "encryption.adoption.rewound").Level)
		require.Equal(t, "ann@b.example", e.read(t, e.a)["1"])
		back("kept")
		e.clock.Move(adoption.DefaultLease)
		require.Equal(t, "ann@b.example", e.read(t, e.a)["1"])
		require.Equal(t, encryption.HealthAlarm, e.finding(t, "encryption.adoption.rewound").Level)
	})
}

// A key store that was put back apart from the adopted table answers with errors and
// never with other values: the stage stands, what it has the keys for is read, and a
// Backfill at ReadSealed seals the rest anew.
func TestAKeyStoreIsPutBackApartFromTheTable(t *testing.T) {
	e := newLite(t)
	e.old(t, "1", "p1", "ann@b.example")
	e.to(t, adoption.ReadSealed)
	written, err := e.vault.WriteCopy(t.Context(), t.TempDir())
	require.NoError(t, err)
	e.write(t, e.a, "2", "p2", "bob@b.example") // a key that the copy has not
	cfg := e.cfg
	cfg.Keys = encryptiontest.Keys()
	vault, err := encryption.RestoreCopy(t.Context(), cfg, written.Path)
	require.NoError(t, err)
	restored := e.open(t, vault)
	require.Equal(t, map[string]string{"1": "ann@b.example", "2": "bob@b.example"}, e.read(t, restored), "the clear stands in")
	require.Positive(t, e.seen.of("encryption.adoption.unreadable"))
	report, err := restored.Backfill(t.Context(), tenant, adoption.JobOptions{})
	require.NoError(t, err)
	require.True(t, report.Clean)
	require.EqualValues(t, 1, report.Changed)
	require.NoError(t, restored.Move(t.Context(), tenant, adoption.SealedOnly, adoption.MoveOptions{OldReleaseGone: true}))
	require.Equal(t, map[string]string{"1": "ann@b.example", "2": "bob@b.example"}, e.read(t, restored))
}

// What somebody records beside a job, at the same stage, is not overwritten by what
// the job records at its end.
func TestWhatIsRecordedBesideAJobStays(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		e := newEnv(t, d, contactsDef, emailColumn, contactsSQL)
		e.old(t, "1", "p1", "ann@b.example")
		e.to(t, adoption.WriteBoth)
		report, err := e.a.Backfill(t.Context(), tenant, adoption.JobOptions{Pause: func(ctx context.Context, _ adoption.Progress) (time.Duration, error) {
			other := e.process(t)
			require.ErrorIs(t, other.Move(ctx, tenant, adoption.ReadSealed, adoption.MoveOptions{OldReleaseGone: true}), adoption.ErrNotReady)
			return 0, nil
		}})
		require.NoError(t, err)
		require.True(t, report.Clean)
		var gone, clean, revision int64
		require.NoError(t, e.db.QueryRowContext(t.Context(), `SELECT gone, clean, revision FROM crmguard_adoption`).Scan(&gone, &clean, &revision))
		require.NotZero(t, gone)
		require.Equal(t, revision, clean)
	})
}

// What the tag of a stage is made over is frozen: another text would refuse every
// database that is being adopted.
func TestWhatTheStagesTagIsOverIsFrozen(t *testing.T) {
	sum := sha256.Sum256(adoption.StageText("t1", "contacts", adoption.ReadSealed, "d", 3, 5*time.Second))
	require.Equal(t, "f1c7686f95b4eed6639267cd71e5609e9986244740791783fd167ec987584131", hex.EncodeToString(sum[:]))
}

// Many that ask for one stage at once, when it has no row yet and while it moves, take
// none of what they read for a row that is gone, put back or older than another's.
func TestManyAskForAStageAtOnce(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		e := newEnv(t, d, contactsDef, emailColumn, contactsSQL)
		ask := func(tenant string, times int) (wait func()) {
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					for range times {
						if err := e.a.Current(t.Context(), tenant); err != nil {
							t.Error(err)
						}
					}
				})
			}
			return wg.Wait
		}
		for i := range 12 {
			ask(fmt.Sprint("new", i), 1)()
		}
		e.to(t, adoption.WriteBoth)
		wait := ask(tenant, 20)
		defer wait()
		for range 2 {
			e.move(t, adoption.Plain, adoption.MoveOptions{})
			e.move(t, adoption.WriteBoth, adoption.MoveOptions{})
		}
		wait()
		require.Zero(t, e.seen.of("encryption.adoption.rewound"))
		require.Zero(t, e.seen.of("encryption.adoption.forged"))
	})
}
