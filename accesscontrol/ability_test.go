package accesscontrol_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
)

func abilities(t *testing.T, policy *accesscontrol.Policy, who accesscontrol.Principal) []string {
	t.Helper()
	list, err := policy.WhatCan(t.Context(), who)
	require.NoError(t, err)
	out := []string{}
	for _, a := range list {
		out = append(out, a.String())
	}
	return out
}

// Conditions are what is left for this principal: roles are gone, values are
// left out.
func TestWhatCanSaysWhatIsLeft(t *testing.T) {
	policy, people := loadCRM(t), crmPeople()
	const unlessBlocked = " unless resource has blocked && resource.blocked [blocked]"
	const account = "resource has account && principal.accounts.contains(resource.account) [sales-accounts]"
	const own = "resource.owner == principal [sales-own]"
	require.Equal(t, []string{
		"contact.create on contact when " + own + unlessBlocked,
		"contact.read on contact when " + account + ", or " + own + unlessBlocked,
		"contact.read.pii on contact when " + account + ", or " + own + unlessBlocked,
		"contact.update on contact when " + own + unlessBlocked,
		"deal.close on deal when resource.owner == principal && !([…].contains(resource.stage)) && resource.amount <= principal.limit [close-own]",
		"deal.read on deal when resource.owner == principal || resource has account && principal.accounts.contains(resource.account) [sales-deals]",
	}, abilities(t, policy, people["sales"]))
	require.Equal(t, []string{
		"audit.read on audit when any [auditor-trail]",
		"contact.read on contact when any [auditor-read]",
		"deal.read on deal when any [auditor-read]",
	}, abilities(t, policy, people["auditor"]))
	require.Empty(t, abilities(t, policy, people["outsider"]))

	poor := people["sales"]
	poor.Attrs = map[string]any{"accounts": []string{}, "countries": []string{}} // no limit, no accounts
	require.NotContains(t, strings.Join(abilities(t, policy, poor), "\n"), "deal.close")
	require.NotContains(t, strings.Join(abilities(t, policy, poor), "\n"), "account")
}

func TestWhatCanSaysWhatItCannotKnow(t *testing.T) {
	policy, err := accesscontrol.Load(t.Context(), itemConfig(`@id("a") permit (principal, action, resource);`))
	require.NoError(t, err)
	ann := itemPrincipals()[0]
	ann.Context = nil
	list, err := policy.WhatCan(t.Context(), ann)
	require.NoError(t, err)
	require.Len(t, list, 2)
	require.ErrorIs(t, list[0].Err, accesscontrol.ErrRequest)
	require.Contains(t, list[0].String(), "read on item: accesscontrol: bad request: context now")
	var none *accesscontrol.Policy
	_, err = none.WhatCan(t.Context(), ann)
	require.ErrorIs(t, err, accesscontrol.ErrNotLoaded)
}

// Random policies: what is not listed is permitted on no row, what is listed
// without a condition is permitted on all, and no literal is ever shown.
// 60 sets x 60 rows x 3 principals.
func TestWhatCanAgreesWithChecks(t *testing.T) {
	g := generator{Rand: rand.New(rand.NewPCG(20261129, 1))}
	db := openDB(t, itemDDL)
	insertItems(t, db, g.Rand, 60)
	records, err := items(t.Context(), db)
	require.NoError(t, err)
	absent, everything, some := 0, 0, 0
	for sets := 0; sets < 60; {
		text := g.policies()
		policy, err := accesscontrol.Load(t.Context(), itemConfig(text))
		if err != nil {
			require.Contains(t, err.Error(), "optional attribute", "the generator writes nothing else that is refused:\n%s", text)
			continue
		}
		sets++
		for _, p := range itemPrincipals() {
			list, err := policy.WhatCan(t.Context(), p)
			require.NoError(t, err)
			var read *accesscontrol.Ability
			for i := range list {
				if list[i].Action == "read" {
					read = &list[i]
				}
				require.NotRegexp(t, `"|[0-9]`, strings.NewReplacer(policyIDs(list[i])...).Replace(list[i].String()), text)
			}
			permits, forbids := map[string]string{}, map[string]string{}
			if read != nil {
				for _, c := range read.Permits {
					permits[c.Policy] = c.Condition
				}
				for _, c := range read.Forbids {
					forbids[c.Policy] = c.Condition
				}
			}
			for _, r := range records {
				if r.Tenant != "main" {
					continue
				}
				d, err := policy.Decide(t.Context(), accesscontrol.Request{Principal: p, Action: "read", Resource: r})
				require.NoError(t, err)
				if read == nil {
					absent++
					require.False(t, d.Allowed, text)
					continue
				}
				for _, id := range d.Policies {
					_, permit := permits[id]
					_, forbid := forbids[id]
					require.True(t, permit || forbid, "%s determined, and is not listed in %s\n%s", id, read, text)
				}
				for id, condition := range permits {
					if condition == "" && d.Reason == accesscontrol.NotPermitted {
						t.Fatalf("%s is said to permit any, in %s\n%s", id, read, text)
					}
				}
				some++
				if d.Allowed {
					everything++
				}
			}
		}
	}
	require.Greater(t, absent, 100)
	require.Greater(t, everything, 500)
	require.Greater(t, some, everything)
}

// policyIDs are pairs for a Replacer that takes ids away.
func policyIDs(a accesscontrol.Ability) (pairs []string) {
	for _, c := range append(append([]accesscontrol.Clause{}, a.Permits...), a.Forbids...) {
		pairs = append(pairs, "["+c.Policy+"]", "")
	}
	return pairs
}

// What no record could pass is not listed: under a forbid that holds whatever
// the record is, and where every permit fails. A forbid that fails is listed: it
// denies.
func TestWhatCanLeavesOutWhatNobodyCan(t *testing.T) {
	const over = `resource.amount == 1 && 9223372036854775807 + 1 == 5`
	for text, want := range map[string][]string{
		`@id("all") permit (principal, action == Action::"read", resource); @id("no") forbid (principal, action, resource) when { principal.active };`: {},
		`@id("over") permit (principal, action == Action::"read", resource) when { ` + over + ` };`:                                                    {},
		`@id("all") permit (principal, action == Action::"read", resource); @id("over") forbid (principal, action, resource) when { ` + over + ` };`: {
			"read on item when any [all] unless resource.amount == … [over]",
		},
	} {
		policy, err := accesscontrol.Load(t.Context(), itemConfig(text))
		require.NoError(t, err)
		require.Equal(t, want, abilities(t, policy, itemPrincipals()[0]), text)
	}
}
