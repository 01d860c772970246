package accesscontrol

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A second check of a record with sets allocates nothing.
func TestACheckOfASetAllocatesNothing(t *testing.T) {
	if raceEnabled { // pools drop what they hold
		return
	}
	policy, err := Load(t.Context(), Config{
		Texts: map[string]string{
			"s.cedarschema": `entity List; entity User = { lists: Set<List> }; entity Doc = { lists: Set<List>, codes: Set<Long> }; action read appliesTo { principal: User, resource: Doc };`,
			"s.cedar":       `@id("p") permit (principal, action, resource) when { resource.lists.containsAny(principal.lists) && resource.codes.containsAll([3, 1]) && !resource.codes.isEmpty() };`,
		},
		Tables: []Table{{Resource: "doc", Entity: "Doc", Name: "docs", Key: "id", Tenant: "tenant", Sets: []Set{
			{Attr: "lists", Steps: []Step{{Name: "pairs", Tenant: "tenant", Match: "doc", Value: "list"}}},
			{Attr: "codes", Steps: []Step{{Name: "codes", Tenant: "tenant", Match: "doc", Value: "code"}}},
		}}},
	})
	require.NoError(t, err)
	actor, err := policy.For(Principal{Tenant: "a", ID: "ann", Attrs: map[string]any{"lists": []string{"l1", "l2"}}})
	require.NoError(t, err)
	for _, lists := range []any{[]string{"l9", "l8", "l1"}, []Ref{{"List", "l3"}, {"List", "l2"}}} {
		record := Resource{Type: "doc", ID: "d", Tenant: "a", Attrs: map[string]any{"lists": lists, "codes": []int64{4, 3, 2, 1, 1}}}
		require.NoError(t, actor.Check(t.Context(), "read", record))
		require.Zero(t, testing.AllocsPerRun(200, func() {
			if actor.Check(t.Context(), "read", record) != nil {
				panic("denied")
			}
		}), "%T", lists)
	}
}
