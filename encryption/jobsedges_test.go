package encryption_test

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/internal/testdb"
)

// A row that somebody changes each time that it is to be swapped is left to the next
// run: what was written stands, it is counted, and all others are resealed.
func TestARowThatIsChangedAgainAndAgainIsLeft(t *testing.T) {
	d := testdb.New(t, testdb.PostgresC)
	s := newTwo(t, d)
	w := s.writer(t)
	for i := range 3 {
		s.write(t, s.db, w, fmt.Sprint("l", i))
	}
	fresh, err := s.a.NewKeyVersion(t.Context(), tenant)
	require.NoError(t, err)
	changes := 0
	db := statementsOf(t, d, func(_ context.Context, query string) (func(), error) {
		if strings.HasPrefix(query, "UPDATE ") {
			changes++
			s.exec(t, s.second, `UPDATE letters SET body = ? WHERE id = 'l1'`, w.Text("body", "body of l1"))
		}
		return func() {}, nil
	})
	report, err := s.of.Reseal(t.Context(), db, tenant, jobs.ResealOptions{})
	require.NoError(t, err)
	require.Equal(t, []int{3, 2, changes, 0}, []int{report.Rows, report.Cells, report.Conflicts, report.Refused})
	require.Positive(t, changes)
	require.EqualValues(t, 2, s.countVersion(t, fresh))
	s.requireAll(t, 3)
}

// Index values that somebody spoils in another way before each look are no finished
// index.
func TestIndexValuesThatChangeAgainAndAgainAreNoFinishedIndex(t *testing.T) {
	d := testdb.New(t, testdb.PostgresC)
	s := newTwo(t, d)
	s.exec(t, s.db, `CREATE TABLE found (id text PRIMARY KEY, person text NOT NULL, mail bytea, mail_idx bigint)`)
	found, err := s.a.Table(encryption.Table{Name: "found", Columns: []encryption.Column{{Name: "mail", Find: encryption.Email}}})
	require.NoError(t, err)
	w, err := found.Writer(t.Context(), tenant, "p1")
	require.NoError(t, err)
	s.exec(t, s.db, `INSERT INTO found (id, person, mail) VALUES ('l0', 'p1', ?)`, w.Text("mail", "ann@b.example"))
	spoilt := 0
	db := statementsOf(t, d, func(_ context.Context, query string) (func(), error) {
		if isPageOf(query, "found") && !strings.Contains(query, " > ") { // the first page of each pass
			spoilt++
			s.exec(t, s.second, fmt.Sprintf(`UPDATE found SET mail_idx = %d`, spoilt))
		}
		return func() {}, nil
	})
	report, err := found.Rebuild(t.Context(), db, tenant)
	require.ErrorContains(t, err, "try again")
	require.Equal(t, []int{spoilt, 0}, []int{report.Corrected, report.Refused})
	_, err = found.Rebuild(t.Context(), s.db, tenant)
	require.NoError(t, err)
}

// A key version that is retired while rows are changed one by one, because the
// database refuses one of them, seals none of the others: they are sealed anew.
func TestAKeyVersionThatIsRetiredBetweenSingleRows(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		s := newTwo(t, d)
		table, refused := stubborn(t, s)
		_, err := s.a.NewKeyVersion(t.Context(), tenant)
		require.NoError(t, err)
		fresh, calls := uint32(0), 0
		report, err := table.Reseal(t.Context(), s.db, tenant, jobs.ResealOptions{AfterRow: func(_ context.Context, _ *sql.Tx, _, key string) (err error) {
			if key == "c3" {
				if calls++; calls == 2 { // the first time is in the batch that is refused
					fresh, err = s.b.NewKeyVersion(t.Context(), tenant)
				}
			}
			return err
		}})
		require.NoError(t, err)
		require.Equal(t, refused, keysOf(report.Refusals))
		require.Equal(t, []int{10, 10 - len(refused)}, []int{report.Rows, report.Cells})
		require.Positive(t, report.Conflicts)
		census, err := table.Census(t.Context(), s.db, tenant)
		require.NoError(t, err)
		require.EqualValues(t, 10-len(refused)-3, census.KeyVersions[fresh], "c0 to c2 were done before")
		requireCards(t, s, table, 10)
	})
}

// SQLite has values of several classes in one key: a number with a fraction is a key as
// any other, and one that is written as another row's is refused where one row is meant.
func TestKeysOfSeveralClassesInSQLite(t *testing.T) {
	s := newTwo(t, testdb.New(t, testdb.SQLite))
	s.exec(t, s.db, `CREATE TABLE odd (id BLOB NOT NULL PRIMARY KEY, person TEXT NOT NULL, body BLOB)`)
	table, err := s.a.Table(encryption.Table{Name: "odd", Columns: []encryption.Column{{Name: "body"}}})
	require.NoError(t, err)
	ids := []any{int64(7), 0.5, 7.25, "7", "x", []byte("x"), []byte{0xff}, int64(8)}
	for _, id := range ids {
		record, err := encryption.NewRecordOwner()
		require.NoError(t, err)
		w, err := table.RecordWriter(t.Context(), tenant, record)
		require.NoError(t, err)
		s.exec(t, s.db, `INSERT INTO odd VALUES (?, ?, ?)`, id, record, w.Text("body", "Ann"))
	}
	fresh, err := s.a.NewKeyVersion(t.Context(), tenant)
	require.NoError(t, err)
	places := map[string]bool{"": true}
	report, err := table.Reseal(t.Context(), s.db, tenant, jobs.ResealOptions{Batch: 1, Progress: func(r jobs.ResealReport) { places[r.Last] = true }})
	require.NoError(t, err)
	require.Equal(t, []int{len(ids), len(ids)}, []int{report.Rows, report.Cells})
	for place := range places { // from each it goes on
		again, err := table.Reseal(t.Context(), s.db, tenant, jobs.ResealOptions{After: place})
		require.NoError(t, err, place)
		require.Equal(t, place == "", again.Rows == len(ids), place)
		require.Equal(t, report.Last, again.Last, place)
	}
	census, err := table.Census(t.Context(), s.db, tenant)
	require.NoError(t, err)
	require.Equal(t, map[uint32]int64{fresh: int64(len(ids))}, census.KeyVersions)

	for _, key := range []string{"7", "x"} {
		_, err = table.Redact(t.Context(), s.db, tenant, key, jobs.Redaction{Edit: shorter})
		require.ErrorIs(t, err, encryption.ErrDefinition)
		require.ErrorContains(t, err, "several rows whose key is written so")
	}
	_, err = table.Redact(t.Context(), s.db, tenant, "8", jobs.Redaction{Edit: shorter})
	require.NoError(t, err)
	_, err = table.Redact(t.Context(), s.db, tenant, "9", jobs.Redaction{Edit: shorter})
	require.ErrorIs(t, err, sql.ErrNoRows)
}
