package audit

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strconv"

	"github.com/crmguard/crmguard/internal/frame"
)

// A file of the mirror is in memory as a whole, and read and written in each pass until
// its block is full. What it holds is bounded: an entry with more sealed bytes than a
// file is to have of one gets a file of its own, beside the block's, whose records then
// say who has an opening there, and nothing else. That is written before the file of the
// entry is there, and takes the name away when what it names has gone: whoever comes
// behind it, an erasure too, finds the file of the entry by it, and replaces that.

// mirrorLargest is how many sealed bytes of one entry stand in the file of its block,
// which so has 4 MB.
const mirrorLargest = 16 << 10

// largeName is the name of the file of one entry. It lies where partial bundles do, so
// that retention takes it along.
func largeName(idx int64) string {
	return mirrorName(mirroredOpenings, idx/mirrorBlock) + ".p/" + strconv.FormatInt(idx%mirrorBlock, 10)
}

// elsewhere says that a record of a block only names the file of its entry: what is
// sealed has more bytes than none.
func (l *mirrorLine) elsewhere() bool { return len(l.sealed) == 0 }

// appendRecord appends an opening as it stands in the mirror, or where it is elsewhere.
func appendRecord(out []byte, idx int64, owner, sealed []byte) []byte {
	out = binary.BigEndian.AppendUint64(out, uint64(idx))
	return frame.Append(frame.Append(out, owner), sealed)
}

// largeOf are the entries of a block that have, or are to have, a file of their own:
// those of whom the block's file says so, which has these records, and those that
// are large. Once it has one an entry keeps it, whatever an erasure leaves of it.
func (t *Trail) largeOf(ctx context.Context, n int64, lines []mirrorLine) (large, told map[int64]bool, err error) {
	large, told = make(map[int64]bool), make(map[int64]bool)
	for i := range lines {
		if lines[i].elsewhere() {
			large[lines[i].idx], told[lines[i].idx] = true, true
		}
	}
	return large, told, t.query(ctx, t.db, func(rows answer) error {
		var idx int64
		err := rows.Scan(&idx)
		large[idx] = true
		return err
	}, `SELECT idx FROM crmguard_audit_openings WHERE idx >= ? AND idx < ? GROUP BY idx HAVING SUM(LENGTH(sealed)) > ?`, n*mirrorBlock, (n+1)*mirrorBlock, mirrorLargest)
}

// strays are records for what lies in files of entries that the damaged file of their
// block names no more.
func (t *Trail) strays(ctx context.Context, sink Sink, n int64) (records []byte, err error) {
	for idx := n * mirrorBlock; idx < (n+1)*mirrorBlock; idx++ {
		file, err := sink.ReadFile(ctx, largeName(idx))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		_, rest, _ := mirrorRecords(mirroredOpenings, file)
		lines, _ := mirrorLines(mirroredOpenings, rest) // a damaged rest says nothing
		for i := range lines {
			records = appendRecord(records, idx, lines[i].surrogate[:], nil)
		}
	}
	return records, nil
}

// mirrorOpenings does for a block of openings what mirrorFile does, and for those of
// its entries that have files of their own: of entries before since only where gone
// has something of them, or the file of the block did not name them. What the block
// already names comes before it: as long as something is there the block says so,
// wherever this is stopped.
func (t *Trail) mirrorOpenings(ctx context.Context, sink Sink, n, since int64, gone func(*mirrorLine) bool) error {
	file := func(idx int64) error {
		return t.mirrorSwap(ctx, sink, mirroredOpenings, n, largeName(idx), gone, func(there []byte, _ bool) ([]byte, []byte, error) {
			data, err := t.openingData(ctx, idx)
			return there, data, err
		})
	}
	var fresh []int64
	err := t.mirrorSwap(ctx, sink, mirroredOpenings, n, mirrorName(mirroredOpenings, n), gone, func(there []byte, damaged bool) ([]byte, []byte, error) {
		if damaged {
			more, err := t.strays(ctx, sink, n)
			if err != nil {
				return nil, nil, err
			}
			there = more
		}
		lines, _ := mirrorLines(mirroredOpenings, there) // a damaged rest says nothing
		large, told, err := t.largeOf(ctx, n, lines)
		if err != nil {
			return nil, nil, err
		}
		due := make(map[int64]bool)
		for i := range lines {
			if l := &lines[i]; l.elsewhere() && (gone == nil && l.idx >= since || gone != nil && gone(l)) {
				due[l.idx] = true
			}
		}
		for idx := range due {
			if err := file(idx); err != nil {
				return nil, nil, err
			}
		}
		fresh = fresh[:0]
		for idx := range large {
			if !told[idx] {
				fresh = append(fresh, idx)
			}
		}
		data, err := t.blockData(ctx, n, large)
		return there, data, err
	})
	for _, idx := range fresh {
		if err == nil {
			err = file(idx)
		}
	}
	return err
}

