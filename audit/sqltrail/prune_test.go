package sqltrail_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/sqltrail"
	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/testdb"
)

// archive is a shop with a clock of its own, and entries of two years ago.
type archive struct {
	*shop
	clock atomic.Int64
}

func newArchive(t *testing.T, db *sql.DB, old int) *archive {
	t.Helper()
	a := &archive{shop: newShop(t, db, "crm.example/audit")}
	a.clock.Store(time.Date(2024, 11, 22, 9, 0, 0, 0, time.UTC).UnixMicro())
	a.config.Now = func() time.Time { return time.UnixMicro(a.clock.Load()) }
	a.config.Kept = func(ctx context.Context) ([]byte, error) {
		data, err := a.sink.ReadFile(ctx, "checkpoint")
		if err != nil {
			return nil, nil
		}
		return data, nil
	}
	a.trail = a.over(db)
	a.sellMany(old)
	a.sequence()
	a.clock.Add((2 * 365 * 24 * time.Hour).Microseconds())
	a.sellMany(5)
	a.sequence()
	return a
}

// sellMany commits events of one transaction.
func (a *archive) sellMany(n int) {
	a.t.Helper()
	require.NoError(a.t, a.trail.Prepare(a.t.Context(), "main", persons(3)...))
	tx, err := a.db.BeginTx(a.t.Context(), nil)
	require.NoError(a.t, err)
	for i := range n {
		_, err := a.trail.Record(a.t.Context(), tx, sale(a.t, persons(3)[i%3]))
		require.NoError(a.t, err)
	}
	require.NoError(a.t, tx.Commit())
}

func (a *archive) yearAgo() time.Time { return a.config.Now().AddDate(-1, 0, 0) }

func (a *archive) verdict() audit.StoreReport {
	a.t.Helper()
	kept, err := a.trail.Checkpoint(a.t.Context())
	require.NoError(a.t, err)
	r, err := a.trail.VerifyStore(a.t.Context(), kept)
	require.NoError(a.t, err)
	return r
}

// whole checks that database and log agree, and what went.
func (a *archive) whole(pruned int64) {
	a.t.Helper()
	r := a.verdict()
	require.Equal(a.t, auditlog.OK, r.Verdict, "%+v %+v", r.Faults, r.Log.Faults)
	require.Equal(a.t, pruned, r.Log.Pruned)
}

func (a *archive) rows(below int64) (n int) {
	a.t.Helper()
	for _, table := range []string{"entries", "found", "persons", "openings"} {
		n += a.count(fmt.Sprintf(`SELECT COUNT(*) FROM crmguard_audit_%s WHERE idx < %d`, table, below))
	}
	return n
}

// Entries go with retention on each database: all rows of them, and none of others.
func TestEntriesGoWithRetention(t *testing.T) {
	testdb.EachDriver(t, func(t *testing.T, d testdb.Database, driver string) {
		a := newArchive(t, d.OpenWith(t, driver), 1100)
		r, err := a.trail.Prune(t.Context(), a.yearAgo())
		require.NoError(t, err)
		require.Equal(t, audit.PruneReport{Pruned: 1024, New: 1024, Rows: 1024}, r)
		require.Zero(t, a.rows(1024))
		require.Equal(t, 1024, a.count(`SELECT COUNT(*) FROM crmguard_audit_events WHERE idx < 1024 AND LENGTH(retry) = 0`))
		a.whole(1024)
		found, err := a.trail.Find(t.Context(), audit.Filter{Tenant: "main", Action: "contact.update"}, audit.Page{Size: 1000})
		require.NoError(t, err)
		require.Len(t, found.Entries, 1101-1024+5, "a beat was among those before")
		require.Equal(t, int64(1024), found.Pruned)
		o, err := a.trail.PruneOpenings(t.Context(), "main", "contact.", a.yearAgo())
		require.NoError(t, err)
		require.Equal(t, int64(1101-1024), o.Rows)
		a.whole(1024)
		require.NoError(t, a.trail.CatchUp(t.Context()))
		a.sellMany(3)
		a.sequence()
		a.whole(1024)
	})
}

