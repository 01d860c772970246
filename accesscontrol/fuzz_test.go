package accesscontrol_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
)

// FuzzPolicy loads any text. What loads must filter, for every principal, and
// the filter must agree with the checks.
func FuzzPolicy(f *testing.F) {
	g := generator{Rand: rand.New(rand.NewPCG(1, 2))}
	for range 20 {
		f.Add(g.policies())
	}
	text, err := os.ReadFile("testdata/crm.cedar")
	require.NoError(f, err)
	f.Add(string(text))
	f.Add(`@id("a") permit (principal, action, resource) when { resource has region && resource.region == "\u{0}" };`)
	f.Add(`@id("a") permit (principal, action, resource) when { "\u{1F600}" == resource.stage && decimal("1.0").lessThan(decimal("2.0")) };`)
	db := openDB(f, itemDDL)
	insertItems(f, db, rand.New(rand.NewPCG(7, 7)), 12)
	records, err := items(f.Context(), db)
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, text string) {
		policy, err := accesscontrol.Load(t.Context(), itemConfig(text))
		if err != nil {
			require.ErrorIs(t, err, accesscontrol.ErrPolicy)
			return
		}
		for _, principal := range itemPrincipals() {
			where, err := policy.Filter(t.Context(), principal, "read", "item")
			require.NoError(t, err)
			sqlText, _ := where.SQLite("c")
			require.Regexp(t, fixedText, sqlText)
			bySQL, err := outcome(t.Context(), db, where)
			require.NoError(t, err)
			for _, r := range records {
				err := policy.Check(t.Context(), principal, "read", r)
				require.True(t, err == nil || errors.Is(err, accesscontrol.ErrDenied), "%v", err)
				require.True(t, bySQL[r.ID].Valid && (bySQL[r.ID].Int64 == 1) == (err == nil), "%s\n%s", text, sqlText)
			}
		}
	})
}

// FuzzSchema loads any schema text with any policy text: an answer, no panic.
func FuzzSchema(f *testing.F) {
	for _, name := range []string{"crm.cedarschema", "frozen/schema.cedarschema"} {
		text, err := os.ReadFile("testdata/" + name)
		require.NoError(f, err)
		f.Add(string(text), `@id("a") permit (principal, action, resource);`)
	}
	f.Add(itemSchema, `@id("a") permit (principal, action, resource) when { resource.flag };`)
	f.Fuzz(func(t *testing.T, schema, policies string) {
		_, err := accesscontrol.Load(t.Context(), accesscontrol.Config{Texts: map[string]string{"s.cedarschema": schema, "p.cedar": policies}, Tables: []accesscontrol.Table{
			{Resource: "item", Entity: "Item", Name: "items", Key: "id", Tenant: "tenant", Columns: []accesscontrol.Column{{Attr: "flag", Required: true}}},
		}})
		if err != nil {
			require.ErrorIs(t, err, accesscontrol.ErrPolicy)
			require.False(t, strings.HasSuffix(err.Error(), ": "), "a refusal says why")
		}
	})
}