// blockData is what the file of a block holds.
func (t *Trail) blockData(ctx context.Context, n int64, large map[int64]bool) (out []byte, err error) {
	for first, end := n*mirrorBlock, (n+1)*mirrorBlock; first < end; {
		next := first
		for next < end && large[next] == large[first] {
			next++
		}
		sealed := upTo(mostSealed, "sealed")
		if large[first] {
			sealed = `NULL`
		}
		if err := t.query(ctx, t.db, func(rows answer) error {
			var idx int64
			var owner, sealed []byte
			err := rows.Scan(&idx, &owner, &sealed)
			out = appendRecord(out, idx, owner, sealed)
			return err
		}, `SELECT idx, `+upTo(mostID, "owner")+`, `+sealed+` FROM crmguard_audit_openings WHERE idx >= ? AND idx < ? ORDER BY idx, owner`, first, next); err != nil {
			return nil, err
		}
		first = next
	}
	return out, nil
}

// openingData is what the file of one entry holds.
func (t *Trail) openingData(ctx context.Context, idx int64) (out []byte, err error) {
	return out, t.query(ctx, t.db, func(rows answer) error {
		var owner, sealed []byte
		err := rows.Scan(&owner, &sealed)
		out = appendRecord(out, idx, owner, sealed)
		return err
	}, `SELECT `+upTo(mostID, "owner")+`, `+upTo(mostSealed, "sealed")+` FROM crmguard_audit_openings WHERE idx = ? ORDER BY owner`, idx)
}

// mirroredLines are the records of a block of openings, those of entries with a file of
// their own from there, and one entry at a time: keep says which entries are wanted.
func (t *Trail) mirroredLines(ctx context.Context, n int64, keep func(idx int64) bool, each func(*mirrorLine)) error {
	rest, err := t.mirrorParts(ctx, mirroredOpenings, mirrorName(mirroredOpenings, n))
	if err != nil {
		return err
	}
	lines, err := mirrorLines(mirroredOpenings, rest)
	if err != nil { // the rest of this file counts as lost
		t.observe(ctx, "audit.mirror.damaged", 1, slog.String("file", mirrorName(mirroredOpenings, n)))
	}
	last := int64(-1)
	for i := range lines {
		switch l := &lines[i]; {
		case !keep(l.idx):
		case !l.elsewhere():
			each(l)
		case l.idx != last:
			last = l.idx
			if err := t.largeLines(ctx, l.idx, each); err != nil {
				return err
			}
		}
	}
	return nil
}

// largeLines are the records of the file of one entry.
func (t *Trail) largeLines(ctx context.Context, idx int64, each func(*mirrorLine)) error {
	rest, err := t.mirrorParts(ctx, mirroredOpenings, largeName(idx))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("the file of an entry: %w", err)
	}
	lines, err := mirrorLines(mirroredOpenings, rest)
	if err != nil {
		t.observe(ctx, "audit.mirror.damaged", 1, slog.String("file", largeName(idx)))
	}
	for i := range lines {
		if lines[i].idx == idx {
			each(&lines[i])
		}
	}
	return nil
}
