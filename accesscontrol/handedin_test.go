package accesscontrol

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// An Actor is who was handed in, whatever the caller does with the slices and maps
// after that: one that fills them for the next person lends nobody their roles.
func TestAnActorKeepsWhoWasHandedIn(t *testing.T) {
	p := memoPolicy(t)
	config := p.current.Load().config
	config.Texts["s.cedarschema"] = `entity Role in [Role] = { zone?: String }; entity User in [Role] = { teams?: Set<String>, role?: Role, at?: { zone: String } }; entity Note = { team: String };
		action read, write appliesTo { principal: User, resource: Note, context: { purposes?: Set<String>, now?: Long, place?: { name: String } } };`
	config.Texts["p.cedar"] += `@id("zone") permit (principal, action, resource) when { principal has at && principal.at.zone == resource.team };
		@id("role.zone") permit (principal, action, resource) when { principal has role && principal.role has zone && principal.role.zone == resource.team };
		@id("place") permit (principal, action, resource) when { context has place && context.place.name == resource.team };`
	require.NoError(t, p.Reload(t.Context(), config))
	type words []string
	teams, zone, place, purpose := words{"x"}, []byte("x"), map[string]any{"name": "x"}, "x"
	ann := Principal{
		Tenant: "main", ID: "ann", Parents: []Ref{{"Role", "none"}},
		Entities: []Entity{{Type: "Role", ID: "none", Attrs: map[string]any{"zone": "x"}, Parents: []Ref{{"Role", "x"}}}},
		Attrs:    map[string]any{"role": "none", "teams": teams, "at": map[string]any{"zone": zone}},
		Context:  map[string]any{"place": place, "purposes": []*string{&purpose}},
	}
	actor, err := p.For(ann)
	require.NoError(t, err)
	ann.Parents[0].ID, ann.Entities[0].Parents[0].ID, ann.Entities[0].Attrs["zone"] = "clerk", "clerk", "y"
	teams[0], zone[0], place["name"], purpose = "y", 'y', "y", "y"
	for range 2 {
		require.ErrorIs(t, actor.Check(t.Context(), "read", note("y")), ErrDenied)
		require.NoError(t, p.Reload(t.Context(), config)) // reads the principal again
	}
	for _, permit := range []string{"team", "zone", "role.zone", "place", "purpose"} {
		d, err := actor.Decide(t.Context(), "read", note("x"))
		require.NoError(t, err)
		require.Contains(t, d.Policies, permit)
	}
}

// How old a principal is counts from the question to its source, not from the
// answer.
func TestASourceThatHangsAnswersForNoLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, roles, reads := memoPolicy(t), []string{"clerk"}, 0
		actor, err := p.Follow(t.Context(), func(context.Context) (Principal, func(time.Time) bool, error) {
			reads++
			who := clerk(roles...)
			time.Sleep(DefaultHold - time.Second) // the rows were read, and the answer hangs
			return who, nil, nil
		})
		require.NoError(t, err)
		require.NoError(t, actor.Check(t.Context(), "read", note("x")))
		require.Equal(t, 1, reads)
		roles = nil
		time.Sleep(2 * time.Second)
		require.ErrorIs(t, actor.Check(t.Context(), "read", note("x")), ErrDenied)
	})
}

// A value of the context that no policy reads is not looked at, good or bad: one
// bad question of a person does not stand in the way of their next one.
func TestABadContextDoesNotStay(t *testing.T) {
	p := memoPolicy(t)
	config := p.current.Load().config
	config.Texts["s.cedarschema"] = `entity Role; entity User in [Role] = { teams?: Set<String> }; entity Note = { team: String };
		action read appliesTo { principal: User, resource: Note, context: { purposes?: Set<String>, at?: datetime } };
		action write appliesTo { principal: User, resource: Note, context: { purposes?: Set<String>, at: datetime } };`
	require.NoError(t, p.Reload(t.Context(), config))
	ask := func(at string) error {
		ann := clerk("clerk")
		ann.Context = map[string]any{"at": at}
		return p.Check(t.Context(), ann, "read", note("x"))
	}
	first := ask("yesterday")
	require.NoError(t, ask("2026-01-02"))
	require.Equal(t, first, ask("yesterday"))
	require.ErrorIs(t, p.Check(t.Context(), clerk("clerk"), "write", note("x")), ErrRequest, "what is required is there")
}
