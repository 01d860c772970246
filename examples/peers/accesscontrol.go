package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/crmguard/crmguard/accesscontrol"
)

const policySchema = `entity Role;
entity User in [Role] { team: String };
entity Contact { owner: User, team: String, stage: String, blocked?: Bool };
action "contact.read", "contact.update", "contact.delete", "contact.export"
	appliesTo { principal: [User], resource: [Contact] };
`

// policyTexts is one forbid and otherwise permits, each for one role and one
// action, as roles of a CRM are written down, in files of 100 policies.
func policyTexts(policies int) map[string]string {
	texts := map[string]string{}
	for i := range policies {
		text := "@id(\"blocked\")\nforbid (principal, action, resource)\nwhen { resource has blocked && resource.blocked };\n"
		if i > 0 {
			role, action := roleName((i-1)/len(actionNames)), actionNames[(i-1)%len(actionNames)]
			text = fmt.Sprintf("@id(\"%s-%s\")\npermit (principal in Role::%q, action == Action::%q, resource)\nwhen { resource.owner == principal || resource.team == principal.team };\n", role, action, role, action)
		}
		texts[fmt.Sprintf("%02d.cedar", i/100)] += text
	}
	return texts
}

var actionNames = [...]string{"contact.read", "contact.update", "contact.delete", "contact.export"}

func roleName(i int) string { return fmt.Sprintf("role%d", i) }

// A question is who wants to do what to which contact, in plain Go.
type question struct {
	user, role, team, action           string
	contact, owner, contactTeam, stage string
	blocked                            bool
}

// questions are 10 users with 4 actions on 25 contacts, roles spread over the
// policies; some users have roles that no policy names.
func questions(policies int) []question {
	roles := policies/len(actionNames) + 1
	var out []question
	for n := range 1000 {
		u, c, a := n%10, n/10%25, n/250
		out = append(out, question{
			user: fmt.Sprintf("u%d", u), role: roleName(u * roles / 8), team: fmt.Sprintf("team%d", u%3), action: actionNames[a],
			contact: fmt.Sprintf("c%d", c), owner: fmt.Sprintf("u%d", c%10), contactTeam: fmt.Sprintf("team%d", c%4), stage: "open",
			blocked: c%11 == 3,
		})
	}
	return out
}

// policyConfig binds the contacts of policyTexts to a table.
func policyConfig(policies int) accesscontrol.Config {
	texts := policyTexts(policies)
	texts["crm.cedarschema"] = policySchema
	return accesscontrol.Config{
		Texts: texts,
		Tables: []accesscontrol.Table{{
			Resource: "contact", Entity: "Contact", Name: "contacts", Key: "id", OnlyTenant: "main", Read: "contact.read",
			Columns: []accesscontrol.Column{
				{Attr: "owner", Required: true},
				{Attr: "team", Required: true},
				{Attr: "stage", Required: true},
				{Attr: "blocked"},
			},
		}},
		Hold: 24 * time.Hour, // longer than any contest
	}
}

func (q *question) principal() accesscontrol.Principal {
	return accesscontrol.Principal{
		Tenant: "main", ID: q.user, Attrs: map[string]any{"team": q.team},
		Parents: []accesscontrol.Ref{{Type: "Role", ID: q.role}},
	}
}

func (q *question) record() accesscontrol.Resource {
	attrs := map[string]any{"owner": q.owner, "team": q.contactTeam, "stage": q.stage}
	if q.blocked {
		attrs["blocked"] = true
	}
	return accesscontrol.Resource{Type: "contact", ID: q.contact, Tenant: "main", Attrs: attrs}
}

// ourPolicy is handed principal and record at each call: made beforehand, and
// made from what the question says.
func ourPolicy(ctx context.Context, policies int, asked []question) (ready, fresh func(int) (bool, error), err error) {
	policy, err := accesscontrol.Load(ctx, policyConfig(policies))
	if err != nil {
		return nil, nil, err
	}
	principals, records := make([]accesscontrol.Principal, len(asked)), make([]accesscontrol.Resource, len(asked))
	for i := range asked {
		principals[i], records[i] = asked[i].principal(), asked[i].record()
	}
	ready = func(i int) (bool, error) {
		return granted(policy.Check(ctx, principals[i], asked[i].action, records[i]))
	}
	fresh = func(i int) (bool, error) {
		q := &asked[i]
		return granted(policy.Check(ctx, q.principal(), q.action, q.record()))
	}
	return ready, fresh, nil
}

// A held question is one whose principal is bound already, as in the middle of a
// request.
type held struct {
	by     *accesscontrol.Actor
	action string
	record accesscontrol.Resource
}

func (h *held) check(ctx context.Context) error { return h.by.Check(ctx, h.action, h.record) }

// holds binds each principal once.
func holds(policy *accesscontrol.Policy, asked []question) ([]held, error) {
	actors := map[string]*accesscontrol.Actor{}
	out := make([]held, len(asked))
	for i := range asked {
		q := &asked[i]
		if actors[q.user] == nil {
			actor, err := policy.For(q.principal())
			if err != nil {
				return nil, err
			}
			actors[q.user] = actor
		}
		out[i] = held{actors[q.user], q.action, q.record()}
	}
	return out, nil
}

// ourActors is asked by principals that are bound.
func ourActors(ctx context.Context, policies int, asked []question) (func(int) (bool, error), error) {
	policy, err := accesscontrol.Load(ctx, policyConfig(policies))
	if err != nil {
		return nil, err
	}
	all, err := holds(policy, asked)
	return func(i int) (bool, error) { return granted(all[i].check(ctx)) }, err
}

func granted(err error) (bool, error) {
	if err == nil || errors.Is(err, accesscontrol.ErrDenied) {
		return err == nil, nil
	}
	return false, err
}

type grant struct{ role, action string }

// grantsOf are the permits of policyTexts.
func grantsOf(policies int) []grant {
	var grants []grant
	for i := range policies - 1 {
		grants = append(grants, grant{roleName(i / len(actionNames)), actionNames[i%len(actionNames)]})
	}
	return grants
}

// goMaps is the rule of policyTexts as a programmer would write it down.
func goMaps(policies int, asked []question) func(int) (bool, error) {
	grants := map[grant]bool{}
	for _, g := range grantsOf(policies) {
		grants[g] = true
	}
	return func(i int) (bool, error) {
		q := &asked[i]
		return !q.blocked && grants[grant{q.role, q.action}] && (q.owner == q.user || q.contactTeam == q.team), nil
	}
}
