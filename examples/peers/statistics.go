package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// An estimate is the median of pair ratios and an interval around it that
// covers the true median in at least 95 of 100 cases.
type estimate struct {
	Median    float64
	Low, High float64
	Pairs     int
}

// enough says whether there are pairs enough for any interval.
func (e estimate) enough() bool { return rank(e.Pairs) > 0 }

// estimateOf needs no assumption about how the ratios are distributed, only
// that each pair lies above the true median as likely as below, whatever the
// other pairs do. How many lie below is then binomial, and the interval runs
// from one order statistic to the opposite one (W. R. Thompson, On confidence
// ranges for the median and other expectation distributions, Annals of
// Mathematical Statistics 7, 1936, pages 122-128; H. A. David and H. N.
// Nagaraja, Order Statistics, 3rd edition, section 7.1). Ties only widen it.
func estimateOf(ratios []float64) estimate {
	sorted := slices.Sorted(slices.Values(ratios))
	e := estimate{Median: quantile(sorted, 0.5), Pairs: len(sorted)}
	if k := rank(len(sorted)); k > 0 {
		e.Low, e.High = sorted[k-1], sorted[len(sorted)-k]
	}
	return e
}

// rank is the largest k for which the k-th smallest and the k-th largest of n
// values enclose the median with a probability of 95 % at least: fewer than k
// heads in n throws of a coin come with 2.5 % at most. It is 0 where even the
// smallest and the largest do not, which is so below six.
func rank(n int) int {
	const tail = 0.025
	below := 0.0
	for k := range n {
		below += math.Exp(logChoose(n, k) - float64(n)*math.Ln2)
		if below > tail {
			return k
		}
	}
	return 0
}

func logChoose(n, k int) float64 {
	a, _ := math.Lgamma(float64(n + 1))
	b, _ := math.Lgamma(float64(k + 1))
	c, _ := math.Lgamma(float64(n - k + 1))
	return a - b - c
}

// quantile interpolates between the two nearest of sorted values.
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	low := int(at)
	if low+1 == len(sorted) {
		return sorted[low]
	}
	return sorted[low] + (at-float64(low))*(sorted[low+1]-sorted[low])
}

func median(values []float64) float64 {
	return quantile(slices.Sorted(slices.Values(values)), 0.5)
}

// A demand is what a ratio must be. "<= 0.80" speaks of time, ours as a part
// of theirs; ">= 15" of rates, so that ours is 15 times as fast. Without one
// the ratio of times is printed.
type demand struct {
	text  string
	limit float64
	rate  bool
}

const printed = "printed"

func parseDemand(text string) (demand, error) {
	if text == printed {
		return demand{text: text}, nil
	}
	d := demand{text: text}
	number, ok := strings.CutPrefix(text, "<= ")
	if !ok {
		number, d.rate = strings.CutPrefix(text, ">= ")
	}
	limit, err := strconv.ParseFloat(number, 64)
	if err != nil || !(limit > 0) || math.IsInf(limit, 1) || (!ok && !d.rate) {
		return demand{}, fmt.Errorf("a demand reads <= 0.80, >= 15 or %s, not %q", printed, text)
	}
	d.limit = limit
	return d, nil
}

// ratios compares the times of two contestants, pair by pair.
func (d demand) ratios(ours, theirs []float64) []float64 {
	out := make([]float64, len(ours))
	for i := range out {
		out[i] = ours[i] / theirs[i]
		if d.rate {
			out[i] = theirs[i] / ours[i]
		}
	}
	return out
}

// met asks the whole interval: what may be chance does not count.
func (d demand) met(e estimate) bool {
	switch {
	case d.text == printed:
		return true
	case !e.enough():
		return false
	case d.rate:
		return e.Low >= d.limit
	default:
		return e.High <= d.limit
	}
}
