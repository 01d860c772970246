package accesscontrol_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
)

// What Redact gives is to be shown: the records that were brought for the policies
// are not among it, neither those that may not be read nor another tenant's.
func TestRedactLeavesOutTheRelatedRecords(t *testing.T) {
	policy := contactPolicy(t, mine+`@id("own") permit (principal, action, resource is Contact) when { resource.owner == principal };`)
	for _, tenant := range []string{"main", "other"} {
		record := accesscontrol.Resource{
			Type: "contact", ID: "c1", Tenant: "main", Attrs: map[string]any{"owner": "ann", "account": "a1"},
			Related: map[string]accesscontrol.Resource{"account": {Type: "account", ID: "a1", Tenant: tenant, Attrs: map[string]any{"owner": "ann", "note": "their secret"}}},
		}
		shown, _, err := policy.Redact(t.Context(), ann("main"), record)
		require.NoError(t, err)
		require.Equal(t, accesscontrol.Resource{Type: "contact", ID: "c1", Tenant: "main", Attrs: record.Attrs}, shown)
		require.Len(t, record.Related, 1, "the record itself stays as it was")
	}
}
