package reconcile_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/crmguard/crmguard/integrity"
	"github.com/crmguard/crmguard/integrity/reconcile"
)

func seq(rows ...reconcile.Row) iter.Seq2[reconcile.Row, error] {
	return func(yield func(reconcile.Row, error) bool) {
		for _, row := range rows {
			if !yield(row, nil) {
				return
			}
		}
	}
}

func row(key any, values map[string]any) reconcile.Row {
	parts, several := key.([]any)
	if !several {
		parts = []any{key}
	}
	return reconcile.Row{Key: parts, Values: values}
}

func run(tb testing.TB, a, b iter.Seq2[reconcile.Row, error], options reconcile.Options) ([]reconcile.Difference, reconcile.Counts, error) {
	tb.Helper()
	var counts reconcile.Counts
	options.Counts = &counts
	var out []reconcile.Difference
	for d, err := range reconcile.Diff(context.Background(), a, b, options) {
		if err != nil {
			return out, counts, err
		}
		out = append(out, d)
	}
	return out, counts, nil
}

type m = map[string]any

// byType compares all fields by their Go types.
var byType = reconcile.Options{AllFields: true}

func TestMissingExtraChanged(t *testing.T) {
	a := seq(row("a", m{"x": 1}), row("b", m{"x": 1, "y": "s"}), row("c", m{"x": 1}), row("e", m{"x": 1}))
	b := seq(row("b", m{"x": 2, "y": nil}), row("c", m{"x": 1}), row("d", m{"x": 1}), row("f", m{}))
	got, counts, err := run(t, a, b, byType)
	require.NoError(t, err)
	require.Equal(t, []reconcile.Difference{
		{Kind: reconcile.Missing, Key: []any{"a"}},
		{Kind: reconcile.Changed, Key: []any{"b"}, Fields: []string{"x", "y"}},
		{Kind: reconcile.Extra, Key: []any{"d"}},
		{Kind: reconcile.Missing, Key: []any{"e"}},
		{Kind: reconcile.Extra, Key: []any{"f"}},
	}, got)
	require.Equal(t, reconcile.Counts{A: 4, B: 4, Same: 1, Missing: 2, Extra: 2, Changed: 1, Complete: true}, counts)
}

func TestFiveKindsOfNothingDiffer(t *testing.T) {
	kinds := []m{{"x": "0"}, {"x": 0}, {"x": nil}, {"x": ""}, {}, {"x": false}, {"x": []byte("0")}, {"x": 0.0}, {"x": time.UnixMicro(0)}}
	for i, a := range kinds {
		for j, b := range kinds {
			got, _, err := run(t, seq(row(1, a)), seq(row(1, b)), byType)
			require.NoError(t, err)
			require.Equal(t, i == j, len(got) == 0, "%v %v", a, b)
		}
	}
}

func TestDeclaredColumnsCompareWhatTheyMean(t *testing.T) {
	options := reconcile.Options{Columns: []integrity.Column{
		{Name: "active", Type: integrity.Boolean}, {Name: "revenue", Type: integrity.Decimal, Scale: 2}, {Name: "born", Type: integrity.Date}, {Name: "extra", Type: integrity.JSON},
	}}
	a := seq(row(1, m{"active": true, "revenue": "1.50", "born": "2026-01-02", "extra": `{"a":1}`, "ignored": 1}))
	b := seq(row(1, m{"active": int64(1), "revenue": "1.5", "born": time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC), "extra": `{ "a": 1.0 }`}))
	got, counts, err := run(t, a, b, options)
	require.NoError(t, err)
	require.Empty(t, got)
	require.Equal(t, int64(1), counts.Same)

	got, _, err = run(t, a, seq(row(1, m{"active": false, "revenue": 1.51, "born": nil, "extra": `{"a":1.0000000000000000001}`})), options)
	require.NoError(t, err)
	require.Equal(t, []string{"active", "born", "extra", "revenue"}, got[0].Fields)
	require.Empty(t, got[0].Unreadable)
}

