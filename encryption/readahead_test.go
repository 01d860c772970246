package encryption_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/encryption/streams"
	"github.com/crmguard/crmguard/internal/testdb"
)

// crowd writes letters of as many persons, so that each batch needs keys that no
// other one has brought into memory.
func (s *two) crowd(t *testing.T, n int) {
	t.Helper()
	for i := range n {
		person := fmt.Sprint("p", i)
		w, err := s.of.Writer(t.Context(), tenant, person)
		require.NoError(t, err)
		s.exec(t, s.db, `INSERT INTO letters (id, person, body) VALUES (?, ?, ?)`, fmt.Sprint("l", i), person, w.Text("body", "Ann"))
	}
}

// cold is a process that has no keys in memory, with rows and keys in one pool.
func (s *two) cold(t *testing.T, db *sql.DB) (*encryption.Vault, *encryption.SealedTable) {
	t.Helper()
	cfg := s.cfg
	cfg.Keys = keysIn(t, db)
	v, err := encryption.Open(t.Context(), cfg)
	require.NoError(t, err)
	of, err := v.Table(lettersTable)
	require.NoError(t, err)
	return v, of
}

func (s *two) requireCrowd(t *testing.T, n int) {
	t.Helper()
	for i := range n {
		var person string
		var body encryption.Sealed
		require.NoError(t, s.db.QueryRowContext(t.Context(), fmt.Sprintf(`SELECT person, body FROM letters WHERE id = 'l%d'`, i)).Scan(&person, &body))
		row, err := s.of.Row(t.Context(), tenant, person, "x")
		require.NoError(t, err)
		got, err := row.Text(t.Context(), "body", body.Bytes())
		require.NoError(t, err)
		require.Equal(t, "Ann", got)
	}
}

func isPageOf(query, table string) bool {
	return strings.HasPrefix(query, "SELECT ") && strings.Contains(query, `"`+table+`"`) && strings.Contains(query, " LIMIT ")
}

// A context that ends at any statement, of keys or of rows, of the batch that is
// written or of the one that is made ready, ends the job: what was counted stands
// there, and the next call goes on.
func TestAContextThatEndsAnywhereEndsAReseal(t *testing.T) {
	const rows = 4
	d := testdb.New(t, testdb.PostgresC)
	s := newTwoWith(t, d, true)
	s.crowd(t, rows)
	var at, calls, first, under atomic.Int64
	cancel := func() {}
	db := statementsOf(t, d, func(_ context.Context, query string) (func(), error) {
		under.Add(1)
		n := calls.Add(1)
		if isPageOf(query, "letters") {
			first.CompareAndSwap(0, n)
		}
		if n == at.Load() {
			cancel()
		}
		return func() { under.Add(-1) }, nil
	})
	for n := int64(0); ; n++ { // all is well with the first call
		fresh, err := s.a.NewKeyVersion(t.Context(), tenant)
		require.NoError(t, err)
		_, of := s.cold(t, db)
		calls.Store(0)
		at.Store(n)
		var ctx context.Context
		ctx, cancel = context.WithCancel(t.Context())
		report, err := of.Reseal(ctx, db, tenant, jobs.ResealOptions{Batch: 2})
		require.Zero(t, under.Load(), "statement %d", n)
		ended := n > 0 && calls.Load() >= n
		cancel()
		require.Equal(t, []int{0, 0, 0}, []int{report.Unreadable, report.Refused, report.Conflicts}, "statement %d", n)
		stand := s.countVersion(t, fresh)
		require.Contains(t, []int{int(stand), int(stand) - 2}, report.Cells, "statement %d: what it counted, and a batch whose COMMIT was not answered", n)
		switch {
		case !ended:
			require.NoError(t, err)
			require.EqualValues(t, rows, stand)
		case err == nil: // it was in nothing that counts
			require.EqualValues(t, rows, stand)
		default:
			require.ErrorIs(t, err, context.Canceled, "statement %d", n)
		}
		if n == 0 {
			n = first.Load() - 1 // what is asked before the first row is not this test's
		} else if !ended {
			break
		}
	}
	s.requireCrowd(t, rows)
}

