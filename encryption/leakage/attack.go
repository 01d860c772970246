package leakage

import (
	"math/bits"
	"slices"
)

// attack is what the most telling of four keys gives away: under one of them two
// frequent values may happen to share an index value, which is luck that nobody
// chooses. Four parts of the digests stand for four keys; of wide indexes, in which
// nothing collides, they tell the same.
func attack(values []uint64, width int) float64 {
	most := 0.0
	for part := range 4 {
		most = max(most, rankAttack(values, width, 16*part))
	}
	return most
}

// rankAttack learns the order of the values by their frequency from every second row,
// puts the index values of the other rows, of that many bits, in the order of
// theirs, and takes the first for the first: how many rows it names rightly. In the
// middle of equally frequent ones the order is chance, so it is the average over
// all orders.
func rankAttack(values []uint64, width, turn int) float64 {
	learned := map[uint64]int{}
	cells := map[uint64]map[uint64]int{} // index value -> values behind it -> rows
	seen := map[uint64]int{}
	for i, v := range values {
		if i%2 == 0 {
			learned[v]++
			continue
		}
		cell := bits.RotateLeft64(v, turn) >> (64 - min(width, 64))
		if cells[cell] == nil {
			cells[cell] = map[uint64]int{}
		}
		cells[cell][v]++
		seen[cell]++
	}
	names, observed := ranks(learned), ranks(seen)
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
	keys := make([]uint64, 0, len(counts))
	for key := range counts {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b uint64) int { return counts[b] - counts[a] })
	out := make(map[uint64]places, len(keys))
	for from := 0; from < len(keys); {
		to := from + 1
		for to < len(keys) && counts[keys[to]] == counts[keys[from]] {
			to++
		}
		for _, key := range keys[from:to] {
			out[key] = places{from, to}
		}
		from = to
	}
	return out
}
