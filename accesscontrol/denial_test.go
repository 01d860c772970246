package accesscontrol

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// sheets are records with a forbid each for two of their attributes.
func sheets(t *testing.T, more string) *Policy {
	t.Helper()
	p, err := Load(t.Context(), Config{
		Texts: map[string]string{
			"s.cedarschema": `entity Role; entity User in [Role] = { level?: Long }; entity Sheet = { held?: Bool, old?: Bool, team: String };
				action read, write appliesTo { principal: User, resource: Sheet };`,
			"p.cedar": `@id("held") forbid (principal, action, resource) when { resource has held && resource.held };
				@id("old") forbid (principal, action, resource) when { resource has old && resource.old };
				@id("team") permit (principal, action, resource) when { resource.team == "a" };` + more,
		},
		Tables: []Table{{Resource: "sheet", Entity: "Sheet"}},
	})
	require.NoError(t, err)
	return p
}

func sheet(tenant, team string, held, old bool) Resource {
	return Resource{Type: "sheet", ID: "s", Tenant: tenant, Attrs: map[string]any{"team": team, "held": held, "old": old}}
}

// A denial that was made for one record is another's only where it would be the
// same.
func TestEachDenialSaysWhatHoldsForItsRecord(t *testing.T) {
	var permits strings.Builder
	for i := range maxRules {
		fmt.Fprintf(&permits, "@id(\"more%d\") permit (principal, action, resource) when { resource.team == \"b%d\" };\n", i, i)
	}
	for _, more := range []string{"", permits.String()} {
		p := sheets(t, more)
		ann, err := p.For(Principal{Tenant: "main", ID: "ann"})
		require.NoError(t, err)
		for range 3 {
			for _, of := range []struct {
				record   Resource
				reason   Reason
				policies []string
			}{
				{sheet("main", "z", false, false), NotPermitted, nil},
				{sheet("other", "z", false, false), OtherTenant, nil},
				{sheet("other", "a", true, false), OtherTenant, nil},
				{sheet("main", "a", true, false), Forbidden, []string{"held"}},
				{sheet("main", "z", true, false), Forbidden, []string{"held"}},
				{sheet("main", "a", false, true), Forbidden, []string{"old"}},
				{sheet("main", "a", true, true), Forbidden, []string{"held", "old"}},
			} {
				for _, action := range []string{"read", "write"} {
					var denied *Denied
					err := ann.Check(t.Context(), action, of.record)
					require.ErrorAs(t, err, &denied)
					require.Equal(t, &Denied{Action: action, Resource: "sheet", Decision: Decision{Reason: of.reason, Policies: of.policies, PolicySet: p.Hash()}}, denied)
					require.Equal(t, denied.Error(), err.Error())
					require.ErrorIs(t, err, ErrDenied)
					d, err := ann.Decide(t.Context(), action, of.record)
					require.NoError(t, err)
					require.Equal(t, d.Policies, denied.Policies)
				}
			}
			require.NoError(t, ann.Check(t.Context(), "read", sheet("main", "a", false, false)))
		}
	}
}

// What fails of a record is told apart from what holds.
func TestADenialSaysWhatFailed(t *testing.T) {
	p := sheets(t, `@id("a") forbid (principal, action, resource) when { resource.team == "y" };
		@id("b") forbid (principal, action, resource) when { resource.team == "z" && principal has level && 9223372036854775807 + principal.level > 0 };
		@id("c") permit (principal, action, resource) when { resource.team == "x" && principal has level && 9223372036854775807 + principal.level > 0 };`)
	ann, err := p.For(Principal{Tenant: "main", ID: "ann", Attrs: map[string]any{"level": 1}})
	require.NoError(t, err)
	for range 2 {
		for team, want := range map[string]Decision{
			"w": {Reason: NotPermitted},
			"x": {Reason: NotPermitted, Failed: []string{"c"}},
			"y": {Reason: Forbidden, Policies: []string{"a"}},
			"z": {Reason: ForbidFailed, Policies: []string{"b"}, Failed: []string{"b"}},
		} {
			var denied *Denied
			require.ErrorAs(t, ann.Check(t.Context(), "read", sheet("main", team, false, false)), &denied)
			want.PolicySet = p.Hash()
			require.Equal(t, want, denied.Decision, team)
		}
	}
}

// Who is handed a denial may change it, and changes nobody else's.
func TestADenialBelongsToWhoeverAsksForIt(t *testing.T) {
	ann, err := sheets(t, "").For(Principal{Tenant: "main", ID: "ann"})
	require.NoError(t, err)
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			for range 50 {
				var denied *Denied
				if !errors.As(ann.Check(t.Context(), "read", sheet("main", "a", true, true)), &denied) || denied.Policies[0] != "held" || denied.Reason != Forbidden {
					t.Error("the denial of another caller")
					return
				}
				denied.Policies[0], denied.Reason = "", ""
			}
		})
	}
	callers.Wait()
}

// A second check of the same principal allocates nothing, whatever the answer.
func TestASecondCheckAllocatesNothing(t *testing.T) {
	ann, err := sheets(t, "").For(Principal{Tenant: "main", ID: "ann"})
	require.NoError(t, err)
	for name, record := range map[string]Resource{
		"permitted": sheet("main", "a", false, false), "not permitted": sheet("main", "z", false, false),
		"forbidden": sheet("main", "a", true, true), "another tenant's": sheet("other", "a", false, false),
	} {
		ctx := t.Context()
		allocs := testing.AllocsPerRun(100, func() { _ = ann.Check(ctx, "read", record) })
		if !raceEnabled { // which takes rows out of the pool
			require.Zero(t, allocs, name)
		}
	}
}

// What is kept of denials is bounded.
func TestFewDenialsAreKept(t *testing.T) {
	var text strings.Builder
	for i := range maxRules / 2 {
		fmt.Fprintf(&text, "@id(\"f%d\") forbid (principal, action, resource) when { resource.team == \"t%d\" };\n", i, i)
	}
	p := sheets(t, text.String())
	ann, err := p.For(Principal{Tenant: "main", ID: "ann"})
	require.NoError(t, err)
	for i := range maxRules / 2 {
		for _, held := range []bool{false, true} {
			want := []string{fmt.Sprintf("f%d", i)}
			if held {
				want = append(want, "held")
			}
			var denied *Denied
			require.ErrorAs(t, ann.Check(t.Context(), "read", sheet("main", fmt.Sprintf("t%d", i), held, false)), &denied)
			require.Equal(t, want, denied.Policies)
		}
	}
	state := ann.state.Load()
	require.Len(t, *state.residuals.Load().find(asked{"read", "sheet"}).denials.Load(), maxDenials)
}
