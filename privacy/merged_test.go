package privacy_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// A record of several persons who are erased together, because one was merged into
// the other, goes, and the plan says so; one of a third person, too, is redacted.
func TestMergedPersonsOfOneRecord(t *testing.T) {
	eachSystem(t, func(t *testing.T, s *system) {
		ann, old, bob := s.contact("ann@a.example"), s.contact("ann.old@a.example"), s.contact("bob@b.example")
		s.activity("both "+ann, ann, old)
		s.activity("all "+ann, ann, old, bob)
		s.cfg.Aliases = func(context.Context, string, string) ([]string, error) { return []string{ann, old}, nil }
		s.reopen()
		plan, err := s.desk.PlanErasure(t.Context(), privacy.Request{Tenant: "main", Person: ann, Reason: "gdpr-17", By: "user/1"})
		require.NoError(t, err)
		classes := map[datastore.Class]int{}
		for _, c := range plan.Counts {
			if c.Table == "activities" {
				classes[c.Class] += c.Rows
			}
		}
		require.Equal(t, map[datastore.Class]int{datastore.Deleted: 1, datastore.Redacted: 1}, classes)
		s.erase(ann)
		require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM activities`))
		require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM activity_persons`))
	})
}
