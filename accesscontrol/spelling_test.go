package accesscontrol_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
)

// A UUID is one id, however it is written: for whoever asks from outside, for what
// Find answers, and on both sides of a change, as in a check.
func TestOneUUIDIsOneRecordHoweverItIsWritten(t *testing.T) {
	const tenant, id, other = "0a000000-0000-4000-8000-00000000000a", "0b000000-0000-4000-8000-00000000000b", "0c000000-0000-4000-8000-00000000000c"
	record := func(id, tenant, name string) accesscontrol.Resource {
		return accesscontrol.Resource{Type: "note", ID: id, Tenant: tenant, Attrs: map[string]any{"name": name}}
	}
	found := record(id, tenant, "x")
	policy, err := accesscontrol.Load(t.Context(), accesscontrol.Config{
		Texts: map[string]string{
			"n.cedarschema": `entity User; entity Note = { name: String }; action read, edit appliesTo { principal: User, resource: Note };`,
			"n.cedar":       `@id("all") permit (principal, action, resource);`,
		},
		Tables: []accesscontrol.Table{{
			Resource: "note", Entity: "Note", Name: "notes", Key: "id", KeyAs: accesscontrol.UUID, Tenant: "tenant", TenantAs: accesscontrol.UUID, Read: "read", Update: "edit",
			Columns: []accesscontrol.Column{{Attr: "name", Required: true}},
		}},
		Find: func(context.Context, string, string, string) (accesscontrol.Resource, error) { return found, nil },
	})
	require.NoError(t, err)
	ann := accesscontrol.Principal{Tenant: tenant, ID: "ann"}
	actor, err := policy.For(ann)
	require.NoError(t, err)
	allow := policy.Allower(func(context.Context) (accesscontrol.Principal, error) { return ann, nil })
	for _, spell := range []func(string) string{strings.ToLower, strings.ToUpper} {
		written := record(spell(id), spell(tenant), "x")
		require.NoError(t, actor.Check(t.Context(), "read", written))
		outside, err := actor.Outside(t.Context(), "read", written)
		require.NoError(t, err)
		require.Equal(t, accesscontrol.Permitted, outside)
		require.NoError(t, actor.CheckChange(t.Context(), record(id, tenant, "x"), record(spell(id), spell(tenant), "y")))
		require.NoError(t, allow(t.Context(), "read", "note/"+spell(id)))

		// Another one is another one.
		outside, err = actor.Outside(t.Context(), "read", record(id, spell(other), "x"))
		require.ErrorIs(t, err, accesscontrol.ErrDenied)
		require.Equal(t, accesscontrol.Missing, outside)
		require.ErrorIs(t, allow(t.Context(), "read", "note/"+spell(other)), accesscontrol.ErrRequest)
		for _, to := range []accesscontrol.Resource{record(spell(other), tenant, "x"), record(id, spell(other), "x"), record("", tenant, "x"), record("no UUID", tenant, "x")} {
			require.Error(t, actor.CheckChange(t.Context(), record(id, tenant, "x"), to))
		}
	}
	odd := record("no UUID", tenant, "x")
	require.ErrorIs(t, actor.CheckChange(t.Context(), odd, record("none either", tenant, "x")), accesscontrol.ErrDenied)
}
