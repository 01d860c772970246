package privacy_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"database/sql"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// What keeps copies that no erasure reaches stands on the certificate.
func TestCopiesStandOnTheCertificate(t *testing.T) {
	for name, c := range map[testdb.Name]struct {
		ddl, table, says string
	}{
		testdb.PostgresC: {`CREATE MATERIALIZED VIEW copies AS SELECT body FROM contacts`, "copies", "materialized view copies, until it is refreshed"},
		testdb.SQLite:    {`CREATE VIRTUAL TABLE words USING fts5(body)`, "words", "words in the full-text index of words"},
	} {
		t.Run(string(name), func(t *testing.T) {
			db := testdb.New(t, name).Open(t)
			for _, query := range []string{`CREATE TABLE contacts (id VARCHAR(40) PRIMARY KEY, person VARCHAR(40), body VARCHAR(40), created BIGINT)`, c.ddl, `INSERT INTO contacts VALUES ('c1', 'ann', 'about Ann', 1700000000000000)`} {
				_, err := db.ExecContext(t.Context(), query)
				require.NoError(t, err)
			}
			require.NoError(t, privacy.Install(t.Context(), db))
			ledger, err := erasurelog.Open(erasurelog.Config{Medium: erasurelog.Folder(t.TempDir()), Digests: digestsOf(root{1, seqKey(0)})})
			require.NoError(t, err)
			require.NoError(t, ledger.Create(t.Context()))
			_, key, err := ed25519.GenerateKey(rand.Reader)
			require.NoError(t, err)
			m := &datamap.Map{Tenant: "main", Tables: []datamap.Table{
				{
					Name: "contacts", Key: []string{"id"}, Person: "person", Created: "created", Erase: datamap.Delete,
					Columns: []datamap.Column{{Name: "body", Category: "text", Purpose: "dpv:CustomerRelationshipManagement", Basis: "dpv:Contract"}},
				},
				{Name: c.table, Columns: []datamap.Column{{Name: "body"}}},
			}}
			open := func() *privacy.Desk {
				desk, err := privacy.Open(t.Context(), privacy.Config{Map: m, DB: db, Ledger: ledger, Sign: key, Delay: privacy.None, Lease: privacy.None})
				require.NoError(t, err)
				require.NoError(t, desk.Ready(t.Context()))
				return desk
			}
			p, err := open().PlanErasure(t.Context(), privacy.Request{Tenant: "main", Person: "ann", Reason: "r", By: "user/1"})
			require.NoError(t, err)
			require.NoError(t, open().Approve(t.Context(), p.ID, "user/2"))
			o, err := open().Execute(t.Context(), p.ID)
			require.NoError(t, err)
			require.Equal(t, privacy.Done, o.State)
			require.Contains(t, o.NotCovered, c.says)
		})
	}
}

// What SQLite keeps in its files where it was not told to forget stands there, too.
func TestWhatSQLiteKeepsStandsOnTheCertificate(t *testing.T) {
	for pragmas, says := range map[string]string{
		"_pragma=secure_delete(1)&_pragma=journal_mode(WAL)": "", "_pragma=journal_mode(WAL)": "secure_delete is not on", "_pragma=secure_delete(FAST)": "secure_delete is not on",
		"_pragma=secure_delete(1)&_pragma=journal_mode(PERSIST)": "journal_mode PERSIST",
	} {
		db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "x.db")+"?"+pragmas)
		require.NoError(t, err)
		s := newSystemOn(t, t.TempDir(), db)
		o := s.erase(s.contact("ann@a.example"))
		kept := strings.Join(o.NotCovered, "\n")
		require.Equal(t, says != "", strings.Contains(kept, "SQLite"), pragmas)
		require.Contains(t, kept, says)
		require.NoError(t, db.Close())
	}
}
