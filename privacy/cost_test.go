package privacy_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// What an erasure of 19 rows in four tables, all of them deleted, asks of the
// database: statements, without BEGIN and COMMIT. A find is four of them. Figures
// change with what is done, and never with the machine.
func TestWhatAnErasureAsksOfTheDatabase(t *testing.T) {
	type statements struct{ plan, approve, execute int }
	for name, most := range map[testdb.Name]statements{
		testdb.SQLite:    {13, 4, 29},
		testdb.PostgresC: {16, 4, 28},
	} {
		t.Run(string(name), func(t *testing.T) {
			db, cutter := testdb.New(t, name).Cutting(t, name.Drivers()[0])
			db.SetMaxOpenConns(1)
			exec := func(query string) {
				_, err := db.ExecContext(t.Context(), query)
				require.NoError(t, err)
			}
			body := datamap.Column{Name: "body", Category: "text", Purpose: "dpv:CustomerRelationshipManagement", Basis: "dpv:Contract"}
			rows := map[string]int{"contacts": 1, "deals": 3, "activities": 10, "notes": 5}
			m := &datamap.Map{Tenant: "main"}
			for table := range rows {
				exec(`CREATE TABLE ` + table + ` (id VARCHAR(40) PRIMARY KEY, person VARCHAR(40), body VARCHAR(40), created BIGINT)`)
				m.Tables = append(m.Tables, datamap.Table{Name: table, Key: []string{"id"}, Person: "person", Created: "created", Erase: datamap.Delete, Columns: []datamap.Column{body}})
			}
			require.NoError(t, privacy.Install(t.Context(), db))
			ledger, err := erasurelog.Open(erasurelog.Config{Medium: erasurelog.Folder(t.TempDir()), Digests: digestsOf(root{1, seqKey(0)})})
			require.NoError(t, err)
			require.NoError(t, ledger.Create(t.Context()))
			_, key, err := ed25519.GenerateKey(rand.Reader)
			require.NoError(t, err)
			desk, err := privacy.Open(t.Context(), privacy.Config{Map: m, DB: db, Ledger: ledger, Sign: key, Delay: privacy.None, Lease: privacy.None})
			require.NoError(t, err)
			require.NoError(t, desk.Ready(t.Context()))
			for _, person := range []string{"warm", "ann"} { // the first one compares map and schema, too
				for table, n := range rows {
					for i := range n {
						exec(fmt.Sprintf(`INSERT INTO %s VALUES ('%s-%d', '%[2]s', 'about Ann', 1700000000000000)`, table, person, i))
					}
				}
				cutter.Counts()
				p, err := desk.PlanErasure(t.Context(), privacy.Request{Tenant: "main", Person: person, Reason: "r", By: "user/1"})
				require.NoError(t, err)
				require.Len(t, p.Counts, 4)
				planned := cutter.Counts()
				require.NoError(t, desk.Approve(t.Context(), p.ID, "user/2"))
				approved := cutter.Counts()
				o, err := desk.Execute(t.Context(), p.ID)
				require.NoError(t, err)
				require.Equal(t, privacy.Done, o.State)
				executed := cutter.Counts()
				if person == "warm" {
					continue
				}
				require.Equal(t, most, statements{planned.Statements, approved.Statements, executed.Statements})
				require.Equal(t, []int{1, 1, 3}, []int{planned.Commits, approved.Commits, executed.Commits})
			}
		})
	}
}
