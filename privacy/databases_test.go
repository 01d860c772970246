package privacy_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/bundle"
	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/erasurelog"
	"github.com/crmguard/crmguard/privacy/sqlstore"
)

// A person asks for their data, is erased, comes back with a restore and is
// erased again, on every database and through every driver.
func TestTheWholeJobOnEveryDatabase(t *testing.T) { eachSystem(t, wholeJob) }

// So behind a pooler that gives each transaction another connection, and where
// transactions are serializable unless something else is said.
func TestTheWholeJobBehindAPoolerAndSerializable(t *testing.T) {
	testdb.Variants(t, func(t *testing.T, open func(tb testing.TB) *sql.DB) {
		db := open(t)
		db.SetMaxOpenConns(1) // nothing may need a second connection
		wholeJob(t, newSystemOn(t, t.TempDir(), db))
	})
}

func wholeJob(t *testing.T, s *system) {
	ann, bob := s.contact("ann@a.example"), s.contact("bob@b.example")
	s.activity("ann "+ann+" met bob", ann, bob)
	s.activity("ann alone", ann)
	s.invoice(ann, s.now)
	exported, data := s.export(ann)
	m, err := bundle.Verify(bytes.NewReader(data), int64(len(data)))
	require.NoError(t, err)
	require.Equal(t, exported.Manifest, m)
	require.Len(t, m.Tables, 4, "activities, contacts, invoices and notes")
	require.Contains(t, zipFile(t, data, "data/contacts.ndjson"), `"email":"ann@a.example"`)
	require.Contains(t, zipFile(t, data, "data/activities.ndjson"), "met bob")
	require.NotContains(t, zipFile(t, data, "data/contacts.ndjson"), "bob@b.example")

	backup := s.snapshot()
	o := s.erase(ann)
	require.NotEmpty(t, o.Certificate)
	require.Equal(t, s.on.Kind != sqldb.SQLite, strings.Contains(strings.Join(o.NotCovered, "\n"), "server keeps of deleted rows"))
	gone := func() {
		t.Helper()
		require.Equal(t, 0, s.count(`SELECT COUNT(*) FROM contacts WHERE person = ?`, ann))
		require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM contacts WHERE person = ?`, bob))
		require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM notes`))
		require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM activities`), "the one of both stays")
		require.Equal(t, 0, s.count(`SELECT COUNT(*) FROM activity_persons WHERE person = ?`, ann))
		require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM invoices WHERE name IS NOT NULL AND phone IS NULL`), "kept by law, without the phone")
		require.Equal(t, 0, s.count(`SELECT COUNT(*) FROM crmguard_privacy_plan WHERE body IS NOT NULL`))
	}
	gone()
	require.NoError(t, s.desk.Ready(t.Context()))
	again, err := s.desk.Execute(t.Context(), o.Plan)
	require.NoError(t, err)
	require.Equal(t, o.Certificate, again.Certificate)

	s.restore(backup)
	require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM contacts WHERE person = ?`, ann), "the backup brought the person back")
	s.exec(`INSERT INTO contacts VALUES (?, ?, 'CH', NULL, NULL, 7, ?)`, newID(), ann, s.now.UnixMicro())
	require.ErrorIs(t, s.desk.Ready(t.Context()), privacy.ErrBehind)
	r, err := s.desk.Replay(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, r.Erased)
	require.Len(t, r.Newer, 1, "made after the erasure: left alone")
	s.exec(`DELETE FROM contacts WHERE person = ?`, ann)
	gone()
	require.NoError(t, s.desk.Ready(t.Context()))
	_, err = s.desk.Status(t.Context())
	require.NoError(t, err)
}

// The high-water mark follows erasures that end at the same time: each sees
// that the other is carried out, or waits for it.
func TestErasuresThatEndAtOnceRaiseTheMark(t *testing.T) {
	const persons, rounds = 6, 3
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		if d.Name == testdb.SQLite {
			return // its writers are serial
		}
		s := newSystemOn(t, t.TempDir(), d.Open(t))
		s.cfg.Record, s.cfg.PerDay = nil, -1
		var erased sync.WaitGroup
		var once sync.Map
		var down atomic.Bool
		s.cfg.Stores = append(s.cfg.Stores, datastore.Func{
			Name: "last", Class: datastore.Deleted,
			Erase: func(_ context.Context, _, person string) error { // all come to their ends together
				if down.Load() {
					return errBlown
				}
				if _, before := once.LoadOrStore(person, true); !before {
					erased.Done()
				}
				erased.Wait()
				return nil
			},
		}.Store())
		s.reopen()
		for range rounds {
			var plans []string
			for i := range persons {
				person := s.contact(fmt.Sprintf("p%d@a.example", i))
				p, err := s.desk.PlanErasure(t.Context(), privacy.Request{Tenant: "main", Person: person, Reason: "gdpr-17", By: "user/1"})
				require.NoError(t, err)
				require.NoError(t, s.desk.Approve(t.Context(), p.ID, "user/2"))
				plans = append(plans, p.ID)
			}
			for _, wanted := range []privacy.State{privacy.Partial, privacy.Waiting, privacy.Done} {
				s.now = s.now.Add(25 * time.Hour)
				if down.Store(wanted == privacy.Partial); wanted == privacy.Waiting {
					erased.Add(persons)
				}
				faults := make(chan error, persons)
				for _, plan := range plans {
					go func() { faults <- s.until(wanted, plan) }()
				}
				for range plans {
					require.NoError(t, <-faults)
				}
				if wanted != privacy.Partial {
					require.NoError(t, s.desk.Ready(t.Context()), "every erasure is carried out")
				}
			}
		}
	})
}

// until executes a plan in a desk of its own, as another process has one, until
// it is so far. It calls again where that is what the error says.
func (s *system) until(wanted privacy.State, plan string) error {
	desk, err := privacy.Open(s.t.Context(), s.cfg)
	for s.t.Context().Err() == nil {
		if err != nil {
			return err
		}
		var o privacy.Outcome
		o, err = desk.Execute(s.t.Context(), plan)
		if err == nil && o.State == wanted {
			return nil
		}
		if errors.Is(err, privacy.ErrBehind) || errors.Is(err, erasurelog.ErrBusy) {
			err = nil // the moment between ledger and database
			time.Sleep(5 * time.Millisecond)
		}
	}
	return s.t.Context().Err()
}

// Two persons of one record who are erased at once do not each take the other
// for somebody who stays, whether a redaction changes the record or not.
func TestTheLastTwoOfAJointRecordErasedAtOnce(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		if d.Name == testdb.SQLite {
			return // its writers are serial
		}
		s := newSystemOn(t, t.TempDir(), d.Open(t))
		for range 2 {
			ann, bob := newID(), newID()
			s.activity("ann met bob", ann, bob)
			faults, inside := make(chan error, 2), make(chan bool, 9)
			store, err := sqlstore.Open(t.Context(), sqlstore.Config{
				DB: s.db, Map: s.cfg.Map, EraseOwner: s.keys.erase,
				Redact: func(context.Context, sqlstore.JointRow) (sqlstore.Redaction, error) {
					return sqlstore.Redaction{Apply: func(context.Context, datastore.Tx) error {
						inside <- true
						time.Sleep(200 * time.Millisecond) // long enough for the other to come to the same place
						return nil
					}}, nil
				},
			})
			require.NoError(t, err)
			erase := func(person string) {
				faults <- store.Erase(t.Context(), datastore.Scope{Tenant: "main", Person: person, Now: s.now}, nil)
			}
			go erase(ann)
			<-inside
			go erase(bob)
			for range 2 {
				require.NoError(t, <-faults)
			}
			require.Equal(t, 0, s.count(`SELECT COUNT(*) FROM activity_persons`))
			require.Equal(t, 0, s.count(`SELECT COUNT(*) FROM activities`), "the record of nobody is gone")
		}
	})
}

// The first start of an application is often the start of ten.
func TestTenInstallAtOnce(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		handles := make([]*sql.DB, 10)
		for i := range handles {
			handles[i] = d.Open(t)
		}
		faults := make(chan error, len(handles))
		for _, db := range handles {
			go func() { faults <- privacy.Install(t.Context(), db) }()
		}
		for range handles {
			require.NoError(t, <-faults)
		}
		require.NoError(t, privacy.Install(t.Context(), handles[0]), "at every start")
	})
	require.ErrorContains(t, privacy.Install(t.Context(), nil), "no database was handed in")
}

// openOn opens a desk over a database in the configuration of a system.
func (s *system) openOn(db *sql.DB) error {
	cfg := s.cfg
	cfg.DB = db
	_, err := privacy.Open(s.t.Context(), cfg)
	return err
}

// What is wrong with a database is said with its cause, and nothing is lost.
func TestFaultsOfADatabaseAreNamed(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := d.Open(t)
		s := newSystemOn(t, t.TempDir(), db)
		ann := s.contact("ann@a.example")
		p := s.approved(ann)

		var old *privacy.ErrSchema
		empty := testdb.New(t, d.Name).Open(t)
		require.ErrorAs(t, s.openOn(empty), &old, "another database than the one installed in")
		require.ErrorContains(t, s.openOn(empty), "call Install")

		s.exec(`UPDATE crmguard_schema SET version = version + 100`)
		require.NoError(t, s.openOn(db), "tables of a newer library")
		s.exec(`DELETE FROM crmguard_schema`)
		require.ErrorAs(t, s.openOn(db), &old, "tables whose version nobody has written")
		require.Zero(t, old.Have)
		s.exec(`INSERT INTO crmguard_schema (package, version, installed) VALUES ('privacy', 100, 0)`)

		ended, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := s.desk.Execute(ended, p.ID)
		require.ErrorIs(t, err, context.Canceled)

		readOnly := map[testdb.Name]string{
			testdb.SQLite: `PRAGMA query_only = 1`, testdb.MariaDB: `SET SESSION TRANSACTION READ ONLY`,
			testdb.PostgresC: `SET default_transaction_read_only = on`, testdb.PostgresICU: `SET default_transaction_read_only = on`,
		}
		if d.Name != testdb.MariaDB { // there a transaction that states that it writes does
			db.SetMaxOpenConns(1)
			s.exec(readOnly[d.Name])
			_, err = s.desk.Execute(t.Context(), p.ID)
			require.Error(t, err)
			require.Contains(t, strings.ReplaceAll(err.Error(), "readonly", "read-only"), "read-only")
			s.exec(map[bool]string{true: `PRAGMA query_only = 0`, false: `SET default_transaction_read_only = off`}[d.Name == testdb.SQLite])
		}
		require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM contacts`), "nothing was erased")

		s.exec(`ALTER TABLE crmguard_privacy_plan RENAME TO elsewhere`)
		_, err = s.desk.Execute(t.Context(), p.ID)
		require.ErrorContains(t, err, "reading the plan failed: ")
		require.ErrorContains(t, err, "crmguard_privacy_plan", "the cause is named")
		s.exec(`ALTER TABLE elsewhere RENAME TO crmguard_privacy_plan`)
		o, err := s.desk.Execute(t.Context(), p.ID)
		require.NoError(t, err)
		require.Equal(t, privacy.Waiting, o.State, "nothing was lost")
		require.Equal(t, 0, s.count(`SELECT COUNT(*) FROM contacts`))
	})
}

