package httpguard_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/accesscontrol/httpguard"
)

// The application: a table of contacts, and a session that says who asks.
var owners = map[string]string{"c1": "ann", "c2": "bob"}

func who(r *http.Request) (accesscontrol.Principal, error) {
	user, _, ok := r.BasicAuth() // or a session, a token
	if !ok {
		return accesscontrol.Principal{}, httpguard.ErrNobody // 401
	}
	return accesscontrol.Principal{ID: user, Tenant: "main"}, nil
}

func route(r *http.Request, who accesscontrol.Principal) (httpguard.Question, error) {
	id := r.PathValue("id")
	owner, found := owners[id] // SELECT … WHERE id = ? AND tenant = who.Tenant
	if !found {
		return httpguard.Question{}, httpguard.ErrMissing // 404
	}
	action := map[string]string{http.MethodGet: "contact.read", http.MethodDelete: "contact.delete"}[r.Method]
	record := accesscontrol.Resource{Type: "contact", ID: id, Tenant: who.Tenant, Attrs: map[string]any{"owner": owner}}
	return httpguard.Question{Action: action, Resource: record}, nil
}

func show(w http.ResponseWriter, r *http.Request) {
	access, _ := httpguard.From(r.Context())
	fmt.Fprint(w, access.Question.Resource.ID, " for ", access.Principal.ID)
}

// Ann reads her contact, and may not delete it; of Bob's she hears as of one
// that is not there.
func Example() {
	policy, err := accesscontrol.Load(context.Background(), accesscontrol.Config{
		Texts: map[string]string{
			"crm.cedarschema": `entity User; entity Contact = { owner: User }; action "contact.read", "contact.delete" appliesTo { principal: User, resource: Contact };`,
			"crm.cedar":       `@id("own") permit (principal, action == Action::"contact.read", resource) when { resource.owner == principal };`,
		},
		Tables: []accesscontrol.Table{{
			Resource: "contact", Entity: "Contact", Name: "contacts", Key: "id", Tenant: "tenant",
			Columns: []accesscontrol.Column{{Attr: "owner", Required: true}}, Read: "contact.read",
		}},
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/contacts/{id}", httpguard.Guard(policy, who, route, nil)(http.HandlerFunc(show)))

	for _, ask := range []struct{ user, method, id string }{
		{"ann", http.MethodGet, "c1"}, {"ann", http.MethodDelete, "c1"}, {"ann", http.MethodGet, "c2"}, {"ann", http.MethodGet, "c9"}, {"", http.MethodGet, "c1"},
	} {
		r, w := httptest.NewRequest(ask.method, "/contacts/"+ask.id, nil), httptest.NewRecorder()
		if ask.user != "" {
			r.SetBasicAuth(ask.user, "")
		}
		mux.ServeHTTP(w, r)
		fmt.Println(ask.method, ask.id, w.Code, w.Body)
	}
	// Output:
	// GET c1 200 c1 for ann
	// DELETE c1 403 {"type":"about:blank","title":"Forbidden","status":403,"detail":"You may see this, and may not do this to it."}
	// GET c2 404 {"type":"about:blank","title":"Not Found","status":404,"detail":"There is nothing here that you may see."}
	// GET c9 404 {"type":"about:blank","title":"Not Found","status":404,"detail":"There is nothing here that you may see."}
	// GET c1 401 {"type":"about:blank","title":"Unauthorized","status":401,"detail":"Log in, and try again."}
}
