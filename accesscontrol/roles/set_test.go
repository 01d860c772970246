package roles_test

import (
	"context"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/accesscontrol/roles"
)

var update = flag.Bool("update", false, "write the golden files anew")

// crm is a model in which every reach stands, with and without NOT NULL.
func crm() roles.Model {
	return roles.Model{
		Tables: []accesscontrol.Table{{
			Resource: "deal", Entity: "Deal", Name: "deals", Key: "id", Tenant: "tenant", Read: "deal.read", Update: "deal.update",
			Columns: []accesscontrol.Column{
				{Attr: "owner_id", Required: true},
				{Attr: "unit_id"},
				{Attr: "team_id"},
				{Attr: "territory_id", Required: true},
				{Attr: "stage"},
				{Attr: "price"},
			},
			Groups: []accesscontrol.Group{{Name: "money", Action: "deal.read.price", Fields: []string{"price"}}},
		}},
		Roles: map[string]roles.Role{
			"rep":      roles.Can("deal.read", "deal.update").Own("owner_id"),
			"lead":     roles.Can("deal.read").Reports("owner_id"),
			"clerk":    roles.Can("deal.read").Unit("unit_id"),
			"manager":  roles.Can("deal.read", "deal.update", "deal.read.price").Units("unit_id").Inherits("rep"),
			"mate":     roles.Can("deal.read").Team("team_id"),
			"regional": roles.Can("deal.read").Territory("territory_id"),
			"auditor":  roles.Can("deal.read"),
			"director": roles.Inherits("manager", "auditor").Can("deal.update"),
			"payer":    roles.Can("deal.read"),
			"approver": roles.Can("deal.read"),
		},
		Exclusive: [][]string{{"payer", "approver", "director"}},
		Below:     tree(map[string][]string{"Unit/south": {"city", "lake"}, "Unit/city": {"lake"}, "Territory/eu": {"de", "fr"}, "User/ann": {"bob", "eve"}, "User/bob": {"eve"}}),
		Attrs:     map[string]string{"Deal.stage": "String", "User.region": "String"},
		Actions:   []string{"deal.archive"},
	}
}

// tree is a Below that knows these things of every tenant.
func tree(below map[string][]string) func(context.Context, string, string, string) ([]string, error) {
	return func(_ context.Context, _, kind, id string) ([]string, error) { return below[kind+"/"+id], nil }
}

// The generated text is what people review: it does not change by chance.
func TestTheGeneratedTextIsFrozen(t *testing.T) {
	set, err := roles.New(crm())
	require.NoError(t, err)
	config := set.Config()
	_, err = accesscontrol.Load(t.Context(), config)
	require.NoError(t, err)
	var all strings.Builder
	for _, name := range []string{"roles.cedarschema", "roles-rep.cedar", "roles-lead.cedar", "roles-clerk.cedar", "roles-manager.cedar", "roles-mate.cedar", "roles-regional.cedar", "roles-auditor.cedar"} {
		all.WriteString("// " + name + "\n" + config.Texts[name] + "\n")
	}
	const golden = "testdata/generated.cedar.txt"
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(all.String()), 0o600))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), all.String())
}

// A set of a table is one of the attributes that policies of one's own read: it
// is never absent, as no column says of it.
func TestASetOfATableIsRequired(t *testing.T) {
	m := crm()
	m.Tables[0].Sets = []accesscontrol.Set{{Attr: "tags", Steps: []accesscontrol.Step{{Name: "deal_tags", Tenant: "tenant", Match: "deal", Value: "tag"}}}}
	m.Attrs["Deal.tags"], m.Attrs["User.tags"] = "Set<String>", "Set<String>"
	set, err := roles.New(m)
	require.NoError(t, err)
	config := set.Config()
	config.Texts["own.cedar"] = `@id("tags") permit (principal, action == Action::"deal.read", resource is Deal) when { principal has tags && resource.tags.containsAny(principal.tags) };`
	policy, err := accesscontrol.Load(t.Context(), config)
	require.NoError(t, err)
	ann, err := set.Principal(t.Context(), "main", "ann")
	require.NoError(t, err)
	ann.Attrs = map[string]any{"tags": []string{"vip"}}
	deal := accesscontrol.Resource{Type: "deal", ID: "1", Tenant: "main", Attrs: map[string]any{"owner_id": "bob", "territory_id": "de", "tags": []string{"vip"}}}
	require.NoError(t, policy.Check(t.Context(), ann, "deal.read", deal))
}

