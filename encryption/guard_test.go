package encryption_test

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/encryption/sealedvalue"
	"github.com/crmguard/crmguard/encryption/sqlkeys"
	"github.com/crmguard/crmguard/internal/testdb"
)

// two is two processes of an application over one key store and one table.
type two struct {
	database   testdb.Database
	db, second *sql.DB // one pool each
	cfg        encryption.Config
	a, b       *encryption.Vault
	of, ofB    *encryption.SealedTable
	writers    chan int // whom the holder of b waits for
}

var lettersTable = encryption.Table{Name: "letters", Columns: []encryption.Column{{Name: "body"}}}

func newTwo(t *testing.T, d testdb.Database) *two {
	t.Helper()
	return newTwoWith(t, d, false)
}

func keysIn(t *testing.T, db *sql.DB) keystore.Store {
	t.Helper()
	store, err := sqlkeys.Open(t.Context(), db)
	require.NoError(t, err)
	return store
}

// newTwoWith keeps the keys in memory, or beside the rows, in the same pools.
func newTwoWith(t *testing.T, d testdb.Database, beside bool) *two {
	t.Helper()
	c := &clock{t: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)}
	kms := &keks{keys: map[string][]byte{}, gone: map[string]bool{}}
	s := &two{database: d, db: d.Open(t), second: d.Open(t), writers: make(chan int, 1000)}
	s.cfg = encryption.Config{Keys: encryptiontest.Keys(), KEK: kms.get, Now: c.Now, Wait: c.Wait}
	if beside {
		require.NoError(t, sqlkeys.Install(t.Context(), s.db))
		s.cfg.Keys = keysIn(t, s.db)
	}
	var err error
	s.a, err = encryption.Create(t.Context(), s.cfg)
	require.NoError(t, err)
	require.NoError(t, s.a.AddTenant(t.Context(), tenant))
	cfg := s.cfg
	if beside {
		cfg.Keys = keysIn(t, s.second)
	}
	cfg.Observe = func(_ context.Context, name string, value float64, _ ...slog.Attr) {
		if name == "encryption.holder.writers" {
			s.writers <- int(value)
		}
	}
	s.b, err = encryption.Open(t.Context(), cfg)
	require.NoError(t, err)
	s.of, err = s.a.Table(lettersTable)
	require.NoError(t, err)
	s.ofB, err = s.b.Table(lettersTable)
	require.NoError(t, err)
	s.exec(t, s.db, `CREATE TABLE letters (id VARCHAR(40) NOT NULL PRIMARY KEY, person VARCHAR(40) NOT NULL, body `+bytesOf(d.Name)+`)`)
	return s
}

// bytesOf is the type of a column of bytes.
func bytesOf(name testdb.Name) string {
	switch name {
	case testdb.SQLite:
		return "BLOB"
	case testdb.MariaDB:
		return "LONGBLOB"
	default:
		return "bytea"
	}
}

type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

func (s *two) exec(t *testing.T, q execer, statement string, args ...any) {
	t.Helper()
	if s.database.Name == testdb.PostgresC || s.database.Name == testdb.PostgresICU {
		for i := range args {
			statement = replaceOnce(statement, "?", fmt.Sprintf("$%d", i+1))
		}
	}
	_, err := q.ExecContext(t.Context(), statement, args...)
	require.NoError(t, err)
}

// write inserts a letter through a connection or a transaction, and returns the
// key version that it is sealed under.
func (s *two) write(t *testing.T, q execer, w *encryption.Writer, id string) (keyVersion uint32) {
	t.Helper()
	sealed := w.Text("body", "body of "+id)
	s.exec(t, q, `INSERT INTO letters (id, person, body) VALUES (?, ?, ?)`, id, "p1", sealed)
	keyVersion, err := sealedvalue.KeyVersion(sealed.Bytes())
	require.NoError(t, err)
	return keyVersion
}

func (s *two) writer(t *testing.T) *encryption.Writer {
	t.Helper()
	w, err := s.of.Writer(t.Context(), tenant, "p1")
	require.NoError(t, err)
	return w
}

// requireAll opens every letter in a process that remembers nothing.
func (s *two) requireAll(t *testing.T, n int) {
	t.Helper()
	v, err := encryption.Open(t.Context(), s.cfg)
	require.NoError(t, err)
	table, err := v.Table(lettersTable)
	require.NoError(t, err)
	r, err := table.Reader(t.Context(), tenant, "p1")
	require.NoError(t, err)
	rows, err := s.db.QueryContext(t.Context(), `SELECT id, body FROM letters`)
	require.NoError(t, err)
	defer func() { require.NoError(t, rows.Close()) }()
	seen := 0
	for rows.Next() {
		var id string
		var body encryption.Sealed
		require.NoError(t, rows.Scan(&id, &body))
		got, err := r.Row("p1", "").Text(t.Context(), "body", body.Bytes())
		require.NoError(t, err, id)
		require.Equal(t, "body of "+id, got)
		seen++
	}
	require.NoError(t, rows.Err())
	require.Equal(t, n, seen)
}