// With one connection for rows and keys, and no key in memory, neither waits for the
// other: not what is made ready for the transaction that holds the connection, nor
// that for the keys that are asked for; also where the key version is retired
// between.
func TestOneConnectionIsEnoughForKeysThatAreNotInMemory(t *testing.T) {
	const rows = 8
	for name, d := range map[testdb.Name]string{testdb.PostgresC: "pgx", testdb.PostgresICU: "postgres"} {
		t.Run(string(name)+" "+d, func(t *testing.T) {
			d, db := testdb.New(t, name), d
			s := newTwoWith(t, d, true)
			s.crowd(t, rows)
			pool := d.OpenWith(t, db)
			pool.SetMaxOpenConns(1)
			_, of := s.cold(t, pool)
			_, err := s.a.NewKeyVersion(t.Context(), tenant)
			require.NoError(t, err)
			ctx, stop := context.WithTimeout(t.Context(), time.Minute) // instead of standing still
			defer stop()
			report, err := of.Reseal(ctx, pool, tenant, jobs.ResealOptions{Batch: 2, Progress: func(r jobs.ResealReport) {
				if r.Rows == 4 {
					_, err := s.b.NewKeyVersion(t.Context(), tenant)
					require.NoError(t, err)
				}
			}})
			require.NoError(t, err)
			require.Equal(t, []int{rows, rows, 0, 0}, []int{report.Rows, report.Cells, report.Unreadable, report.Refused})
			s.requireCrowd(t, rows)
		})
	}
}

// When Reseal returns nothing of it is on its way: not the batch either that was being
// made ready when another one failed.
func TestResealLeavesNothingOnItsWay(t *testing.T) {
	d := testdb.New(t, testdb.PostgresC)
	s := newTwoWith(t, d, false)
	s.crowd(t, 6)
	_, err := s.a.NewKeyVersion(t.Context(), tenant)
	require.NoError(t, err)
	lost := errors.New("the connection is gone")
	pages, ahead := 0, make(chan struct{})
	var under, ended atomic.Int64
	db := statementsOf(t, d, func(ctx context.Context, query string) (func(), error) {
		if strings.HasPrefix(query, "UPDATE ") {
			<-ahead
			return nil, lost
		}
		if !isPageOf(query, "letters") {
			return func() {}, nil
		}
		if pages++; pages == 1 { // before anything is read ahead
			return func() {}, nil
		}
		under.Add(1)
		defer under.Add(-1)
		close(ahead)
		select {
		case <-ctx.Done():
			ended.Add(1)
			time.Sleep(50 * time.Millisecond) // as long as an answer may be on its way
			return nil, ctx.Err()
		case <-time.After(time.Minute): // nobody has ended it
			return nil, lost
		}
	})
	report, err := s.of.Reseal(t.Context(), db, tenant, jobs.ResealOptions{Batch: 2})
	require.ErrorIs(t, err, lost)
	require.Equal(t, []int64{0, 1}, []int64{under.Load(), ended.Load()})
	require.Zero(t, report.Cells)

	// A page that cannot be read ends the job in its turn.
	pages = 0
	db = statementsOf(t, d, func(_ context.Context, query string) (func(), error) {
		if isPageOf(query, "letters") {
			if pages++; pages == 2 {
				return nil, lost
			}
		}
		return func() {}, nil
	})
	report, err = s.of.Reseal(t.Context(), db, tenant, jobs.ResealOptions{Batch: 2})
	require.ErrorIs(t, err, lost)
	require.Equal(t, []int{2, 2}, []int{report.Rows, report.Cells})
}

// Where somebody looks on, nothing is read before its time: what a hook, or others in
// a pause, write into the rows of the next batch is no conflict.
func TestNothingIsReadAheadOfThoseWhoLookOn(t *testing.T) {
	d := testdb.New(t, testdb.PostgresC)
	s := newTwoWith(t, d, false)
	w := s.writer(t)
	for i := range 4 {
		s.write(t, s.db, w, fmt.Sprint("l", i))
	}
	var pages atomic.Int64
	db := statementsOf(t, d, func(_ context.Context, query string) (func(), error) {
		if isPageOf(query, "letters") {
			pages.Add(1)
		}
		return func() {}, nil
	})
	hook := func(context.Context, *sql.Tx, string, string) error { return nil }
	for name, options := range map[string]jobs.ResealOptions{
		"nobody": {}, "BeforeRow": {BeforeRow: hook}, "AfterRow": {AfterRow: hook}, "Pause": {Pause: time.Millisecond},
		"Streams": {Streams: func(context.Context, streams.Ref, streams.Ref) error { return nil }},
	} {
		_, err := s.a.NewKeyVersion(t.Context(), tenant)
		require.NoError(t, err)
		pages.Store(0)
		options.Batch = 2
		options.Progress = func(r jobs.ResealReport) {
			switch {
			case r.Rows != 2:
			case name == "nobody":
				require.Eventually(t, func() bool { return pages.Load() == 2 }, time.Minute, time.Millisecond)
			default:
				time.Sleep(20 * time.Millisecond) // a moment for what must not come
				require.EqualValues(t, 1, pages.Load(), name)
				s.exec(t, s.second, `UPDATE letters SET body = ? WHERE id = 'l2'`, w.Text("body", "body of l2"))
			}
		}
		report, err := s.of.Reseal(t.Context(), db, tenant, options)
		require.NoError(t, err, name)
		require.Equal(t, []int{4, 4, 0}, []int{report.Rows, report.Cells, report.Conflicts}, name)
	}
	s.requireAll(t, 4)
}
