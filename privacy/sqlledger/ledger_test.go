package sqlledger_test

import (
	"context"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/frame"
	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/privacy/erasurelog"
	"github.com/crmguard/crmguard/privacy/sqlledger"
)

func digests(_ context.Context, label string, data []byte) ([]uint32, [][]byte, error) {
	key, err := hkdf.Key(sha256.New, []byte("a root of thirty-two random bytes"), nil, string(frame.Join(label)), 32)
	if err != nil {
		return nil, nil, err
	}
	mac := hmac.New(sha256.New, key)
	mac.Write(data)
	return []uint32{7}, [][]byte{mac.Sum(nil)}, nil
}

// logOn is the ledger of a process.
func logOn(t *testing.T, medium erasurelog.Medium) *erasurelog.Log {
	t.Helper()
	log, err := erasurelog.Open(erasurelog.Config{Medium: medium, Digests: digests, Now: func() time.Time { return time.Date(2026, 11, 23, 13, 0, 0, 0, time.UTC) }})
	require.NoError(t, err)
	return log
}

// say appends an entry of a plan unless it stands.
func say(ctx context.Context, log *erasurelog.Log, op erasurelog.Op, plan string) (*erasurelog.State, error) {
	_, tenant, err := log.Digest(ctx, erasurelog.KindTenant, "main", []byte("main"))
	if err != nil {
		return nil, err
	}
	return log.Append(ctx, nil, func(s *erasurelog.State) (*erasurelog.Entry, error) {
		for _, e := range s.Plan(plan) {
			if e.Op == op {
				return nil, nil
			}
		}
		return &erasurelog.Entry{Op: op, Plan: plan, Tenant: tenant, Person: tenant}, nil
	})
}

func mustExec(t *testing.T, db *sql.DB, statement string) {
	t.Helper()
	_, err := db.ExecContext(t.Context(), statement)
	require.NoError(t, err, statement)
}

// Many hosts write one ledger: each entry stands once, whoever wanted it too.
func TestManyHostsWriteOneLedger(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		first := logOn(t, installed(t, d.Open(t)))
		require.NoError(t, first.Create(t.Context()))
		const hosts, plans = 4, 5
		var ids []string
		for range plans {
			ids = append(ids, uuid.Must(uuid.NewV7()).String())
		}
		var all sync.WaitGroup
		failed := make(chan error, hosts)
		for range hosts {
			log := logOn(t, installed(t, d.Open(t)))
			all.Go(func() {
				for _, id := range ids {
					for _, op := range []erasurelog.Op{erasurelog.Intent, erasurelog.Done} {
						if _, err := say(context.WithoutCancel(t.Context()), log, op, id); err != nil {
							failed <- err
							return
						}
					}
				}
			})
		}
		all.Wait()
		close(failed)
		for err := range failed {
			require.NoError(t, err)
		}
		s, err := first.Verify(t.Context())
		require.NoError(t, err)
		require.Equal(t, int64(2*plans), s.Head().N)
		require.Empty(t, s.Faults())
		for _, id := range ids {
			require.Equal(t, erasurelog.Finished, s.Status(id))
		}
	})
}

// What somebody does to the tables is noticed; a restore of the database to an
// older state by a head that is kept elsewhere, and by that alone.
func TestWhatIsDoneToTheTables(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := d.Open(t)
		log := logOn(t, installed(t, db))
		require.NoError(t, log.Create(t.Context()))
		for range 2 {
			id := uuid.Must(uuid.NewV7()).String()
			for _, op := range []erasurelog.Op{erasurelog.Intent, erasurelog.Done} {
				_, err := say(t.Context(), log, op, id)
				require.NoError(t, err)
			}
		}
		s, err := log.Read(t.Context())
		require.NoError(t, err)
		kept := erasurelog.Kept{Name: "the application database", Head: s.Head()}
		next := func() error {
			_, err := logOn(t, installed(t, db)).Read(t.Context(), kept)
			return err
		}
		mustExec(t, db, `CREATE TABLE copy_of_lines AS SELECT * FROM crmguard_ledger_line`)
		back := func() {
			mustExec(t, db, `DELETE FROM crmguard_ledger_line`)
			mustExec(t, db, `INSERT INTO crmguard_ledger_line SELECT * FROM copy_of_lines`)
			require.NoError(t, next(), "the remedy: bring the newest copy back")
		}
		for statement, want := range map[string]error{
			`DELETE FROM crmguard_ledger_line WHERE n > 2`:                                                    erasurelog.ErrRewound,
			`DELETE FROM crmguard_ledger_line WHERE n = 2`:                                                    erasurelog.ErrForged,
			`DELETE FROM crmguard_ledger_line WHERE n = 0`:                                                    erasurelog.ErrUnreachable,
			`DELETE FROM crmguard_ledger_line`:                                                                erasurelog.ErrUnreachable,
			`UPDATE crmguard_ledger_line SET line = (SELECT line FROM copy_of_lines WHERE n = 3) WHERE n = 4`: erasurelog.ErrForged,
			`UPDATE crmguard_ledger_line SET n = 9 WHERE n = 4`:                                               erasurelog.ErrForged,
			`INSERT INTO crmguard_ledger_line (n, line) SELECT 5, line FROM copy_of_lines WHERE n = 4`:        erasurelog.ErrForged,
		} {
			mustExec(t, db, statement)
			err := next()
			require.ErrorIs(t, err, want, statement)
			require.ErrorContains(t, err, "crmguard_ledger_line")
			_, err = log.Verify(t.Context(), kept)
			require.ErrorIs(t, err, want, statement+", by who has read it before")
			back()
		}
		mustExec(t, db, `DELETE FROM crmguard_ledger_line WHERE n > 2`)
		_, err = logOn(t, installed(t, db)).Read(t.Context())
		require.NoError(t, err, "without a head kept elsewhere nobody can tell")
	})
}