func TestOrderIsDemanded(t *testing.T) {
	for name, tc := range map[string]struct {
		keys      []any
		duplicate bool
	}{
		"descending":         {[]any{"b", "a"}, false},
		"twice":              {[]any{"a", "a"}, true},
		"collated":           {[]any{"a", "B"}, false}, // a locale's order is not the order of bytes
		"number as number":   {[]any{10, 9}, false},
		"negative":           {[]any{1, -1}, false},
		"composite":          {[]any{[]any{"a", 2}, []any{"a", 1}}, false},
		"continued":          {[]any{[]any{"a", 1}, []any{"a"}}, false},
		"composite twice":    {[]any{[]any{"a", 1}, []any{"a", 1}}, true},
		"different widths":   {[]any{int64(2), int8(1)}, false},
		"bytes":              {[]any{[]byte{2}, []byte{1, 2}}, false},
		"bytes of one twice": {[]any{[]byte{2}, []byte{2}}, true},
	} {
		rows := []reconcile.Row{row(tc.keys[0], nil), row(tc.keys[1], nil)}
		for side, seqs := range map[string][2]iter.Seq2[reconcile.Row, error]{"a": {seq(rows...), seq()}, "b": {seq(), seq(rows...)}} {
			_, _, err := run(t, seqs[0], seqs[1], byType)
			require.ErrorIs(t, err, reconcile.ErrOrder, name)
			order, ok := errors.AsType[*reconcile.OrderError](err)
			require.True(t, ok)
			require.Equal(t, reconcile.OrderError{Side: side, Row: 2, Duplicate: tc.duplicate}, *order, name)
			require.NotEmpty(t, order.Error())
		}
	}
}

func TestKeysInOrderPass(t *testing.T) {
	rows := seq(row([]any{"a"}, nil), row([]any{"a", -5}, nil), row([]any{"a", -1}, nil), row([]any{"a", 0}, nil), row([]any{"a", 10}, nil), row([]any{"a", 10, "x"}, nil), row([]any{"aa", 1}, nil), row([]any{"é", 1}, nil))
	got, counts, err := run(t, rows, rows, byType)
	require.NoError(t, err)
	require.Empty(t, got)
	require.Equal(t, int64(8), counts.Same)
}

// One row without a usable key is an outcome of its own, and the others are
// compared; a side that has no other is an error.
func TestARowWithoutAUsableKeyIsOneDifference(t *testing.T) {
	buffer := []byte("k")
	for name, bad := range map[string][]any{"none": {}, "null": {nil}, "float": {1.5}, "bool": {true}, "half": {1, nil}, "huge": {uint64(1 << 63)}, "half of bytes": {buffer, nil}} {
		good := []reconcile.Row{row(1, m{"x": 1}), row(2, m{"x": 1}), row(3, m{"x": 1})}
		with := slices.Insert(slices.Clone(good), 1, reconcile.Row{Key: bad, Values: m{"x": 1}})
		for side, sides := range map[string][2][]reconcile.Row{"a": {with, good}, "b": {good, with}} {
			got, counts, err := run(t, seq(sides[0]...), seq(sides[1]...), byType)
			require.NoError(t, err, name)
			require.Equal(t, []reconcile.Difference{{Kind: reconcile.Unreadable, Key: bad, Unreadable: []reconcile.Cell{{Side: side}}}}, got, name)
			require.Equal(t, int64(3), counts.Same)
			require.Equal(t, int64(1), counts.Unreadable)
			require.Equal(t, int64(7), counts.A+counts.B)
			require.False(t, counts.Equal())
		}
		for _, sides := range [][2][]reconcile.Row{{{{Key: bad}}, good}, {good, {{Key: bad}}}, {{{Key: bad}}, nil}} {
			got, counts, err := run(t, seq(sides[0]...), seq(sides[1]...), byType)
			require.ErrorIs(t, err, reconcile.ErrKey, name)
			require.Empty(t, got)
			require.False(t, counts.Complete)
		}
	}
	after := seq(row("a", nil), reconcile.Row{Key: []any{nil}}, row("a", nil))
	_, _, err := run(t, after, seq(), byType)
	require.ErrorIs(t, err, reconcile.ErrOrder, "the order is that of the rows around it")
}

