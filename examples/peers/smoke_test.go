package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every contest is set up, its contestants agree, and each of them does its
// work once. Nothing is measured.
func TestEveryContestRuns(t *testing.T) {
	for _, s := range stages() {
		t.Run(s.Package, func(t *testing.T) {
			p, err := newBench(true)
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, p.close()) })
			contests, err := s.Set(t.Context(), p)
			require.NoError(t, err)
			require.NotEmpty(t, contests)
			for _, c := range contests {
				require.Equal(t, s.Package, c.Package)
				require.Equal(t, ours, c.Contestants[0].Role, c.What)
				require.Greater(t, len(c.Contestants), 1, c.What)
				c.BenchTime = "1x"
				var progress bytes.Buffer
				o, err := (&runner{rounds: 1, benchTime: "1x", progress: &progress}).run(c)
				require.NoError(t, err)
				require.Len(t, o.Figures, len(c.Contestants))
				require.Contains(t, progress.String(), c.What)
			}
		})
	}
	require.NoError(t, flag.Set("test.benchtime", "1s"))
}

func TestContestantsThatDisagreeStopTheRun(t *testing.T) {
	c := contest{Package: "none", What: "sums", Contestants: []contestant{
		{Name: "right", Role: ours, Answer: func() (string, error) { return "4", nil }},
		{Name: "wrong", Role: peer, Answer: func() (string, error) { return "5", nil }},
	}}
	require.ErrorContains(t, c.agree(), `right answers "4", wrong answers "5"`)
	c.Contestants[1].Answer = func() (string, error) { return "", nil }
	require.ErrorContains(t, c.agree(), "gives no answer")
}

func TestAFailingBenchmarkIsAnErrorNotAFigure(t *testing.T) {
	_, err := measure(contestant{Bench: func(*testing.B) error { return bytes.ErrTooLarge }})
	require.ErrorIs(t, err, bytes.ErrTooLarge)
}

func TestTheReport(t *testing.T) {
	dir := t.TempDir()
	outcomes := []outcome{{
		contest: contest{Package: "audit", What: "sums", Note: "Counted by hand.", BenchTime: "1x"},
		Figures: []figure{
			{Name: "Sum", Role: ours, Nanos: 2000, Fastest: 1900, Slowest: 2100, Bytes: 16, Allocs: 1},
			{Name: "adding machine", Role: peer, Nanos: 3000},
			{Name: "head", Role: floor, Nanos: 500},
		},
	}}
	require.Equal(t, []row{
		{Package: "audit", What: "sums", Against: "peer: adding machine", Must: "printed", Ratio: 0.6667, Met: true},
		{Package: "audit", What: "sums", Against: "floor: head", Must: "printed", Ratio: 4, Met: true},
	}, rows(outcomes))
	require.NoError(t, writeResults(dir, outcomes, provenanceOf(&runner{rounds: 5, benchTime: "200ms"}, "abc", 0)))
	text := read(t, dir, "RESULTS.md")
	require.Contains(t, text, "| Sum | ours | 2.00 µs (1.90 µs - 2.10 µs) | 16 | 1 | **1** |")
	require.Contains(t, text, "| adding machine | peer | 3.00 µs")
	require.Contains(t, text, "25 % either way")
	var list []map[string]any
	require.NoError(t, json.Unmarshal([]byte(read(t, dir, "results.json")), &list))
	require.Len(t, list, 2)
	require.Len(t, list[0], 6)
}

func TestMedian(t *testing.T) {
	require.InDelta(t, 3, median([]float64{9, 3, 1}), 0)
	require.InDelta(t, 2, median([]float64{3, 1}), 0)
}