func replaceOnce(s, old, with string) string {
	for i := range len(s) - len(old) + 1 {
		if s[i:i+len(old)] == old {
			return s[:i] + with + s[i+len(old):]
		}
	}
	return s
}

// destroys runs the destruction of a key version in the second process.
func (s *two) destroys(t *testing.T, keyVersion uint32) chan error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- s.b.DestroyKeyVersion(t.Context(), tenant, keyVersion, s.ofB.Holder(s.second)) }()
	return done
}

// waits returns when the destruction waits for somebody who writes.
func (s *two) waits(t *testing.T, done chan error) {
	t.Helper()
	select {
	case <-s.writers:
	case err := <-done:
		require.FailNow(t, "the destruction did not wait", "%v", err)
	}
}

// The application's transaction may take longer than every bound: as long as it
// has written, the destruction waits for it and finds what it wrote.
func TestADestructionWaitsForALongTransactionOfTheApplication(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		s := newTwo(t, d)
		tx, err := s.db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		old := s.write(t, tx, s.writer(t), "l1")
		_, err = s.a.NewKeyVersion(t.Context(), tenant)
		require.NoError(t, err)
		done := s.destroys(t, old)
		s.waits(t, done)
		require.NoError(t, tx.Commit())
		err = <-done
		require.ErrorIs(t, err, encryption.ErrInUse)
		require.ErrorContains(t, err, "1 in table letters")
		require.Equal(t, keystore.Retired, stateOf(t, s.a, old))
		s.requireAll(t, 1)

		// One that is rolled back held it up, and holds nothing.
		_, err = s.of.Reseal(t.Context(), s.db, tenant, jobs.ResealOptions{})
		require.NoError(t, err)
		tx, err = s.db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		s.exec(t, tx, `UPDATE letters SET person = person`)
		done = s.destroys(t, old)
		s.waits(t, done)
		require.NoError(t, tx.Rollback())
		require.NoError(t, <-done)
		require.Equal(t, keystore.Destroyed, stateOf(t, s.a, old))
		s.requireAll(t, 1)
	})
}

// A wait for somebody who never ends is ended by the context, and has destroyed
// nothing.
func TestADestructionThatIsGivenUpDestroysNothing(t *testing.T) {
	s := newTwo(t, testdb.New(t, testdb.SQLite))
	tx, err := s.db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	old := s.write(t, tx, s.writer(t), "l1")
	_, err = s.a.NewKeyVersion(t.Context(), tenant)
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.b.DestroyKeyVersion(ctx, tenant, old, s.ofB.Holder(s.second)) }()
	s.waits(t, done)
	stop()
	require.ErrorIs(t, <-done, context.Canceled)
	require.NoError(t, tx.Commit())
	s.requireAll(t, 1)
	require.ErrorIs(t, s.b.DestroyKeyVersion(t.Context(), tenant, old, s.ofB.Holder(s.second)), encryption.ErrInUse)
	s.requireAll(t, 1)
}

// Reseal stands before a row that somebody has locked. Meanwhile another process
// begins a new key version and destroys the one that Reseal seals under. It waits
// for Reseal's transaction, which is not committed under a retired key version but
// done again.
func TestADestructionAgainstAResealThatIsHeldUp(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		if d.Name == testdb.SQLite {
			return // one writer at a time: nobody locks a row while Reseal writes
		}
		s := newTwo(t, d)
		standing := make(chan struct{})
		var once sync.Once
		s.destroyedMeanwhile(t, jobs.ResealOptions{AfterRow: func(_ context.Context, _ *sql.Tx, _, key string) error {
			if key == "l10" {
				once.Do(func() { close(standing) })
			}
			return nil
		}}, func(resealed chan error) {
			select {
			case <-standing:
			case err := <-resealed:
				require.FailNow(t, "Reseal did not wait", "%v", err)
			}
		})
	})
}

// The same where no hook runs, and the rows are changed together.
func TestADestructionAgainstAResealOfRowsTogether(t *testing.T) {
	eachPostgres(t, func(t *testing.T, s *two) {
		s.destroyedMeanwhile(t, jobs.ResealOptions{}, func(chan error) { s.standsStill(t) })
	})
}

