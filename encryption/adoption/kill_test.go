package adoption_test

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/tink"
	_ "modernc.org/sqlite"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/adoption"
	"github.com/crmguard/crmguard/encryption/insecurekeys"
	"github.com/crmguard/crmguard/encryption/sqlkeys"
	"github.com/crmguard/crmguard/internal/killtest"
	"github.com/crmguard/crmguard/internal/testdb"
)

const killRows = 24

// operate is all that an operator does, there and back; what is done already is
// passed over, so that it goes on wherever it ended.
func operate(ctx context.Context, e *env, back bool) error {
	say := adoption.JobOptions{Batch: 5, Workers: 2, Progress: func(adoption.Progress) { killtest.Say("batch") }}
	move := func(to adoption.Stage) error {
		defer killtest.Say("moved")
		return e.a.Move(ctx, tenant, to, adoption.MoveOptions{OldReleaseGone: true, Waiting: func(string) { killtest.Say("waits") }})
	}
	job := func(f func(context.Context, string, adoption.JobOptions) (adoption.Report, error)) error {
		report, err := f(ctx, tenant, say)
		if err == nil && !report.Clean {
			err = fmt.Errorf("not clean: %+v", report)
		}
		return err
	}
	guard := func(guard adoption.Guard) error {
		statements, err := e.a.GuardSQL(ctx, guard)
		for _, statement := range statements {
			if err == nil {
				_, err = e.db.ExecContext(ctx, statement)
			}
		}
		return err
	}
	for {
		stage, settled, err := e.a.Stage(ctx, tenant)
		if err == nil && !settled {
			err = move(stage)
		}
		if err != nil {
			return err
		}
		switch {
		case stage == adoption.Plain && back:
			return nil
		case stage == adoption.Plain:
			err = move(adoption.WriteBoth)
		case stage == adoption.WriteBoth && back:
			err = move(adoption.Plain)
		case stage == adoption.WriteBoth:
			if err = job(e.a.Backfill); err == nil {
				err = move(adoption.ReadSealed)
			}
		case stage == adoption.ReadSealed && back:
			if err = job(e.a.Unseal); err == nil {
				err = move(adoption.WriteBoth)
			}
		case stage == adoption.ReadSealed:
			if err = job(e.a.Backfill); err == nil {
				err = move(adoption.SealedOnly)
			}
		case back:
			if err = guard(adoption.Reset); err == nil {
				err = move(adoption.ReadSealed)
			}
		default:
			if err = guard(adoption.Refuse); err == nil {
				err = job(e.a.Clear)
			}
			if err != nil {
				return err
			}
			back = true
		}
		if err != nil {
			return err
		}
	}
}

// The process that moves and runs the jobs is killed at any moment, there or back.
// At once all values are read, and another process brings it to its end.
func TestAKilledOperatorLosesNothing(t *testing.T) {
	for name, most := range map[testdb.Name]int{testdb.SQLite: 8, testdb.PostgresC: 2, testdb.MariaDB: 2} {
		t.Run(string(name), func(t *testing.T) {
			if dir := killtest.Dir(); dir != "" {
				require.NoError(t, operate(t.Context(), afterKill(t, name, dir, false), false))
				return
			}
			rounds, moments := killtest.Rounds(t)
			for range min(rounds, most) {
				killOnce(t, name, moments)
			}
		})
	}
}

// afterKill is the application in a folder, which says where its rows are.
func afterKill(t *testing.T, name testdb.Name, dir string, create bool) *env {
	t.Helper()
	db := func(driver, dsn string) *sql.DB {
		db, err := sql.Open(driver, dsn)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, db.Close()) })
		return db
	}
	file := "file:" + filepath.Join(dir, "keys.db") + "?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)&_pragma=secure_delete(1)"
	where, err := os.ReadFile(filepath.Join(dir, "dsn"))
	require.NoError(t, err)
	e := &env{
		name: name, db: db(name.Drivers()[0], string(where)), def: contactsDef, cols: emailColumn,
		seen: &figures{sum: map[string]float64{}}, clock: &clock{t: time.Now()},
	}
	keys := db("sqlite", file)
	if create {
		require.NoError(t, sqlkeys.Install(t.Context(), keys))
		require.NoError(t, adoption.Install(t.Context(), e.db))
	}
	store, err := sqlkeys.Open(t.Context(), keys)
	require.NoError(t, err)
	e.cfg = encryption.Config{
		Keys: store, Now: e.clock.Now, Wait: e.clock.Wait, Observe: e.seen.observe,
		KEK: func(context.Context, string, string) (tink.AEADWithContext, error) {
			return insecurekeys.KEK(make([]byte, 32))
		},
	}
	if create {
		e.vault, err = encryption.Create(t.Context(), e.cfg)
		require.NoError(t, err)
		require.NoError(t, e.vault.AddTenant(t.Context(), tenant))
	} else {
		e.vault, err = encryption.Open(t.Context(), e.cfg)
		require.NoError(t, err)
	}
	e.a = e.open(t, e.vault)
	return e
}

func killOnce(t *testing.T, name testdb.Name, moments *rand.Rand) {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "dsn"), []byte(testdb.New(t, name).DSN(name.Drivers()[0])), 0o600))
	e := afterKill(t, name, dir, true)
	e.exec(t, contactsSQL)
	want := map[string]string{}
	for i := range killRows {
		id, value := fmt.Sprintf("r%02d", i), fmt.Sprintf("v%d@b.example", i)
		e.old(t, id, fmt.Sprintf("p%d", i%5), value)
		want[id] = value
	}
	e.prepare(t)
	said, _ := killtest.Kill(t, dir, killtest.At{Count: 1 + moments.IntN(26), Pause: time.Duration(moments.IntN(2000)) * time.Microsecond})

	e = afterKill(t, name, dir, false)
	stage, settled, err := e.a.Stage(t.Context(), tenant)
	require.NoError(t, err)
	require.Equal(t, want, e.read(t, e.a), "at %s %v after %v", stage, settled, said)
	require.NoError(t, operate(t.Context(), e, moments.IntN(2) == 0))
	plain := map[string]string{}
	for _, c := range e.rows(t, "") {
		require.NotNil(t, c.plain)
		plain[c.id] = *c.plain
	}
	require.Equal(t, want, plain)
}
