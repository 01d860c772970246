package accesscontrol

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// wide is a table of a required attribute, n more, one without a column, and a
// field that is no attribute.
func wide(t *testing.T, n int) *Actor {
	t.Helper()
	var attrs strings.Builder
	columns := []Column{{Attr: "team", Required: true}, {Attr: "note"}}
	for i := range n {
		fmt.Fprintf(&attrs, ", a%d?: Long", i)
		columns = append(columns, Column{Attr: fmt.Sprintf("a%d", i)})
	}
	p, err := Load(t.Context(), Config{
		Texts: map[string]string{
			"s.cedarschema": `entity User; entity Sheet = { team: String, loose?: String` + attrs.String() + ` }; action read appliesTo { principal: User, resource: Sheet };`,
			"p.cedar":       `@id("team") permit (principal, action, resource) when { resource.team == "a" && !(resource has a0) };`,
		},
		Tables: []Table{{Resource: "sheet", Entity: "Sheet", Name: "sheets", Key: "id", OnlyTenant: "main", Columns: columns}},
	})
	require.NoError(t, err)
	ann, err := p.For(Principal{Tenant: "main", ID: "ann"})
	require.NoError(t, err)
	return ann
}

// However many attributes a record has of those of its table, whatever does not
// fit is refused, and nothing of the record before is left.
func TestWhateverDoesNotFitIsRefusedInRecordsOfAnyWidth(t *testing.T) {
	for _, of := range []int{1, 3, 60} {
		ann := wide(t, of)
		for _, given := range []int{0, 2, of - 1} {
			record := func(more map[string]any) Resource {
				attrs := map[string]any{"team": "a"}
				for i := range given {
					attrs[fmt.Sprintf("a%d", min(1+i, of-1))] = 5
				}
				delete(attrs, "a0")
				for name, v := range more {
					attrs[name] = v
					if v == "out" {
						delete(attrs, name)
					}
				}
				return Resource{Type: "sheet", ID: "s", Tenant: "main", Attrs: attrs}
			}
			for range 2 {
				require.ErrorIs(t, ann.Check(t.Context(), "read", record(map[string]any{"a0": 5})), ErrDenied)
				require.NoError(t, ann.Check(t.Context(), "read", record(nil)), "what the record before had is absent here")
			}
			require.NoError(t, ann.Check(t.Context(), "read", record(map[string]any{"note": "x"})), "a field")
			require.NoError(t, ann.Check(t.Context(), "read", record(map[string]any{"note": "x", "loose": "y"})), "an attribute that has no column")
			require.NoError(t, ann.Check(t.Context(), "read", record(map[string]any{"a0": nil})), "NULL")
			for text, more := range map[string]map[string]any{
				"resource taem": {"taem": "a"}, "resource Team": {"note": "x", "Team": "a"},
				"resource a0": {"a0": "five"}, "resource team": {"team": "out"},
				"resource team: ": {"team": nil, "note": "x"},
			} {
				err := ann.Check(t.Context(), "read", record(more))
				require.ErrorIs(t, err, ErrRequest, "%d of %d, %v", given, of, more)
				require.ErrorContains(t, err, text)
			}
		}
	}
}

// More questions than are looked at one by one are found, too, and each is
// worked out once.
func TestEachResidualIsKept(t *testing.T) {
	k := new(residuals)
	made := map[asked]*residual{}
	for i := range 3 * firstResiduals {
		key := asked{fmt.Sprintf("action%d", i%8), fmt.Sprintf("record%d", i/8)}
		require.Nil(t, k.find(key))
		made[key] = new(residual)
		before, size := k, len(made)
		k = k.with(key, made[key])
		require.Nil(t, before.find(key), "those who look at the smaller one meanwhile")
		require.Len(t, k.all, size)
		before.with(asked{"another", "one"}, nil)
		require.Same(t, made[key], k.find(key), "and whoever makes it larger otherwise")
	}
	for key, r := range made {
		require.Same(t, r, k.find(key))
	}
}
