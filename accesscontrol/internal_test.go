package accesscontrol

import (
	"database/sql"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/cedar-policy/cedar-go"
	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol/internal/cedarx"
)

// What is evaluated does not grow with the number of policies. This counts
// where a benchmark would measure.
func TestIndexPicksTheSameFewPolicies(t *testing.T) {
	user, read := cedar.NewEntityUID("User", "ann"), cedar.NewEntityUID("Action", "read")
	for _, n := range []int{10, 100, 10_000} {
		var text []byte
		text = append(text, `@id("z") forbid (principal, action, resource);`...)
		for i := range n {
			text = fmt.Appendf(text, `@id("a%d") permit (principal in Role::"r%d", action == Action::"read", resource);`, i, i/2)
			text = fmt.Appendf(text, `@id("b%d") permit (principal == User::"u%d", action in [Action::"write", Action::"any"], resource);`, i, i)
			text = fmt.Appendf(text, `@id("c%d") permit (principal is Robot, action, resource);`, i)
		}
		policies, err := cedarx.Parse("many.cedar", text)
		require.NoError(t, err)
		rules := newRuleset(policies)
		picked := rules.about(read, []cedar.EntityUID{cedar.NewEntityUID("Action", "any")}, user, []cedar.EntityUID{cedar.NewEntityUID("Role", "r1")})
		var ids []string
		for _, i := range picked {
			ids = append(ids, rules.policies[i].ID)
		}
		require.Equal(t, []string{"a2", "a3", "z"}, ids)
		require.Len(t, rules.about(read, []cedar.EntityUID{cedar.NewEntityUID("Action", "any")}, cedar.NewEntityUID("User", "u7"), nil), 2)
	}
}

type valuer struct{ sql.NullTime }