// sells commits one event, as a sale does that reads nothing before.
func (a *archive) sells(e audit.Event) error {
	tx, err := a.db.BeginTx(a.t.Context(), nil)
	if err != nil {
		return err
	}
	if _, err := a.trail.Record(a.t.Context(), tx, e); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// Sales go on while entries are deleted: one that was begun before and has not ended,
// where the database allows more than one writer, and any number beside it.
func TestSalesGoOnBesideAPrune(t *testing.T) {
	testdb.EachDriver(t, func(t *testing.T, d testdb.Database, driver string) {
		a := newArchive(t, d.OpenWith(t, driver), 1600)
		require.NoError(t, a.trail.Prepare(t.Context(), "main", persons(3)...))
		var open *sql.Tx
		if a.db.Kind != sqldb.SQLite {
			var err error
			open, err = a.db.BeginTx(t.Context(), nil)
			require.NoError(t, err)
			_, err = a.trail.Record(t.Context(), open, sale(t, "n1"))
			require.NoError(t, err)
		}
		inside := 0 // sales while a sink works: no lock is held
		a.sink.Fail = func(op, _ string) error {
			if op == "remove" && inside < 3 {
				inside++
				return a.sells(sale(t, "n2"))
			}
			return nil
		}
		done := make(chan struct{})
		var sellers sync.WaitGroup
		var sold, failed atomic.Int64
		for range 2 {
			sellers.Go(func() {
				for {
					if err := a.sells(sale(t, "n0")); err != nil {
						failed.Add(1)
					}
					sold.Add(1)
					select {
					case <-done:
						return
					default:
					}
				}
			})
		}
		r, err := a.trail.Prune(t.Context(), a.yearAgo())
		close(done)
		sellers.Wait()
		a.sink.Fail = nil
		require.NoError(t, err)
		require.Equal(t, int64(1536), r.Rows)
		require.Zero(t, failed.Load())
		require.GreaterOrEqual(t, sold.Load(), int64(2))
		require.Equal(t, 3, inside)
		if open != nil {
			require.NoError(t, open.Commit())
		}
		a.sequence()
		a.whole(1536)
	})
}

// The connection is ended at single calls of a prune, and after commits: the next call
// goes on.
func TestACutConnectionStopsNoPrune(t *testing.T) {
	testdb.EachDriver(t, func(t *testing.T, d testdb.Database, driver string) {
		const bundles = 12
		a := newArchive(t, d.OpenWith(t, driver), 10)
		for range bundles { // a year apart, so that each call has some to take
			a.sellMany(256)
			a.sequence()
			a.clock.Add((365 * 24 * time.Hour).Microseconds())
		}
		a.sellMany(1)
		a.sequence()
		db, c := d.Cutting(t, driver)
		trail := a.over(db)
		cut := 0
		for n := range bundles - 2 {
			before := a.config.Now().Add(-time.Duration(bundles-1-n) * 365 * 24 * time.Hour).Add(time.Hour)
			c.Arm(1+n*9, n%3 == 0)
			_, err := trail.Prune(t.Context(), before)
			if c.Disarm() {
				if cut++; err != nil {
					passing(t, err)
				}
			}
			r := a.verdict()
			require.Contains(t, []auditlog.Verdict{auditlog.OK, auditlog.Incomplete}, r.Verdict, "%+v", r.Faults)
			_, err = trail.Prune(t.Context(), before)
			require.NoError(t, err)
			r = a.verdict()
			require.Equal(t, auditlog.OK, r.Verdict, "%+v", r.Faults)
			require.Positive(t, r.Log.Pruned)
		}
		require.Greater(t, cut, 5)
	})
}

// The application's role prunes nothing; a job with the rights for it does, and goes on
// with what the other has told.
func TestRightsToPrune(t *testing.T) {
	for _, name := range []testdb.Name{testdb.PostgresC, testdb.MariaDB} {
		for _, driver := range name.Drivers() {
			t.Run(string(name)+"/"+driver, func(t *testing.T) {
				d := testdb.New(t, name)
				a := newArchive(t, d.OpenWith(t, driver), 300)
				role, as := d.Role(t)
				grant := func(prefix string) {
					t.Helper()
					files := fstest.MapFS{}
					for _, dialect := range []string{"postgres.sql", "mysql.sql"} {
						data, err := fs.ReadFile(sqltrail.Grants(), prefix+dialect)
						require.NoError(t, err)
						files[dialect] = &fstest.MapFile{Data: data}
					}
					for _, right := range d.Rights(t, files, role) {
						_, err := a.db.ExecContext(t.Context(), right.Grant)
						require.NoError(t, err, right.Grant)
					}
				}
				grant("")
				trail := a.over(as.OpenWith(t, driver))
				_, err := trail.Prune(t.Context(), a.yearAgo())
				require.ErrorIs(t, err, fs.ErrPermission)
				require.NotZero(t, a.rows(256))
				grant("prune-")
				r, err := a.over(as.OpenWith(t, driver)).Prune(t.Context(), a.yearAgo())
				require.NoError(t, err)
				require.Equal(t, audit.PruneReport{Pruned: 256, Rows: 256}, r)
				require.Zero(t, a.rows(256))
				a.whole(256)
			})
		}
	}
}
