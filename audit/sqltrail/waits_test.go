package sqltrail_test

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/internal/testdb"
)

// Two sales that are open at the same time do not wait for each other, and the
// sequencer, an erasure and a resealing wait for neither: whoever has to wait
// fails here, by a limit of the database. Sales about the same person are among
// them, and retries, whose insertion finds a row. On SQLite one transaction
// writes at a time, and there is nothing to test.
func TestOpenSalesDoNotWaitForEachOther(t *testing.T) {
	for _, name := range testdb.Names() {
		if name == testdb.SQLite {
			continue
		}
		for _, driver := range name.Drivers() {
			t.Run(string(name)+"/"+driver, func(t *testing.T) {
				d := testdb.New(t, name)
				db := openAt(t, driver, with(d, driver, map[testdb.Name]string{
					testdb.PostgresC: "lock_timeout=1000", testdb.MariaDB: "innodb_lock_wait_timeout=1",
				}))
				openSales(t, newShop(t, db, "crm.example/audit"))
			})
		}
	}
}

func openSales(t *testing.T, s *shop) {
	ctx := t.Context()
	var known, waits []audit.Event // an event is retried by one transaction at a time: another one would wait for it
	for range 3 {
		known, waits = append(known, sale(t, "known")), append(waits, sale(t, "queued"))
	}
	for _, e := range append([]audit.Event{sale(t, "left")}, known...) {
		require.NoError(t, s.sell(s.db.DB, s.trail, e))
	}
	s.sequence()
	for _, e := range waits {
		require.NoError(t, s.sell(s.db.DB, s.trail, e))
	}
	require.NoError(t, s.trail.Prepare(ctx, "main", append(persons(9), "known", "queued")...))

	transactions := make([]*sql.Tx, 3)
	for i := range transactions {
		tx, err := s.db.BeginTx(ctx, nil)
		require.NoError(t, err)
		defer func() { _ = tx.Rollback() }() // of one that has not committed
		transactions[i] = tx
	}
	record := func(tx *sql.Tx, e audit.Event) {
		t.Helper()
		require.NoError(t, only(s.trail.Record(ctx, tx, e)), "%s had to wait", e.Object.ID)
	}
	for round := range 3 {
		for i, tx := range transactions {
			record(tx, known[i]) // a retry
			record(tx, waits[i])
			for n, person := range []string{"known", "queued", persons(9)[3*i+round]} {
				e := sale(t, person)
				if n == 1 {
					e.Object, e.Persons = audit.Ref("deal", "17"), []string{person}
				}
				_, err := tx.ExecContext(ctx, s.db.Bind(`INSERT INTO sales (id) VALUES (?)`), e.ID)
				require.NoError(t, err)
				record(tx, e)
			}
		}
		s.sequence()
		require.NoError(t, s.trail.Beat(ctx))
	}
	require.NoError(t, s.trail.Erase(ctx, "main", "left"))
	_, err := s.trail.Reseal(ctx, func(ctx context.Context, tenant, person string, sealed, ad []byte) ([]byte, error) {
		plain, err := s.keys.Open(ctx, tenant, person, sealed, ad)
		if err != nil {
			return nil, err
		}
		return s.keys.Seal(ctx, tenant, person, plain, ad)
	})
	require.NoError(t, err)
	s.sequence()
	for _, tx := range transactions {
		require.NoError(t, tx.Commit())
	}
	require.Equal(t, 27+len(waits), s.sequence().Sequenced, "what was retried waited for its transaction, and held up nothing else")
	s.sound()
}

// MariaDB's transactions do not see what was committed after their first look,
// and their insertions find it all the same. The sale goes on with the person
// and the event that are there.
func TestAnOlderViewOnMariaDBFindsWhatIsThere(t *testing.T) {
	s := newShop(t, testdb.New(t, testdb.MariaDB).Open(t), "crm.example/audit")
	first, second := sale(t, "p1"), sale(t, "p1")
	require.NoError(t, s.trail.Prepare(t.Context(), "main", "p1"))
	tx, err := s.db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	defer func() { _ = tx.Rollback() }() // of one that has not committed
	var n int
	require.NoError(t, tx.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM crmguard_audit_events`).Scan(&n))
	require.NoError(t, s.sell(s.db.DB, s.trail, first))
	_, err = tx.ExecContext(t.Context(), `INSERT INTO sales (id) VALUES (?)`, second.ID)
	require.NoError(t, err)
	require.NoError(t, only(s.trail.Record(t.Context(), tx, second)))
	require.NoError(t, only(s.trail.Record(t.Context(), tx, first)), "a retry")
	require.NoError(t, tx.Commit())
	require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM crmguard_audit_surrogates WHERE person <> ''`))
	s.sequence()
	s.sound()
}

// Two sales about the same two new persons, in opposite order, do not wait for each
// other: the persons' rows were made before, each in a transaction of its own.
func TestTwoSalesOfNewPersonsBothCommit(t *testing.T) {
	testdb.EachDriver(t, func(t *testing.T, d testdb.Database, driver string) {
		if d.Name == testdb.SQLite {
			return // one writer at a time
		}
		s := newShop(t, openAt(t, driver, with(d, driver, map[testdb.Name]string{
			testdb.PostgresC: "lock_timeout=1000", testdb.MariaDB: "innodb_lock_wait_timeout=1",
		})), "crm.example/audit")
		other := s.over(s.db.DB)
		ctx := t.Context()
		var both sync.WaitGroup
		errs := make([]error, 2)
		both.Go(func() { errs[0] = s.trail.Prepare(ctx, "main", "a", "b") })
		both.Go(func() { errs[1] = other.Prepare(ctx, "main", "b", "a") })
		both.Wait()
		require.NoError(t, errors.Join(errs...))
		one, err := s.db.BeginTx(ctx, nil)
		require.NoError(t, err)
		defer func() { _ = one.Rollback() }() // of one that has not committed
		two, err := s.db.BeginTx(ctx, nil)
		require.NoError(t, err)
		defer func() { _ = two.Rollback() }()
		for _, step := range []struct {
			tx     *sql.Tx
			trail  *audit.Trail
			person string
		}{{one, s.trail, "a"}, {two, other, "b"}, {one, s.trail, "b"}, {two, other, "a"}} {
			e := sale(t, step.person)
			_, err := step.tx.ExecContext(ctx, s.db.Bind(`INSERT INTO sales (id) VALUES (?)`), e.ID)
			require.NoError(t, err)
			require.NoError(t, only(step.trail.Record(ctx, step.tx, e)))
		}
		require.NoError(t, one.Commit())
		require.NoError(t, two.Commit())
		require.Equal(t, 4, s.sequence().Sequenced)
		require.Equal(t, 2, s.count(`SELECT COUNT(*) FROM crmguard_audit_surrogates WHERE person <> ''`))
		s.sound()
	})
}
