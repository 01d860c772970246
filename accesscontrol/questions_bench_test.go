package accesscontrol_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
)

const questionSchema = `entity Role;
entity User in [Role] { team: String };
entity Contact { owner: User, team: String, stage: String, blocked?: Bool };
action "read", "update", "delete", "export" appliesTo { principal: [User], resource: [Contact] };
`

// questionPolicy is a forbid and 999 permits, each for one role and one action.
func questionPolicy(b *testing.B) *accesscontrol.Policy {
	b.Helper()
	texts := map[string]string{"crm.cedarschema": questionSchema}
	for i := range 1_000 {
		text := "@id(\"blocked\") forbid (principal, action, resource) when { resource has blocked && resource.blocked };\n"
		if i > 0 {
			text = fmt.Sprintf("@id(\"p%d\") permit (principal in Role::\"r%d\", action == Action::%q, resource) when { resource.owner == principal || resource.team == principal.team };\n",
				i, (i-1)/len(questionActions), questionActions[(i-1)%len(questionActions)])
		}
		texts[fmt.Sprintf("%02d.cedar", i/100)] += text
	}
	policy, err := accesscontrol.Load(b.Context(), accesscontrol.Config{Texts: texts, Tables: []accesscontrol.Table{{
		Resource: "contact", Entity: "Contact", Name: "contacts", Key: "id", OnlyTenant: "main", Read: "read",
		Columns: []accesscontrol.Column{{Attr: "owner", Required: true}, {Attr: "team", Required: true}, {Attr: "stage", Required: true}, {Attr: "blocked"}},
	}}})
	require.NoError(b, err)
	return policy
}

var questionActions = [...]string{"read", "update", "delete", "export"}

// bound is a question of a principal that is bound already.
type bound struct {
	by     *accesscontrol.Actor
	action string
	record accesscontrol.Resource
}

// questionsOf are ten users with four actions on 25 contacts.
func questionsOf(b *testing.B, policy *accesscontrol.Policy) (out []bound) {
	b.Helper()
	var users []*accesscontrol.Actor
	for u := range 10 {
		actor, err := policy.For(accesscontrol.Principal{
			Tenant: "main", ID: fmt.Sprintf("u%d", u), Attrs: map[string]any{"team": fmt.Sprintf("team%d", u%3)},
			Parents: []accesscontrol.Ref{{Type: "Role", ID: fmt.Sprintf("r%d", u*31)}},
		})
		require.NoError(b, err)
		users = append(users, actor)
	}
	for n := range 1_000 {
		c := n / 10 % 25
		attrs := map[string]any{"owner": fmt.Sprintf("u%d", c%10), "team": fmt.Sprintf("team%d", c%4), "stage": "open"}
		if c%11 == 3 {
			attrs["blocked"] = true
		}
		out = append(out, bound{users[n%10], questionActions[n/250], accesscontrol.Resource{Type: "contact", ID: fmt.Sprintf("c%d", c), Tenant: "main", Attrs: attrs}})
	}
	return out
}

// BenchmarkQuestions asks many questions in turn: all of them, and those that
// are answered with yes and with no.
func BenchmarkQuestions(b *testing.B) {
	all := questionsOf(b, questionPolicy(b))
	denied := func(q bound) bool { return q.by.Check(b.Context(), q.action, q.record) != nil }
	for name, asked := range map[string][]bound{
		"all":     all,
		"allowed": slices.DeleteFunc(slices.Clone(all), denied),
		"denied":  slices.DeleteFunc(slices.Clone(all), func(q bound) bool { return !denied(q) }),
	} {
		b.Run("answer="+name, func(b *testing.B) {
			ctx, i := b.Context(), 0
			b.ReportAllocs()
			for b.Loop() {
				q := &asked[i]
				if i += 257; i >= len(asked) {
					i %= len(asked)
				}
				_ = q.by.Check(ctx, q.action, q.record)
			}
		})
	}
}
