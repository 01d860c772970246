package accesscontrol

import (
	"bytes"
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func drawValue(t *rapid.T) any {
	text := rapid.SampledFrom([]string{"", "a", "b", "ab", "a\x00", "\x01a"})
	switch rapid.IntRange(0, 10).Draw(t, "kind") {
	case 0:
		return nil
	case 1:
		return text.Draw(t, "text")
	case 2:
		return rapid.IntRange(-2, 2).Draw(t, "int")
	case 3:
		return int64(rapid.IntRange(-2, 2).Draw(t, "int64"))
	case 4:
		return rapid.Bool().Draw(t, "bool")
	case 5:
		return Ref{text.Draw(t, "type"), text.Draw(t, "id")}
	case 6:
		return rapid.SliceOfN(text, 0, 3).Draw(t, "texts")
	case 7:
		return rapid.SliceOfN(rapid.Int64Range(-2, 2), 0, 3).Draw(t, "int64s")
	case 8:
		return rapid.SliceOfN(rapid.IntRange(-2, 2), 0, 3).Draw(t, "ints")
	case 9:
		return rapid.SliceOfN(rapid.Bool(), 0, 3).Draw(t, "bools")
	default:
		return rapid.SliceOfN(rapid.Custom(drawRef), 0, 2).Draw(t, "refs")
	}
}

func drawRef(t *rapid.T) Ref {
	text := rapid.SampledFrom([]string{"", "a", "b", "ab"})
	return Ref{text.Draw(t, "type"), text.Draw(t, "id")}
}

func drawValues(t *rapid.T) map[string]any {
	return rapid.MapOfN(rapid.SampledFrom([]string{"", "a", "b", "ab"}), rapid.Custom(drawValue), 0, 3).Draw(t, "values")
}

func drawEntity(t *rapid.T) Entity {
	ref := drawRef(t)
	return Entity{Type: ref.Type, ID: ref.ID, Attrs: drawValues(t), Parents: rapid.SliceOfN(rapid.Custom(drawRef), 0, 2).Draw(t, "parents")}
}

func drawPrincipal(t *rapid.T) Principal {
	e := drawEntity(t)
	return Principal{
		Tenant: rapid.SampledFrom([]string{"", "a", "ab"}).Draw(t, "tenant"), Type: e.Type, ID: e.ID, Attrs: e.Attrs, Parents: e.Parents,
		Entities: rapid.SliceOfN(rapid.Custom(drawEntity), 0, 2).Draw(t, "entities"), Context: drawValues(t),
	}
}

// What is kept for one principal is never found for another one.
func TestPrincipalsThatDifferAreWrittenDifferently(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, q := drawPrincipal(t), drawPrincipal(t)
		switch rapid.IntRange(0, 3).Draw(t, "alike") { // near misses, not only strangers
		case 0:
			q = p
			q.Attrs = drawValues(t)
		case 1:
			q = p
			q.Context = drawValues(t)
		case 2:
			q = p
			q.Parents, q.Entities = drawEntity(t).Parents, rapid.SliceOfN(rapid.Custom(drawEntity), 0, 2).Draw(t, "other entities")
		}
		read := map[string]bool{"": true, "a": true, "b": true, "ab": true}
		a, comparable := appendPrincipal(nil, &p, read)
		b, alsoComparable := appendPrincipal(nil, &q, read)
		if !comparable || !alsoComparable {
			t.Fatal("every value that is drawn is written")
		}
		if same := reflect.DeepEqual(p, q); bytes.Equal(a, b) != same {
			t.Fatalf("equal %v, written alike %v:\n%#v\n%#v", same, bytes.Equal(a, b), p, q)
		}
	})
}

// A time in the context that no policy reads makes nobody somebody else; one
// that some policy reads does.
func TestContextCountsWhereItIsRead(t *testing.T) {
	at := func(now any) *Principal {
		return &Principal{Tenant: "main", ID: "ann", Context: map[string]any{"now": now}}
	}
	write := func(now any, read bool) string {
		out, comparable := appendPrincipal(nil, at(now), map[string]bool{"now": read})
		require.True(t, comparable)
		return string(out)
	}
	require.Equal(t, write(1, false), write(2, false))
	require.NotEqual(t, write(1, true), write(2, true))
	require.NotEqual(t, write(1, false), write("1", false), "a type that the schema may refuse")
	_, comparable := appendPrincipal(nil, at(struct{}{}), nil)
	require.False(t, comparable)
}

