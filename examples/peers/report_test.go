package main

import (
	"encoding/json"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// sums is a contest as if it had been measured: ours takes 2 µs, the peer 3
// and the floor 0.5.
func sums(rounds int) outcome {
	times := func(nanos float64) []float64 { return slices.Repeat([]float64{nanos}, rounds) }
	return outcome{
		contest: contest{
			Package: "audit", What: "sums", Note: "Counted by hand.",
			Contestants: []contestant{{Name: "Sum"}, {Name: "adding machine"}, {Name: "head"}},
		},
		Figures: []figure{
			{Name: "Sum", Role: ours, Times: times(2000), Bytes: 16, Allocs: 1, Block: 400},
			{Name: "adding machine", Role: peer, Times: times(3000), Block: 266},
			{Name: "head", Role: floor, Times: times(500), Block: 1600},
		},
	}
}

func TestOneRowForEveryDemand(t *testing.T) {
	o := sums(20)
	o.Figures[1].Times[3] = 1000 // one slow moment of ours, one pair of twenty
	o.Contestants[1].Must = []string{"<= 0.8", ">= 1.5", "<= 0.5"}
	got, err := rows(o)
	require.NoError(t, err)
	at := func(v float64) *float64 { return &v }
	against := "peer: adding machine"
	require.Equal(t, []row{
		{"audit", "sums", against, "<= 0.8", 0.666667, at(0.666667), at(0.666667), true, 0, ""},
		{"audit", "sums", against, ">= 1.5", 1.5, at(1.5), at(1.5), true, 0, ""},
		{"audit", "sums", against, "<= 0.5", 0.666667, at(0.666667), at(0.666667), false, 0, ""},
		{"audit", "sums", "floor: head", "printed", 4, at(4), at(4), true, 0, ""},
	}, got)

	o.Contestants[1].Must = []string{"fast"}
	_, err = rows(o)
	require.ErrorContains(t, err, `not "fast"`)
}

// The median meets the demand and the interval does not.
func TestWhatMayBeChanceIsNotMet(t *testing.T) {
	o := sums(20)
	for i := range 7 {
		o.Figures[1].Times[i] = 2000
	}
	o.Contestants[1].Must = []string{"<= 0.8"}
	got, err := rows(o)
	require.NoError(t, err)
	require.InDelta(t, 0.666667, got[0].Ratio, 0)
	require.InDelta(t, 1, *got[0].High, 0)
	require.False(t, got[0].Met)
	require.Equal(t, "<= 0.8, **missed**", got[0].verdict())
}

// Whoever looks for what was missed looks at one table.
func TestAllDemandsStandInOneTable(t *testing.T) {
	dir, r := t.TempDir(), newRunner(io.Discard)
	o := sums(20)
	o.Contestants[1].Must = []string{"<= 0.8", ">= 2"}
	o.Limits = []string{"<= 0 allocs"}
	some := tally{count{Package: "audit", What: "calls"}, []taken{{"a copy", 500, "calls", "<= 100 calls"}, {"half of them", 1.25, "ms", ""}}}
	require.NoError(t, writeResults(dir, r, []outcome{o}, []tally{some}, provenance{}))
	text := read(t, dir, "RESULTS.md")
	_, text, found := strings.Cut(text, "## What is demanded\n")
	require.True(t, found)
	text, _, _ = strings.Cut(text, "\n## ")
	require.Equal(t, `
4 demands, 3 of them missed. `+"`<=` of a ratio is our time as a part of theirs, `>=` our speed as a multiple of theirs."+`

| room | what | against | measured | demand |
|---|---|---|---|---|
| audit | sums | peer: adding machine | 0.67 (0.67 - 0.67) | <= 0.8, met |
| audit | sums | peer: adding machine | 1.50 (1.50 - 1.50) | >= 2, **missed** |
| audit | sums | limit | 1 allocs | <= 0 allocs, **missed** |
| audit | calls | a copy | 500 calls | <= 100 calls, **missed** |
`, text)

	require.NoError(t, writeResults(dir, r, []outcome{sums(20)}, nil, provenance{}))
	require.NotContains(t, read(t, dir, "RESULTS.md"), "What is demanded")
}

func TestTheFiles(t *testing.T) {
	dir, r := t.TempDir(), newRunner(io.Discard)
	few := sums(5)
	few.What, few.Short = "slow sums", true
	require.NoError(t, writeResults(dir, r, []outcome{sums(200), few}, nil, provenanceOf(r, "abc", 0, "0.50")))
	text := read(t, dir, "RESULTS.md")
	require.Contains(t, text, "| Sum | ours | 2.00 µs (2.00 µs - 2.00 µs) | 400 | 16 | 1 | **1** | | |")
	require.Contains(t, text, "| adding machine | peer | 3.00 µs (3.00 µs - 3.00 µs) | 266 | 0 | 0 | 0.67 (0.67 - 0.67) | 200 | printed |")
	require.Contains(t, text, "| head | floor | 500 ns (500 ns - 500 ns) | 1600 | 0 | 0 | 4.00 (no interval) | **only 5** of the 10 wanted in 60 s | printed |")
	require.Contains(t, text, "0.50 when this run began")

	var list []map[string]any
	require.NoError(t, json.Unmarshal([]byte(read(t, dir, "results.json")), &list))
	require.Len(t, list, 4)
	require.Equal(t, map[string]any{
		"package": "audit", "what": "sums", "against": "floor: head", "must": "printed",
		"ratio": 4.0, "low": 4.0, "high": 4.0, "met": true,
	}, list[1])
	require.Nil(t, list[3]["low"])
	require.Contains(t, list[3], "low")
}
