package accesscontrol_test

import (
	"context"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
)

// What must not be told apart is not: records of others, forbidden ones, and
// those of another tenant, whatever is wrong with them.
func TestAnOutsiderLearnsNothingOfWhatTheyMayNotSee(t *testing.T) {
	policy, people := loadCRM(t), crmPeople()
	record := func(id, tenant, owner string, more ...any) accesscontrol.Resource {
		r := accesscontrol.Resource{Type: "contact", ID: id, Tenant: tenant, Attrs: map[string]any{"owner": owner}}
		for i := 0; i < len(more); i += 2 {
			r.Attrs[more[i].(string)] = more[i+1]
		}
		return r
	}
	for _, c := range []struct {
		name, who, action string
		record            accesscontrol.Resource
		want              accesscontrol.Outside
		reason            accesscontrol.Reason
	}{
		{"own", "sales", "contact.read", record("c1", "main", "ann"), accesscontrol.Permitted, ""},
		{"another's", "sales", "contact.read", record("c1", "main", "bob"), accesscontrol.Missing, accesscontrol.NotPermitted},
		{"another's, to be changed", "sales", "contact.update", record("c1", "main", "bob"), accesscontrol.Missing, accesscontrol.NotPermitted},
		{"own, which may not be deleted", "sales", "contact.delete", record("c1", "main", "ann"), accesscontrol.Refused, accesscontrol.NotPermitted},
		{"blocked", "sales", "contact.read", record("c1", "main", "ann", "blocked", true), accesscontrol.Missing, accesscontrol.Forbidden},
		{"blocked, to be changed", "sales", "contact.update", record("c1", "main", "ann", "blocked", true), accesscontrol.Missing, accesscontrol.Forbidden},
		{"another tenant's", "sales", "contact.read", record("c1", "other", "ann"), accesscontrol.Missing, accesscontrol.OtherTenant},
		{"another tenant's, to be deleted", "sales", "contact.delete", record("c1", "other", "ann"), accesscontrol.Missing, accesscontrol.OtherTenant},
		{"another tenant's, broken", "sales", "contact.read", record("c1", "other", "ann", "country", 7), accesscontrol.Missing, accesscontrol.OtherTenant},
		{"to be created for another", "sales", "contact.create", record("c1", "main", "bob"), accesscontrol.Refused, accesscontrol.NotPermitted},
		{"to be created for another tenant", "sales", "contact.create", record("c1", "other", "ann"), accesscontrol.Refused, accesscontrol.OtherTenant},
		{"no Read action", "outsider", "audit.read", accesscontrol.Resource{Type: "audit", ID: "main", Tenant: "main"}, accesscontrol.Missing, accesscontrol.NotPermitted},
	} {
		t.Run(c.name, func(t *testing.T) {
			actor, err := policy.For(people[c.who])
			require.NoError(t, err)
			got, err := actor.Outside(t.Context(), c.action, c.record)
			require.Equal(t, c.want, got)
			if c.reason == "" {
				require.NoError(t, err)
				return
			}
			var denied *accesscontrol.Denied
			require.ErrorAs(t, err, &denied)
			require.Equal(t, c.reason, denied.Reason, "the log has the truth")
			require.NotContains(t, err.Error(), "tenant", "a text that is shown by mistake does not tell it")
		})
	}
}

func TestWhatCannotBeAnsweredIsNoAnswer(t *testing.T) {
	require.Equal(t, accesscontrol.Unanswered, accesscontrol.Outside(0), "what nobody has set is no yes")
	policy := loadCRM(t)
	actor, err := policy.For(crmPeople()["sales"])
	require.NoError(t, err)
	fine := accesscontrol.Resource{Type: "contact", ID: "c1", Tenant: "main", Attrs: map[string]any{"owner": "ann"}}
	broken, none, foreign := fine, fine, fine
	broken.Attrs = map[string]any{"owner": 7.5}
	none.Type, none.Tenant = "lead", "other"
	foreign.Tenant = "other"
	ended, end := context.WithCancel(t.Context())
	end()
	for name, ask := range map[string]func() (accesscontrol.Outside, error){
		"broken record":                       func() (accesscontrol.Outside, error) { return actor.Outside(t.Context(), "contact.read", broken) },
		"no such type":                        func() (accesscontrol.Outside, error) { return actor.Outside(t.Context(), "contact.read", none) },
		"no such action":                      func() (accesscontrol.Outside, error) { return actor.Outside(t.Context(), "contact.fly", fine) },
		"no such action, of another tenant's": func() (accesscontrol.Outside, error) { return actor.Outside(t.Context(), "contact.fly", foreign) },
		"context that has ended":              func() (accesscontrol.Outside, error) { return actor.Outside(ended, "contact.read", fine) },
	} {
		got, err := ask()
		require.Equal(t, accesscontrol.Unanswered, got, name)
		require.Error(t, err, name)
		require.NotErrorIs(t, err, accesscontrol.ErrDenied, name)
	}
}

// Another tenant's record is measured as any other denial.
func TestAnOutsidersDenialIsMeasuredOnce(t *testing.T) {
	config, reasons := crmConfig(), []string{}
	config.Observe = func(_ context.Context, name string, _ float64, attrs ...slog.Attr) {
		if name == "accesscontrol.check" {
			reasons = append(reasons, attrs[2].Value.String())
		}
	}
	policy, err := accesscontrol.Load(t.Context(), config)
	require.NoError(t, err)
	actor, err := policy.For(crmPeople()["sales"])
	require.NoError(t, err)
	for _, r := range []accesscontrol.Resource{
		{Type: "contact", ID: "c1", Tenant: "other", Attrs: map[string]any{"owner": "ann"}},
		{Type: "contact", ID: "c1", Tenant: "main", Attrs: map[string]any{"owner": "ann"}},
	} {
		_, err = actor.Outside(t.Context(), "contact.delete", r)
		require.ErrorIs(t, err, accesscontrol.ErrDenied)
	}
	require.Equal(t, []string{"other_tenant", "not_permitted"}, reasons)
}