func memoPolicy(t *testing.T) *Policy {
	t.Helper()
	p, err := Load(t.Context(), Config{
		Texts: map[string]string{
			"s.cedarschema": `entity Role; entity User in [Role] = { teams?: Set<String> }; entity Note = { team: String };
				action read, write appliesTo { principal: User, resource: Note, context: { purposes?: Set<String>, now?: Long } };`,
			"p.cedar": `@id("role") permit (principal in Role::"clerk", action, resource);
				@id("team") permit (principal, action, resource) when { principal has teams && principal.teams.contains(resource.team) };
				@id("purpose") permit (principal, action, resource) when { context has purposes && context.purposes.contains(resource.team) };`,
		},
		Tables: []Table{{Resource: "note", Entity: "Note"}},
	})
	require.NoError(t, err)
	return p
}

func note(team string) Resource {
	return Resource{Type: "note", ID: "n", Tenant: "main", Attrs: map[string]any{"team": team}}
}

// A right that is taken from a principal is gone with the next call, also where
// the principal is in the same maps and slices as before.
func TestARightThatIsTakenIsGone(t *testing.T) {
	p := memoPolicy(t)
	ann := Principal{
		Tenant: "main", ID: "ann", Parents: []Ref{{"Role", "clerk"}}, Attrs: map[string]any{"teams": []string{"a"}},
		Context: map[string]any{"purposes": []string{"b"}},
	}
	allowed := func(action, team string) bool { return p.Check(t.Context(), ann, action, note(team)) == nil }
	require.True(t, allowed("read", "x"))
	require.Len(t, p.memo.young, 1)
	ann.Parents[0].ID = "nobody"
	require.False(t, allowed("read", "x"))
	require.True(t, allowed("read", "a"))
	ann.Attrs["teams"].([]string)[0] = "c"
	require.False(t, allowed("read", "a"))
	require.True(t, allowed("read", "b"))
	ann.Context["purposes"].([]string)[0] = "d"
	require.False(t, allowed("read", "b"))
	require.False(t, allowed("write", "b"), "an action that was not asked about before")
	ann.Context["purposes"].([]string)[0] = "b"
	require.True(t, allowed("read", "b"))
	ann.Context["purposes"].([]string)[0] = "e"
	require.False(t, allowed("write", "b"))
	ann.Context["purposes"].([]string)[0] = "b"
	require.True(t, allowed("write", "b"), "what was kept is what it was when it was kept")
}

// Every list by which a principal is found is copied, for its owner may change
// it.
func TestListsThatAreKeptAreCopies(t *testing.T) {
	texts, longs, ints, bools, refs := []string{"a"}, []int64{1}, []int{1}, []bool{true}, []Ref{{"Role", "a"}}
	given := map[string]any{"texts": texts, "longs": longs, "ints": ints, "bools": bools, "refs": refs}
	before, comparable := appendValues(nil, given, nil)
	require.True(t, comparable)
	copied := kept(given)
	texts[0], longs[0], ints[0], bools[0], refs[0].ID = "b", 2, 2, false, "b"
	after, _ := appendValues(nil, copied, nil)
	require.Equal(t, before, after)
	changed, _ := appendValues(nil, given, nil)
	require.NotEqual(t, before, changed)
}

// A value of one type is never that of another: the schema may refuse one of
// them.
func TestEachTypeIsWrittenAsItself(t *testing.T) {
	seen := map[string]any{}
	for _, v := range []any{nil, "", 1, int64(1), true, Ref{}, []string{}, []int64{}, []int{}, []bool{}, []Ref{}} {
		out, comparable := appendValue(nil, v)
		require.True(t, comparable)
		require.NotContains(t, seen, string(out))
		seen[string(out)] = v
	}
}

// However many principals ask, a bounded number is kept, and of another policy
// set none.
func TestTheMemoIsBounded(t *testing.T) {
	p := memoPolicy(t)
	for i := range 3 * memoSize {
		ann := Principal{Tenant: "main", ID: string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676))}
		require.ErrorIs(t, p.Check(t.Context(), ann, "read", note("x")), ErrDenied)
		require.LessOrEqual(t, len(p.memo.young)+len(p.memo.old), 2*memoSize)
	}
	require.Len(t, p.memo.old, memoSize)
	large := Principal{Tenant: "main", ID: "ann", Attrs: map[string]any{"teams": slices.Repeat([]string{"team"}, memoText)}}
	require.ErrorIs(t, p.Check(t.Context(), large, "read", note("x")), ErrDenied)
	require.Len(t, p.memo.young, memoSize, "too long to be kept")
	before := p.current.Load()
	require.NoError(t, p.Reload(t.Context(), before.config))
	require.ErrorIs(t, p.Check(t.Context(), Principal{Tenant: "main", ID: "ann"}, "read", note("x")), ErrDenied)
	require.Len(t, p.memo.young, 1)
	require.Empty(t, p.memo.old)
	require.NotSame(t, before, slices.Collect(maps.Values(p.memo.young))[0].set)
}
