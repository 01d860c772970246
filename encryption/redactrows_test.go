package encryption_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/internal/testdb"
)

// Two rows of one record owner: none is redacted, for the other would become
// unreadable; with an owner of its own, it is.
func TestARecordOwnerOfTwoRowsIsNotRedacted(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		s := newTwo(t, d)
		table := cards(t, s)
		owner, err := encryption.NewRecordOwner()
		require.NoError(t, err)
		w, err := table.RecordWriter(t.Context(), tenant, owner)
		require.NoError(t, err)
		for _, id := range []string{"c1", "c2"} {
			s.exec(t, s.db, `INSERT INTO cards (id, person, body, extra) VALUES (?, ?, ?, ?)`, id, owner, w.Text("body", "Ann"), w.Text("extra", "precious"))
		}
		edits := 0
		edit := func(column string, plaintext []byte) ([]byte, error) {
			edits++
			return shorter(column, plaintext)
		}
		_, err = table.Redact(t.Context(), s.db, tenant, "c1", jobs.Redaction{Edit: edit})
		require.ErrorIs(t, err, encryption.ErrDefinition)
		require.ErrorContains(t, err, "same record owner")
		require.Zero(t, edits)
		requireCards(t, s, table, 2)

		// A second one that comes while the first is being redacted.
		s.exec(t, s.db, `DELETE FROM cards WHERE id = 'c2'`)
		_, err = table.Redact(t.Context(), s.db, tenant, "c1", jobs.Redaction{Edit: func(column string, plaintext []byte) ([]byte, error) {
			if column == "body" {
				s.exec(t, s.second, `INSERT INTO cards (id, person, body) VALUES ('c2', ?, ?)`, owner, w.Text("body", "Ann"))
			}
			return shorter(column, plaintext)
		}})
		require.ErrorContains(t, err, "same record owner")
		requireCards(t, s, table, 2)
		s.exec(t, s.db, `DELETE FROM cards WHERE id = 'c2'`)
		_, err = table.Redact(t.Context(), s.db, tenant, "c1", jobs.Redaction{Edit: shorter})
		require.NoError(t, err)
	})
}

// An owner column of the type UUID holds no record owner, and no id that is no
// UUID: nothing is changed, and no job ends.
func TestAnOwnerColumnOfUUIDs(t *testing.T) {
	for _, name := range []testdb.Name{testdb.PostgresC, testdb.MariaDB} {
		t.Run(string(name), func(t *testing.T) {
			s := newTwo(t, testdb.New(t, name))
			table := cards(t, s)
			s.exec(t, s.db, `DROP TABLE cards`)
			cell := map[testdb.Name]string{testdb.MariaDB: "LONGBLOB", testdb.PostgresC: "bytea"}[name]
			s.exec(t, s.db, `CREATE TABLE cards (id VARCHAR(40) NOT NULL PRIMARY KEY, person uuid NOT NULL, body `+cell+`, extra `+cell+`)`)
			const person, other = "ab000000-0000-4000-8000-00000000000a", "ab000000-0000-4000-8000-00000000000b"
			for id, of := range map[string]string{"c1": person, "c2": other} {
				w, err := table.Writer(t.Context(), tenant, of)
				require.NoError(t, err)
				s.exec(t, s.db, `INSERT INTO cards (id, person, body) VALUES (?, ?, ?)`, id, of, w.Text("body", "Ann"))
			}
			_, err := table.Redact(t.Context(), s.db, tenant, "c1", jobs.Redaction{Edit: shorter})
			require.ErrorIs(t, err, encryption.ErrDefinition)
			require.ErrorContains(t, err, "owner column")
			require.NoError(t, s.a.Ensure(t.Context(), tenant, "no-uuid"))
			require.NoError(t, s.a.AddAlias(t.Context(), tenant, person, "no-uuid"))
			_, err = s.a.NewKeyVersion(t.Context(), tenant)
			require.NoError(t, err)
			report, err := table.Reseal(t.Context(), s.db, tenant, jobs.ResealOptions{})
			require.NoError(t, err)
			require.Equal(t, []string{"c1"}, keysOf(report.Refusals))
			require.Equal(t, []int{2, 1}, []int{report.Rows, report.Cells})
			requireCards(t, s, table, 2)
		})
	}
}

// An owner column that pads what it holds with blanks takes a record owner, too.
func TestAnOwnerColumnThatPadsIsRedacted(t *testing.T) {
	for _, name := range []testdb.Name{testdb.PostgresC, testdb.PostgresICU, testdb.MariaDB} {
		t.Run(string(name), func(t *testing.T) {
			s := newTwo(t, testdb.New(t, name))
			table := cards(t, s)
			s.exec(t, s.db, `DROP TABLE cards`)
			s.exec(t, s.db, `CREATE TABLE cards (id VARCHAR(40) NOT NULL PRIMARY KEY, person CHAR(50) NOT NULL, body `+bytesOf(name)+`, extra `+bytesOf(name)+`)`)
			owner, err := encryption.NewRecordOwner()
			require.NoError(t, err)
			w, err := table.RecordWriter(t.Context(), tenant, owner)
			require.NoError(t, err)
			s.exec(t, s.db, `INSERT INTO cards (id, person, body, extra) VALUES ('c1', ?, ?, ?)`, owner, w.Text("body", "Ann"), w.Text("extra", "precious"))
			fresh, err := table.Redact(t.Context(), s.db, tenant, "c1", jobs.Redaction{Edit: shorter})
			require.NoError(t, err)
			require.NotEqual(t, owner, fresh)
			var stands string
			var cell encryption.Sealed
			require.NoError(t, s.db.QueryRowContext(t.Context(), `SELECT CONCAT(RTRIM(person)), extra FROM cards`).Scan(&stands, &cell))
			require.Equal(t, fresh, stands)
			row, err := table.Row(t.Context(), tenant, fresh, "c1")
			require.NoError(t, err)
			text, err := row.Text(t.Context(), "extra", cell.Bytes())
			require.NoError(t, err)
			require.Equal(t, "pre", text)
			_, err = table.RecordWriter(t.Context(), tenant, owner)
			require.ErrorIs(t, err, encryption.ErrErased)
		})
	}
}

// What a holder has is said before anything is waited for.
func TestAKeyVersionInUseIsRefusedAtOnce(t *testing.T) {
	e := newEnv(t, 1)
	e.insert(t, "c1", "p1")
	waited := time.Duration(0)
	cfg := e.cfg
	cfg.Wait = func(_ context.Context, d time.Duration) error {
		waited += d
		e.clock.Move(d)
		return nil
	}
	v, err := encryption.Open(t.Context(), cfg)
	require.NoError(t, err)
	old, _ := e.rotate(t)
	require.ErrorIs(t, v.DestroyKeyVersion(t.Context(), tenant, old, e.contacts.Holder(e.db)), encryption.ErrInUse)
	require.Zero(t, waited)
	_, err = e.contacts.Reseal(t.Context(), e.db, tenant, jobs.ResealOptions{})
	require.NoError(t, err)
	require.NoError(t, v.DestroyKeyVersion(t.Context(), tenant, old, e.contacts.Holder(e.db)))
	require.GreaterOrEqual(t, waited, encryption.DefaultLease+encryption.DefaultLongestTransaction)
}
