package leakage

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"math"
	"math/big"

	"github.com/crmguard/crmguard/encryption"
)

// measure gathers what one index sees of a column: digests of what it indexes, as
// the index itself would compute them, but under a key of its own.
type measure struct {
	table  *encryption.SealedTable
	index  encryption.Index
	mac    hash.Hash
	limit  int
	seed   uint64
	sample []uint64

	values, empty, refused int64
}

func newMeasure(table *encryption.SealedTable, index encryption.Index, limit int, seed uint64) *measure {
	var random [sha256.Size + 8]byte
	_, _ = rand.Read(random[:]) // never fails: it ends the process where there is no randomness
	if seed == 0 {
		seed = binary.BigEndian.Uint64(random[sha256.Size:])
	}
	return &measure{table: table, index: index, mac: hmac.New(sha256.New, random[:sha256.Size]), limit: limit, seed: seed}
}

// add takes a value. Of more than the limit each has the same chance to be among
// those that are kept.
func (m *measure) add(value string) error {
	normal, err := m.table.Normalise(m.index.Column, value)
	switch {
	case errors.Is(err, encryption.ErrValue):
		m.refused++
		return nil
	case err != nil:
		return err
	case normal == "":
		m.empty++
		return nil
	}
	m.values++
	at := int64(len(m.sample))
	if len(m.sample) == m.limit {
		draw, _ := rand.Int(rand.Reader, big.NewInt(m.values)) // never fails, as above
		if at = draw.Int64(); at >= int64(m.limit) {
			return nil
		}
	} else {
		m.sample = append(m.sample, 0)
	}
	m.mac.Reset()
	m.mac.Write([]byte(normal))
	m.sample[at] = binary.BigEndian.Uint64(m.mac.Sum(nil))
	return nil
}

// report computes the figures.
func (m *measure) report() Report {
	index := m.index
	r := Report{Index: index.Column, As: index.As, Bits: index.Bits, Values: m.values, Empty: m.empty, Refused: m.refused, Sampled: len(m.sample)}
	counts := map[uint64]int{}
	for _, v := range m.sample {
		counts[v]++
	}
	r.Distinct = len(counts)
	if len(m.sample) == 0 {
		return r
	}
	same := 0.0 // chance that two rows hold the same value
	n := float64(len(m.sample))
	for _, count := range counts {
		share := float64(count) / n
		same += share * share
		r.Top = max(r.Top, share)
	}
	r.Collisions = float64(m.values) * (1 - same) / math.Exp2(float64(index.Bits))
	r.Attacked = len(m.sample) / 2
	recovered := attack(m.sample, m.seed, index.Bits, 8)
	r.Recovered, r.Recovered8 = recovered[0], recovered[1]
	return r
}
