package audit

import (
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit/internal/values"
)

type (
	stage  string
	panics struct{ p *string }
	loud   struct{ text string }
)

func (v panics) Value() (driver.Value, error) { return *v.p, nil }
func (v loud) Value() (driver.Value, error)   { return nil, fmt.Errorf("cannot store %s", v.text) }

// Whatever Go type an application keeps a value in, the log commits to the
// value.
func TestOneValueHasOneCommitment(t *testing.T) {
	at, id, none := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC), uuid.MustParse("0195d2c0-0000-7000-8000-00000000000a"), (*string)(nil)
	for _, same := range [][]any{
		{nil, []byte(nil), sql.RawBytes(nil), json.RawMessage(nil), JSON(nil), none, &none, sql.NullString{String: "left"}, &sql.NullInt64{}, sql.Null[string]{}, (*panics)(nil), (*Decimal)(nil), (*JSON)(nil)},
		{"", stage(""), new(""), sql.NullString{Valid: true}},
		{"x", stage("x"), new("x"), new(new("x")), sql.NullString{String: "x", Valid: true}, sql.Null[stage]{V: "x", Valid: true}},
		{7, int8(7), uint64(7), new(int64(7)), json.Number("7"), sql.NullInt64{Int64: 7, Valid: true}},
		{true, sql.NullBool{Bool: true, Valid: true}},
		{[]byte("x"), sql.RawBytes("x")},
		{1.5, float32(1.5), sql.NullFloat64{Float64: 1.5, Valid: true}},
		{at, &at, sql.NullTime{Time: at, Valid: true}, at.In(time.FixedZone("", 3600))},
		{id.String(), id, [16]byte(id), &id, uuid.NullUUID{UUID: id, Valid: true}},
		{JSON(`{"a":[1,"x"]}`), json.RawMessage(`{"a": [1.0, "x"]}`), map[string]any{"a": []any{1, "x"}}, new(JSON(`{"a":[1,"x"]}`))},
		{JSON(`["a","b"]`), []string{"a", "b"}, []stage{"a", "b"}},
		{Decimal("1.50"), json.Number("1.50"), json.Number("150e-2"), new(Decimal("1.50"))},
		{Date("2026-01-02"), new(Date("2026-01-02"))},
	} {
		want, err := values.Of(same[0])
		require.NoError(t, err)
		for _, v := range same[1:] {
			got, err := values.Of(v)
			require.NoError(t, err, "%T", v)
			require.Equal(t, want, got, "%T and %T", same[0], v)
			require.Empty(t, Diff("p", map[string]any{"f": same[0]}, map[string]any{"f": v}), "%T is no change of %T", v, same[0])
		}
	}
	for _, two := range [][2]any{{nil, ""}, {nil, []byte{}}, {nil, Absent{}}, {nil, JSON("null")}, {"x", []byte("x")}, {1, "1"}, {1, 1.0}, {1, true}, {Decimal("1"), 1}, {"a", JSON(`"a"`)}} {
		require.Len(t, Diff("p", map[string]any{"f": two[0]}, map[string]any{"f": two[1]}), 1, "%T and %T", two[0], two[1])
	}
}

// An error about a value names the change and a declared field, never the value.
func TestAValueWithoutEncodingIsNamed(t *testing.T) {
	const secret = "canary@example.org"
	trail := &Trail{config: Config{Now: time.Now, StrictValues: true}, fields: map[string]map[string]bool{"contact": {"email": true}}}
	event := Event{
		Tenant: "main", Actor: "u-1", Action: "contact.update", Object: PersonRef("contact", "p1"), Persons: []string{"p1"},
		Changes: []Change{{Path: "stage", Who: "p1", Old: "a", New: "b"}, {Path: "email", Who: "p1", Old: "a", New: "b"}},
	}
	_, err := trail.check(t.Context(), event)
	require.NoError(t, err)
	for _, v := range []any{
		struct{ s string }{secret},
		secret + "\xff", stage(secret + "\xff"),
		[]string{secret + "\xff"},
		uint64(math.MaxInt64 + 1), math.NaN(), math.Inf(1), make(chan int), func() {},
		panics{},
		&panics{},
		loud{secret},
		json.Number(secret), JSON(secret), Decimal(secret), Date(secret),
		[]any{[]byte(secret)},
		map[int]string{1: secret},
		time.Unix(1<<60, 0),
	} {
		for i, text := range []string{"audit: invalid: change 1: ", "audit: invalid: change 2, field email: "} {
			bad := event
			bad.Changes = append([]Change{}, event.Changes...)
			bad.Changes[i].New = v
			_, err := trail.check(t.Context(), bad)
			var named *ValueError
			require.ErrorAs(t, err, &named, "%T", v)
			require.ErrorIs(t, err, ErrInvalid)
			require.Equal(t, i, named.Change)
			require.Equal(t, bad.Changes[i].Path, named.Path)
			require.Contains(t, err.Error(), text)
			require.NotContains(t, err.Error(), "canary")
			require.NotContains(t, err.Error(), "stage:", "an undeclared name may be data itself")
		}
	}
}
