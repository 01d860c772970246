package accesscontrol_test

import (
	"context"
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
)

// A forgotten folder is no policy set that permits nothing: it is refused.
func TestLoadSaysWhatIsMissing(t *testing.T) {
	const noPolicy = "there is no .cedar file: Files and Texts hold no policy; to permit nothing, hand in an empty one"
	const noTable = "there is no table: Tables binds what may be asked about"
	require.Equal(t, []string{noPolicy, "there is no .cedarschema file", noTable}, problems(t, accesscontrol.Config{}))
	config := itemConfig(`@id("a") permit (principal, action, resource);`)
	config.Tables = nil
	require.Equal(t, []string{noTable}, problems(t, config))
	config = accesscontrol.Config{Texts: map[string]string{"s.cedarschema": itemSchema}, Tables: []accesscontrol.Table{itemTable()}}
	require.Equal(t, []string{noPolicy}, problems(t, config))
	_, err := accesscontrol.Load(t.Context(), config.Replaced(""))
	require.NoError(t, err, "an empty text permits nothing on purpose")

	config = itemConfig(`@id("a") permit (principal, action, resource);`)
	config.Tables[0].Key = ""
	require.Equal(t, []string{"table item: Key is empty: it names the column of the record's id"}, problems(t, config))
}

func TestQuestionsSayWhatIsWrong(t *testing.T) {
	policy, err := accesscontrol.Load(t.Context(), crmConfig())
	require.NoError(t, err)
	ann := crmPeople()["sales"]
	record := accesscontrol.Resource{Type: "contacts", ID: "c1", Tenant: "main"}
	err = policy.Check(t.Context(), ann, "contact.read", record)
	require.ErrorIs(t, err, accesscontrol.ErrRequest)
	require.ErrorContains(t, err, "resource contacts: no table of this name is bound; bound are audit, contact, deal")
	_, err = policy.Filter(t.Context(), ann, "contact.read", "contacts")
	require.ErrorContains(t, err, "bound are audit, contact, deal")
	record.Type, record.Tenant = "contact", ""
	err = policy.Check(t.Context(), ann, "contact.read", record)
	require.ErrorIs(t, err, accesscontrol.ErrTenant)
	require.ErrorContains(t, err, "the record's")
	ann.Tenant = ""
	err = policy.Check(t.Context(), ann, "contact.read", record)
	require.ErrorIs(t, err, accesscontrol.ErrTenant)
	require.ErrorContains(t, err, "the principal's")
}

// Nothing panics, and nothing is allowed, on a Policy that Load did not make.
func TestAZeroPolicyIsAnError(t *testing.T) {
	ctx, ann := t.Context(), crmPeople()["sales"]
	record := accesscontrol.Resource{Type: "contact", ID: "c1", Tenant: "main"}
	for _, policy := range []*accesscontrol.Policy{nil, {}} {
		require.Empty(t, policy.Hash())
		for name, call := range map[string]func() error{
			"Check":  func() error { return policy.Check(ctx, ann, "contact.read", record) },
			"Decide": func() error { _, err := policy.Decide(ctx, accesscontrol.Request{}); return err },
			"Allower": func() error {
				return policy.Allower(func(context.Context) (accesscontrol.Principal, error) { return ann, nil })(ctx, "contact.read", "contact/c1")
			},
			"Filter":      func() error { _, err := policy.Filter(ctx, ann, "contact.read", "contact"); return err },
			"Fields":      func() error { _, err := policy.Fields(ctx, ann, record); return err },
			"CheckChange": func() error { return policy.CheckChange(ctx, ann, record, record) },
			"CheckSchema": func() error { return policy.CheckSchema(ctx, nil) },
		} {
			require.ErrorIs(t, call(), accesscontrol.ErrNotLoaded, name)
		}
	}
	var none *accesscontrol.Policy
	require.ErrorIs(t, none.Reload(ctx, crmConfig()), accesscontrol.ErrNotLoaded)
	policy, err := accesscontrol.Load(ctx, crmConfig())
	require.NoError(t, err)
	require.ErrorIs(t, policy.CheckSchema(ctx, nil), accesscontrol.ErrRequest)
	var db *sql.DB
	require.ErrorIs(t, policy.CheckSchema(ctx, db), accesscontrol.ErrRequest)
}
