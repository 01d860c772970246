package leakage

import (
	"maps"
	"slices"
)

// keys are tried for each width: under one of them two frequent values may happen
// to share an index value, or frequencies to fall into the right order. What the
// middle one gives away is told.
const keys = 9

// attack learns the order of the values by their frequency from every second row,
// puts the index values of the other rows, of that many bits, in the order of
// theirs, and takes the first for the first: how many rows it names rightly. Among
// equally frequent ones the order is chance, so it is the average over all orders.
func attack(values []uint64, width int) float64 {
	learned := map[uint64]int{}
	for i := 0; i < len(values); i += 2 {
		learned[values[i]]++
	}
	names := ranks(learned)
	recovered := make([]float64, keys)
	for i := range recovered {
		recovered[i] = named(values, names, width, 2*uint64(i)*0x9e3779b97f4a7c15+1)
	}
	slices.Sort(recovered)
	return recovered[keys/2]
}

// named attacks what the digests are under another key, for which multiplying by
// an odd number stands: it mixes their upper bits and makes no two of them one.
func named(values []uint64, names map[uint64]places, width int, key uint64) float64 {
	cells := map[uint64]map[uint64]int{} // index value -> values behind it -> rows
	seen := map[uint64]int{}
	for i := 1; i < len(values); i += 2 {
		cell := values[i] * key >> (64 - min(width, 64))
		if cells[cell] == nil {
			cells[cell] = map[uint64]int{}
		}
		cells[cell][values[i]]++
		seen[cell]++
	}
	observed := ranks(seen)
	right := 0.0
	for cell, behind := range cells {
		at := observed[cell]
		for value, rows := range behind {
			if name, known := names[value]; known {
				right += float64(rows) * at.meets(name)
			}
		}
	}
	return right
}

// places are the ranks from and up to, exclusively, that equally frequent ones
// share.
type places struct{ from, to int }

// meets is the chance that one of these places is the same as one of those.
func (p places) meets(q places) float64 {
	common := min(p.to, q.to) - max(p.from, q.from)
	if common <= 0 {
		return 0
	}
	return float64(common) / float64(p.to-p.from) / float64(q.to-q.from)
}

func ranks(counts map[uint64]int) map[uint64]places {
	order := slices.SortedFunc(maps.Keys(counts), func(a, b uint64) int { return counts[b] - counts[a] })
	out := make(map[uint64]places, len(order))
	for from := 0; from < len(order); {
		to := from + 1
		for to < len(order) && counts[order[to]] == counts[order[from]] {
			to++
		}
		for _, key := range order[from:to] {
			out[key] = places{from, to}
		}
		from = to
	}
	return out
}