// A role that may not write says so, and which table; one whose search path
// does not lead to the tables is told to install them.
func TestMissingRightsAreNamed(t *testing.T) {
	d := testdb.New(t, testdb.PostgresC)
	db := d.Open(t)
	s := newSystemOn(t, t.TempDir(), db)
	ann := s.contact("ann@a.example")
	role := fmt.Sprintf("crmguard_reader_%d", time.Now().UnixNano())
	s.exec(`CREATE ROLE ` + role + ` LOGIN`)
	t.Cleanup(func() {
		for _, query := range []string{`DROP OWNED BY ` + role, `DROP ROLE ` + role} {
			_, err := db.ExecContext(context.WithoutCancel(t.Context()), query)
			require.NoError(t, err)
		}
	})
	for _, driver := range d.Name.Drivers() {
		reader := d.OpenWith(t, driver)
		reader.SetMaxOpenConns(1)
		as := func(query string) {
			_, err := reader.ExecContext(t.Context(), query)
			require.NoError(t, err)
		}
		as(`SET ROLE ` + role)
		err := s.openOn(reader)
		require.ErrorIs(t, err, fs.ErrPermission)
		require.ErrorContains(t, err, "this role lacks a right (SQLSTATE 42501, table crmguard_schema)", "a version that may not be read is not version 0")
		s.exec(`GRANT SELECT ON ALL TABLES IN SCHEMA public TO ` + role)
		cfg := s.cfg
		cfg.DB = reader
		desk, err := privacy.Open(t.Context(), cfg)
		require.NoError(t, err)
		_, err = desk.PlanErasure(t.Context(), privacy.Request{Tenant: "main", Person: ann, Reason: "gdpr-17", By: "user/1"})
		require.ErrorIs(t, err, fs.ErrPermission)
		require.ErrorContains(t, err, "storing the plan failed: this role lacks a right (SQLSTATE 42501, table crmguard_privacy_plan)")

		as(`SET search_path = pg_catalog`)
		var old *privacy.ErrSchema
		require.ErrorAs(t, s.openOn(reader), &old)
		s.exec(`REVOKE ALL ON ALL TABLES IN SCHEMA public FROM ` + role)
	}
}
