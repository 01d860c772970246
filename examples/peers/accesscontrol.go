package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go"

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

func accesscontrolContests(ctx context.Context, _ *bench) ([]contest, error) {
	var out []contest
	for _, policies := range []int{10, 1000} {
		asked := questions(policies)
		our, err := ourPolicy(ctx, policies, asked)
		if err != nil {
			return nil, err
		}
		ready, fresh, err := cedarPolicy(policies, asked)
		if err != nil {
			return nil, err
		}
		out = append(out, contest{
			Package: "accesscontrol",
			What:    fmt.Sprintf("one check among %d policies", policies),
			Note:    "1,000 questions in turn (10 users, 25 contacts, 4 actions), the same answers from all. Ours takes principal and record as Go values at each call. cedar.Authorize is measured with its entities built beforehand, which no application can do for rows it has just read, and built at each call.",
			Contestants: []contestant{
				checks("Policy.Check", ours, len(asked), our),
				checks("cedar.Authorize, entities built at the call", peer, len(asked), fresh),
				checks("cedar.Authorize, entities built beforehand", peer, len(asked), ready),
				checks("Go maps, hand-written", floor, len(asked), goMaps(policies, asked)),
			},
		})
	}
	return out, nil
}

// checks asks the questions in turn, in steps that go round all of them and
// make each short part of the round a sample of the whole.
func checks(name string, kind role, n int, ask func(i int) (bool, error)) contestant {
	const step = 257 // has no divisor in common with n
	asked := 0
	return contestant{
		Name: name, Role: kind,
		Answer: func() (string, error) {
			allowed, hash := 0, sha256.New()
			for i := range n {
				yes, err := ask(i)
				if err != nil {
					return "", err
				}
				if yes {
					allowed++
				}
				_, _ = fmt.Fprintf(hash, "%v", yes)
			}
			if allowed == 0 || allowed == n {
				return "", errors.New("the questions tell nothing apart")
			}
			return fmt.Sprintf("%d of %d allowed, %x", allowed, n, hash.Sum(nil)[:8]), nil
		},
		Run: func(runs int) error {
			for range runs {
				if _, err := ask(asked); err != nil {
					return err
				}
				if asked += step; asked >= n {
					asked -= n
				}
			}
			return nil
		},
	}
}

func ourPolicy(ctx context.Context, policies int, asked []question) (func(int) (bool, error), error) {
	texts := policyTexts(policies)
	texts["crm.cedarschema"] = policySchema
	policy, err := accesscontrol.Load(ctx, accesscontrol.Config{
		Texts: texts,
		Tables: []accesscontrol.Table{{
			Record: "contact", Entity: "Contact", Name: "contacts", Key: "id", OnlyTenant: "main", Read: "contact.read",
			Columns: []accesscontrol.Column{
				{Attr: "owner", Required: true},
				{Attr: "team", Required: true},
				{Attr: "stage", Required: true},
				{Attr: "blocked"},
			},
		}},
	})
	if err != nil {
		return nil, err
	}
	principals, records := make([]accesscontrol.Principal, len(asked)), make([]accesscontrol.Record, len(asked))
	for i, q := range asked {
		principals[i] = accesscontrol.Principal{
			Tenant: "main", ID: q.user, Attrs: map[string]any{"team": q.team},
			Parents: []accesscontrol.Ref{{Type: "Role", ID: q.role}},
		}
		attrs := map[string]any{"owner": q.owner, "team": q.contactTeam, "stage": q.stage}
		if q.blocked {
			attrs["blocked"] = true
		}
		records[i] = accesscontrol.Record{Type: "contact", ID: q.contact, Tenant: "main", Attrs: attrs}
	}
	return func(i int) (bool, error) {
		err := policy.Check(ctx, principals[i], asked[i].action, records[i])
		if err == nil || errors.Is(err, accesscontrol.ErrDenied) {
			return err == nil, nil
		}
		return false, err
	}, nil
}

// cedarPolicy asks the engine itself, with entities made beforehand and made
// at each call.
func cedarPolicy(policies int, asked []question) (ready, fresh func(int) (bool, error), err error) {
	all := strings.Join(slices.Collect(maps.Values(policyTexts(policies))), "")
	set, err := cedar.NewPolicySetFromBytes("crm.cedar", []byte(all))
	if err != nil {
		return nil, nil, err
	}
	entities := make([]cedar.EntityMap, len(asked))
	requests := make([]cedar.Request, len(asked))
	for i := range asked {
		entities[i], requests[i] = cedarQuestion(&asked[i])
	}
	answer := func(decision cedar.Decision, failed cedar.Diagnostic) (bool, error) {
		if len(failed.Errors) > 0 {
			return false, errors.New("a policy could not be evaluated")
		}
		return decision == cedar.Allow, nil
	}
	ready = func(i int) (bool, error) { return answer(cedar.Authorize(set, entities[i], requests[i])) }
	fresh = func(i int) (bool, error) {
		known, request := cedarQuestion(&asked[i])
		return answer(cedar.Authorize(set, known, request))
	}
	return ready, fresh, nil
}

func cedarQuestion(q *question) (cedar.EntityMap, cedar.Request) {
	user, contact := cedar.NewEntityUID("User", cedar.String(q.user)), cedar.NewEntityUID("Contact", cedar.String(q.contact))
	attrs := cedar.RecordMap{
		"owner": cedar.NewEntityUID("User", cedar.String(q.owner)), "team": cedar.String(q.contactTeam), "stage": cedar.String(q.stage),
	}
	if q.blocked {
		attrs["blocked"] = cedar.True
	}
	return cedar.EntityMap{
		user: cedar.Entity{
			UID: user, Parents: cedar.NewEntityUIDSet(cedar.NewEntityUID("Role", cedar.String(q.role))),
			Attributes: cedar.NewRecord(cedar.RecordMap{"team": cedar.String(q.team)}),
		},
		contact: cedar.Entity{UID: contact, Attributes: cedar.NewRecord(attrs)},
	}, cedar.Request{Principal: user, Action: cedar.NewEntityUID("Action", cedar.String(q.action)), Resource: contact}
}

type grant struct{ role, action string }

// goMaps is the rule of policyTexts as a programmer would write it down.
func goMaps(policies int, asked []question) func(int) (bool, error) {
	grants := map[grant]bool{}
	for i := range policies - 1 {
		grants[grant{roleName(i / len(actionNames)), actionNames[i%len(actionNames)]}] = true
	}
	return func(i int) (bool, error) {
		q := &asked[i]
		return !q.blocked && grants[grant{q.role, q.action}] && (q.owner == q.user || q.contactTeam == q.team), nil
	}
}
