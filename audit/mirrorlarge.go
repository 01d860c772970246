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
// file is to have of one gets a file of its own, beside the block's, whose records
// then say who has an opening there, and nothing else. A name is written before what it
// names, and goes behind it, when the file of the entry has been read back without it:
// whoever is stopped in between, or comes at that moment, an erasure too, finds the file by
// it. The last name of an entry gives way to nobody's, so that the file is found as long as
// it is there, also by whoever looks for what somebody has put back.

// mirrorLargest is how many sealed bytes of one entry stand in the file of its block,
// which so has 4 MB.
const mirrorLargest = 16 << 10

// blockWork says what is to be done to the files of a block of openings; the zero
// value looks at all of them.
type blockWork struct {
	since int64                  // from here on entries with a file of their own are looked at
	first bool                   // no file of it has been written yet: none is looked for
	gone  func(*mirrorLine) bool // says what has just been deleted, nil for nothing
}

// looksAt says that the file of the entry that a name stands for is looked at: an erasure
// looks also where the name is nobody's.
func (w *blockWork) looksAt(l *mirrorLine) bool {
	if w.gone == nil {
		return l.idx >= w.since
	}
	return l.nobodys() || w.gone(l)
}

// largeName is the name of the file of one entry. It lies where partial bundles do, so
// that retention takes it along.
func largeName(idx int64) string {
	return largeFolder(idx/mirrorBlock) + "/" + strconv.FormatInt(idx%mirrorBlock, 10)
}

// largeFolder is where the files of single entries of a block are.
func largeFolder(n int64) string { return mirrorName(mirroredOpenings, n) + ".p" }

// elsewhere says that a record of a block only names the file of its entry: what is
// sealed has more bytes than none.
func (l *mirrorLine) elsewhere() bool { return len(l.sealed) == 0 }

// nobodys says that a record only tells of the file of its entry, and of nobody in it.
func (l *mirrorLine) nobodys() bool { return l.surrogate == [16]byte{} }

// appendRecord appends an opening as it stands in the mirror, or where it is elsewhere.
func appendRecord(out []byte, idx int64, owner, sealed []byte) []byte {
	out = binary.BigEndian.AppendUint64(out, uint64(idx))
	return frame.Append(frame.Append(out, owner), sealed)
}

// largeOf are the entries of a block that have, or are to have, a file of their own:
// those of whom these records of the block's say so, and of those that do not stand in
// the block as a whole the large ones. Where an entry is once it stays, whatever an
// erasure leaves of it: moving it would have it nowhere for a moment.
func (t *Trail) largeOf(ctx context.Context, n int64, lines []mirrorLine) (map[int64]bool, error) {
	large, here := make(map[int64]bool), make(map[int64]bool)
	for i := range lines {
		if lines[i].elsewhere() {
			large[lines[i].idx] = true
		} else {
			here[lines[i].idx] = true
		}
	}
	return large, t.query(ctx, t.db, func(rows answer) error {
		var idx int64
		err := rows.Scan(&idx)
		if !here[idx] {
			large[idx] = true
		}
		return err
	}, `SELECT idx FROM crmguard_audit_openings WHERE idx >= ? AND idx < ? GROUP BY idx HAVING SUM(LENGTH(sealed)) > ?`, n*mirrorBlock, (n+1)*mirrorBlock, mirrorLargest)
}

// strays are names for what lies in files of entries that a file of their block which is
// damaged or lost names no more.
func (t *Trail) strays(ctx context.Context, sink Sink, n int64) (names []byte, err error) {
	for idx := n * mirrorBlock; idx < (n+1)*mirrorBlock; idx++ {
		file, err := sink.ReadFile(ctx, largeName(idx))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		_, rest, whole := mirrorRecords(mirroredOpenings, file)
		lines, torn := mirrorLines(mirroredOpenings, rest)
		for i := range lines {
			names = appendRecord(names, idx, lines[i].surrogate[:], nil)
		}
		if !whole || torn != nil || len(lines) == 0 { // nobody can tell whose it is
			names = appendRecord(names, idx, make([]byte, 16), nil)
		}
	}
	return names, nil
}

// mirrorOpenings makes the files of a block of openings what the database says now,
// beside what only they have. Of whom the block's file does not know yet in an entry is
// written into the entry's behind it, and all else before it. What is read from the
// database is read after the file.
func (t *Trail) mirrorOpenings(ctx context.Context, sink Sink, n int64, work blockWork) error {
	var fresh map[int64]bool
	_, err := t.mirrorSwap(ctx, sink, mirroredOpenings, n, mirrorName(mirroredOpenings, n), work.gone, func(old []byte) (here, data []byte, err error) {
		lines, err := t.blockLines(ctx, sink, n, old, work.first)
		if err != nil {
			return nil, nil, err
		}
		large, err := t.largeOf(ctx, n, lines)
		if err != nil {
			return nil, nil, err
		}
		if data, err = t.blockData(ctx, n, large); err != nil {
			return nil, nil, err
		}
		ours, err := mirrorLines(mirroredOpenings, data)
		if err != nil {
			return nil, nil, err
		}
		var names []mirrorLine
		known := make(map[string]bool)
		for i := range lines {
			if l := &lines[i]; l.elsewhere() {
				names, known[l.key()] = append(names, *l), true
			} else {
				here = append(here, l.whole...)
			}
		}
		fresh = make(map[int64]bool)
		for i := range ours {
			if l := &ours[i]; l.elsewhere() && !known[l.key()] {
				fresh[l.idx] = true
			}
		}
		stay, err := t.namesThatStay(ctx, sink, names, ours, fresh, work)
		return here, append(data, stay...), err
	})
	for idx := range fresh {
		if err == nil {
			_, err = t.mirrorLarge(ctx, sink, idx, work.gone)
		}
	}
	return err
}

