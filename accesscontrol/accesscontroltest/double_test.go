package accesscontroltest_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/accesscontrol/accesscontroltest"
)

func TestDoubles(t *testing.T) {
	schema, err := os.ReadFile("../testdata/crm.cedarschema")
	require.NoError(t, err)
	tables := []accesscontrol.Table{{
		Resource: "contact", Entity: "Contact", Name: "contacts", Key: "id", Tenant: "tenant",
		Columns: []accesscontrol.Column{{Attr: "owner", Required: true}},
		Read:    "contact.read",
	}}
	principal := accesscontrol.Principal{Tenant: "main", ID: "ann", Attrs: map[string]any{"accounts": []string{}, "countries": []string{}}}
	record := accesscontrol.Resource{Type: "contact", ID: "c1", Tenant: "main", Attrs: map[string]any{"owner": "bob"}}
	for _, config := range []accesscontrol.Config{
		{Files: os.DirFS("testdata"), Tables: tables},
		{Texts: map[string]string{"crm.cedarschema": string(schema), "crm.cedar": "not cedar at all"}, Tables: tables},
	} {
		allow, deny := accesscontroltest.AllowAll(t, config), accesscontroltest.DenyAll(t, config)
		require.NoError(t, allow.Check(t.Context(), principal, "contact.read", record))
		require.ErrorIs(t, deny.Check(t.Context(), principal, "contact.read", record), accesscontrol.ErrDenied)
		fields, err := allow.Fields(t.Context(), principal, record)
		require.NoError(t, err)
		require.Empty(t, fields.Hidden())
		other := record
		other.Tenant = "other"
		require.ErrorIs(t, allow.Check(t.Context(), principal, "contact.read", other), accesscontrol.ErrDenied)
		require.ErrorIs(t, allow.Check(t.Context(), principal, "contact.fly", record), accesscontrol.ErrRequest)
		where, err := deny.Filter(t.Context(), principal, "contact.read", "contact")
		require.NoError(t, err)
		require.True(t, where.Nothing())
	}
}
