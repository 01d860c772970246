package accesscontrol_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
)

func TestEachRoleSeesTheSameByChecksAndByFilter(t *testing.T) {
	db := openDB(t, crmDDL)
	db.SetMaxOpenConns(1)
	policy := loadCRM(t)
	require.NoError(t, policy.CheckSchema(t.Context(), db))
	want := map[string][]string{
		"sales":    {"c1", "c2"}, // c4 is blocked, c6 another tenant's
		"manager":  {"c1", "c5"},
		"support":  {"c1", "c2", "c3", "c5"},
		"auditor":  {"c1", "c2", "c3", "c4", "c5"},
		"outsider": {},
	}
	all, err := contacts(t.Context(), db)
	require.NoError(t, err)
	for role, principal := range crmPeople() {
		byCheck := []string{}
		for _, r := range all {
			err := policy.Check(t.Context(), principal, "contact.read", r)
			if err == nil {
				byCheck = append(byCheck, r.ID)
			} else {
				require.ErrorIs(t, err, accesscontrol.ErrDenied)
			}
		}
		where, err := policy.Filter(t.Context(), principal, "contact.read", "contact")
		require.NoError(t, err)
		byFilter, err := selected(t.Context(), db, "contacts", where)
		require.NoError(t, err)
		require.Equal(t, want[role], byCheck, role)
		require.Equal(t, want[role], byFilter, role)
		require.Equal(t, role == "outsider", where.Nothing())
	}
}

func TestDealsWithIntegerKeysAndLimits(t *testing.T) {
	db := openDB(t, crmDDL)
	policy := loadCRM(t)
	ann := crmPeople()["sales"]
	where, err := policy.Filter(t.Context(), ann, "deal.close", "deal")
	require.NoError(t, err)
	ids, err := selected(t.Context(), db, "deals", where)
	require.NoError(t, err)
	require.Equal(t, []string{"1"}, ids, "2 is won, 3 is above the limit, 4 is not hers")
	where, err = policy.Filter(t.Context(), ann, "deal.read", "deal")
	require.NoError(t, err)
	ids, err = selected(t.Context(), db, "deals", where)
	require.NoError(t, err)
	require.Equal(t, []string{"1", "2", "3", "4"}, ids)
}

func TestReasons(t *testing.T) {
	db := openDB(t, crmDDL)
	policy := loadCRM(t)
	people := crmPeople()
	decide := func(who, action, id string) accesscontrol.Decision {
		d, err := policy.Decide(t.Context(), accesscontrol.Request{Principal: people[who], Action: action, Resource: contact(t, db, id)})
		require.NoError(t, err)
		require.Equal(t, policy.Hash(), d.PolicySet)
		return d
	}
	d := decide("sales", "contact.read", "c1")
	require.True(t, d.Allowed)
	require.Equal(t, []string{"sales-accounts", "sales-own"}, d.Policies, "both determine, in order")
	require.Empty(t, d.Reason)

	d = decide("sales", "contact.read", "c4")
	require.Equal(t, accesscontrol.Forbidden, d.Reason)
	require.Equal(t, []string{"blocked"}, d.Policies)

	d = decide("sales", "contact.update", "c2")
	require.Equal(t, accesscontrol.NotPermitted, d.Reason)
	require.Empty(t, d.Policies)
	require.Equal(t, accesscontrol.Nearest{Policy: "sales-own", Condition: "resource.owner == principal"}, d.Nearest)

	d = decide("outsider", "contact.read", "c1")
	require.Equal(t, accesscontrol.NotPermitted, d.Reason)
	require.Empty(t, d.Nearest.Policy, "no permit is about someone without a role")

	d = decide("auditor", "contact.read", "c6")
	require.Equal(t, accesscontrol.OtherTenant, d.Reason)
	require.False(t, d.Allowed)
}

func TestDenialHoldsNoPersonalData(t *testing.T) {
	policy := loadCRM(t)
	principal := crmUser("sales", "canary-principal")
	principal.Attrs["accounts"] = []string{"canary-account"}
	record := accesscontrol.Resource{
		Type: "contact", ID: "canary-id", Tenant: "main",
		Attrs: map[string]any{"owner": "canary-owner", "country": "canary-country", "blocked": false, "email": "canary-mail"},
	}
	err := policy.Check(t.Context(), principal, "contact.update", record)
	var denied *accesscontrol.Denied
	require.ErrorAs(t, err, &denied)
	require.Equal(t, "accesscontrol: denied: contact.update on contact: not_permitted", err.Error())

	record.Attrs["blocked"] = "canary-flag"
	err = policy.Check(t.Context(), principal, "contact.update", record)
	require.ErrorIs(t, err, accesscontrol.ErrRequest)
	require.NotErrorIs(t, err, accesscontrol.ErrDenied)
	require.NotContains(t, err.Error(), "canary")
}

