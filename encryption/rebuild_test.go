package encryption_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/internal/testdb"
)

// fencedPeople makes a table of n people with an index that waits for its
// Rebuild. Their addresses are those of their keys.
func fencedPeople(t *testing.T, s *two, n int, observe func(name string), unique string) *encryption.SealedTable {
	t.Helper()
	cell := bytesOf(s.database.Name)
	s.exec(t, s.db, `CREATE TABLE people (id VARCHAR(40) NOT NULL PRIMARY KEY, person VARCHAR(40) NOT NULL, email `+cell+`, email_idx BIGINT `+unique+`)`)
	require.NoError(t, s.a.Ensure(t.Context(), tenant, "p1")) // a key, so that the index is not complete by itself
	cfg := s.cfg
	cfg.Observe = func(_ context.Context, name string, value float64, _ ...slog.Attr) { observe(name) }
	v, err := encryption.Open(t.Context(), cfg)
	require.NoError(t, err)
	table, err := v.Table(encryption.Table{Name: "people", Columns: []encryption.Column{{Name: "email", Find: encryption.Email}}})
	require.NoError(t, err)
	w, err := table.Writer(t.Context(), tenant, "p1")
	require.NoError(t, err)
	var marks []string
	var args []any
	for i := range n {
		id := fmt.Sprintf("c%04d", i)
		marks = append(marks, "(?, 'p1', ?)")
		args = append(args, id, w.Text("email", id+"@b.example"))
	}
	s.exec(t, s.db, `INSERT INTO people (id, person, email) VALUES `+strings.Join(marks, ", "), args...)
	require.NoError(t, table.FenceOldWriters(t.Context(), tenant))
	return table
}

// found says whether a search finds the one row of an address.
func (s *two) found(t *testing.T, table *encryption.SealedTable, address string) bool {
	t.Helper()
	probes, err := table.Lookup(t.Context(), tenant, "email_idx", address)
	require.NoError(t, err)
	where, args := probes.Where("")
	if s.database.Name == testdb.PostgresC || s.database.Name == testdb.PostgresICU {
		where, args = probes.Postgres("", 1)
	}
	var n int
	require.NoError(t, s.db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM people WHERE `+where, args...).Scan(&n))
	return n == 1
}

// A row whose key changes while a pass goes over the table, so that no page has
// it, does not make an index whole that it is missing from: neither where it has
// no index value, nor where it has a wrong one.
func TestARowThatMovesWhileIndexesAreRebuiltIsFound(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		for _, value := range []string{"NULL", "7"} {
			t.Run(value, func(t *testing.T) {
				s := newTwo(t, d)
				pages := 0
				table := fencedPeople(t, s, 203, func(name string) {
					if name != "encryption.index.rows" {
						return
					}
					if pages++; pages == 3 { // behind the first page of the second pass, which corrects nothing
						s.exec(t, s.second, `UPDATE people SET id = 'a', email_idx = `+value+` WHERE id = 'c0202'`)
					}
				}, "")
				report, err := table.Rebuild(t.Context(), s.db, tenant)
				require.NoError(t, err)
				require.Equal(t, []int{203, 204, 0}, []int{report.Rows, report.Corrected, report.Unreadable})
				require.True(t, s.found(t, table, "c0202@b.example"))
				s.exec(t, s.db, `DROP TABLE people`)
				s.exec(t, s.db, `DROP TABLE letters`)
			})
		}
	})
}

// A transaction that was sealed for before the fence, and is open longer than any
// transaction should be, is waited for.
func TestRebuildWaitsForWhoeverWroteBeforeTheFence(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		s := newTwo(t, d)
		waiting := make(chan bool, 100)
		table := fencedPeople(t, s, 2, func(name string) {
			if name == "encryption.holder.writers" {
				waiting <- true
			}
		}, "")
		w, err := table.Writer(t.Context(), tenant, "p1")
		require.NoError(t, err)
		late, err := s.second.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		s.exec(t, late, `INSERT INTO people (id, person, email) VALUES ('late', 'p1', ?)`, w.Text("email", "late@b.example")) // without its index value
		done := make(chan error)
		go func() {
			_, err := table.Rebuild(t.Context(), s.db, tenant)
			done <- err
		}()
		select {
		case <-waiting:
		case err := <-done:
			require.Fail(t, "nobody was waited for", "%v", err)
		}
		require.NoError(t, late.Commit())
		require.NoError(t, <-done)
		require.True(t, s.found(t, table, "late@b.example"))
	})
}

// A UNIQUE index column: values that stand in each other's rows are put right;
// two rows of one address stop nothing, are named, and keep the index from being
// searched.
func TestAUniqueIndexColumnStopsNoRebuild(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		s := newTwo(t, d)
		table := fencedPeople(t, s, 203, func(string) {}, "UNIQUE")
		w, err := table.Writer(t.Context(), tenant, "p1")
		require.NoError(t, err)
		// Exchanged within a batch, and with a row of another one.
		for id, holds := range map[string]string{"c0000": "c0001", "c0001": "c0000", "c0002": "c0202", "c0202": "c0002"} {
			s.exec(t, s.db, `UPDATE people SET email_idx = ? WHERE id = '`+id+`'`, w.Int64("email_idx", holds+"@b.example"))
		}
		s.exec(t, s.db, `INSERT INTO people (id, person, email) VALUES ('d', 'p1', ?)`, w.Text("email", "c0100@b.example"))
		report, err := table.Rebuild(t.Context(), s.db, tenant)
		require.ErrorIs(t, err, encryption.ErrIncomplete)
		left, ok := errors.AsType[*jobs.RefusedError](err)
		require.True(t, ok)
		require.Equal(t, []string{"d"}, keysOf(left.Rows))
		require.Equal(t, left.Rows, report.Refusals)
		require.NotEmpty(t, left.Rows[0].Code)
		require.Equal(t, 1, report.Refused)
		_, err = table.Lookup(t.Context(), tenant, "email_idx", "c0000@b.example")
		require.ErrorIs(t, err, encryption.ErrIncomplete)

		s.exec(t, s.db, `DELETE FROM people WHERE id = 'd'`)
		report, err = table.Rebuild(t.Context(), s.db, tenant)
		require.NoError(t, err)
		require.Equal(t, []int{0, 0}, []int{report.Corrected, report.Refused})
		for _, id := range []string{"c0000", "c0001", "c0002", "c0100", "c0202"} {
			require.True(t, s.found(t, table, id+"@b.example"), id)
		}
	})
}

// So does a trigger that keeps an index value and says nothing.
func TestAnIndexValueThatIsKeptIsNamed(t *testing.T) {
	s := newTwo(t, testdb.New(t, testdb.SQLite))
	table := fencedPeople(t, s, 3, func(string) {}, "")
	s.exec(t, s.db, `CREATE TRIGGER silent BEFORE UPDATE ON people WHEN OLD.id = 'c0001' BEGIN SELECT RAISE(IGNORE); END`)
	report, err := table.Rebuild(t.Context(), s.db, tenant)
	require.ErrorIs(t, err, encryption.ErrIncomplete)
	require.Equal(t, []string{"c0001"}, keysOf(report.Refusals))
	s.exec(t, s.db, `DROP TRIGGER silent`)
	_, err = table.Rebuild(t.Context(), s.db, tenant)
	require.NoError(t, err)
	require.True(t, s.found(t, table, "c0001@b.example"))
}
