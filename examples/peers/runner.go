package main

import (
	"cmp"
	"flag"
	"fmt"
	"io"
	"runtime"
	"slices"
	"testing"
	"time"
)

// A runner measures contests.
type runner struct {
	rounds    int
	benchTime string
	progress  io.Writer
}

// A figure is the medians of one contestant over all rounds.
type figure struct {
	Name              string
	Role              role
	Nanos             float64 // a median, as the others are
	Fastest, Slowest  float64
	Bytes, Allocs     float64
	Rounds, LastCount int
}

type outcome struct {
	contest
	Figures []figure // in the order of the contestants
}

// run interleaves the contestants, so that whatever slows the machine down
// for a while slows all of them, and starts each round with another one.
func (r *runner) run(c contest) (outcome, error) {
	r.say("%s: %s\n", c.Package, c.What)
	if err := c.agree(); err != nil {
		return outcome{}, err
	}
	if err := flag.Set("test.benchtime", cmp.Or(c.BenchTime, r.benchTime)); err != nil {
		return outcome{}, err
	}
	n := len(c.Contestants)
	results := make([][]testing.BenchmarkResult, n)
	for round := range r.rounds {
		for k := range n {
			i := (round + k) % n
			result, err := measure(c.Contestants[i])
			if err != nil {
				return outcome{}, fmt.Errorf("%s, %s: %s: %w", c.Package, c.What, c.Contestants[i].Name, err)
			}
			results[i] = append(results[i], result)
		}
	}
	if err := c.agree(); err != nil {
		return outcome{}, fmt.Errorf("after the last round: %w", err)
	}
	out := outcome{contest: c}
	for i, one := range c.Contestants {
		f := summarise(one, results[i])
		out.Figures = append(out.Figures, f)
		r.say("  %-5s %-58s %12s %10.0f B %6.0f allocs  %s\n",
			f.Role, f.Name, duration(f.Nanos), f.Bytes, f.Allocs, out.ratioText(i))
	}
	return out, nil
}

func (r *runner) say(format string, args ...any) {
	_, _ = fmt.Fprintf(r.progress, format, args...) // figures go into the files
}

func measure(c contestant) (testing.BenchmarkResult, error) {
	runtime.GC() // what one contestant leaves behind is not paid for by the next
	var failed error
	result := testing.Benchmark(func(b *testing.B) {
		b.Helper()
		b.ReportAllocs()
		if err := c.Bench(b); err != nil {
			failed = err
			b.FailNow()
		}
	})
	if failed == nil && (result.N == 0 || result.T <= 0) {
		failed = fmt.Errorf("measured nothing")
	}
	return result, failed
}

func summarise(c contestant, results []testing.BenchmarkResult) figure {
	var nanos, bytes, allocs []float64
	for _, result := range results {
		count := float64(result.N)
		nanos = append(nanos, float64(result.T)/float64(time.Nanosecond)/count)
		bytes = append(bytes, float64(result.MemBytes)/count)
		allocs = append(allocs, float64(result.MemAllocs)/count)
	}
	return figure{
		Name: c.Name, Role: c.Role,
		Nanos: median(nanos), Fastest: slices.Min(nanos), Slowest: slices.Max(nanos),
		Bytes: median(bytes), Allocs: median(allocs),
		Rounds: len(results), LastCount: results[len(results)-1].N,
	}
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	half := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[half]
	}
	return (sorted[half-1] + sorted[half]) / 2
}

// ratio is the time of ours as a part of the time of contestant i.
func (o outcome) ratio(i int) float64 { return o.Figures[0].Nanos / o.Figures[i].Nanos }

func (o outcome) ratioText(i int) string {
	if i == 0 {
		return ""
	}
	return fmt.Sprintf("ours / this = %s", number(o.ratio(i)))
}

// number prints three digits that count.
func number(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	case v >= 0.1:
		return fmt.Sprintf("%.2f", v)
	default:
		return fmt.Sprintf("%.3g", v)
	}
}

func duration(nanos float64) string {
	switch {
	case nanos >= 1e9:
		return number(nanos/1e9) + " s"
	case nanos >= 1e6:
		return number(nanos/1e6) + " ms"
	case nanos >= 1e3:
		return number(nanos/1e3) + " µs"
	default:
		return number(nanos) + " ns"
	}
}