// blockLines are the records of the file of a block, with names for what it does not
// tell of where it is damaged or lost.
func (t *Trail) blockLines(ctx context.Context, sink Sink, n int64, old []byte, first bool) ([]mirrorLine, error) {
	_, there, whole := mirrorRecords(mirroredOpenings, old)
	lines, torn := mirrorLines(mirroredOpenings, there)
	if whole && torn == nil || old == nil && first {
		return lines, nil
	}
	names, err := t.strays(ctx, sink, n)
	if err != nil {
		return nil, err
	}
	more, err := mirrorLines(mirroredOpenings, names)
	return append(lines, more...), err
}

// mirrorLarge makes the file of one entry what the database says, beside what only the
// file has, and says what records it then has.
func (t *Trail) mirrorLarge(ctx context.Context, sink Sink, idx int64, gone func(*mirrorLine) bool) ([]byte, error) {
	return t.mirrorSwap(ctx, sink, mirroredOpenings, idx/mirrorBlock, largeName(idx), gone, func(old []byte) (taken, data []byte, err error) {
		_, taken, _ = mirrorRecords(mirroredOpenings, old)
		data, err = t.openingData(ctx, idx)
		return taken, data, err
	})
}

// namesThatStay are those of a block's names that the database, which has ours, does not
// have any more: of entries whose files are not looked at now, and of whom the file of
// the entry still has something; and nobody's, of an entry that would have none.
func (t *Trail) namesThatStay(ctx context.Context, sink Sink, names, ours []mirrorLine, fresh map[int64]bool, work blockWork) (stay []byte, err error) {
	has, named := make(map[string]bool), make(map[int64]bool)
	for i := range ours {
		has[ours[i].key()], named[ours[i].idx] = true, true
	}
	look := make(map[int64]bool) // and whether a name there may go
	for i := range names {
		if l := &names[i]; !fresh[l.idx] && work.looksAt(l) {
			look[l.idx] = look[l.idx] || !has[l.key()] && !l.nobodys()
		}
	}
	files := make(map[int64]map[string]bool)
	for idx, goes := range look {
		gone := work.gone
		if goes && gone == nil { // anew in any case, as an erasure does: no older state arrives behind the name
			gone = func(*mirrorLine) bool { return false }
		}
		records, err := t.mirrorLarge(ctx, sink, idx, gone)
		if err != nil {
			return nil, err
		}
		lines, err := mirrorLines(mirroredOpenings, records)
		if err != nil {
			return nil, err
		}
		files[idx] = make(map[string]bool, len(lines))
		for i := range lines {
			files[idx][lines[i].key()] = true
		}
	}
	for i := range names {
		l := &names[i]
		if in, looked := files[l.idx]; !has[l.key()] && !l.nobodys() && (!looked || in[l.key()]) {
			stay = append(stay, l.whole...)
			has[l.key()], named[l.idx] = true, true
		}
	}
	for i := range names {
		if l := &names[i]; !named[l.idx] {
			stay = appendRecord(stay, l.idx, make([]byte, 16), nil)
			named[l.idx] = true
		}
	}
	return stay, nil
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
// their own from there, and one entry at a time: keep says which entries are wanted. Where
// the file of the block does not tell, being damaged or lost, each entry is asked for.
func (t *Trail) mirroredLines(ctx context.Context, n int64, keep func(idx int64) bool, each func(*mirrorLine)) error {
	rest, err := t.mirrorParts(ctx, mirroredOpenings, mirrorName(mirroredOpenings, n))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	lines, torn := mirrorLines(mirroredOpenings, rest)
	if torn != nil { // the rest of this file counts as lost
		t.observe(ctx, "audit.mirror.damaged", 1, slog.String("file", mirrorName(mirroredOpenings, n)))
	}
	had, elsewhere := make(map[int64]bool), make(map[int64]bool)
	for i := range lines {
		l := &lines[i]
		had[l.idx] = true
		if l.elsewhere() {
			elsewhere[l.idx] = true
		} else if keep(l.idx) {
			each(l)
		}
	}
	unsaid := torn != nil || len(lines) == 0
	for idx := n * mirrorBlock; idx < (n+1)*mirrorBlock; idx++ {
		if keep(idx) && (elsewhere[idx] || unsaid && !had[idx]) {
			if err := t.largeLines(ctx, idx, each); err != nil {
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
