package accesscontrol_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/internal/testdb"
)

// Policies by the hundred that look for the same record look for it once, and
// select what a few of them do.
func TestManyPermitsLookForARecordOnce(t *testing.T) {
	few := `@id("ann") permit (principal, action, resource is Contact) when { resource has account && resource.account.owner == User::"ann" };
		@id("own") permit (principal, action, resource is Contact) when { resource.owner == principal };
		@id("not") permit (principal, action, resource is Contact) when { resource has account && resource.account has closed && !(resource.account.owner == User::"bob") };
		@id("bob") permit (principal, action, resource is Contact) when { resource has account && resource.account has region && resource.account.region.manager == User::"bob" };
		@id("either") permit (principal, action, resource is Contact) when { resource has account && (resource.account.owner == User::"x" || resource.account.owner == resource.owner) };
	`
	var many strings.Builder
	many.WriteString(few)
	for i := range 150 {
		fmt.Fprintf(&many, `@id("a%d") permit (principal, action, resource is Contact) when { resource has account && resource.account.owner == User::"u%d" };`+"\n", i, i)
		fmt.Fprintf(&many, `@id("r%d") permit (principal, action, resource is Contact) when { resource has account && resource.account has region && resource.account.region.manager == User::"u%d" };`+"\n", i, i)
	}
	config := contactConfig("")
	delete(config.Texts, "c.cedar")
	for i, line := range strings.SplitAfter(many.String(), ";\n") {
		config.Texts[fmt.Sprintf("%d.cedar", i/100)] += line
	}
	policy, err := accesscontrol.Load(t.Context(), config)
	require.NoError(t, err)
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := contactDB(t, d)
		for _, tenant := range []string{"main", "other"} {
			one, err := contactPolicy(t, few).Filter(t.Context(), ann(tenant), "read", "contact")
			require.NoError(t, err)
			all, err := policy.Filter(t.Context(), ann(tenant), "read", "contact")
			require.NoError(t, err)
			want := contactsOf(t, db, d, one)
			require.NotEmpty(t, want)
			require.Equal(t, want, contactsOf(t, db, d, all))
			require.Equal(t, want, contactsOf(t, db, d, all.Value()))
			condition, _ := rendered(d, all, "c")
			if d.Name == testdb.MariaDB { // looks for each
				continue
			}
			require.Less(t, strings.Count(condition, "SELECT"), 12)
		}
	})
}
