package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"time"
)

// A runner measures contests. In each round every contestant does one block
// of work, so that whatever slows the machine down for a while slows all of
// them, and one round gives one pair of times for each two of them.
type runner struct {
	block    time.Duration // the longest block, unless one run is longer
	pairs    int           // rounds of a contest in which a run fits into a block
	runs     int           // rounds of other contests, in which a block is one run,
	wanted   int           // at least this many of them,
	limit    time.Duration // but none begins after this time
	now      func() time.Time
	progress io.Writer
}

func newRunner(progress io.Writer) *runner {
	return &runner{
		block: time.Millisecond, pairs: 1000, runs: 200, wanted: 10, limit: time.Minute,
		now: time.Now, progress: progress,
	}
}

// A figure is what was measured of one contestant.
type figure struct {
	Name          string
	Role          role
	Times         []float64 // nanoseconds a run, one a round
	Bytes, Allocs float64   // a run, in a block of its own
	Block         int       // runs in a block
}

type outcome struct {
	contest
	Figures []figure // in the order of the contestants
	Short   bool     // the time was over before there were pairs as many as wanted
}

func (r *runner) run(c contest) (outcome, error) {
	r.say("%s: %s\n", c.Package, c.What)
	if err := c.agree(); err != nil {
		return outcome{}, err
	}
	out := outcome{contest: c, Figures: make([]figure, len(c.Contestants))}
	for i, one := range c.Contestants {
		out.Figures[i] = figure{Name: one.Name, Role: one.Role}
	}
	if err := r.measure(&out); err != nil {
		return outcome{}, fmt.Errorf("%s, %s: %w", c.Package, c.What, err)
	}
	if err := c.agree(); err != nil {
		return outcome{}, fmt.Errorf("after the last round: %w", err)
	}
	for i, f := range out.Figures {
		r.say("  %-5s %-58s %12s %10.0f B %6.0f allocs  %s\n", f.Role, f.Name, duration(median(f.Times)), f.Bytes, f.Allocs, out.ratioText(i))
	}
	return out, nil
}

// allowed is how long the rounds of a contest may take.
func (r *runner) allowed(c contest) time.Duration { return cmp.Or(c.Time, r.limit) }

func (r *runner) say(format string, args ...any) {
	_, _ = fmt.Fprintf(r.progress, format, args...) // figures go into the files
}

func (r *runner) measure(o *outcome) error {
	begun := r.now()
	sizes, slow, err := r.calibrate(o.Contestants)
	if err != nil {
		return err
	}
	if err := r.rounds(o, sizes, slow, begun); err != nil {
		return err
	}
	tick := r.tick()
	for i, one := range o.Contestants {
		f := &o.Figures[i]
		f.Block = sizes[i]
		if block := median(f.Times) * float64(f.Block); block < 100*tick {
			return fmt.Errorf("%s: a block of %s is too short for a clock that costs %s", one.Name, duration(block), duration(tick))
		}
		if f.Bytes, f.Allocs, err = allocations(one, sizes[i]); err != nil {
			return err
		}
	}
	return nil
}

// calibrate finds how many runs of each contestant fit into a block. Where
// one run of anybody is longer than a block, all go run by run.
func (r *runner) calibrate(contestants []contestant) (sizes []int, slow bool, err error) {
	for _, c := range contestants {
		n, err := r.fit(c)
		if err != nil {
			return nil, false, err
		}
		slow = slow || n == 0
		sizes = append(sizes, n)
	}
	if slow {
		for i := range sizes {
			sizes[i] = 1
		}
	}
	return sizes, slow, nil
}

// fit is the number of runs that take four fifths of a block, so that a block
// stays below its length when a run takes a little longer; 0 if one does not
// fit in. The fastest of three tries counts, for the machine may be busy.
func (r *runner) fit(c contestant) (int, error) {
	for n := 1; ; n *= 2 {
		best := time.Duration(0)
		for try := range 3 {
			took, err := r.time(c, n, false)
			if err != nil {
				return 0, err
			}
			if try == 0 || took < best {
				best = took
			}
			if best > 10*r.block {
				break // no noise makes that of it
			}
		}
		if n == 1 && best > r.block {
			return 0, nil
		}
		if best >= r.block/4 || n >= 1<<24 {
			one := max(float64(best)/float64(n), 1)
			return max(1, int(0.8*float64(r.block)/one)), nil
		}
	}
}

// rounds lets everybody work until there are pairs enough, or no more time.
func (r *runner) rounds(o *outcome, sizes []int, slow bool, begun time.Time) error {
	order, err := newTurns(len(sizes))
	if err != nil {
		return err
	}
	rounds := r.pairs
	if slow {
		rounds = r.runs
	}
	for done := range rounds {
		// The order of a round is mirrored in the next: only whole pairs of
		// rounds count.
		if slow && done%2 == 0 && r.now().Sub(begun) >= r.allowed(o.contest) {
			o.Short = done < r.wanted
			break
		}
		for _, i := range order.next() {
			took, err := r.time(o.Contestants[i], sizes[i], slow)
			if err != nil {
				return err
			}
			if took <= 0 {
				return fmt.Errorf("%s: measured nothing", o.Contestants[i].Name)
			}
			f := &o.Figures[i]
			f.Times = append(f.Times, float64(took)/float64(sizes[i]))
		}
	}
	if len(o.Figures[0].Times) == 0 {
		return errors.New("not one round fitted into the time")
	}
	return nil
}

// turns says who comes when: in a random order, the same in every run of the
// program, and then in its mirror image. So nobody is always first, a machine
// that slows down evenly slows all alike, and nobody always follows the same
// other.
type turns struct {
	order  []int
	mirror bool
	chance chance
}

func newTurns(n int) (*turns, error) {
	c, err := newChance(99)
	t := &turns{chance: c}
	for i := range n {
		t.order = append(t.order, i)
	}
	return t, err
}

func (t *turns) next() []int {
	if t.mirror {
		slices.Reverse(t.order)
	} else {
		for i := len(t.order) - 1; i > 0; i-- {
			j := t.chance.below(i + 1)
			t.order[i], t.order[j] = t.order[j], t.order[i]
		}
	}
	t.mirror = !t.mirror
	return t.order
}

// time measures one block. What comes before and after is not on the clock,
// nor is the collection of what others left behind, where it is wanted.
func (r *runner) time(c contestant, n int, collect bool) (took time.Duration, err error) {
	err = c.block(n, func() error {
		if collect {
			runtime.GC()
		}
		begun := r.now()
		err := c.Run(n)
		took = r.now().Sub(begun)
		return err
	})
	return took, err
}

// tick is what it costs to look at the clock twice.
func (r *runner) tick() float64 {
	var costs []float64
	for range 1001 {
		begun := r.now()
		costs = append(costs, float64(r.now().Sub(begun)))
	}
	return median(costs)
}

// allocations are those of the whole process, per run.
func allocations(c contestant, n int) (bytes, allocs float64, err error) {
	var before, after runtime.MemStats
	err = c.block(n, func() error {
		runtime.ReadMemStats(&before)
		err := c.Run(n)
		runtime.ReadMemStats(&after)
		return err
	})
	return float64(after.TotalAlloc-before.TotalAlloc) / float64(n), float64(after.Mallocs-before.Mallocs) / float64(n), err
}