func TestRefusedQuestions(t *testing.T) {
	policy := loadCRM(t)
	good := accesscontrol.Resource{Type: "contact", ID: "c1", Tenant: "main", Attrs: map[string]any{"owner": "ann"}}
	ann := crmPeople()["sales"]
	require.NoError(t, policy.Check(t.Context(), ann, "contact.read", good))

	type question struct {
		principal accesscontrol.Principal
		action    string
		record    accesscontrol.Resource
	}
	for name, change := range map[string]func(q *question){
		"unknown action":            func(q *question) { q.action = "contact.fly" },
		"action of another type":    func(q *question) { q.action = "deal.read" },
		"unknown record type":       func(q *question) { q.record.Type = "lead" },
		"unknown principal type":    func(q *question) { q.principal.Type = "Robot" },
		"principal of wrong type":   func(q *question) { q.principal = accesscontrol.Principal{Tenant: "main", Type: "Team", ID: "t"} },
		"no principal id":           func(q *question) { q.principal.ID = "" },
		"no record id":              func(q *question) { q.record.ID = "" },
		"NUL in principal id":       func(q *question) { q.principal.ID = "a\x00n" },
		"NUL in principal attr":     func(q *question) { q.principal.Attrs["countries"] = []string{"D\x00"} },
		"not UTF-8 in principal":    func(q *question) { q.principal.Attrs["countries"] = []string{"\xff"} },
		"missing principal attr":    func(q *question) { delete(q.principal.Attrs, "accounts") },
		"misspelt principal attr":   func(q *question) { q.principal.Attrs["limitt"] = 1 },
		"misspelt record attr":      func(q *question) { q.record.Attrs["blockd"] = true },
		"missing required attr":     func(q *question) { delete(q.record.Attrs, "owner") },
		"wrong type of record attr": func(q *question) { q.record.Attrs["country"] = 7 },
		"flag that is no flag":      func(q *question) { q.record.Attrs["blocked"] = int64(2) },
		"parent of wrong type":      func(q *question) { q.principal.Parents = []accesscontrol.Ref{{Type: "Account", ID: "a"}} },
		"parent without id":         func(q *question) { q.principal.Parents = []accesscontrol.Ref{{Type: "Role"}} },
		"unknown context":           func(q *question) { q.principal.Context = map[string]any{"now": 1} },
		"unknown entity":            func(q *question) { q.principal.Entities = []accesscontrol.Entity{{Type: "Unit", ID: "u"}} },
		"entity twice": func(q *question) {
			q.principal.Entities = []accesscontrol.Entity{{Type: "Team", ID: "t"}, {Type: "Team", ID: "t"}}
		},
		"no tenant":           func(q *question) { q.principal.Tenant = "" },
		"NUL in tenant":       func(q *question) { q.principal.Tenant = "m\x00" },
		"no tenant of record": func(q *question) { q.record.Tenant = "" },
	} {
		t.Run(name, func(t *testing.T) {
			q := question{crmPeople()["sales"], "contact.read", good}
			q.record.Attrs = map[string]any{"owner": "ann"}
			change(&q)
			err := policy.Check(t.Context(), q.principal, q.action, q.record)
			require.ErrorIs(t, err, accesscontrol.ErrRequest)
			require.NotErrorIs(t, err, accesscontrol.ErrDenied)
			if name == "no tenant" || name == "no tenant of record" {
				require.ErrorIs(t, err, accesscontrol.ErrTenant)
			}
		})
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, policy.Check(cancelled, ann, "contact.read", good), context.Canceled)
	_, err := policy.Filter(cancelled, ann, "contact.read", "contact")
	require.ErrorIs(t, err, context.Canceled)
}

