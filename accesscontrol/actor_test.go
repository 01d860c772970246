package accesscontrol

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// An Actor sees a policy that is replaced at its next call, and answers for as
// long as the config says.
func TestAnActorSeesTheNextPolicyAndGrowsStale(t *testing.T) {
	p := memoPolicy(t)
	ann, err := p.For(Principal{Tenant: "main", ID: "ann", Parents: []Ref{{"Role", "clerk"}}})
	require.NoError(t, err)
	require.NoError(t, ann.Check(t.Context(), "read", note("x")))
	config := p.current.Load().config
	require.NoError(t, p.Reload(t.Context(), config.Replaced("")))
	require.ErrorIs(t, ann.Check(t.Context(), "read", note("x")), ErrDenied)
	require.NoError(t, p.Reload(t.Context(), config))
	require.NoError(t, ann.Check(t.Context(), "read", note("x")))

	made := ann.age.steady
	for _, at := range []time.Time{
		made.Add(-DefaultHold - time.Second), // both clocks went on
		made.Add(time.Hour),                  // set back by an hour
		made.AddDate(10, 0, 0).Round(0),      // by ten years
		made.AddDate(-10, 0, 0).Round(0),     // on by ten years, as a machine that slept
	} {
		ann.age.steady, ann.age.wall = at, at.Round(0)
		require.ErrorIs(t, ann.Check(t.Context(), "read", note("x")), ErrStale, "%v", at.Sub(made))
		_, err = ann.Decide(t.Context(), "read", note("x"))
		require.ErrorIs(t, err, ErrStale)
		_, err = ann.Filter(t.Context(), "read", "note")
		require.ErrorIs(t, err, ErrStale)
		_, err = ann.Fields(t.Context(), note("x"))
		require.ErrorIs(t, err, ErrStale)
		require.ErrorIs(t, ann.CheckChange(t.Context(), note("x"), note("y")), ErrStale)
	}
	config.Hold = 20 * 365 * 24 * time.Hour
	require.NoError(t, p.Reload(t.Context(), config))
	require.NoError(t, ann.Check(t.Context(), "read", note("x")))
}

// A schema that no longer knows the principal refuses, rather than going on
// with what was true before.
func TestAnActorThatTheNextSchemaRefuses(t *testing.T) {
	p := memoPolicy(t)
	ann, err := p.For(Principal{Tenant: "main", ID: "ann", Parents: []Ref{{"Role", "clerk"}}})
	require.NoError(t, err)
	require.NoError(t, p.Reload(t.Context(), Config{
		Texts: map[string]string{
			"s.cedarschema": `entity Role; entity User; entity Note = { team: String }; action read appliesTo { principal: User, resource: Note };`,
			"p.cedar":       `@id("all") permit (principal, action, resource);`,
		},
		Tables: []Table{{Resource: "note", Entity: "Note"}},
	}))
	require.ErrorIs(t, ann.Check(t.Context(), "read", note("x")), ErrRequest)
	_, err = p.For(Principal{ID: "ann"})
	require.ErrorIs(t, err, ErrTenant)
	_, err = (*Policy)(nil).For(Principal{Tenant: "main", ID: "ann"})
	require.ErrorIs(t, err, ErrNotLoaded)
}