// Text, integers and bytes are never the same key. One row of another type is
// missing here and extra there; where all are, the sides keep their keys
// differently.
func TestKeysOfTwoTypes(t *testing.T) {
	got, _, err := run(t, seq(row(1, nil), row("1", nil), row("2", nil), row([]byte("3"), nil)), seq(row("1", nil), row("2", nil), row("3", nil), row("\xff", nil)), byType)
	require.NoError(t, err)
	require.Equal(t, []reconcile.Difference{
		{Kind: reconcile.Missing, Key: []any{1}},
		{Kind: reconcile.Extra, Key: []any{"3"}},
		{Kind: reconcile.Extra, Key: []any{"\xff"}},
		{Kind: reconcile.Missing, Key: []any{[]byte("3")}},
	}, got)
	for _, sides := range [][2]any{{1, "1"}, {"1", []byte("1")}, {[]any{1, "1"}, []any{1, 1}}, {[]any{1, 1}, 1}} {
		got, counts, err := run(t, seq(row(sides[0], nil)), seq(row(sides[1], nil)), byType)
		require.ErrorIs(t, err, reconcile.ErrKey)
		require.Empty(t, got)
		require.False(t, counts.Complete)
	}
	_, _, err = run(t, seq(row("1", nil), row(1, nil)), seq(), byType)
	require.ErrorIs(t, err, reconcile.ErrOrder, "integers are before text, as SQLite has it")
}

// Drivers hand out one buffer again and again.
func TestABufferThatIsUsedAgainIsNoTrap(t *testing.T) {
	shared := func(yield func(reconcile.Row, error) bool) {
		buf := make([]byte, 1)
		for i := range 5 {
			buf[0] = byte('a' + i)
			if !yield(reconcile.Row{Key: []any{buf}}, nil) {
				return
			}
		}
	}
	got, counts, err := run(t, shared, shared, byType)
	require.NoError(t, err)
	require.Empty(t, got)
	require.Equal(t, int64(5), counts.Same)

	got, _, err = run(t, shared, seq(), byType)
	require.NoError(t, err)
	require.Equal(t, []any{[]byte("a")}, got[0].Key)
	require.Equal(t, []any{[]byte("e")}, got[4].Key)
}

