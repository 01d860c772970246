package adoption_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/adoption"
	"github.com/crmguard/crmguard/encryption/keycopy"
	"github.com/crmguard/crmguard/encryption/sealedvalue"
	"github.com/crmguard/crmguard/internal/testdb"
)

// While a Backfill runs, persons are erased, a key version begins, and an epoch of
// keys is closed: who was erased is counted and stays as he is, all others are sealed
// and read, and a second pass finds nothing to do.
func TestKeysChangeBesideABackfill(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		e := newEnv(t, d, contactsDef, emailColumn, contactsSQL)
		var persons []string
		for i := range 16 {
			persons = append(persons, fmt.Sprintf("p%02d", i))
			e.old(t, fmt.Sprintf("r%02d", i), persons[i], fmt.Sprintf("v%d@b.example", i))
		}
		e.to(t, adoption.WriteBoth)
		require.NoError(t, e.vault.Ensure(t.Context(), tenant, persons...))
		folder, batch := t.TempDir(), 0
		var version uint32
		report, err := e.a.Backfill(t.Context(), tenant, adoption.JobOptions{Batch: 4, Pause: func(ctx context.Context, _ adoption.Progress) (time.Duration, error) {
			batch++
			var err error
			switch batch {
			case 1:
				_, err = e.vault.EraseMany(ctx, tenant, persons[1], persons[13], persons[14])
			case 2:
				version, err = e.vault.NewKeyVersion(ctx, tenant)
			case 3:
				_, err = e.vault.RewrapKeys(ctx, keycopy.Rewrap{KEK: "second", Copy: e.vault.Copier(folder)})
			}
			return 0, err
		}})
		require.NoError(t, err)
		require.Equal(t, 4, batch)
		require.EqualValues(t, 2, report.Erased, "%+v", report)
		require.EqualValues(t, 14, report.Changed)
		last := e.rows(t, "WHERE id = 'r15'")[0]
		sealedUnder, err := sealedvalue.KeyVersion(last.sealed.Bytes())
		require.NoError(t, err)
		require.Equal(t, version, sealedUnder)
		again := e.backfill(t)
		require.True(t, again.Clean, "%+v", again)
		require.Zero(t, again.Changed)
		erased, err := e.a.ClearErased(t.Context(), tenant, adoption.JobOptions{})
		require.NoError(t, err)
		require.True(t, erased.Clean)
		require.EqualValues(t, 3, erased.Changed)
		e.move(t, adoption.ReadSealed, adoption.MoveOptions{})
		read := e.read(t, e.process(t))
		for i := range 16 {
			want := fmt.Sprintf("v%d@b.example", i)
			if i == 1 || i == 13 || i == 14 {
				want = "-"
			}
			require.Equal(t, want, read[fmt.Sprintf("r%02d", i)])
		}
	})
}

// A version of an index goes at ReadSealed: searches find the same from then on, by
// the other one, at each stage there and back.
func TestAnIndexIsRetiredAtReadSealed(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		def := contactsDef
		def.Columns = []encryption.Column{{Name: "email", SQL: "email_sealed", Index: []encryption.Index{
			{Column: "email_sealed_idx", Name: "email", As: encryption.Email, Bits: 32},
			{Column: "email_second_idx", Name: "email", Version: 2, As: encryption.Email, Bits: 63},
		}}}
		e := newEnv(t, d, def, emailColumn, contactsSQL)
		e.old(t, "1", "p1", "ann@b.example")
		e.to(t, adoption.ReadSealed)
		table, err := e.vault.Table(def)
		require.NoError(t, err)
		found := func() {
			t.Helper()
			require.Equal(t, []string{"1"}, e.find(t, e.a, "ANN@b.example"))
		}
		found()
		require.Equal(t, 1, e.count(t, `email_sealed_idx IS NOT NULL AND email_second_idx IS NOT NULL`))
		require.NoError(t, table.RetireIndex(t.Context(), tenant, "email", 1))
		found()
		require.True(t, e.backfill(t).Clean)
		require.Equal(t, 1, e.count(t, `email_sealed_idx IS NULL AND email_second_idx IS NOT NULL`), "its values go")
		found()
		e.move(t, adoption.SealedOnly, adoption.MoveOptions{OldReleaseGone: true})
		found()
		require.True(t, e.clear(t).Clean)
		e.move(t, adoption.ReadSealed, adoption.MoveOptions{})
		report, err := e.a.Unseal(t.Context(), tenant, adoption.JobOptions{})
		require.NoError(t, err)
		require.True(t, report.Clean)
		found()
		require.Equal(t, map[string]string{"1": "ann@b.example"}, e.read(t, e.a))
	})
}

// A standby that replays nothing any more is waited for, though PostgreSQL itself
// measures no lag of it.
func TestMaxLagWaitsForAStandbyThatHangs(t *testing.T) {
	server := testdb.Own(t, testdb.PostgresC)
	d := server.New(t)
	e := newEnv(t, d, contactsDef, emailColumn, contactsSQL)
	for i := range 20 {
		e.old(t, fmt.Sprintf("r%02d", i), "p1", "v@b.example")
	}
	e.to(t, adoption.WriteBoth)
	standby := server.Standby(t)
	standby.Follow(t, d)
	primary := d.Open(t)
	require.Eventually(t, func() bool { // one that is stopped before it has said where it is, is none
		var said bool
		require.NoError(t, primary.QueryRowContext(t.Context(), `SELECT COALESCE(bool_and(replay_lsn IS NOT NULL), FALSE) FROM pg_stat_replication`).Scan(&said))
		return said
	}, time.Minute, 10*time.Millisecond)
	admin := standby.Admin(t)
	replay := func(call string) {
		_, err := admin.ExecContext(context.WithoutCancel(t.Context()), `SELECT pg_wal_replay_`+call+`()`)
		require.NoError(t, err)
	}
	replay("pause")
	require.Eventually(t, func() bool { // it is asked for, and comes when what is on its way is replayed
		var state string
		require.NoError(t, admin.QueryRowContext(t.Context(), `SELECT pg_get_wal_replay_pause_state()`).Scan(&state))
		return state == "paused"
	}, time.Minute, 10*time.Millisecond)
	waits, batches := 0, 0
	e.clock.before = func() {
		if waits++; waits == 20 {
			replay("resume")
		}
		time.Sleep(time.Millisecond) // the standby's own time
	}
	report, err := e.a.Backfill(t.Context(), tenant, adoption.JobOptions{
		Batch: 2, MaxLag: 2 * time.Second,
		Pause: func(context.Context, adoption.Progress) (time.Duration, error) {
			batches++
			return time.Second, nil
		},
	})
	require.NoError(t, err)
	require.True(t, report.Clean)
	require.GreaterOrEqual(t, waits, 20, "it went on beside a standby that hung: %d batches", batches)
}
