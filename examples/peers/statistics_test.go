package main

import (
	"math/big"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// The ranks stand in printed tables of the sign test.
func TestRanks(t *testing.T) {
	for n, want := range map[int]int{
		0: 0, 1: 0, 5: 0, 6: 1, 8: 1, 9: 2, 10: 2, 11: 2, 12: 3, 15: 4, 17: 5, 20: 6, 25: 8, 50: 18, 100: 40, 200: 86,
	} {
		require.Equal(t, want, rank(n), "%d pairs", n)
	}
}

// The same, counted with whole numbers, as far as they are wanted.
func TestRanksAreExact(t *testing.T) {
	for n := range int64(1200) {
		if n > 300 && n%50 != 0 {
			continue
		}
		all := new(big.Int).Lsh(big.NewInt(1), uint(n))
		below, want := new(big.Int), 0
		for k := range n {
			below.Add(below, new(big.Int).Binomial(n, k))
			if new(big.Int).Mul(below, big.NewInt(40)).Cmp(all) > 0 { // more than 1 in 40
				break
			}
			want = int(k) + 1
		}
		require.Equal(t, want, rank(int(n)), "%d pairs", n)
	}
}

func counted(n int) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = float64(i + 1)
	}
	return out
}

func TestEstimates(t *testing.T) {
	for _, c := range []struct {
		ratios []float64
		want   estimate
	}{
		{[]float64{3, 1, 2}, estimate{Median: 2, Pairs: 3}},
		{[]float64{1, 2, 3, 4, 5, 6}, estimate{3.5, 1, 6, 6}},
		{counted(10), estimate{5.5, 2, 9, 10}},
		{counted(11), estimate{6, 2, 10, 11}},
		{counted(200), estimate{100.5, 86, 115, 200}},
		{slices.Repeat([]float64{0.7}, 40), estimate{0.7, 0.7, 0.7, 40}},
		{append(slices.Repeat([]float64{1}, 15), slices.Repeat([]float64{2}, 5)...), estimate{1, 1, 1, 20}},
		{append(slices.Repeat([]float64{1}, 14), slices.Repeat([]float64{2}, 6)...), estimate{1, 1, 2, 20}},
		{append(counted(10), 1e9), estimate{6, 2, 10, 11}},
	} {
		got := estimateOf(c.ratios)
		require.Equal(t, c.want, got)
		slices.Reverse(c.ratios)
		require.Equal(t, got, estimateOf(c.ratios), "the order says nothing")
	}
	require.False(t, estimateOf(counted(5)).enough())
	require.True(t, estimateOf(counted(6)).enough())
}

// Of 2,000 series of pairs that are drawn around a known median, the interval
// holds it in at least 95 of 100, whatever their shape.
func TestTheIntervalCoversTheMedian(t *testing.T) {
	r, err := newChance(7)
	require.NoError(t, err)
	draw := func() float64 { return (float64(r.below(1_000_000)) + 0.5) / 1_000_000 }
	for name, shape := range map[string]func(u float64) float64{
		"even":   func(u float64) float64 { return u },
		"skewed": func(u float64) float64 { return 1 / (1 - u) },
		"ties":   func(u float64) float64 { return float64(int(u * 5)) },
	} {
		for _, n := range []int{10, 31, 200} {
			held := 0
			const series = 2000
			for range series {
				ratios := make([]float64, n)
				for i := range ratios {
					ratios[i] = shape(draw())
				}
				if e := estimateOf(ratios); e.Low <= shape(0.5) && shape(0.5) <= e.High {
					held++
				}
			}
			require.GreaterOrEqual(t, held, series*94/100, "%s, %d pairs", name, n)
		}
	}
}

func TestDemands(t *testing.T) {
	narrow := estimate{Median: 0.75, Low: 0.7, High: 0.8, Pairs: 200}
	for text, want := range map[string]bool{
		printed:      true,
		"<= 0.80":    true, // exactly at the border
		"<= 0.8":     true,
		"<= 0.7999":  false, // the median would do, the interval does not
		"<= 0.75":    false,
		"<= 1":       true,
		">= 0.7":     true, // exactly at the border
		">= 0.70001": false,
		">= 15":      false,
	} {
		d, err := parseDemand(text)
		require.NoError(t, err)
		require.Equal(t, want, d.met(narrow), text)
	}
	few := estimateOf(slices.Repeat([]float64{0.1}, 5))
	d, err := parseDemand("<= 0.8")
	require.NoError(t, err)
	require.False(t, d.met(few), "five pairs have no interval")
	require.True(t, demand{text: printed}.met(few))
	for _, text := range []string{"", "0.8", "<= ", "<=0.8", "< 0.8", "<= 0", "<= -1", ">= NaN", ">= Inf", "<= 5 ms"} {
		_, err := parseDemand(text)
		require.Error(t, err, text)
	}
}

func TestARateIsTheRatioTheOtherWay(t *testing.T) {
	ours, theirs := []float64{2, 4}, []float64{4, 4}
	require.Equal(t, []float64{0.5, 1}, demand{}.ratios(ours, theirs))
	require.Equal(t, []float64{2, 1}, demand{rate: true}.ratios(ours, theirs))
}