// A sequence that fails is never one that has ended, whatever its error wraps.
func TestASequenceThatFailsEndsTheDiff(t *testing.T) {
	broken := errors.New("broken")
	failing := func(after int, err error) iter.Seq2[reconcile.Row, error] {
		return func(yield func(reconcile.Row, error) bool) {
			for i := range after {
				if !yield(row(i, nil), nil) {
					return
				}
			}
			yield(reconcile.Row{}, err)
		}
	}
	long := seq(row(0, nil), row(1, nil), row(2, nil), row(3, nil))
	for _, failure := range []error{broken, io.EOF, fmt.Errorf("connection reset: %w", io.EOF)} {
		for after := range 6 {
			for _, sides := range [][2]iter.Seq2[reconcile.Row, error]{{failing(after, failure), long}, {long, failing(after, failure)}, {failing(after, failure), seq()}, {seq(), failing(after, failure)}} {
				got, counts, err := run(t, sides[0], sides[1], byType)
				require.ErrorIs(t, err, failure)
				require.Empty(t, got)
				require.False(t, counts.Complete)
				require.False(t, counts.Equal())
			}
		}
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancelled := func(yield func(reconcile.Row, error) bool) { // as a query ends whose error nobody asks for
		yield(row(0, nil), nil)
		cancel()
	}
	for range 2 {
		var counts reconcile.Counts
		for _, err := range reconcile.Diff(ctx, cancelled, cancelled, reconcile.Options{AllFields: true, Counts: &counts}) {
			require.ErrorIs(t, err, context.Canceled)
		}
		require.False(t, counts.Equal())
	}
	for _, stream := range []bool{false, true} {
		n := 0
		for range reconcile.Diff(t.Context(), long, seq(), reconcile.Options{AllFields: true, Stream: stream}) {
			if n++; n == 2 {
				break
			}
		}
		require.Equal(t, 2, n)
	}
}

// The streaming merge says what a comparison of two maps says.
func TestDiffAgreesWithAMapModel(t *testing.T) {
	key := rapid.Custom(func(t *rapid.T) [2]int {
		return [2]int{rapid.IntRange(-3, 3).Draw(t, "k1"), rapid.IntRange(-3, 3).Draw(t, "k2")}
	})
	value := rapid.SampledFrom([]any{nil, "", "0", 0, 1, true, "a"})
	values := rapid.MapOf(rapid.SampledFrom([]string{"x", "y", "z"}), value)
	side := rapid.MapOf(key, values)
	rapid.Check(t, func(t *rapid.T) {
		a, b := side.Draw(t, "a"), side.Draw(t, "b")
		var want []reconcile.Difference
		for _, k := range sortedKeys(a, b) {
			x, inA := a[k]
			y, inB := b[k]
			d := reconcile.Difference{Key: []any{k[0], int64(k[1])}}
			switch {
			case !inB:
				d.Kind = reconcile.Missing
			case !inA:
				d.Kind = reconcile.Extra
			default:
				d.Kind = reconcile.Changed
				for _, name := range []string{"x", "y", "z"} {
					v, inX := x[name]
					w, inY := y[name]
					if inX != inY || !reflect.DeepEqual(v, w) {
						d.Fields = append(d.Fields, name)
					}
				}
				if d.Fields == nil {
					continue
				}
			}
			want = append(want, d)
		}
		var got []reconcile.Difference
		counts := reconcile.Counts{}
		for d, err := range reconcile.Diff(context.Background(), ordered(a), ordered(b), reconcile.Options{AllFields: true, Counts: &counts}) {
			require.NoError(t, err)
			got = append(got, d)
		}
		require.Equal(t, want, got)
		require.Equal(t, int64(len(a)), counts.A)
		require.Equal(t, int64(len(b)), counts.B)
		require.Equal(t, counts.A, counts.Same+counts.Changed+counts.Missing)
		require.Equal(t, counts.B, counts.Same+counts.Changed+counts.Extra)
	})
}

func sortedKeys(sides ...map[[2]int]map[string]any) (keys [][2]int) {
	for _, s := range sides {
		for k := range s {
			if !slices.Contains(keys, k) {
				keys = append(keys, k)
			}
		}
	}
	slices.SortFunc(keys, func(a, b [2]int) int { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1])) })
	return keys
}

func ordered(side map[[2]int]map[string]any) iter.Seq2[reconcile.Row, error] {
	return func(yield func(reconcile.Row, error) bool) {
		for _, k := range sortedKeys(side) {
			if !yield(reconcile.Row{Key: []any{k[0], int64(k[1])}, Values: side[k]}, nil) {
				return
			}
		}
	}
}

// The order of keys is that of their bytes, whatever stands in them.
func FuzzKeyOrder(f *testing.F) {
	f.Add([]byte("a"), []byte("b"), int64(1), int64(-1))
	f.Add([]byte(""), []byte("\x00"), int64(0), int64(0))
	f.Fuzz(func(t *testing.T, x, y []byte, n, k int64) {
		want := cmp.Or(bytes.Compare(x, y), cmp.Compare(n, k))
		rows := seq(row([]any{x, n}, nil), row([]any{y, k}, nil))
		_, _, err := run(t, rows, seq(), byType)
		require.Equal(t, want < 0, err == nil, fmt.Sprint(want, err))
	})
}

func ExampleDiff() {
	// seq, row and m stand in diff_test.go.
	before := seq(row(1, m{"name": "Ann", "active": true}), row(2, m{"name": "Bob", "active": true}))
	after := seq(row(1, m{"name": "Ann", "active": int64(1)}), row(2, m{"name": "Rob", "active": int64(1)}), row(3, m{"name": "Eve", "active": int64(0)}))
	var counts reconcile.Counts
	options := reconcile.Options{Counts: &counts, Columns: []integrity.Column{{Name: "name"}, {Name: "active", Type: integrity.Boolean}}}
	for d, err := range reconcile.Diff(context.Background(), before, after, options) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(d.Kind, d.Key, d.Fields)
	}
	fmt.Println(counts.Equal(), counts.Same, counts.Changed, counts.Extra)
	// Output:
	// changed [2] [name]
	// extra [3] []
	// false 1 1 1
}
