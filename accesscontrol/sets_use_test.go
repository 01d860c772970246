package accesscontrol_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/internal/testdb"
)

// subscriber is a record with its elements.
func subscriber(lists any) accesscontrol.Resource {
	return accesscontrol.Resource{Type: "subscriber", ID: "s1", Tenant: "a", Attrs: map[string]any{
		"name": "n", "unit": "u0", "lists": lists, "listOwners": []string{}, "units": []string{"u0", "u1"}, "closed": []string{},
	}}
}

// Elements are brought along as any value is; a set is never absent.
func TestElementsAreReadAsOtherValuesAre(t *testing.T) {
	policy := subscriberPolicy(t, byList)
	ann := reader("a", "ann", "u9", "l1")
	type named []string
	for _, lists := range []any{
		[]string{"l2", "l1"}, []string{"l1", "l1"}, []accesscontrol.Ref{{Type: "List", ID: "l1"}}, named{"l1"}, []any{"l2", "l1"}, []any{[]byte("l1")}, &[]string{"l1"},
	} {
		require.NoError(t, policy.Check(t.Context(), ann, "read", subscriber(lists)), "%T", lists)
	}
	for _, lists := range []any{[]string{}, []string{"L1"}, []string{"l1 "}, []accesscontrol.Ref{}, []string(nil), []accesscontrol.Ref(nil)} {
		require.ErrorIs(t, policy.Check(t.Context(), ann, "read", subscriber(lists)), accesscontrol.ErrDenied, "%T", lists)
	}
	for want, lists := range map[string][]any{
		"lists: required attribute is missing: bring the elements of the set, an empty list where it has none": {nil, (*[]string)(nil)},
		"lists: value has the wrong type": {[]accesscontrol.Ref{{Type: "Unit", ID: "l1"}}, []any{"l1", nil}},
		"lists: ":                         {[]string{"\xff"}, []any{true}, 7, map[string]any{"l1": true}},
	} {
		for _, v := range lists {
			err := policy.Check(t.Context(), ann, "read", subscriber(v))
			require.ErrorIs(t, err, accesscontrol.ErrRequest, "%T", v)
			require.ErrorContains(t, err, want)
		}
	}
	// UUIDs are one in either case, and a text that is none is no element.
	config := subscriberConfig(`@id("all") permit (principal, action == Action::"read", resource) when { resource.lists.containsAll([List::"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"]) };
		@id("none") permit (principal, action == Action::"update", resource) when { resource.lists.containsAll([List::"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", List::"l1"]) };`)
	config.Tables[0].Sets[0].Steps[0].ValueAs, config.Tables[0].Sets[1].Steps = accesscontrol.UUID, []accesscontrol.Step{{Name: "owners", Tenant: "tenant", Match: "subscriber", Value: "owner"}}
	uuids, err := accesscontrol.Load(t.Context(), config)
	require.NoError(t, err)
	for _, lists := range []any{[]string{"A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"}, []accesscontrol.Ref{{Type: "List", ID: "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"}}, []any{"A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"}} {
		require.NoError(t, uuids.Check(t.Context(), ann, "read", subscriber(lists)))
		require.ErrorIs(t, uuids.Check(t.Context(), ann, "update", subscriber(lists)), accesscontrol.ErrDenied)
	}
	require.ErrorIs(t, uuids.Check(t.Context(), ann, "read", subscriber([]string{"l1"})), accesscontrol.ErrRequest)
	// What was read of one record is not there for the next one.
	actor, err := policy.For(ann)
	require.NoError(t, err)
	for range 100 {
		require.NoError(t, actor.Check(t.Context(), "read", subscriber([]string{"l1", "l2", "l3"})))
		require.ErrorIs(t, actor.Check(t.Context(), "read", subscriber([]string{"l3"})), accesscontrol.ErrDenied)
	}
}

