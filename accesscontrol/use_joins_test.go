package accesscontrol_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
)

// Two forbids that hold of the same records are not the same where one of them
// fails on a record that is not there, and so denies: a field behind it is hidden
// there, and no list may say otherwise.
func TestUseBehindAForbidThatFails(t *testing.T) {
	config := contactConfig(`@id("a") permit (principal, action, resource is Contact);
		@id("r") forbid (principal, action == Action::"read", resource is Contact) when { resource has account && resource.account has owner };
		@id("e") forbid (principal, action == Action::"see", resource is Contact) when { resource has account && resource.account.owner is User };`)
	config.Texts["c.cedarschema"] += `
action see appliesTo { principal: User, resource: Contact };`
	config.Tables[0].Groups = []accesscontrol.Group{{Name: "seen", Action: "see", Fields: []string{"owner"}}}
	policy, err := accesscontrol.Load(t.Context(), config)
	require.NoError(t, err)
	dangling := accesscontrol.Resource{
		Type: "contact", ID: "c3", Tenant: "main", Attrs: map[string]any{"owner": "x", "account": "a3"},
		Related: map[string]accesscontrol.Resource{"account": {}},
	}
	fields, err := policy.Fields(t.Context(), ann("main"), dangling)
	require.NoError(t, err)
	require.Equal(t, accesscontrol.Hidden, fields["owner"])
	require.NoError(t, policy.Check(t.Context(), ann("main"), "read", dangling))
	require.ErrorIs(t, policy.CheckUse(t.Context(), ann("main"), "contact", "owner"), accesscontrol.ErrDenied)
	list, err := policy.Columns(t.Context(), ann("main"), "contact")
	require.NoError(t, err)
	text, _ := list.SQLite("c")
	require.NotContains(t, text, "`c`.`owner` AS `owner`, ", "a row that hides it shows it")
	require.Contains(t, text, "CASE WHEN")
}