// Policies of one's own stand beside the roles, on the same schema.
func TestOwnPoliciesStandBeside(t *testing.T) {
	set, err := roles.New(crm())
	require.NoError(t, err)
	config := set.Config()
	config.Texts["own.cedar"] = `@id("frozen") forbid (principal, action == Action::"deal.read", resource is Deal) when { resource has stage && resource.stage == "frozen" };
		@id("region") permit (principal, action == Action::"deal.archive", resource is Deal) when { principal has region && principal.region == "eu" };`
	policy, err := accesscontrol.Load(t.Context(), config)
	require.NoError(t, err)
	p, err := set.Principal(t.Context(), "main", "ann", roles.Grant{Role: "auditor"})
	require.NoError(t, err)
	deal := accesscontrol.Resource{Type: "deal", ID: "1", Tenant: "main", Attrs: map[string]any{"owner_id": "bob", "territory_id": "de"}}
	d, err := policy.Decide(t.Context(), accesscontrol.Request{Principal: p, Action: "deal.read", Resource: deal})
	require.NoError(t, err)
	require.Equal(t, []string{"auditor/deal.read/all"}, d.Policies, "an explanation names the role")
	require.ErrorIs(t, policy.Check(t.Context(), p, "deal.archive", deal), accesscontrol.ErrDenied)
	p.Attrs["region"] = "eu"
	require.NoError(t, policy.Check(t.Context(), p, "deal.archive", deal))
	deal.Attrs["stage"] = "frozen"
	require.ErrorIs(t, policy.Check(t.Context(), p, "deal.read", deal), accesscontrol.ErrDenied)
}

// Whatever is wrong with a literal is said when it is made, and all at once.
func TestAWrongModelIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		change func(m *roles.Model)
		want   string
	}{
		"no table":        {func(m *roles.Model) { m.Roles["x"] = roles.Can("lead.read") }, "role x: action lead.read is about no table"},
		"no column":       {func(m *roles.Model) { m.Roles["x"] = roles.Can("deal.read").Own("creator") }, "table deal has no column creator"},
		"a record behind": {func(m *roles.Model) { m.Roles["x"] = roles.Can("deal.read").Own("account.owner") }, "write a policy of your own beside the roles"},
		"a set": {func(m *roles.Model) {
			m.Tables[0].Sets = []accesscontrol.Set{{Attr: "teams"}}
			m.Roles["x"] = roles.Can("deal.read").Team("teams")
		}, "write a policy of your own beside the roles"},
		"two types":       {func(m *roles.Model) { m.Roles["x"] = roles.Can("deal.read").Own("team_id") }, "attribute team_id of Deal is a"},
		"unknown parent":  {func(m *roles.Model) { m.Roles["x"] = roles.Inherits("boss") }, `inherits from "boss"`},
		"circle":          {func(m *roles.Model) { m.Roles["x"], m.Roles["y"] = roles.Inherits("y"), roles.Inherits("x") }, "role x: inherits from itself"},
		"itself":          {func(m *roles.Model) { m.Roles["x"] = roles.Inherits("x") }, "role x: inherits from itself"},
		"name":            {func(m *roles.Model) { m.Roles["x.everywhere"] = roles.Can("deal.read") }, "a name is 1 to 63"},
		"no action":       {func(m *roles.Model) { m.Roles["x"] = roles.Role{}.Own("owner_id") }, "without actions"},
		"twice":           {func(m *roles.Model) { m.Roles["x"] = roles.Can("deal.read", "deal.read") }, "stands twice"},
		"unknown reach":   {func(m *roles.Model) { m.Roles["x"] = roles.Can("deal.read").Reach("nearby", "unit_id") }, "no such reach"},
		"no attribute":    {func(m *roles.Model) { m.Roles["x"] = roles.Can("deal.read").Own("") }, "needs the attribute"},
		"all with one":    {func(m *roles.Model) { m.Roles["x"] = roles.Can("deal.read").Reach(roles.All, "unit_id") }, "takes no attribute"},
		"nothing below":   {func(m *roles.Model) { m.Below = nil }, "set Below"},
		"both exclusive":  {func(m *roles.Model) { m.Roles["x"] = roles.Inherits("payer", "approver") }, "role x: comes with payer and approver"},
		"exclusive alone": {func(m *roles.Model) { m.Exclusive = [][]string{{"rep"}} }, "two roles at least"},
		"exclusive none":  {func(m *roles.Model) { m.Exclusive = [][]string{{"rep", "boss"}} }, `"boss" is no role`},
		"entity":          {func(m *roles.Model) { m.Tables[0].Entity = "User" }, "one of this package"},
		"namespace":       {func(m *roles.Model) { m.Tables[0].Entity = "CRM::Deal" }, "without a namespace"},
		"attribute":       {func(m *roles.Model) { m.Attrs["Deal.a b"] = "String" }, "no plain name"},
		"no entity":       {func(m *roles.Model) { m.Attrs["Lead.a"] = "String" }, `binds an entity "Lead"`},
		"odd action":      {func(m *roles.Model) { m.Roles["x"] = roles.Can(`deal."x"`) }, "no policy can be called"},
		"long action":     {func(m *roles.Model) { m.Roles["x"] = roles.Can("deal." + strings.Repeat("x", 120)) }, "no policy can be called"},
		"word":            {func(m *roles.Model) { m.Attrs["Deal.in"] = "String" }, "a word of Cedar"},
		"two tables": {func(m *roles.Model) {
			m.Tables = append(m.Tables, accesscontrol.Table{Resource: "lead", Entity: "Lead", Read: "deal.read"})
		}, "action deal.read is named by the tables deal and lead"},
		"action": {func(m *roles.Model) { m.Actions = []string{"archive"} }, "Actions: action archive is about no table"},
	} {
		t.Run(name, func(t *testing.T) {
			m := crm()
			c.change(&m)
			_, err := roles.New(m)
			require.ErrorIs(t, err, roles.ErrModel)
			require.ErrorContains(t, err, c.want)
		})
	}
}