// Notes survive the process that wrote them.
func TestNotes(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		log := logOn(t, installed(t, d.Open(t)))
		require.NoError(t, log.Create(t.Context()))
		require.NoError(t, log.Note(t.Context(), "a-plan", []byte("where the rest is")))
		other := logOn(t, installed(t, d.Open(t)))
		var found []string
		for note, err := range other.Notes(t.Context()) {
			require.NoError(t, err)
			found = append(found, note.Name+": "+string(note.Data))
		}
		require.Equal(t, []string{"a-plan: where the rest is"}, found)
		require.NoError(t, other.Forget(t.Context(), "a-plan"))
		for range log.Notes(t.Context()) {
			t.Error("it was forgotten")
		}
	})
}

// The keys may be in the same database, and have the one connection of its pool.
func TestAPoolOfOne(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := d.Open(t)
		medium := installed(t, db)
		db.SetMaxOpenConns(1)
		log, err := erasurelog.Open(erasurelog.Config{Medium: medium, Digests: func(ctx context.Context, label string, data []byte) ([]uint32, [][]byte, error) {
			var one int
			if err := db.QueryRowContext(ctx, `SELECT 1`).Scan(&one); err != nil {
				return nil, nil, err
			}
			return digests(ctx, label, data)
		}})
		require.NoError(t, err)
		require.NoError(t, log.Create(t.Context()))
		plan := uuid.Must(uuid.NewV7()).String()
		_, err = say(t.Context(), log, erasurelog.Intent, plan)
		require.NoError(t, err)
		require.NoError(t, log.Note(t.Context(), plan, []byte("x")))
		for note, err := range log.Notes(t.Context()) {
			require.NoError(t, err)
			require.NoError(t, log.Forget(t.Context(), note.Name))
		}
		_, err = log.Verify(t.Context())
		require.NoError(t, err)
	})
}

// Whatever call a connection ends at, also when only the answer of the commit is
// lost: the same call again says it, and it stands once.
func TestAConnectionThatEnds(t *testing.T) {
	for _, name := range testdb.Names() {
		for _, driver := range name.Drivers() {
			t.Run(string(name)+"/"+driver, func(t *testing.T) {
				d := testdb.New(t, name)
				db, cutter := d.Cutting(t, driver)
				log := logOn(t, installed(t, db))
				require.NoError(t, log.Create(t.Context()))
				_, err := log.Read(t.Context())
				require.NoError(t, err)
				want := int64(0)
				for _, commits := range []bool{false, true} {
					for n := 1; ; n++ {
						plan := uuid.Must(uuid.NewV7()).String()
						cutter.Arm(n, commits)
						_, err := say(t.Context(), log, erasurelog.Intent, plan)
						cut := cutter.Disarm()
						if err != nil {
							require.True(t, cut, "call %d", n)
							_, err = say(t.Context(), log, erasurelog.Intent, plan)
							require.NoError(t, err, "call %d", n)
						}
						want++
						if !cut {
							break
						}
					}
				}
				s, err := logOn(t, installed(t, d.Open(t))).Read(t.Context())
				require.NoError(t, err)
				require.Equal(t, want, s.Head().N)
				require.Greater(t, want, int64(4))
			})
		}
	}
}