func TestFilterRefusesWhatItCannotAnswer(t *testing.T) {
	policy := loadCRM(t)
	aud := crmPeople()["auditor"]
	for _, c := range []struct{ action, record string }{{"audit.read", "audit"}, {"contact.fly", "contact"}, {"contact.read", "lead"}} {
		where, err := policy.Filter(t.Context(), aud, c.action, c.record)
		require.ErrorIs(t, err, accesscontrol.ErrRequest)
		sql, args := where.SQLite("c")
		require.Equal(t, "(1 = 0)", sql, "even the ignored error selects nothing")
		require.Empty(t, args)
	}
	aud.Tenant = ""
	_, err := policy.Filter(t.Context(), aud, "contact.read", "contact")
	require.ErrorIs(t, err, accesscontrol.ErrTenant)
	ann := crmPeople()["sales"]
	many := make([]int, accesscontrol.MaxValues+1)
	accounts := make([]string, 0, len(many))
	for i := range many {
		accounts = append(accounts, "acct-"+string(rune('a'+i%26))+string(rune('0'+i/26%10))+string(rune('A'+i/260%26))+string(rune(0x4e00+i/6760)))
	}
	ann.Attrs["accounts"] = accounts
	_, err = policy.Filter(t.Context(), ann, "contact.read", "contact")
	require.ErrorIs(t, err, accesscontrol.ErrTooLarge)
}

// A resource with an id is judged by the tenant of its record, never by the
// principal's: where nothing looks it up, or what was found is not it, the
// answer is an error and no yes.
func TestAllower(t *testing.T) {
	config := crmConfig().Replaced(`@id("all") permit (principal, action, resource);`)
	records := map[string]accesscontrol.Resource{
		"c1":       {Type: "contact", ID: "c1", Tenant: "main", Attrs: map[string]any{"owner": "ann"}},
		"a/b":      {Type: "contact", ID: "a/b", Tenant: "main", Attrs: map[string]any{"owner": "ann"}},
		"c6":       {Type: "contact", ID: "c6", Tenant: "other", Attrs: map[string]any{"owner": "ann"}},
		"bare":     {Type: "contact", ID: "bare", Attrs: map[string]any{"owner": "ann"}},
		"twin":     {Type: "contact", ID: "c1", Tenant: "main", Attrs: map[string]any{"owner": "ann"}},
		"log":      {Type: "audit", ID: "log", Tenant: "main"},
		"main":     {Type: "audit", ID: "main", Tenant: "main"},
		"nothing":  {},
		"mistaken": {Type: "audit", ID: "mistaken", Tenant: "main"},
	}
	gone := errors.New("gone")
	asked := 0
	find := func(_ context.Context, tenant, _, id string) (accesscontrol.Resource, error) {
		asked++
		require.Equal(t, "main", tenant)
		r, ok := records[id]
		if !ok {
			return accesscontrol.Resource{}, gone
		}
		return r, nil
	}
	ask := func(resource string, find func(context.Context, string, string, string) (accesscontrol.Resource, error), p accesscontrol.Principal) error {
		config.Find = find
		policy, err := accesscontrol.Load(t.Context(), config)
		require.NoError(t, err)
		action := "contact.read"
		if strings.HasPrefix(resource, "audit") {
			action = "audit.read"
		}
		return policy.Allower(func(context.Context) (accesscontrol.Principal, error) { return p, nil })(t.Context(), action, resource)
	}
	ann := crmPeople()["sales"]
	for _, c := range []struct {
		resource      string
		without, with error // nil: allowed
	}{
		{"audit", nil, nil},
		{"audit/log", accesscontrol.ErrRequest, nil},
		{"contact/c1", accesscontrol.ErrRequest, nil},
		{"contact/a/b", accesscontrol.ErrRequest, nil},
		{"contact/c6", accesscontrol.ErrRequest, accesscontrol.ErrDenied},
		{"contact/bare", accesscontrol.ErrRequest, accesscontrol.ErrTenant},
		{"contact/twin", accesscontrol.ErrRequest, accesscontrol.ErrRequest},
		{"contact/nothing", accesscontrol.ErrRequest, accesscontrol.ErrRequest},
		{"contact/mistaken", accesscontrol.ErrRequest, accesscontrol.ErrRequest},
		{"contact/unknown", accesscontrol.ErrRequest, gone},
	} {
		for found, want := range map[bool]error{false: c.without, true: c.with} {
			by := find
			if !found {
				by = nil
			}
			err := ask(c.resource, by, ann)
			if want == nil {
				require.NoError(t, err, "%s, Find %v", c.resource, found)
			} else {
				require.ErrorIs(t, err, want, "%s, Find %v", c.resource, found)
			}
		}
	}
	require.ErrorContains(t, ask("contact/c1", nil, ann), "set Config.Find")
	for _, resource := range []string{"contact/twin", "contact/nothing", "contact/mistaken"} {
		require.ErrorContains(t, ask(resource, find, ann), "another record")
	}
	asked = 0
	for _, resource := range []string{"contact/", "contact/\x00", "contact/" + strings.Repeat("x", 1<<16), "contact/\xff", "", "/", "/c1", "person-7f3a", "nobody/c1", "Contact/c1"} {
		for _, by := range []func(context.Context, string, string, string) (accesscontrol.Resource, error){nil, find} {
			err := ask(resource, by, ann)
			require.ErrorIs(t, err, accesscontrol.ErrRequest, "%.20q", resource)
			require.NotContains(t, err.Error(), "person-7f3a", "a bare id may be a person's")
		}
	}
	nobody := errors.New("nobody is logged in")
	policy, err := accesscontrol.Load(t.Context(), config)
	require.NoError(t, err)
	require.ErrorIs(t, policy.Allower(func(context.Context) (accesscontrol.Principal, error) { return ann, nobody })(t.Context(), "contact.read", "contact/c1"), nobody)
	require.ErrorIs(t, policy.Allower(nil)(t.Context(), "contact.read", "contact/c1"), accesscontrol.ErrRequest)
	ann.Tenant = ""
	require.ErrorIs(t, ask("contact/c1", find, ann), accesscontrol.ErrTenant)
	require.Zero(t, asked, "what is wrong in itself is not looked up, and nothing without a tenant")
}

