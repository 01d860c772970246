package audit_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/audittest"
	"github.com/crmguard/crmguard/audit/sqltrail"
	"github.com/crmguard/crmguard/internal/testdb"
)

// After a restore a question about a person is answered for a role that may only
// read, too, with the values: it writes nothing that it needs.
func TestAReaderAsksAfterARestore(t *testing.T) {
	a := newAsker(t, testdb.New(t, testdb.PostgresC).Open(t))
	a.config.Mirror = &audittest.Sink{}
	a.open()
	for i := range 3 {
		person := fmt.Sprintf("p%d", i)
		a.tell(audit.Event{
			Tenant: "main", Actor: "u-1", Action: "contact.update", Object: audit.PersonRef("contact", person),
			Changes: audit.Diff(person, nil, map[string]any{"email": person + "@canary.example"}),
		})
	}
	a.run()
	d := testdb.New(t, testdb.PostgresC)
	a.db = d.Open(t)
	require.NoError(t, sqltrail.Install(t.Context(), a.db))
	a.open()
	require.NoError(t, a.trail.CatchUp(t.Context()))
	a.run()
	role, as := d.Role(t)
	a.exec(`GRANT SELECT ON ALL TABLES IN SCHEMA public TO ` + role)
	store, err := sqltrail.Open(t.Context(), as.Open(t))
	require.NoError(t, err)
	reader, err := audit.Open(t.Context(), store, a.config)
	require.NoError(t, err)
	for range 2 {
		found, err := reader.Find(t.Context(), audit.Filter{Tenant: "main", Person: "p1"}, audit.Page{})
		require.NoError(t, err)
		require.Len(t, found.Entries, 1)
		require.Equal(t, "p1@canary.example", found.Entries[0].Changes[0].New)
		require.Equal(t, "p1", found.Entries[0].Changes[0].Who)
	}
	require.Len(t, a.find(audit.Filter{Tenant: "main", Person: "p1"}, audit.Page{}).Entries, 1, "one who may write claims it")
	var n int
	require.NoError(t, a.db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM crmguard_audit_surrogates WHERE person = 'p1'`).Scan(&n))
	require.Equal(t, 1, n)
}

// Whoever discloses a value about a person is asked about that person, whatever the
// event was about.
func TestADisclosureAsksAboutTheirPerson(t *testing.T) {
	var asked []string
	no := ""
	a := withConfig(t, func(c *audit.Config) {
		c.Allow = func(_ context.Context, action, resource string) error {
			if asked = append(asked, action+" "+resource); resource == no {
				return errNo
			}
			return nil
		}
	})
	id := a.tell(audit.Event{
		Tenant: "main", Actor: "u-1", Action: "deal.update", Object: audit.Ref("deal", "7"),
		Changes: []audit.Change{{Path: "email", Who: "p2", Old: audit.Absent{}, New: "p2@canary.example"}},
	})
	a.run()
	for _, no = range []string{"deal/7", "person/p2"} {
		_, err := a.trail.Disclose(t.Context(), id, "email", "p2", auditlog.SideNew)
		require.ErrorIs(t, err, errNo)
	}
	no, asked = "", nil
	_, err := a.trail.Disclose(t.Context(), id, "email", "p2", auditlog.SideNew)
	require.NoError(t, err)
	require.Equal(t, []string{"audit.disclose deal/7", "audit.disclose person/p2"}, asked)
}
