package httpguard_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/accesscontrol/httpguard"
)

func crm(t *testing.T) *accesscontrol.Policy {
	t.Helper()
	texts := map[string]string{}
	for _, name := range []string{"crm.cedar", "crm.cedarschema"} {
		text, err := os.ReadFile("../testdata/" + name)
		require.NoError(t, err)
		texts[name] = string(text)
	}
	policy, err := accesscontrol.Load(t.Context(), accesscontrol.Config{
		Texts: texts,
		Tables: []accesscontrol.Table{{
			Resource: "contact", Entity: "Contact", Name: "contacts", Key: "id", Tenant: "tenant",
			Columns: []accesscontrol.Column{
				{Attr: "owner", Required: true},
				{Attr: "account"},
				{Attr: "country"},
				{Attr: "blocked"},
			},
			Read: "contact.read", Create: "contact.create", Update: "contact.update", Delete: "contact.delete",
		}},
	})
	require.NoError(t, err)
	return policy
}

var ann = accesscontrol.Principal{
	Tenant: "main", ID: "ann", Parents: []accesscontrol.Ref{{Type: "Role", ID: "sales"}},
	Attrs: map[string]any{"accounts": []string{}, "countries": []string{}},
}

func annActs(*http.Request) (accesscontrol.Principal, error) { return ann, nil }

func contact(tenant, owner string, more ...any) accesscontrol.Resource {
	r := accesscontrol.Resource{Type: "contact", ID: "secret-id", Tenant: tenant, Attrs: map[string]any{"owner": owner}}
	for i := 0; i < len(more); i += 2 {
		r.Attrs[more[i].(string)] = more[i+1]
	}
	return r
}

func asks(action string, record accesscontrol.Resource) httpguard.Route {
	return func(*http.Request, accesscontrol.Principal) (httpguard.Question, error) {
		return httpguard.Question{Action: action, Resource: record}, nil
	}
}

// answer asks a guard, and says whether the handler was called.
func answer(t *testing.T, policy *accesscontrol.Policy, who httpguard.Who, route httpguard.Route, o *httpguard.Options, method string, headers ...string) (w *httptest.ResponseRecorder, called bool) {
	t.Helper()
	w = httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), method, "/contacts/secret-id", nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	httpguard.Guard(policy, who, route, o)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		access, ok := httpguard.From(r.Context())
		require.True(t, ok)
		require.NotNil(t, access.Actor)
		called = true
	})).ServeHTTP(w, r)
	return w, called
}

func failing(err error) httpguard.Route {
	return func(*http.Request, accesscontrol.Principal) (httpguard.Question, error) {
		return httpguard.Question{}, err
	}
}

// at is the pace of tests that are not about time.
var at = &httpguard.Options{Pace: -1}

