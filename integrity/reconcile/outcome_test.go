package reconcile_test

import (
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/integrity"
	"github.com/crmguard/crmguard/integrity/reconcile"
)

// Values from reports of others: each is an outcome of its own row, with key
// and side, and the rows behind it are compared all the same.
func TestAValueThatCannotBeReadIsOneDifference(t *testing.T) {
	column := func(t integrity.Type) integrity.Column { return integrity.Column{Name: "x", Type: t} }
	decimal := integrity.Column{Name: "x", Type: integrity.Decimal, Scale: 2}
	canary := struct{ X string }{"Canary"}
	for _, tc := range []struct {
		column     integrity.Column
		good, bad  any
		unreadable bool
	}{
		{column(integrity.Date), "2026-01-02", "0000-00-00", true},
		{column(integrity.Date), "2026-01-02", time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), true},
		{column(integrity.Time), time.UnixMicro(1), "infinity", true},
		{column(integrity.Time), time.UnixMicro(1), "2026-01-02 03:04:05", true},
		{column(integrity.Time), time.UnixMicro(1), time.Unix(1<<60, 0), true},
		{decimal, "1.50", "NaN", true},
		{decimal, "100.00", "1E+2", true},
		{decimal, "1.50", "1.505", true},
		{column(integrity.Float), 1.5, math.NaN(), true},
		{column(integrity.Float), 1.5, "1.5", true},
		{column(integrity.Boolean), true, "t", true},
		{column(integrity.Integer), 1, []byte("1"), true},
		{column(integrity.Text), "Bern", []byte("Bern"), true},
		{column(integrity.Text), "Bern", "Canary\xff", true},
		{column(integrity.Text), "Bern", canary, true},
		{column(integrity.JSON), `{"n":0}`, `{"n":-0}`, true},
		{column(integrity.JSON), `{"n":9007199254740993}`, `{"n":9007199254740992}`, false},
		{column(integrity.JSON), `{"n":123456789012345678901}`, `{"n":123456789012345678902}`, false},
		{column(integrity.JSON), `{"n":1e-400}`, `{"n":0}`, false},
		{column(integrity.Text), "", nil, false},
	} {
		good := []reconcile.Row{row(1, m{"x": tc.good, "y": 1}), row(2, m{"x": tc.good, "y": 1}), row(3, m{"x": tc.good, "y": 1})}
		bad := slices.Clone(good)
		bad[1] = row(2, m{"x": tc.bad, "y": 2})
		want := reconcile.Difference{Kind: reconcile.Changed, Key: []any{2}, Fields: []string{"x", "y"}}
		counts := reconcile.Counts{A: 3, B: 3, Same: 2, Changed: 1, Complete: true}
		for side, sides := range map[string][2][]reconcile.Row{"a": {bad, good}, "b": {good, bad}} {
			if tc.unreadable {
				want = reconcile.Difference{Kind: reconcile.Unreadable, Key: []any{2}, Fields: []string{"y"}, Unreadable: []reconcile.Cell{{Side: side, Field: "x"}}}
				counts = reconcile.Counts{A: 3, B: 3, Same: 2, Unreadable: 1, Complete: true}
			}
			got, n, err := run(t, seq(sides[0]...), seq(sides[1]...), reconcile.Options{Columns: []integrity.Column{tc.column, {Name: "y", Type: integrity.Integer}}})
			require.NoError(t, err)
			require.Equal(t, []reconcile.Difference{want}, got, "%v", tc.column.Type)
			require.Equal(t, counts, n)
			require.False(t, n.Equal())
			require.NotContains(t, fmt.Sprintf("%+v", got), "Canary")
		}
		if tc.unreadable { // on both sides: nobody knows whether they are the same
			got, n, err := run(t, seq(bad...), seq(bad...), reconcile.Options{Columns: []integrity.Column{tc.column}})
			require.NoError(t, err)
			require.Equal(t, []reconcile.Difference{{Kind: reconcile.Unreadable, Key: []any{2}, Unreadable: []reconcile.Cell{{Side: "a", Field: "x"}, {Side: "b", Field: "x"}}}}, got)
			require.False(t, n.Equal())
		}
	}
	got, _, err := run(t, seq(row(1, m{"x": math.NaN(), "y": canary, "z": 1})), seq(row(1, m{"x": 1.5, "y": canary, "w": 1})), byType)
	require.NoError(t, err)
	require.Equal(t, []reconcile.Difference{{
		Kind: reconcile.Unreadable, Key: []any{1}, Fields: []string{"w", "z"},
		Unreadable: []reconcile.Cell{{Side: "a", Field: "x"}, {Side: "a", Field: "y"}, {Side: "b", Field: "y"}},
	}}, got)
}