func (s *two) destroyedMeanwhile(t *testing.T, options jobs.ResealOptions, standing func(resealed chan error)) {
	t.Helper()
	for i := range 12 {
		s.write(t, s.db, s.writer(t), fmt.Sprintf("l%02d", i))
	}
	under, err := s.a.NewKeyVersion(t.Context(), tenant)
	require.NoError(t, err)
	lock, err := s.db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	s.exec(t, lock, `SELECT id FROM letters WHERE id = 'l11' FOR UPDATE`)
	resealed := make(chan error, 1)
	go func() {
		report, err := s.of.Reseal(t.Context(), s.db, tenant, options)
		if err == nil && report.Cells != 12 {
			err = fmt.Errorf("%d cells of 12", report.Cells)
		}
		resealed <- err
	}()
	standing(resealed)
	next, err := s.b.NewKeyVersion(t.Context(), tenant)
	require.NoError(t, err)
	done := s.destroys(t, under)
	s.waits(t, done)
	require.NoError(t, lock.Commit())
	require.NoError(t, <-resealed)
	require.NoError(t, <-done)
	require.Equal(t, keystore.Destroyed, stateOf(t, s.a, under))
	s.requireAll(t, 12)
	census, err := s.of.Census(t.Context(), s.db, tenant)
	require.NoError(t, err)
	require.Equal(t, map[uint32]int64{next: 12}, census.KeyVersions)
}

// However late Reseal and Redact come to their commit, paused for an hour between
// sealing and writing even: what they seal under is looked at again, after the
// writes and before the commit. The holder here is one that does not wait.
func TestNothingIsCommittedUnderAKeyVersionThatIsGone(t *testing.T) {
	for name, late := range map[string]func(t *testing.T, s *two, keyVersion uint32){
		"retired": func(*testing.T, *two, uint32) {},
		"destroyed": func(t *testing.T, s *two, g uint32) {
			require.NoError(t, s.b.DestroyKeyVersion(t.Context(), tenant, g, holds(0)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newTwo(t, testdb.New(t, testdb.SQLite))
			s.write(t, s.db, s.writer(t), "l1")
			under, err := s.a.NewKeyVersion(t.Context(), tenant)
			require.NoError(t, err)
			times := 0
			report, err := s.of.Reseal(t.Context(), s.db, tenant, jobs.ResealOptions{AfterRow: func(context.Context, *sql.Tx, string, string) error {
				if times++; times == 1 {
					_, err := s.b.NewKeyVersion(t.Context(), tenant)
					require.NoError(t, err)
					late(t, s, under)
				}
				return nil
			}})
			require.NoError(t, err)
			require.Equal(t, 2, times, "rolled back and done again")
			require.Equal(t, 1, report.Cells)
			s.requireAll(t, 1)
			census, err := s.of.Census(t.Context(), s.db, tenant)
			require.NoError(t, err)
			require.Zero(t, census.KeyVersions[under])
		})
	}
}

// The same where rows and keys are in one database, and one pool with nothing to
// spare.
func TestNothingIsCommittedUnderAKeyVersionThatIsGoneBesideTheRows(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		if d.Name == testdb.SQLite {
			return // nobody else writes while Reseal does
		}
		s := newTwoWith(t, d, true)
		s.write(t, s.db, s.writer(t), "l1")
		under, err := s.a.NewKeyVersion(t.Context(), tenant)
		require.NoError(t, err)
		s.db.SetMaxOpenConns(1)
		times := 0
		_, err = s.of.Reseal(t.Context(), s.db, tenant, jobs.ResealOptions{AfterRow: func(context.Context, *sql.Tx, string, string) error {
			if times++; times == 1 {
				_, err := s.b.NewKeyVersion(t.Context(), tenant)
				require.NoError(t, err)
				return s.b.DestroyKeyVersion(t.Context(), tenant, under, holds(0))
			}
			return nil
		}})
		require.NoError(t, err)
		require.Equal(t, 2, times, "rolled back and done again")
		s.db.SetMaxOpenConns(2)
		s.requireAll(t, 1)
	})
}

func TestARedactionIsNotCommittedUnderAKeyVersionThatIsGone(t *testing.T) {
	s := newTwo(t, testdb.New(t, testdb.SQLite))
	owner, err := encryption.NewRecordOwner()
	require.NoError(t, err)
	w, err := s.of.RecordWriter(t.Context(), tenant, owner)
	require.NoError(t, err)
	s.exec(t, s.db, `INSERT INTO letters (id, person, body) VALUES ('l1', ?, ?)`, owner, w.Text("body", "Ann and Bob"))
	times := 0
	redaction := jobs.Redaction{
		Edit: func(_ string, plaintext []byte) ([]byte, error) { return plaintext[:3], nil },
		AfterRow: func(context.Context, *sql.Tx, string, string) error {
			if times++; times > 1 {
				return nil
			}
			all, err := s.b.KeyVersions(t.Context(), tenant)
			require.NoError(t, err)
			_, err = s.b.NewKeyVersion(t.Context(), tenant)
			require.NoError(t, err)
			return s.b.DestroyKeyVersion(t.Context(), tenant, all[0].KeyVersion, holds(0))
		},
	}
	_, err = s.of.Redact(t.Context(), s.db, tenant, "l1", redaction)
	require.ErrorIs(t, err, encryption.ErrLease, "try again, it says")
	var person string
	require.NoError(t, s.db.QueryRowContext(t.Context(), `SELECT person FROM letters`).Scan(&person))
	require.Equal(t, owner, person, "the row is what it was, and its owner not erased")
}