// Everything else that is asked of a record is answered with its sets: the same
// condition stands behind all of it.
func TestSetsInEveryOtherAnswer(t *testing.T) {
	config := subscriberConfig(byList + byUnit)
	config.Tables[0].Groups = []accesscontrol.Group{{Name: "lists", Action: "update", Fields: []string{"lists"}}}
	config = config.Replaced(`@id("list") permit (principal, action == Action::"read", resource) when { resource.lists.containsAny(principal.lists) };
		@id("unit") permit (principal, action, resource) when { resource.units.contains(principal.unit) };`)
	policy, err := accesscontrol.Load(t.Context(), config)
	require.NoError(t, err)
	ann, bob, cyd := reader("a", "ann", "u9", "l1"), reader("a", "bob", "u1"), reader("a", "cyd", "u9")
	record := subscriber([]string{"l1"})

	var who []string
	for access, err := range policy.WhoCan(t.Context(), accesscontrol.Each(ann, bob, cyd), "read", record) {
		require.NoError(t, err)
		require.NoError(t, access.Err)
		who = append(who, access.Principal.ID+" "+strings.Join(access.Policies, " "))
	}
	require.Equal(t, []string{"ann list", "bob unit"}, who)

	can, err := policy.WhatCan(t.Context(), ann)
	require.NoError(t, err)
	var words []string
	for _, ability := range can {
		words = append(words, ability.String())
	}
	require.Equal(t, []string{
		"read on subscriber when containsAny(resource.lists, principal.lists) [list], or resource.units.contains(principal.unit) [unit]",
		"update on subscriber when resource.units.contains(principal.unit) [unit]",
	}, words)

	d, err := policy.Decide(t.Context(), accesscontrol.Request{Principal: cyd, Action: "read", Resource: record})
	require.NoError(t, err)
	require.Equal(t, accesscontrol.Nearest{Policy: "list", Condition: "containsAny(resource.lists, principal.lists)"}, d.Nearest)

	fields, err := policy.Fields(t.Context(), ann, record)
	require.NoError(t, err)
	require.Equal(t, []string{"closed", "listOwners", "name", "unit", "units"}, fields.Readable(), "a set is a field, and may stand in a group")

	after := subscriber([]string{"l1", "l2"})
	require.NoError(t, policy.CheckChange(t.Context(), bob, record, after))
	require.NoError(t, policy.CheckChange(t.Context(), bob, after, subscriber([]any{"l2", "l1"})), "the order of elements means nothing")
	after.Attrs["units"] = []string{"u5"}
	require.ErrorIs(t, policy.CheckChange(t.Context(), bob, record, after), accesscontrol.ErrDenied, "who may not see what comes of it")

	stricter, err := accesscontrol.Load(t.Context(), config.Replaced(`@id("unit") permit (principal, action, resource) when { resource.units.contains(principal.unit) };`))
	require.NoError(t, err)
	seenBy := 0
	for range accesscontrol.Diff(t.Context(), policy, stricter, accesscontrol.Each(accesscontrol.Request{Principal: ann, Action: "read", Resource: record}, accesscontrol.Request{Principal: bob, Action: "read", Resource: record})) {
		seenBy++
	}
	require.Equal(t, 1, seenBy, "only ann loses it")
}

// Records of a type without a table ask their sets as Cedar does; what the
// binding says of tables is not looked at.
func TestSetsWithoutATableAreAskedAsCedarDoes(t *testing.T) {
	config := subscriberConfig(`@id("p") permit (principal, action, resource) when { principal.lists.containsAll(resource.lists) && resource.units == [principal.unit] };`)
	config.Tables[0].Name = ""
	policy, err := accesscontrol.Load(t.Context(), config)
	require.NoError(t, err)
	record := subscriber([]string{"l1"})
	record.Attrs["units"] = []string{"u1"}
	require.NoError(t, policy.Check(t.Context(), reader("a", "ann", "u1", "l1", "l2"), "read", record))
	require.ErrorIs(t, policy.Check(t.Context(), reader("a", "ann", "u1", "l2"), "read", record), accesscontrol.ErrDenied)
}

// Thousands of known values are one argument where the database has one for
// them, and the text of the condition does not grow with them.
func TestASetAgainstThousandsOfValues(t *testing.T) {
	var many []string
	for i := range 5_000 {
		many = append(many, fmt.Sprintf("l%d", i))
	}
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := subscriberDB(t, d, "", "INSERT INTO subscribers VALUES ('s1', 'a', 'u0', 'n'), ('s2', 'a', 'l7', 'n'), ('s3', 'a', 'u1', 'n')",
			"INSERT INTO list_members VALUES ('a', 's1', 'l4999'), ('a', 's2', 'l5000'), ('a', 's3', 'l0')", "INSERT INTO units VALUES ('a', 'u1', 'l4000')")
		for _, c := range []struct {
			condition string
			want      []string
			args      int
		}{
			{"resource.lists.containsAny(principal.lists)", []string{"s1", "s3"}, 3},
			{"!resource.lists.containsAny(principal.lists)", []string{"s2"}, 3},
			{"resource.lists.containsAll(principal.lists)", []string{}, 4},
			{"resource.units.containsAny(principal.units)", []string{"s2", "s3"}, 6},
		} {
			config := subscriberConfig(`@id("many") permit (principal, action, resource) when { ` + c.condition + ` };`)
			config.Texts["s.cedarschema"] = strings.Replace(config.Texts["s.cedarschema"], "unit: Unit }", "unit: Unit, units: Set<Unit> }", 1)
			policy, err := accesscontrol.Load(t.Context(), config)
			require.NoError(t, err)
			who := reader("a", "ann", "u9", many...)
			who.Attrs["units"] = many
			require.Equal(t, c.want, seen(t, db, d, policy, who), c.condition)
			where, err := policy.Filter(t.Context(), who, "read", "subscriber")
			require.NoError(t, err)
			if d.Name != testdb.MariaDB {
				_, args := rendered(d, where, "s")
				require.Len(t, args, c.args, c.condition)
			}
		}
	})
}
