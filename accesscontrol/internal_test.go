package accesscontrol

import (
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/cedar-policy/cedar-go"
	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol/internal/cedarx"
	"github.com/crmguard/crmguard/internal/value"
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

type panics struct{ p *string }

func (v panics) Value() (driver.Value, error) { return *v.p, nil }

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
		{text, []byte(nil), nil},
		{text, sql.RawBytes(nil), nil},
		{text, sql.Null[string]{V: "left over"}, nil},
		{text, (*valuer)(nil), nil},
		{text, "", cedar.String("")},
		{text, []byte{}, cedar.String("")},
		{text, [16]byte{0xab}, cedar.String("ab000000-0000-0000-0000-000000000000")},
		{long, 5, cedar.Long(5)},
		{long, int8(-5), cedar.Long(-5)},
		{long, uint64(math.MaxInt64), cedar.Long(math.MaxInt64)},
		{long, "5", cedar.Long(5)},
		{long, []byte("5"), cedar.Long(5)},
		{long, 5.0, cedar.Long(5)},
		{long, json.Number("5"), cedar.Long(5)},
		{long, sql.NullString{String: "5", Valid: true}, cedar.Long(5)},
		{yes, true, cedar.True},
		{yes, []byte{1}, cedar.True},
		{yes, []byte("0"), cedar.False},
		{yes, "true", cedar.True},
		{yes, int64(0), cedar.False},
		{yes, sql.NullBool{Bool: true, Valid: true}, cedar.True},
		{user, "u", cedar.NewEntityUID("User", "u")},
		{user, 17, cedar.NewEntityUID("User", "17")},
		{user, uint64(math.MaxUint64), cedar.NewEntityUID("User", "18446744073709551615")},
		{user, "", cedar.NewEntityUID("User", "")},
		{user, [16]byte{0xab}, cedar.NewEntityUID("User", "ab000000-0000-0000-0000-000000000000")},
		{user, &Ref{Type: "User", ID: "u"}, cedar.NewEntityUID("User", "u")},
		{user, (*Ref)(nil), nil},
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
		{ext("decimal"), 1.5, decimal},
		{ext("decimal"), json.Number("1.50"), decimal},
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
		{text, 5, value.ErrKind},
		{text, 5.0, value.ErrKind},
		{text, true, value.ErrKind},
		{text, "a\xff", value.ErrText},
		{text, []byte("a\xff"), value.ErrText},
		{text, json.RawMessage("null"), value.ErrKind}, // a document is no text, and no NULL
		{text, panics{}, value.ErrValuer},
		{text, struct{}{}, value.ErrType},
		{long, "5.5", value.ErrKind},
		{long, "05", value.ErrKind},
		{long, 5.5, value.ErrKind},
		{long, true, value.ErrKind},
		{long, uint64(math.MaxInt64 + 1), value.ErrRange},
		{long, 1e18, value.ErrRange},
		{yes, 2, value.ErrRange},
		{yes, "yes", value.ErrKind},
		{yes, 1.0, value.ErrKind},
		{user, 1.5, value.ErrKind},
		{user, Ref{Type: "Team", ID: "u"}, errKind},
		{text, Ref{Type: "Team", ID: "u"}, errKind},
		{text, at, value.ErrKind},
		{text, time.Minute, value.ErrKind},
		{text, valuer{sql.NullTime{Time: at, Valid: true}}, value.ErrKind},
		{set(text), "x", value.ErrKind},
		{set(text), []any{"x", nil}, errKind},
		{set(text), []any{"x", []byte(nil)}, errKind},
		{set(text), []any{5}, value.ErrKind},
		{record, []int{1}, value.ErrKind},
		{record, map[string]any{"a": "x"}, nil},
		{ext("decimal"), "one and a half", errKind},
		{ext("decimal"), 1.00005, value.ErrKind},
		{ext("datetime"), time.Time{}, value.ErrRange},
		{ext("unheard of"), "1", errKind},
	} {
		_, err := valueOf(c.typ, c.in)
		if c.want == nil {
			require.Error(t, err)
			continue
		}
		require.ErrorIs(t, err, c.want, "%v", c.in)
	}
	_, err = valueOf(record, map[string]any{"b": "x"})
	require.EqualError(t, err, "a: required attribute is missing")
	_, err = valueOf(record, map[string]any{"a": "x"})
	require.EqualError(t, err, "a: text in place of an integer")
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
		`if resource.a then true else resource.b like "s*"`: `if resource.a then … else (resource.b like …)`,
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

// Cedar's times end at milliseconds, those of a database do not: who may not
// see a field cannot move it by less either.
func TestAChangeFinerThanCedarIsAChange(t *testing.T) {
	ext := func(name cedarx.Type) cedarx.Attribute { return cedarx.Attribute{Type: name} }
	bound := &table{attrs: cedarx.Attributes{
		"due":  ext(cedarx.Type{Kind: cedarx.Extension, Extension: "datetime"}),
		"wait": ext(cedarx.Type{Kind: cedarx.Extension, Extension: "duration"}),
	}}
	at := time.UnixMilli(1_700_000_000_000)
	for _, c := range []struct {
		name   string
		before any
		after  any
		same   bool
	}{
		{"due", at, at.UTC(), true},
		{"due", at, sql.NullTime{Time: at, Valid: true}, true},
		{"due", at, at.UTC().Format(time.RFC3339), true},
		{"due", at, at.Add(time.Microsecond), false},
		{"due", sql.NullTime{Time: at, Valid: true}, at.Add(1), false},
		{"due", at, at.Add(time.Millisecond), false},
		{"wait", time.Second, time.Second, true},
		{"wait", time.Second, time.Second + 1, false},
	} {
		require.Equal(t, c.same, bound.same(c.name, c.before, c.after), "%v", c)
	}
}