func TestObservation(t *testing.T) {
	config := crmConfig()
	var seen []string
	config.Observe = func(_ context.Context, name string, value float64, attrs ...slog.Attr) {
		var line strings.Builder
		fmt.Fprint(&line, name, " ", value)
		for _, a := range attrs {
			if a.Key != "policyset" {
				line.WriteString(" " + a.String())
			}
		}
		seen = append(seen, line.String())
	}
	policy, err := accesscontrol.Load(t.Context(), config)
	require.NoError(t, err)
	ann := crmPeople()["sales"]
	record := accesscontrol.Resource{Type: "contact", ID: "canary", Tenant: "main", Attrs: map[string]any{"owner": "canary"}}
	require.Error(t, policy.Check(t.Context(), ann, "contact.read", record))
	_, err = policy.Filter(t.Context(), ann, "contact.read", "contact")
	require.NoError(t, err)
	require.Equal(t, []string{
		"accesscontrol.reload 9",
		"accesscontrol.check 0 action=contact.read resource=contact reason=not_permitted",
		"accesscontrol.filter 3 action=contact.read resource=contact",
	}, seen)
}

// The record may be the principal: what the principal is, the application says,
// and what the record is, its row says, in a check and in a filter.
func TestRecordThatIsThePrincipal(t *testing.T) {
	config := accesscontrol.Config{
		Texts: map[string]string{
			"s.cedarschema": `entity User = { city: String, nick?: String }; action "user.read" appliesTo { principal: User, resource: User };`,
			"p.cedar":       `@id("self") permit (principal, action, resource) when { resource == principal && principal.city == "Bern" };`,
		},
		Tables: []accesscontrol.Table{{
			Resource: "user", Entity: "User", Name: "users", Key: "id", Tenant: "tenant",
			Columns: []accesscontrol.Column{{Attr: "city", Required: true}, {Attr: "nick"}},
		}},
	}
	policy, err := accesscontrol.Load(t.Context(), config)
	require.NoError(t, err)
	principal := accesscontrol.Principal{Tenant: "main", ID: "u1", Attrs: map[string]any{"city": "Bern"}}
	record := accesscontrol.Resource{Type: "user", ID: "u1", Tenant: "main", Attrs: map[string]any{"city": "Bern"}}
	require.NoError(t, policy.Check(t.Context(), principal, "user.read", record))
	where, err := policy.Filter(t.Context(), principal, "user.read", "user")
	require.NoError(t, err)
	require.Equal(t, "(`u`.`tenant` = ? COLLATE BINARY AND `u`.`id` = ? COLLATE BINARY)", first(where.SQLite("u")))
	record.Attrs["city"] = "Basel"
	require.NoError(t, policy.Check(t.Context(), principal, "user.read", record), "the filter selects that row, too")
	record.ID = "u2"
	require.ErrorIs(t, policy.Check(t.Context(), principal, "user.read", record), accesscontrol.ErrDenied)
}
