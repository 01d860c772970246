package main

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhatALimitIs(t *testing.T) {
	for text, want := range map[string]limit{
		"<= 300 ns":         {"<= 300 ns", 300, "ns", false},
		"<= 0 allocs":       {"<= 0 allocs", 0, "allocs", false},
		">= 1000 persons/s": {">= 1000 persons/s", 1000, "persons/s", true},
	} {
		got, err := parseLimit(text)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, text := range []string{"", "300 ns", "<= 300", "<= ns", "< 3 ns", "<= -1 ns", "<= Inf ns", "<= NaN ns"} {
		_, err := parseLimit(text)
		require.Error(t, err, text)
	}
}

// Of a time the whole interval must hold, of allocations the number.
func TestLimitsOfAContest(t *testing.T) {
	o := sums(20)
	o.Limits = []string{"<= 2000 ns", "<= 1999 ns", "<= 1 allocs", "<= 0 allocs"}
	got, err := rows(o)
	require.NoError(t, err)
	var met []bool
	for _, r := range got[2:] {
		require.Equal(t, "limit", r.Against)
		met = append(met, r.Met)
	}
	require.Equal(t, []bool{true, false, true, false}, met)
	for i := range 7 {
		o.Figures[0].Times[i] = 2500 // the median holds still, the interval does not
	}
	got, err = rows(o)
	require.NoError(t, err)
	require.InDelta(t, 2000, got[2].Value, 0)
	require.False(t, got[2].Met)
	o.Limits = []string{"<= 3 rows/s"}
	_, err = rows(o)
	require.ErrorContains(t, err, "ns or allocs")
}

func TestWhatIsCountedStandsInTheFiles(t *testing.T) {
	dir := t.TempDir()
	some := tally{count{Package: "audit", What: "calls", Note: "Counted."}, []taken{
		{"a copy", 500, "calls", "<= 100 calls"}, {"an epoch", 99, "calls", "<= 100 calls"}, {"half of them", 1.25, "ms", ""},
	}}
	o := sums(20)
	o.Limits = []string{"<= 0 allocs"}
	require.NoError(t, writeResults(dir, newRunner(io.Discard), []outcome{o}, []tally{some}, provenance{}))
	text := read(t, dir, "RESULTS.md")
	require.Contains(t, text, "| Sum itself | ours | | | | | | | <= 0 allocs, **missed** |")
	require.Contains(t, text, "### calls\n\nCounted.\n\n| what | counted | demand |")
	require.Contains(t, text, "| a copy | 500 calls | <= 100 calls, **missed** |")
	require.Contains(t, text, "| an epoch | 99 calls | <= 100 calls, met |")
	require.Contains(t, text, "| half of them | 1.25 ms | printed |")
	require.Contains(t, read(t, dir, "results.json"), `"unit": "calls"`)

	some.Taken[0].Must = "<= 3 MB"
	_, err := some.rows()
	require.ErrorContains(t, err, "a limit in MB for a figure in calls")
}
