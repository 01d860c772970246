package privacy_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/testdb"
	"github.com/crmguard/crmguard/privacy/datamap"
)

// A replay asks about all persons at once: how many have come back changes
// nothing about the number of its statements.
func TestAReplayAsksNoStatementForEachPerson(t *testing.T) {
	for _, name := range testdb.Names() {
		t.Run(string(name), func(t *testing.T) {
			asked := map[int]int{}
			for _, persons := range []int{2, 10} {
				d := testdb.New(t, name)
				s := newSevered(t, d, name.Drivers()[0])
				l := leadsOf(s.system, "VARCHAR(64)", true)
				for _, table := range []string{"notes", "contacts", "accounts", "invoices", "activity_persons", "activities"} {
					l.exec(`DROP TABLE ` + table) // persons of joint records go one by one
				}
				events, others := dataMap().Tables[1], len(dataMap().Tables)
				l.openWith(&datamap.Map{Tenant: "main", Tables: []datamap.Table{l.cfg.Map.Tables[others], events}})
				l.cfg.Delay, l.cfg.Lease, l.cfg.PerDay = -1, -1, -1
				l.reopen()
				for i := range 12 {
					l.add(i, fmt.Sprint("p", i), longAgo)
				}
				l.backup()
				for i := range persons {
					l.erases(fmt.Sprint("p", i))
				}
				l.restore()
				db, cutter := d.Cutting(t, name.Drivers()[0])
				db.SetMaxOpenConns(1)
				desk := s.deskOver(db)
				cutter.Counts()
				r, err := desk.Replay(t.Context())
				require.NoError(t, err)
				require.Equal(t, persons, r.Erased)
				asked[persons] = cutter.Counts().Statements
			}
			t.Logf("%d statements", asked[2])
			require.Equal(t, asked[2], asked[10])
		})
	}
}
