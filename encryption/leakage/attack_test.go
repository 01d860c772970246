package leakage

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// of repeats each value as often as it says.
func of(counts map[uint64]int) (out []uint64) {
	for value, n := range counts {
		out = append(out, slices.Repeat([]uint64{value}, n)...)
	}
	return out
}

// What an attacker names who knows exactly how often each value occurs.
func TestWhoKnowsTheFrequenciesNamesWhatDiffersInThem(t *testing.T) {
	different, equal, alone := map[uint64]int{}, map[uint64]int{}, map[uint64]int{}
	for i := range uint64(40) {
		different[i<<40+1], equal[i<<40+1] = int(i)+1, 10
	}
	for i := range uint64(1000) {
		alone[i<<40+1] = 1
	}
	for name, c := range map[string]struct {
		counts map[uint64]int
		named  float64
	}{
		"two values":                    {map[uint64]int{1: 800, 2: 700}, 1500},
		"each frequency is another one": {different, 820},
		"all are equally frequent":      {equal, 10}, // 1 of 40
		"each occurs once":              {alone, 1},
	} {
		require.InDelta(t, c.named, named(of(c.counts), ranks(c.counts), 63, 0x9e3779b97f4a7c15), 1e-6, name)
	}
}

// Who takes the most frequent value for all of them is right as often as it occurs.
func TestTheMostFrequentValueIsTakenForAll(t *testing.T) {
	names := ranks(map[uint64]int{1: 5, 2: 4})
	require.InDelta(t, 5, first(of(map[uint64]int{1: 5, 2: 9}), names), 1e-9)
	names = ranks(map[uint64]int{1: 5, 2: 5, 3: 1})
	require.InDelta(t, 7, first(of(map[uint64]int{1: 5, 2: 9, 3: 9, 4: 1}), names), 1e-9, "one of the two")
}

// The halves are drawn row by row: each has its share of what takes turns, and of
// what comes first, no row is in both, and another try draws others.
func TestHalves(t *testing.T) {
	values := make([]uint64, 2001)
	for i := range values {
		values[i] = uint64(i)
	}
	known, attacked := halves(values, 7, 0)
	require.Len(t, attacked, 1000)
	require.ElementsMatch(t, values, slices.Concat(known, attacked))
	even, early := 0, 0
	for _, value := range attacked {
		even += int(1 - value%2)
		early += int((2000 - value) / 1001)
	}
	require.InDelta(t, 500, even, 100, "as many of them as of the others, more or less")
	require.InDelta(t, 500, early, 100, "and from the beginning")
	again, _ := halves(values, 7, 0)
	require.Equal(t, known, again)
	other, _ := halves(values, 7, 1)
	require.NotEqual(t, known, other)
	other, _ = halves(values, 8, 0)
	require.NotEqual(t, known, other)
}