// What compares nothing never says equal.
func TestColumnsThatCompareNothingAreAnError(t *testing.T) {
	rows := seq(row(1, m{"email": "a"}), row(2, m{"email": "b"}))
	other := seq(row(1, m{"email": "A"}), row(2, m{"email": "b", "phone": "1"}))
	text := func(names ...string) (out []integrity.Column) {
		for _, name := range names {
			out = append(out, integrity.Column{Name: name})
		}
		return out
	}
	for name, options := range map[string]reconcile.Options{
		"none":               {},
		"an empty list":      {Columns: []integrity.Column{}},
		"misspelt":           {Columns: text("email", "emial")},
		"on one side only":   {Columns: text("email", "phone")},
		"no name":            {Columns: text("")},
		"twice":              {Columns: text("email", "email")},
		"unknown type":       {Columns: []integrity.Column{{Name: "email", Type: 99}}},
		"scale of no number": {Columns: []integrity.Column{{Name: "email", Scale: 2}}},
		"both":               {Columns: text("email"), AllFields: true},
		"limit":              {AllFields: true, Limit: -1},
	} {
		for _, stream := range []bool{false, true} {
			options.Stream = stream
			got, counts, err := run(t, rows, other, options)
			require.ErrorIs(t, err, reconcile.ErrOptions, name)
			require.False(t, counts.Equal(), name)
			require.False(t, counts.Complete, name)
			if !stream {
				require.Empty(t, got, name)
			}
		}
	}
	_, _, err := run(t, rows, other, reconcile.Options{Columns: text("emial")})
	require.ErrorContains(t, err, `"emial"`)
	_, _, err = run(t, rows, other, reconcile.Options{Columns: text("")})
	require.ErrorIs(t, err, integrity.ErrConfig)
	_, counts, err := run(t, seq(), seq(), reconcile.Options{Columns: text("email")})
	require.NoError(t, err, "no rows have no columns")
	require.True(t, counts.Equal())
	for _, sides := range [][2]iter.Seq2[reconcile.Row, error]{{nil, rows}, {rows, nil}, {nil, nil}} {
		_, counts, err := run(t, sides[0], sides[1], byType)
		require.ErrorIs(t, err, reconcile.ErrOptions)
		require.False(t, counts.Equal())
	}
}

// A side in the order of a locale would look as if rows were extra until its
// order is found out: nothing is said before.
func TestNothingIsYieldedBeforeTheOrderOfBothSidesIsKnown(t *testing.T) {
	bytewise := seq(row("B", m{}), row("a", m{}), row("z", m{}), row("Ä", m{}))
	locale := seq(row("a", m{}), row("Ä", m{}), row("B", m{}), row("z", m{}))
	twice := seq(row("B", m{}), row("a", m{}), row("z", m{}), row("z", m{}), row("Ä", m{}))
	numbers := seq(row("10", m{}), row("9", m{}), row("100", m{}))
	for _, sides := range [][2]iter.Seq2[reconcile.Row, error]{{locale, bytewise}, {bytewise, locale}, {locale, locale}, {twice, bytewise}, {seq(), numbers}, {numbers, bytewise}} {
		got, counts, err := run(t, sides[0], sides[1], byType)
		require.ErrorIs(t, err, reconcile.ErrOrder)
		require.Empty(t, got)
		require.False(t, counts.Complete)
		require.False(t, counts.Equal())
	}
	options := byType
	options.Stream = true
	got, counts, err := run(t, locale, bytewise, options)
	require.ErrorIs(t, err, reconcile.ErrOrder)
	require.NotEmpty(t, got, "who asks for a stream gets one")
	require.False(t, counts.Complete)
}

// Both queries are through before the first difference, so that a connection
// is free for whoever looks at it.
func TestBothSidesAreThroughBeforeTheFirstDifference(t *testing.T) {
	open := 2
	side := func(rows ...reconcile.Row) iter.Seq2[reconcile.Row, error] {
		return func(yield func(reconcile.Row, error) bool) {
			seq(rows...)(yield)
			open--
		}
	}
	for range reconcile.Diff(t.Context(), side(row(1, nil), row(3, nil)), side(row(2, nil)), byType) {
		require.Zero(t, open)
	}
	require.Zero(t, open)
}

func TestDifferencesBeyondTheLimitAreCounted(t *testing.T) {
	var rows []reconcile.Row
	for i := range 10 {
		rows = append(rows, row(i, nil))
	}
	for limit, want := range map[int]int{0: 10, 3: 3, 9: 9, 10: 10, 11: 10} {
		options := byType
		options.Limit = limit
		got, counts, err := run(t, seq(rows...), seq(), options)
		require.Equal(t, want < 10, errors.Is(err, reconcile.ErrLimit), "%d: %v", limit, err)
		require.Len(t, got, want)
		require.Equal(t, []any{0}, got[0].Key)
		require.Equal(t, reconcile.Counts{A: 10, Missing: 10, Complete: true}, counts)
	}
	options := byType
	options.Limit, options.Stream = 3, true
	got, _, err := run(t, seq(rows...), seq(), options)
	require.NoError(t, err)
	require.Len(t, got, 10)
}
