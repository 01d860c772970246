package main

import (
	"bytes"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every contest is set up, its contestants agree, and each of them does its
// work once. Nothing is measured.
func TestEveryContestRuns(t *testing.T) {
	servers := newTestBench(t)
	_, err := servers.postgres() // one for all: a measurement starts one a stage
	if !errors.Is(err, errNoServer) {
		require.NoError(t, err)
	}
	for _, s := range stages() {
		t.Run(s.Package+" "+s.Name, func(t *testing.T) {
			p := newTestBench(t)
			p.server = servers.server
			contests, err := s.Set(t.Context(), p)
			require.NoError(t, err)
			if (s.Package != "encryption" || s.Name == "fields") && s.Name != "million" && s.Name != "lists" && s.Name != "joins" && s.Name != "desk" {
				require.NotEmpty(t, contests) // the others need a server
			}
			for _, c := range contests {
				require.Equal(t, s.Package, c.Package)
				require.Equal(t, ours, c.Contestants[0].Role, c.What)
				require.Greater(t, len(c.Contestants), 1, c.What)
				require.NoError(t, c.agree())
				for _, one := range c.Contestants {
					require.NoError(t, one.block(1, func() error { return one.Run(1) }))
				}
				_, err := outcome{contest: c, Figures: []figure{{Times: []float64{1}}}}.limits()
				require.NoError(t, err, c.What)
			}
			if s.Counts == nil {
				return
			}
			counts, err := s.Counts(t.Context(), p)
			require.NoError(t, err)
			for _, c := range counts {
				require.Equal(t, s.Package, c.Package)
				some, err := c.Take()
				require.NoError(t, err, c.What)
				require.NotEmpty(t, some, c.What)
				_, err = tally{c, some}.rows()
				require.NoError(t, err, c.What)
			}
		})
	}
}

// The whole way from contests to figures, with the clock of the machine.
func TestARunOfRealContests(t *testing.T) {
	contests, err := encryptionContests(t.Context(), newTestBench(t))
	require.NoError(t, err)
	for _, c := range contests {
		var progress bytes.Buffer
		r := newRunner(&progress)
		r.pairs, r.runs = 10, 10
		o, err := r.run(c)
		require.NoError(t, err)
		require.Contains(t, progress.String(), c.What)
		require.Len(t, o.Figures, len(c.Contestants))
		for _, f := range o.Figures {
			require.Len(t, f.Times, 10, f.Name)
			require.Positive(t, f.Block, f.Name)
		}
	}
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