func TestEachAnswerHasItsStatus(t *testing.T) {
	policy := crm(t)
	nobody := func(*http.Request) (accesscontrol.Principal, error) {
		return accesscontrol.Principal{}, httpguard.ErrNobody
	}
	unknown := func(*http.Request) (accesscontrol.Principal, error) {
		return accesscontrol.Principal{}, errors.New("secret: session store")
	}
	tenantless := func(*http.Request) (accesscontrol.Principal, error) {
		return accesscontrol.Principal{ID: "ann"}, nil
	}
	never := func(*http.Request, accesscontrol.Principal) (httpguard.Question, error) {
		t.Error("nothing is looked up for whoever is not known")
		return httpguard.Question{}, nil
	}
	own := asks("contact.read", contact("main", "ann"))
	list := func(kind, action string) httpguard.Route {
		return func(*http.Request, accesscontrol.Principal) (httpguard.Question, error) {
			return httpguard.Question{Action: action, List: true, Resource: accesscontrol.Resource{Type: kind}}, nil
		}
	}
	for _, c := range []struct {
		name   string
		policy *accesscontrol.Policy
		who    httpguard.Who
		route  httpguard.Route
		want   int
	}{
		{"own", policy, annActs, own, 200},
		{"own, to be deleted", policy, annActs, asks("contact.delete", contact("main", "ann")), 403},
		{"to be created for another", policy, annActs, asks("contact.create", contact("main", "bob")), 403},
		{"another's", policy, annActs, asks("contact.read", contact("main", "bob")), 404},
		{"blocked", policy, annActs, asks("contact.update", contact("main", "ann", "blocked", true)), 404},
		{"another tenant's", policy, annActs, asks("contact.read", contact("other", "ann")), 404},
		{"another tenant's, broken", policy, annActs, asks("contact.read", contact("other", "ann", "country", 7)), 404},
		{"not there", policy, annActs, failing(httpguard.ErrMissing), 404},
		{"database down", policy, annActs, failing(errors.New("secret: dial")), 503},
		{"broken record", policy, annActs, asks("contact.read", contact("main", "ann", "country", 7)), 503},
		{"no such action", policy, annActs, asks("contact.fly", contact("main", "ann")), 503},
		{"no action", policy, annActs, asks("", contact("main", "ann")), 503},
		{"no tenant of the record", policy, annActs, asks("contact.read", contact("", "ann")), 503},
		{"nobody", policy, nobody, never, 401},
		{"no session store", policy, unknown, never, 503},
		{"no tenant", policy, tenantless, never, 503},
		{"no policy", nil, annActs, never, 503},
		{"empty policy", &accesscontrol.Policy{}, annActs, never, 503},
		{"no who", policy, nil, own, 503},
		{"no route", policy, annActs, nil, 503},
		{"who panics", policy, func(*http.Request) (accesscontrol.Principal, error) { panic("secret") }, own, 503},
		{"route panics", policy, annActs, func(*http.Request, accesscontrol.Principal) (httpguard.Question, error) { panic(http.ErrAbortHandler) }, 503},
		{"list", policy, annActs, list("contact", "contact.read"), 200},
		{"list of nothing", policy, annActs, list("contact", "contact.delete"), 200},
		{"list of no such action", policy, annActs, list("contact", "contact.fly"), 503},
		{"list of no such type", policy, annActs, list("lead", "contact.read"), 503},
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodDelete} {
			w, called := answer(t, c.policy, c.who, c.route, at, method)
			require.Equal(t, c.want, w.Code, c.name)
			require.Equal(t, c.want == 200, called, c.name)
			if c.want == 200 {
				continue
			}
			require.NotContains(t, w.Body.String(), "secret", c.name)
			require.Equal(t, c.want == 503, w.Header().Get("Retry-After") != "", c.name)
			require.Equal(t, c.want == 401, w.Header().Get("WWW-Authenticate") != "", c.name)
			require.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
			require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
			require.Equal(t, method == http.MethodHead, w.Body.Len() == 0)
		}
	}
}

// Whatever may not be seen is answered alike: in each byte, in each header, and
// at the same time, however long the record took to be looked up.
func TestNothingTellsThatARecordIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		policy := crm(t)
		slow := func(d time.Duration, route httpguard.Route) httpguard.Route {
			return func(r *http.Request, who accesscontrol.Principal) (httpguard.Question, error) {
				time.Sleep(d)
				return route(r, who)
			}
		}
		const pace = 40 * time.Millisecond
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPut} {
			var first *httptest.ResponseRecorder
			for name, route := range map[string]httpguard.Route{
				"not there":                failing(httpguard.ErrMissing),
				"another's":                slow(3*time.Millisecond, asks("contact.read", contact("main", "bob"))),
				"another's, to be changed": slow(7*time.Millisecond, asks("contact.update", contact("main", "bob"))),
				"forbidden":                slow(39*time.Millisecond, asks("contact.read", contact("main", "ann", "blocked", true))),
				"another tenant's":         slow(11*time.Millisecond, asks("contact.read", contact("other", "ann"))),
			} {
				began := time.Now()
				w, called := answer(t, policy, annActs, route, &httpguard.Options{Pace: pace}, method)
				require.False(t, called)
				require.Equal(t, pace, time.Since(began), name)
				if first == nil {
					first = w
				}
				require.Equal(t, first.Code, w.Code, name)
				require.Equal(t, first.Body.String(), w.Body.String(), name)
				require.Equal(t, first.Header(), w.Header(), name)
			}
		}
		began := time.Now()
		answer(t, policy, annActs, slow(41*time.Millisecond, failing(httpguard.ErrMissing)), &httpguard.Options{Pace: pace}, http.MethodGet)
		require.Equal(t, 2*pace, time.Since(began), "the next step")
		began = time.Now()
		answer(t, policy, annActs, failing(httpguard.ErrMissing), nil, http.MethodGet)
		require.Equal(t, httpguard.DefaultPace, time.Since(began))

		ctx, leave := context.WithCancel(t.Context())
		leave()
		began = time.Now()
		httpguard.Guard(policy, annActs, failing(httpguard.ErrMissing), nil)(nil).ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil))
		require.Zero(t, time.Since(began), "whoever left is not waited for")
	})
}