// A key store that was put back while Reseal wrote is noticed before the commit.
func TestNothingIsCommittedUnderAKeyStoreThatWasPutBack(t *testing.T) {
	e := newEnv(t, 4)
	e.insert(t, "c1", "p1")
	path := filepath.Join(t.TempDir(), "old.db")
	_, err := e.keysDB.ExecContext(t.Context(), `VACUUM INTO ?`, path)
	require.NoError(t, err)
	older, err := sqlkeys.Open(t.Context(), openDB(t, path, 1))
	require.NoError(t, err)
	current := &switchedStore{e.store}
	cfg := e.cfg
	cfg.Keys = current
	vault, err := encryption.Open(t.Context(), cfg)
	require.NoError(t, err)
	e.rotate(t)
	e.clock.Move(encryption.DefaultLease)
	before := e.digest(t)
	_, err = e.table(t, vault, contactsTable).Reseal(t.Context(), e.db, tenant, jobs.ResealOptions{AfterRow: func(context.Context, *sql.Tx, string, string) error {
		current.Store = older
		return nil
	}})
	require.ErrorIs(t, err, encryption.ErrRewound)
	require.Equal(t, before, e.digest(t))
}

// Whoever keeps a row locked holds Reseal up for the longest transaction, and not
// for ever: the rows are left, counted, and resealed the next time.
func TestResealIsNotHeldUpForEver(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		if d.Name == testdb.SQLite {
			return // its busy_timeout bounds what waits there
		}
		s := newTwo(t, d)
		old := s.write(t, s.db, s.writer(t), "l1")
		s.write(t, s.db, s.writer(t), "l2")
		_, err := s.a.NewKeyVersion(t.Context(), tenant)
		require.NoError(t, err)
		cfg := s.cfg
		cfg.LongestTransaction = 300 * time.Millisecond
		v, err := encryption.Open(t.Context(), cfg)
		require.NoError(t, err)
		table, err := v.Table(lettersTable)
		require.NoError(t, err)
		lock, err := s.second.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		s.exec(t, lock, `SELECT id FROM letters WHERE id = 'l1' FOR UPDATE`)
		report, err := table.Reseal(t.Context(), s.db, tenant, jobs.ResealOptions{Batch: 1})
		require.NoError(t, err)
		require.Positive(t, report.Locked)
		require.Equal(t, "l2", report.Last, "it went on")
		require.NoError(t, lock.Rollback())
		report, err = s.of.Reseal(t.Context(), s.db, tenant, jobs.ResealOptions{})
		require.NoError(t, err)
		require.Zero(t, report.Locked)
		census, err := s.of.Census(t.Context(), s.db, tenant)
		require.NoError(t, err)
		require.Zero(t, census.KeyVersions[old])
		s.requireAll(t, 2)
	})
}

// One pool of one connection for rows and keys has no second one to ask for the
// keys while Reseal writes: they are read in its transaction.
func TestTheKeyVersionIsLookedAtThroughAPoolOfOneConnection(t *testing.T) {
	e := newEnv(t, 1)
	_, err := e.keysDB.ExecContext(t.Context(), contactsSQL)
	require.NoError(t, err)
	e.db = e.keysDB
	e.insert(t, "c1", "p1")
	_, under := e.rotate(t)
	times := 0
	hook := func(ctx context.Context, tx *sql.Tx, _, _ string) error {
		if times++; times > 1 {
			return nil
		}
		// As another process would, had SQLite more than one writer.
		_, err := tx.ExecContext(ctx, `UPDATE crmguard_encryption_generation SET state = 'retired' WHERE generation = ?`, under)
		return err
	}
	report, err := e.contacts.Reseal(t.Context(), e.db, tenant, jobs.ResealOptions{AfterRow: hook})
	require.NoError(t, err)
	require.Equal(t, 2, times, "rolled back, with what the hook had done, and done again")
	require.Equal(t, 3, report.Cells)
	e.requireOpens(t, e.contacts)
}
