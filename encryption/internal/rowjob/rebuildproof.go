package rowjob

import (
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"slices"

	"github.com/crmguard/crmguard/encryption/keystore"
)

// A pass reads page after page, and a row whose key changes meanwhile may move
// from behind it to before it: nobody has looked at it. So a pass alone does not
// show that every row has its index value. It remembers what it found right, by
// what stands in the row and not by where the row stands, in eight bytes; then
// one unchanging view is read whole, and what is not remembered is looked at.

// indexProof is what a pass found right of the index versions that wait to be
// searched.
type indexProof struct {
	seed   maphash.Seed
	of     []int // positions in Table.Indexes
	seen   []uint64
	sorted bool
}

func (t *Table) newProof(seed maphash.Seed, fenced []keystore.IndexRow) *indexProof {
	p := &indexProof{seed: seed}
	for i, x := range t.Indexes {
		if slices.ContainsFunc(fenced, func(row keystore.IndexRow) bool { return row.Index == x.Name && row.Version == x.Version }) {
			p.of = append(p.of, i)
		}
	}
	return p
}

// sum stands for what one index of a row holds, and the cell that it is of.
func (p *indexProof) sum(index int, cell, value any) uint64 {
	var h maphash.Hash
	h.SetSeed(p.seed)
	for _, part := range []string{fmt.Sprint(index), fmt.Sprintf("%T", value), fmt.Sprint(value), string(storedBytes(cell))} {
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part))))
		h.WriteString(part)
	}
	return h.Sum64()
}

// right remembers an index of a row as it is.
func (p *indexProof) right(t *Table, row dataRow, index int) {
	if cell := row.cells[t.Indexes[index].Of].stored; slices.Contains(p.of, index) && (cell != nil || row.values[index] != nil) {
		p.seen, p.sorted = append(p.seen, p.sum(index, cell, row.values[index])), false
	}
}

// knows says whether all indexes of a row were found right as they are.
func (p *indexProof) knows(t *Table, row dataRow) bool {
	if !p.sorted {
		slices.Sort(p.seen)
		p.sorted = true
	}
	for _, index := range p.of {
		cell := row.cells[t.Indexes[index].Of].stored
		if cell == nil && row.values[index] == nil {
			continue
		}
		if _, found := slices.BinarySearch(p.seen, p.sum(index, cell, row.values[index])); !found {
			return false
		}
	}
	return true
}

// overlooked are the rows of one unchanging view that the pass has not seen as
// they are: those that moved, and those that were written since.
func (s *storedTable) overlooked(ctx context.Context, tenant string, proof *indexProof) (rows []dataRow, err error) {
	err = s.db.Snapshot(ctx, func(tx *sql.Tx) error {
		rows = nil
		var after []any
		for {
			page, err := s.pageIn(ctx, tx, tenant, after, "", nil, rebuildBatch)
			if err != nil {
				return err
			}
			if len(page) == 0 {
				return s.whole(ctx, tx) // that was asked before, and of another connection
			}
			after = page[len(page)-1].cursor
			for _, row := range page {
				if !proof.knows(s.Table, row) {
					rows = append(rows, s.indexedOnly(row))
				}
			}
		}
	})
	return rows, err
}

// indexedOnly leaves out the cells that have no index: they may be large.
func (s *storedTable) indexedOnly(row dataRow) dataRow {
	cells := make([]dataCell, len(row.cells))
	for _, index := range s.Indexes {
		cells[index.Of] = row.cells[index.Of]
	}
	row.cells = cells
	return row
}

// recheck looks at rows that the proof does not know, and corrects them.
func (s *storedTable) recheck(ctx context.Context, tenant string, proof *indexProof, pass *rebuildPass) error {
	rows, err := s.overlooked(ctx, tenant, proof)
	if err != nil {
		return err
	}
	for some := range slices.Chunk(rows, rebuildBatch) {
		if err := s.rebuildRows(ctx, tenant, some, pass); err != nil {
			return err
		}
	}
	return nil
}
