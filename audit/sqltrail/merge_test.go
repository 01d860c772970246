package sqltrail_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/audittest"
	"github.com/crmguard/crmguard/internal/testdb"
)

// More persons become one than one event can name, in every database: whoever has
// many is merged in few statements, and one erasure reaches all.
func TestMorePersonsThanAnEventNamesAreOne(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db, count := d.Cutting(t, d.Name.Drivers()[0])
		trail := floodedTrail(t, db, "crm.example/audit", audittest.NewKeys())
		const half = 260
		var persons [2][]string
		for i := range 2 * half {
			persons[i%2] = append(persons[i%2], fmt.Sprintf("p%d", i))
		}
		for _, some := range persons {
			require.NoError(t, trail.Prepare(t.Context(), "main", some...))
			for _, p := range some[1:] {
				require.NoError(t, trail.Merge(t.Context(), "main", p, some[0]))
			}
		}
		last := persons[0][half-1] // who stands at the end of a chain
		_, err := trail.Note(t.Context(), audit.Event{Tenant: "main", Actor: "u-1", Action: "contact.update", Persons: []string{last}, Changes: []audit.Change{{Path: "note", Who: last, New: "x"}}})
		require.NoError(t, err)
		count.Counts()
		require.NoError(t, trail.Merge(t.Context(), "main", persons[0][0], persons[1][0]))
		require.Less(t, count.Counts().Statements, 40, "of %d persons", half)
		pass := func() {
			t.Helper()
			_, err := trail.RunOnce(t.Context())
			require.NoError(t, err)
		}
		pass()
		page, err := trail.Find(t.Context(), audit.Filter{Tenant: "main", Object: audit.About(persons[1][0]), Action: "contact.update"}, audit.Page{Size: 10})
		require.NoError(t, err)
		require.Len(t, page.Entries, 1)
		kept, err := trail.Checkpoint(t.Context())
		require.NoError(t, err)
		sound := func() {
			t.Helper()
			report, err := trail.VerifyStore(t.Context(), kept)
			require.NoError(t, err)
			require.Equal(t, auditlog.OK, report.Verdict, "%+v", report.Faults)
		}
		sound()

		require.NoError(t, trail.Erase(t.Context(), "main", persons[1][0]))
		pass()
		var gone, erasures int
		require.NoError(t, db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM crmguard_audit_surrogates WHERE state = 1 AND person IS NULL AND head IS NULL AND into_surrogate IS NULL`).Scan(&gone))
		require.Equal(t, 2*half, gone)
		rows, err := db.QueryContext(t.Context(), `SELECT leaf FROM crmguard_audit_entries`)
		require.NoError(t, err)
		defer rows.Close()
		for rows.Next() {
			var leaf []byte
			require.NoError(t, rows.Scan(&leaf))
			if strings.Contains(string(leaf), `"kind":"erase"`) {
				erasures++
			}
		}
		require.NoError(t, rows.Err())
		require.Equal(t, 2, erasures)
		sound()
	})
}