func TestValues(t *testing.T) {
	text, long, yes := cedarx.Type{Kind: cedarx.String}, cedarx.Type{Kind: cedarx.Long}, cedarx.Type{Kind: cedarx.Bool}
	user := cedarx.Type{Kind: cedarx.EntityRef, Entity: "User"}
	ext := func(name string) cedarx.Type { return cedarx.Type{Kind: cedarx.Extension, Extension: name} }
	set := func(of cedarx.Type) cedarx.Type { return cedarx.Type{Kind: cedarx.Set, Element: &of} }
	record := cedarx.Type{Kind: cedarx.RecordOf, Fields: cedarx.Attributes{"a": {Type: long, Required: true}, "b": {Type: text}}}
	type named string
	hello, at := "hello", time.UnixMilli(1_700_000_000_000)
	decimal, err := cedarx.ParseExtension("decimal", "1.5")
	require.NoError(t, err)
	address, err := cedarx.ParseExtension("ipaddr", "10.0.0.1")
	require.NoError(t, err)

	for _, c := range []struct {
		typ  cedarx.Type
		in   any
		want cedar.Value
	}{
		{text, "x", cedar.String("x")},
		{text, named("x"), cedar.String("x")},
		{text, []byte("x"), cedar.String("x")},
		{text, &hello, cedar.String("hello")},
		{text, (*string)(nil), nil},
		{text, nil, nil},
		{text, sql.NullString{}, nil},
		{text, sql.NullString{String: "x", Valid: true}, cedar.String("x")},
		{long, 5, cedar.Long(5)},
		{long, int8(-5), cedar.Long(-5)},
		{long, uint64(math.MaxInt64), cedar.Long(math.MaxInt64)},
		{yes, true, cedar.True},
		{yes, int64(0), cedar.False},
		{yes, sql.NullBool{Bool: true, Valid: true}, cedar.True},
		{user, "u", cedar.NewEntityUID("User", "u")},
		{user, 17, cedar.NewEntityUID("User", "17")},
		{user, Ref{Type: "User", ID: "u"}, cedar.NewEntityUID("User", "u")},
		{set(user), []Ref{{"User", "u"}}, cedar.NewSet(cedar.NewEntityUID("User", "u"))},
		{set(text), [2]string{"a", "b"}, cedar.NewSet(cedar.String("a"), cedar.String("b"))},
		{set(long), []any{int64(1), 2}, cedar.NewSet(cedar.Long(1), cedar.Long(2))},
		{record, map[string]any{"a": 1}, cedar.NewRecord(cedar.RecordMap{"a": cedar.Long(1)})},
		{ext("datetime"), at, cedar.NewDatetime(at)},
		{ext("datetime"), sql.NullTime{Time: at, Valid: true}, cedar.NewDatetime(at)},
		{ext("datetime"), "2023-11-14T22:13:20Z", cedar.NewDatetime(at)},
		{ext("duration"), time.Minute, cedar.NewDuration(time.Minute)},
		{ext("duration"), "1m", cedar.NewDuration(time.Minute)},
		{ext("decimal"), "1.5", decimal},
		{ext("ipaddr"), "10.0.0.1", address},
	} {
		got, err := valueOf(c.typ, c.in)
		require.NoError(t, err, "%v", c.in)
		require.Equal(t, c.want, got)
	}

	for _, c := range []struct {
		typ  cedarx.Type
		in   any
		want error
	}{
		{text, 5, errKind},
		{long, "5", errKind},
		{long, 5.0, errKind},
		{long, uint64(math.MaxInt64 + 1), errRange},
		{yes, 2, errKind},
		{yes, "true", errKind},
		{user, Ref{Type: "Team", ID: "u"}, errKind},
		{text, Ref{Type: "Team", ID: "u"}, errKind},
		{text, at, errKind},
		{text, time.Minute, errKind},
		{text, valuer{sql.NullTime{Time: at, Valid: true}}, errKind},
		{set(text), "x", errKind},
		{set(text), []any{"x", nil}, errKind},
		{set(text), []any{5}, errKind},
		{record, []int{1}, errKind},
		{ext("decimal"), "one and a half", errKind},
		{ext("unheard of"), "1", errKind},
	} {
		_, err := valueOf(c.typ, c.in)
		require.ErrorIs(t, err, c.want, "%v", c.in)
	}
	_, err = valueOf(record, map[string]any{"b": "x"})
	require.EqualError(t, err, "a: required attribute is missing")
	require.True(t, plain(cedar.NewRecord(cedar.RecordMap{"a": cedar.NewSet(cedar.String("x"))})))
	require.False(t, plain(cedar.NewRecord(cedar.RecordMap{"a": cedar.NewSet(cedar.String("x\x00"))})))
}

// The permit nearest to a request is named with every literal left out.
func TestExpressionsAreWordedWithoutLiterals(t *testing.T) {
	for condition, want := range map[string]string{
		`resource.a == "secret"`:                            `resource.a == …`,
		`principal in Team::"secret" && !(resource.b)`:      `principal in … && !resource.b`,
		`(resource.a == 1 || resource.b) && resource has c`: `(resource.a == … || resource.b) && resource has c`,
		`["secret"].contains(resource.a)`:                   `[…].contains(resource.a)`,
		`if resource.a then true else resource.b like "s*"`: `if resource.a then … else like(resource.b)`,
		`resource is T`:                                                 `resource is T`,
		`resource is T in U::"secret"`:                                  `resource is T in …`,
		`{x: resource.a}.x == 5`:                                        `{}(resource.a).x == …`,
		`(resource.a + 1 - 2 * 3 < -4) == true`:                         `(-(+(resource.a, …), *(…, …)) < …) == …`,
		`[1, resource.a].containsAll([1])`:                              `containsAll([](…, resource.a), […])`,
		`resource.a.containsAny([1]) || resource.a.isEmpty()`:           `containsAny(resource.a, […]) || isEmpty(resource.a)`,
		`resource.hasTag("x") && resource.getTag("x") != -(resource.a)`: `hasTag(resource, …) && getTag(resource, …) != -(resource.a)`,
		`ip("10.0.0.1").isLoopback()`:                                   `isLoopback(ip(…))`,
	} {
		parsed, err := cedarx.Parse("f", []byte("permit (principal, action, resource) when { "+condition+" };"))
		require.NoError(t, err, condition)
		require.Equal(t, want, parsed[0].Conditions[0].Body.String())
	}
}
