package accesscontrol_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
)

const homeSchema = `entity Role; entity Region = { flag: Bool };
entity User in [Role] = { home: Account, lead: User, region: Region, place: { account: Account } } tags Account;
entity Account = { owner: User, flag: Bool, blocked?: Bool, parent?: Account };
action read appliesTo { principal: [User], resource: [Account, User], context: { account: Account, user: User } };`

func homeConfig(policy string) accesscontrol.Config {
	return accesscontrol.Config{
		Texts: map[string]string{"a.cedarschema": homeSchema, "a.cedar": policy},
		Tables: []accesscontrol.Table{{
			Resource: "account", Entity: "Account", Name: "accounts", Key: "id", Tenant: "tenant",
			Columns: []accesscontrol.Column{{Attr: "owner", Required: true}, {Attr: "flag", Required: true}, {Attr: "blocked"}},
		}},
	}
}

// A policy that reads another record than the one that is asked about is
// refused: a check could see it where a filter cannot, and where nobody brings
// it along, a forbid would not forbid.
func TestAPolicyReadsNoOtherRecord(t *testing.T) {
	for _, condition := range []string{
		`principal.home has blocked && principal.home.blocked`,
		`Account::"a1".flag`,
		`Account::"a1" has blocked`,
		`principal.lead.home.flag`,
		`principal.place.account.flag`,
		`context.account.flag`,
		`context.user.home has blocked`,
		`(if resource is Account then principal.home else Account::"a1").flag`,
		`{a: principal.home}.a.flag`,
		`(if principal.region.flag then {a: principal.home} else {a: Account::"a1"}).a has blocked`,
		`resource is Account && resource has parent && resource.parent has blocked`,
		`principal.hasTag("main") && principal.getTag("main").flag`,
	} {
		_, err := accesscontrol.Load(t.Context(), homeConfig(`@id("p") forbid (principal, action, resource) when { `+condition+` };`))
		require.ErrorIs(t, err, accesscontrol.ErrPolicy, condition)
		require.Contains(t, err.Error(), "reads another Account than the one that is asked about", condition)
	}
	for _, condition := range []string{
		`principal.home == resource`,
		`principal.home in [Account::"a1", Account::"a2"]`,
		`principal.lead.region.flag`, // a user is no bound record here
		`context.user.region.flag`,
		`resource is Account && resource.flag && resource has blocked && resource.blocked`,
		`principal.place has account`,
	} {
		_, err := accesscontrol.Load(t.Context(), homeConfig(`@id("p") forbid (principal, action, resource) when { `+condition+` };`))
		require.NoError(t, err, condition)
	}
	config := homeConfig(`@id("p") permit (principal, action, resource) when { principal.lead.region.flag };`)
	config.Tables = append(config.Tables, accesscontrol.Table{Resource: "user", Entity: "User"})
	_, err := accesscontrol.Load(t.Context(), config)
	require.ErrorContains(t, err, "principal.lead.region reads another User")
}