// A role is a value: what is made of it leaves it as it was.
func TestARoleIsAValue(t *testing.T) {
	base := roles.Can("deal.read")
	_ = base.Own("owner_id")
	_ = base.Can("deal.update")
	_ = base.Inherits("x")
	require.Equal(t, roles.Can("deal.read"), base)
}

// A scope that a role does not look at, and the want of one, are refused.
func TestAScopeFitsItsRole(t *testing.T) {
	set, err := roles.New(crm())
	require.NoError(t, err)
	for _, c := range []struct {
		role  string
		scope roles.Scope
		rule  roles.Rule
	}{
		{"rep", roles.Scope{}, ""},
		{"auditor", roles.Scope{}, ""},
		{"manager", roles.InUnit("u"), ""},
		{"manager", roles.Everywhere(), ""},
		{"mate", roles.InTeam("x"), ""},
		{"rep", roles.Everywhere(), roles.WrongScope},
		{"auditor", roles.InUnit("u"), roles.WrongScope},
		{"manager", roles.Scope{}, roles.WrongScope},
		{"manager", roles.InTeam("x"), roles.WrongScope},
		{"boss", roles.Scope{}, roles.UnknownRole},
	} {
		_, err := set.Principal(t.Context(), "main", "ann", roles.Grant{Role: c.role, Scope: c.scope})
		if c.rule == "" {
			require.NoError(t, err, c.role)
			continue
		}
		var e *roles.RefusedError
		require.ErrorAs(t, err, &e, c.role)
		require.Equal(t, c.rule, e.Rule, c.role)
	}
	_, err = set.Principal(t.Context(), "main", "ann", roles.Grant{Role: "manager", Scope: roles.InUnit("")})
	require.ErrorIs(t, err, roles.ErrRequest)
}

// The terms of Chinese applications and the English ones name the same reaches.
func TestReachesHaveTwoNames(t *testing.T) {
	for reach, term := range map[roles.Reach]string{
		roles.All: "全公司", roles.Own: "本人", roles.Reports: "本人及下属", roles.Unit: "本部门", roles.Units: "本部门及下级", roles.Team: "团队", roles.Territory: "区域",
	} {
		require.Equal(t, term, reach.Chinese())
		for _, name := range []string{term, string(reach)} {
			got, err := roles.ParseReach(name)
			require.NoError(t, err)
			require.Equal(t, reach, got)
		}
	}
	_, err := roles.ParseReach("somewhere")
	require.ErrorContains(t, err, "units (本部门及下级)")
}

func FuzzParseScope(f *testing.F) {
	for _, seed := range []string{"", "*", "unit/u1", "team/", "territory/a/b", "Unit/x", "unit", "user/ann"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if scope, err := roles.ParseScope(text); err == nil {
			require.Equal(t, text, scope.String())
		}
	})
}

// What becomes of the literal afterwards changes nothing.
func TestASetIsItsOwn(t *testing.T) {
	m := crm()
	set, err := roles.New(m)
	require.NoError(t, err)
	before := set.Config()
	m.Tables[0].Entity, m.Roles["rep"], m.Attrs["Deal.x"], m.Exclusive[0] = "Other", roles.Can("deal.update"), "Long", nil
	delete(m.Roles, "auditor")
	require.Equal(t, before, set.Config())
	_, err = set.Principal(t.Context(), "main", "ann", roles.Grant{Role: "auditor"})
	require.NoError(t, err)
}