// SQLite that would lose what was committed, or keep what was deleted, is
// refused.
func TestPragmasOfSQLite(t *testing.T) {
	d := testdb.New(t, testdb.SQLite)
	installed(t, d.Open(t))
	for _, pragma := range []string{"PRAGMA synchronous = NORMAL", "PRAGMA secure_delete = OFF"} {
		db := d.Open(t)
		db.SetMaxOpenConns(1)
		ledger, err := sqlledger.Open(t.Context(), db)
		require.NoError(t, err)
		mustExec(t, db, pragma)
		require.ErrorIs(t, ledger.Create(t.Context()), sqlledger.ErrPragmas)
		require.ErrorIs(t, ledger.PutNotes(t.Context(), erasurelog.SealedNote{Name: "a", Sealed: []byte{1}}), sqlledger.ErrPragmas)
		_, err = sqlledger.Open(t.Context(), db)
		require.ErrorIs(t, err, sqlledger.ErrPragmas)
		require.ErrorIs(t, sqlledger.Install(t.Context(), db), sqlledger.ErrPragmas)
	}
}

// A policy that hides lines makes a shorter ledger: it is refused.
func TestAPolicyThatHidesLines(t *testing.T) {
	d := testdb.New(t, testdb.PostgresC)
	owner := d.Open(t)
	log := logOn(t, installed(t, owner))
	require.NoError(t, log.Create(t.Context()))
	plan := uuid.Must(uuid.NewV7()).String()
	for _, op := range []erasurelog.Op{erasurelog.Intent, erasurelog.Done} {
		_, err := say(t.Context(), log, op, plan)
		require.NoError(t, err)
	}
	role, as := d.Role(t)
	for _, right := range d.Rights(t, sqlledger.Grants(), role) {
		mustExec(t, owner, right.Grant)
	}
	read := func() error {
		_, err := logOn(t, installed(t, as.Open(t))).Read(t.Context())
		return err
	}
	require.NoError(t, read())
	mustExec(t, owner, `ALTER TABLE crmguard_ledger_line ENABLE ROW LEVEL SECURITY`)
	mustExec(t, owner, `CREATE POLICY first_lines ON crmguard_ledger_line USING (n < 2)`)
	require.ErrorIs(t, read(), sqlledger.ErrRowSecurity)
	mustExec(t, owner, `ALTER TABLE crmguard_ledger_line DISABLE ROW LEVEL SECURITY`)
	require.NoError(t, read())
}

// The role of the application adds lines, and neither changes nor removes one.
func TestTheRoleOnlyAddsLines(t *testing.T) {
	for _, name := range []testdb.Name{testdb.PostgresC, testdb.MariaDB} {
		t.Run(string(name), func(t *testing.T) {
			d := testdb.New(t, name)
			owner := d.Open(t)
			installed(t, owner)
			role, as := d.Role(t)
			for _, right := range d.Rights(t, sqlledger.Grants(), role) {
				mustExec(t, owner, right.Grant)
			}
			db := as.Open(t)
			log := logOn(t, installed(t, db))
			require.NoError(t, log.Create(t.Context()))
			_, err := say(t.Context(), log, erasurelog.Intent, uuid.Must(uuid.NewV7()).String())
			require.NoError(t, err)
			for _, statement := range []string{`UPDATE crmguard_ledger_line SET line = ''`, `DELETE FROM crmguard_ledger_line`} {
				_, err := db.ExecContext(t.Context(), statement)
				require.Error(t, err, statement)
			}
		})
	}
}

func TestTablesThatAreNotThere(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		_, err := sqlledger.Open(t.Context(), d.Open(t))
		var schema *sqlledger.ErrSchema
		require.ErrorAs(t, err, &schema)
		require.ErrorContains(t, err, "call Install")
		log := logOn(t, installed(t, d.Open(t)))
		_, err = log.Read(t.Context())
		require.ErrorIs(t, err, erasurelog.ErrUnreachable, "tables without a ledger in them")
		require.ErrorContains(t, err, "does not exist")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = log.Read(ctx)
		require.ErrorIs(t, err, context.Canceled)
		_, err = sqlledger.Open(t.Context(), nil)
		require.Error(t, err)
	})
}

// What a read and an append cost, beside a folder.
func BenchmarkLedger(b *testing.B) {
	for _, name := range testdb.Names() {
		db := testdb.New(b, name).Open(b)
		require.NoError(b, sqlledger.Install(b.Context(), db))
		medium, err := sqlledger.Open(b.Context(), db)
		require.NoError(b, err)
		log, err := erasurelog.Open(erasurelog.Config{Medium: medium, Digests: digests})
		require.NoError(b, err)
		require.NoError(b, errors.Join(log.Create(b.Context())))
		b.Run(fmt.Sprintf("append/%s", name), func(b *testing.B) {
			for b.Loop() {
				_, err := say(b.Context(), log, erasurelog.Intent, uuid.Must(uuid.NewV7()).String())
				require.NoError(b, err)
			}
		})
		b.Run(fmt.Sprintf("read/%s", name), func(b *testing.B) {
			for b.Loop() {
				_, err := log.Read(b.Context())
				require.NoError(b, err)
			}
		})
	}
}