// The bodies are kept: what a client sees of a refusal.
func TestProblemsInTwoLanguages(t *testing.T) {
	policy := crm(t)
	type problem struct {
		Type, Title, Detail string
		Status              int
	}
	for _, c := range []struct{ accept, language, title string }{
		{"", "en", "Not Found"},
		{"de-CH, fr", "en", "Not Found"},
		{"zh-CN,zh;q=0.9,en;q=0.8", "zh", "未找到"},
		{"zh-Hant-TW", "zh", "未找到"},
		{"en;q=0.2, zh;q=0.9", "zh", "未找到"},
		{"en, zh;q=0.9", "en", "Not Found"},
		{"\x00;;;q=", "en", "Not Found"},
		{strings.Repeat("zh-", 5000), "en", "Not Found"},
	} {
		w, _ := answer(t, policy, annActs, failing(httpguard.ErrMissing), at, http.MethodGet, "Accept-Language", c.accept)
		require.Equal(t, c.language, w.Header().Get("Content-Language"), c.accept)
		require.Equal(t, "Accept-Language", w.Header().Get("Vary"))
		var got problem
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &got))
		require.Equal(t, c.title, got.Title)
		require.Equal(t, "about:blank", got.Type)
		require.Equal(t, 404, got.Status)
		require.NotEmpty(t, got.Detail)
	}
	w, _ := answer(t, policy, annActs, failing(errors.New("down")), at, http.MethodGet, "Accept-Language", "zh")
	require.Equal(t, `{"type":"about:blank","title":"暂时无法处理","status":503,"detail":"目前无法处理该请求,请稍后重试。"}`, w.Body.String())
}

// The log hears the cause, with the status; a panic without its value.
func TestTheCauseIsReported(t *testing.T) {
	policy := crm(t)
	var status int
	var cause error
	options := &httpguard.Options{
		Pace: -1, RetryAfter: 90 * time.Second, Challenge: `Bearer realm="crm"`,
		Report: func(_ context.Context, s int, err error) { status, cause = s, err },
	}
	down := errors.New("down")
	w, _ := answer(t, policy, annActs, failing(down), options, http.MethodGet)
	require.Equal(t, 503, status)
	require.ErrorIs(t, cause, down)
	require.Equal(t, "90", w.Header().Get("Retry-After"))

	_, _ = answer(t, policy, annActs, asks("contact.read", contact("other", "ann")), options, http.MethodGet)
	var denied *accesscontrol.Denied
	require.ErrorAs(t, cause, &denied)
	require.Equal(t, accesscontrol.OtherTenant, denied.Reason)

	_, _ = answer(t, policy, annActs, func(*http.Request, accesscontrol.Principal) (httpguard.Question, error) { panic("secret") }, options, http.MethodGet)
	var panicked *httpguard.PanicError
	require.ErrorAs(t, cause, &panicked)
	require.Equal(t, "secret", panicked.Value)
	require.NotEmpty(t, panicked.Stack)
	require.NotContains(t, cause.Error(), "secret")

	w, _ = answer(t, policy, func(*http.Request) (accesscontrol.Principal, error) {
		return accesscontrol.Principal{}, httpguard.ErrNobody
	}, nil, options, http.MethodGet)
	require.Equal(t, `Bearer realm="crm"`, w.Header().Get("WWW-Authenticate"))
}

// A handler gets what was asked, and the one who asks, bound to the policy.
func TestAHandlerGetsTheActor(t *testing.T) {
	_, ok := httpguard.From(t.Context())
	require.False(t, ok)
	policy := crm(t)
	called := false
	handler := httpguard.Guard(policy, annActs, asks("contact.read", contact("main", "ann")), nil)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		called = true
		access, ok := httpguard.From(r.Context())
		require.True(t, ok)
		require.Equal(t, contact("main", "ann"), access.Question.Resource)
		require.Equal(t, ann, access.Principal)
		require.NoError(t, access.Actor.Check(r.Context(), "contact.update", access.Question.Resource))
		require.ErrorIs(t, access.Actor.Check(r.Context(), "contact.delete", access.Question.Resource), accesscontrol.ErrDenied)
		w.WriteHeader(http.StatusTeapot)
	}))
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
	require.True(t, called)
	require.Equal(t, http.StatusTeapot, w.Code)
}

// A panic of the handler is the application's: it is not made into an answer.
func TestAPanicOfTheHandlerIsNotTaken(t *testing.T) {
	handler := httpguard.Guard(crm(t), annActs, asks("contact.read", contact("main", "ann")), nil)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("mine") }))
	require.PanicsWithValue(t, "mine", func() {
		handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
	})
}
