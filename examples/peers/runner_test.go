package main

import (
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A stage set of contestants on a clock that only they move.
type playhouse struct {
	clock  time.Time
	blocks []played
}

type played struct{ who, runs int }

// runner measures on the clock of the playhouse, which costs nothing to see.
func (h *playhouse) runner() *runner {
	r := newRunner(io.Discard)
	r.now = func() time.Time { return h.clock }
	return r
}

func (h *playhouse) contest(costs ...time.Duration) contest {
	c := contest{Package: "none", What: "plays"}
	for i, cost := range costs {
		c.Contestants = append(c.Contestants, contestant{
			Name: string(rune('a' + i)), Role: peer,
			Answer: func() (string, error) { return "42", nil },
			Run: func(n int) error {
				h.blocks = append(h.blocks, played{i, n})
				h.clock = h.clock.Add(time.Duration(n) * cost)
				return nil
			},
		})
	}
	return c
}

// rounds are the blocks after calibration and before the allocations, by
// round.
func (h *playhouse) rounds(t *testing.T, o outcome) [][]int {
	t.Helper()
	k, n := len(o.Contestants), len(o.Figures[0].Times)
	var timed []int
	for _, b := range h.blocks[len(h.blocks)-k-n*k : len(h.blocks)-k] {
		require.Equal(t, o.Figures[b.who].Block, b.runs)
		timed = append(timed, b.who)
	}
	return slices.Collect(slices.Chunk(timed, k))
}

func TestContestantsAlternateInBlocks(t *testing.T) {
	h := &playhouse{}
	o, err := h.runner().run(h.contest(10*time.Microsecond, 40*time.Microsecond, 100*time.Nanosecond))
	require.NoError(t, err)
	require.False(t, o.Short)
	for i, block := range []int{80, 20, 8000} { // four fifths of a millisecond
		require.Equal(t, block, o.Figures[i].Block)
	}
	rounds := h.rounds(t, o)
	require.Len(t, rounds, 1000)
	seen, first := map[[3]int]int{}, map[int]int{}
	for i, order := range rounds {
		require.ElementsMatch(t, []int{0, 1, 2}, order, "everybody once in round %d", i)
		seen[[3]int(order)]++
		for a := range order {
			for b := a + 1; b < len(order); b++ {
				first[3*order[a]+order[b]]++
			}
		}
		if i%2 == 1 {
			mirrored := slices.Clone(order)
			slices.Reverse(mirrored)
			require.Equal(t, rounds[i-1], mirrored, "round %d", i)
		}
	}
	require.Len(t, seen, 6, "every order occurs")
	for _, pair := range [][2]int{{0, 1}, {0, 2}, {1, 2}} {
		require.Equal(t, 500, first[3*pair[0]+pair[1]], "each comes before the other in half of the rounds")
	}
	e := estimateOf(demand{}.ratios(o.Figures[0].Times, o.Figures[1].Times))
	require.Equal(t, estimate{0.25, 0.25, 0.25, 1000}, e)
}

// A machine that slows down evenly does not favour whoever comes first.
func TestDriftCancels(t *testing.T) {
	h := &playhouse{}
	c := h.contest(0, 0)
	speed := 1e6
	for i := range c.Contestants {
		c.Contestants[i].Run = func(n int) error {
			speed *= 1.05
			h.clock = h.clock.Add(time.Duration(speed))
			return nil
		}
	}
	r := h.runner()
	r.runs, r.limit = 100, time.Hour*1e6
	o := outcome{contest: c, Figures: make([]figure, 2)}
	require.NoError(t, r.rounds(&o, []int{1, 1}, true, h.clock))
	below := 0
	for _, ratio := range (demand{}).ratios(o.Figures[0].Times, o.Figures[1].Times) {
		if ratio < 1 {
			below++
		}
	}
	require.Equal(t, 50, below)
}

func TestWhatIsLongerThanABlockGoesRunByRun(t *testing.T) {
	h := &playhouse{}
	o, err := h.runner().run(h.contest(2*time.Millisecond, 10*time.Microsecond))
	require.NoError(t, err)
	require.False(t, o.Short)
	rounds := h.rounds(t, o)
	require.Len(t, rounds, 200)
	for i := range o.Figures {
		require.Equal(t, 1, o.Figures[i].Block)
	}

	h = &playhouse{}
	o, err = h.runner().run(h.contest(time.Millisecond, time.Millisecond))
	require.NoError(t, err)
	require.Len(t, o.Figures[0].Times, 1000, "what just fits goes in blocks")
}

func TestAContestEndsAfterAMinute(t *testing.T) {
	for _, c := range []struct {
		cost  time.Duration
		pairs int
		short bool
	}{
		{time.Second, 30, false},
		{3 * time.Second, 10, false},
		{4 * time.Second, 8, true},
		{20 * time.Second, 2, true},
	} {
		h := &playhouse{}
		o, err := h.runner().run(h.contest(c.cost, c.cost))
		require.NoError(t, err)
		require.Len(t, o.Figures[0].Times, c.pairs, c.cost)
		require.Len(t, o.Figures[1].Times, c.pairs, c.cost)
		require.Equal(t, c.short, o.Short, c.cost)
	}
	h := &playhouse{}
	_, err := h.runner().run(h.contest(40*time.Second, 40*time.Second))
	require.ErrorContains(t, err, "not one round")
	for limit, pairs := range map[time.Duration]int{20 * time.Second: 10, 2 * time.Minute: 60} {
		h := &playhouse{}
		c := h.contest(time.Second, time.Second)
		c.Time = limit // what a contest says counts, be it less or more
		o, err := h.runner().run(c)
		require.NoError(t, err)
		require.Len(t, o.Figures[0].Times, pairs)
	}
}

func TestSetupAndCleaningAreNotOnTheClock(t *testing.T) {
	h := &playhouse{}
	c := h.contest(time.Microsecond, time.Microsecond)
	open := 0
	c.Contestants[0].Setup = func(n int) error {
		h.clock = h.clock.Add(time.Second)
		open += n
		return nil
	}
	c.Contestants[0].Clean = func() error {
		h.clock = h.clock.Add(time.Second)
		open = 0
		return nil
	}
	run := c.Contestants[0].Run
	c.Contestants[0].Run = func(n int) error {
		require.Equal(t, n, open)
		return run(n)
	}
	o, err := h.runner().run(c)
	require.NoError(t, err)
	require.Zero(t, open)
	require.InDelta(t, 1000, median(o.Figures[0].Times), 0)
}

func TestAllocationsAreCounted(t *testing.T) {
	kept := make([]*[64]byte, 0, 10_000)
	bytes, allocs, err := allocations(contestant{Run: func(n int) error {
		kept = kept[:0]
		for range n {
			kept = append(kept, new([64]byte))
		}
		return nil
	}}, 10_000)
	require.NoError(t, err)
	require.Len(t, kept, 10_000)
	require.InDelta(t, 1, allocs, 0.1)
	require.InDelta(t, 64, bytes, 16)
}

func TestAFailureIsAnErrorNotAFigure(t *testing.T) {
	broken := errors.New("broken")
	for name, spoil := range map[string]func(*contestant){
		"run":   func(c *contestant) { c.Run = func(int) error { return broken } },
		"setup": func(c *contestant) { c.Setup = func(int) error { return broken } },
		"clean": func(c *contestant) { c.Clean = func() error { return broken } },
	} {
		h := &playhouse{}
		c := h.contest(time.Microsecond, time.Microsecond)
		spoil(&c.Contestants[1])
		_, err := h.runner().run(c)
		require.ErrorIs(t, err, broken, name)
		require.ErrorContains(t, err, "none, plays: b: ", name)
	}
}

// What is as short as a look at the clock cannot be measured run by run.
func TestAClockThatCostsTooMuchStopsTheRun(t *testing.T) {
	h := &playhouse{}
	r := h.runner()
	r.now = func() time.Time {
		h.clock = h.clock.Add(50 * time.Nanosecond)
		return h.clock
	}
	_, err := r.run(h.contest(2*time.Millisecond, time.Microsecond))
	require.ErrorContains(t, err, "b: a block of 1.05 µs is too short for a clock that costs 50.0 ns")
	_, err = r.run(h.contest(2*time.Millisecond, 6*time.Microsecond))
	require.NoError(t, err)
}

func TestNothingIsMeasuredOnAClockThatStands(t *testing.T) {
	h := &playhouse{}
	_, err := h.runner().run(h.contest(0, 0))
	require.ErrorContains(t, err, "measured nothing")
}
