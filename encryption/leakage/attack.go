package leakage

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"
)

// tries is how often the attack is made, each time on other halves and under another
// key: once two frequent values may happen to share an index value, or frequencies
// to fall into the right order. What it gives away on average is told.
const tries = 25

// attack learns the order of the values by their frequency from one half of the
// rows, puts the index values of the other half, of so many bits, in the order of
// theirs, and takes the first for the first: how many rows it names rightly. Among
// equally frequent ones the order is chance, so it is the average over all orders.
//
// Who takes the most frequent value for all of them may name more, and is counted
// then. Of values that occur equally often in the table, as in couples, the one half
// has more of that of which the other has less: their order says the wrong thing.
func attack(values []uint64, seed uint64, widths ...int) []float64 {
	ordered, guessed := make([]float64, len(widths)), 0.0
	for try := range uint64(tries) {
		known, attacked := halves(values, seed, try)
		names := ranksOf(known)
		for i, width := range widths {
			ordered[i] += named(attacked, names, width, 2*try*0x9e3779b97f4a7c15+1)
		}
		guessed += first(attacked, names)
	}
	for i := range ordered {
		ordered[i] = max(ordered[i], guessed) / tries
	}
	return ordered
}

// halves draws which rows the attacker knows, for each row by itself and whatever
// it holds: in a table the values may take turns, or come sorted. The half that is
// attacked is the smaller one where they are not equal.
func halves(values []uint64, seed, try uint64) (known, attacked []uint64) {
	type drawn struct{ chance, value uint64 }
	order := make([]drawn, len(values))
	var place [24]byte
	binary.BigEndian.PutUint64(place[:], seed)
	binary.BigEndian.PutUint64(place[8:], try)
	for i, value := range values {
		binary.BigEndian.PutUint64(place[16:], uint64(i))
		chance := sha256.Sum256(place[:])
		order[i] = drawn{binary.BigEndian.Uint64(chance[:]), value}
	}
	slices.SortFunc(order, func(a, b drawn) int { return cmp.Compare(a.chance, b.chance) })
	out := make([]uint64, len(order))
	for i := range order {
		out[i] = order[i].value
	}
	return out[len(out)/2:], out[:len(out)/2]
}

// first counts the rows that hold the most frequent value; of several that are, the
// average.
func first(values []uint64, names map[uint64]places) float64 {
	right := 0.0
	for _, value := range values {
		if name, known := names[value]; known && name.from == 0 {
			right += 1 / float64(name.to)
		}
	}
	return right
}

// named attacks what the digests are under another key, for which multiplying by
// an odd number stands: it mixes their upper bits and makes no two of them one.
func named(values []uint64, names map[uint64]places, width int, key uint64) float64 {
	cells := map[uint64]map[uint64]int{} // index value -> values behind it -> rows
	seen := map[uint64]int{}
	for _, value := range values {
		cell := value * key >> (64 - min(width, 64))
		if cells[cell] == nil {
			cells[cell] = map[uint64]int{}
		}
		cells[cell][value]++
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

func ranksOf(values []uint64) map[uint64]places {
	counts := map[uint64]int{}
	for _, value := range values {
		counts[value]++
	}
	return ranks(counts)
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
