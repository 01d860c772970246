package audit

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/internal/c2sp"
	"github.com/crmguard/crmguard/internal/frame"
	"github.com/crmguard/crmguard/internal/ids"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// What the log does not hold, the sealed openings and the heads of surrogates, is
// lost with the database unless it is mirrored: into a sink that is not published,
// in files that are replaced as a whole, each with a number that goes up. It is
// begun before a checkpoint is signed, so that what is published is mirrored as
// long as the mirror keeps up; one that fails or hangs is an alarm and stops
// nothing. An erasure reaches the mirror, too.

const (
	mirroredOpenings = "openings/"
	mirroredPeople   = "people/"
	mirrorBlock      = c2sp.TileWidth // entries, or rows of surrogates, a file
)

// mirrorName is the name of the file of block n.
func mirrorName(kind string, n int64) string {
	path := c2sp.TilePath(tlog.Tile{H: c2sp.TileHeight, L: -1, N: n, W: c2sp.TileWidth})
	return kind + path[strings.Index(path, "entries/")+len("entries/"):]
}

func mirrorLabel(kind string) string {
	return "crmguard/audit/" + strings.TrimSuffix(kind, "/") + "/v1\n"
}

// mirrorAll brings the mirror level with the database, as far as it was committed
// when it began.
func (t *Trail) mirrorAll(ctx context.Context, sink Sink) error {
	s, err := t.state(ctx, t.db)
	if err != nil {
		return err
	}
	from, people := s.mirrored, s.people
	if anew, err := mirrorGone(ctx, sink, s); err != nil {
		return err
	} else if anew { // another folder, or an older one
		from, people = 0, 0
	}
	for n := max(from, s.pruned) / mirrorBlock; n*mirrorBlock < s.N; n++ {
		if err := t.mirrorOpenings(ctx, sink, n, blockWork{since: from, first: n*mirrorBlock >= s.mirrored}); err != nil {
			return err
		}
	}
	var last int64
	if _, err := t.one(ctx, t.db, []any{&last}, `SELECT COALESCE(MAX(n), 0) FROM crmguard_audit_surrogates`); err != nil {
		return err
	}
	// From a block further back on: on servers a row may commit behind one with a higher
	// number. Who is later than that is found by a round.
	for n := max(people-mirrorBlock, 0) / mirrorBlock; last > 0 && n*mirrorBlock <= last; n++ {
		if err := t.mirrorPeople(ctx, sink, n, nil); err != nil {
			return err
		}
	}
	if err := t.mirrorRounds(ctx, sink, s, last); err != nil {
		return err
	}
	return t.advance(ctx, t.memory.recall, func(now state) (state, func(tx HandoverTx) error, error) {
		if now.mirrored == s.N && now.people == last {
			return now, nil, nil
		}
		now.mirrored, now.people = max(now.mirrored, s.N), last
		return now, func(HandoverTx) error { return nil }, nil
	})
}

// mirrorPeopleAnew has the next turn of the mirror write all heads once more.
func (t *Trail) mirrorPeopleAnew(ctx context.Context) error {
	if t.config.Mirror == nil {
		return nil
	}
	return t.advance(ctx, t.memory.recall, func(s state) (state, func(tx HandoverTx) error, error) {
		s.people = 0
		return s, func(HandoverTx) error { return nil }, nil
	})
}

// mirrorPeople makes a file of heads what the database says now, beside what only the
// file has; gone says what has just been deleted, nil for nothing.
func (t *Trail) mirrorPeople(ctx context.Context, sink Sink, n int64, gone func(*mirrorLine) bool) error {
	_, err := t.mirrorSwap(ctx, sink, mirroredPeople, n, mirrorName(mirroredPeople, n), gone, func(old []byte) (taken, data []byte, err error) {
		_, taken, _ = mirrorRecords(mirroredPeople, old)
		data, err = t.peopleData(ctx, n)
		return taken, data, err
	})
	return err
}

// mirrorSwap makes one file of block n anew, and says what records it then has. The
// file as it is, nil for none, is handed to read. That answers with the records of it
// that may stay, and with what the database says. The file is exchanged only where it is
// still the same, so that nobody writes an older state over a newer one: one from
// before an erasure. For the sake of that an erasure, which has a gone, writes it anew
// under another number also where it says the same: a call that was made before and
// arrives after it then meets another file.
func (t *Trail) mirrorSwap(ctx context.Context, sink Sink, kind string, n int64, name string, gone func(*mirrorLine) bool, read func(old []byte) (taken, data []byte, err error)) (records []byte, err error) {
	for range swaps {
		old, err := sink.ReadFile(ctx, name)
		if errors.Is(err, fs.ErrNotExist) {
			old, err = nil, nil
		} else if err == nil && old == nil {
			old = []byte{}
		}
		if err != nil {
			return nil, err
		}
		taken, data, err := read(old)
		if err != nil {
			return nil, err
		}
		if data, err = t.withKept(ctx, kind, n, taken, data, gone); err != nil {
			return nil, err
		}
		number, there, whole := mirrorRecords(kind, old)
		if whole && gone == nil && bytes.Equal(there, data) {
			return data, nil
		}
		file := binary.BigEndian.AppendUint64([]byte(mirrorLabel(kind)), number+1)
		if err = sink.SwapFile(ctx, name, old, append(file, data...)); !errors.Is(err, ErrChanged) {
			return data, err
		}
	}
	return nil, fmt.Errorf("%w: others kept replacing a file of the mirror", ErrChanged)
}

// mirrorRecords are what stands in a file of the mirror behind its label and its
// number.
func mirrorRecords(kind string, file []byte) (number uint64, records []byte, whole bool) {
	rest, ok := bytes.CutPrefix(file, []byte(mirrorLabel(kind)))
	if !ok || len(rest) < 8 {
		return 0, nil, false
	}
	return binary.BigEndian.Uint64(rest), rest[8:], true
}

// peopleData is what a file of heads holds.
func (t *Trail) peopleData(ctx context.Context, n int64) (out []byte, err error) {
	first := n * mirrorBlock
	return out, t.query(ctx, t.db, func(rows answer) error {
		var tenant string
		var surrogate, head []byte
		err := rows.Scan(&tenant, &surrogate, &head)
		out = frame.Append(frame.Append(frame.Append(out, tenant), surrogate), head)
		return err
	}, `SELECT tenant, `+upTo(mostID, "surrogate")+`, `+upTo(mostSmall, "head")+` FROM crmguard_audit_surrogates WHERE n >= ? AND n < ? AND head IS NOT NULL ORDER BY n`, first, first+mirrorBlock)
}

// mirrorErased rewrites the files of the mirror that may hold something of a
// surrogate: its own row, and the entries that name it.
func (t *Trail) mirrorErased(ctx context.Context, sink Sink, s surrogateID) error {
	of := func(l *mirrorLine) bool { return l.surrogate == s.surrogate }
	var n int64
	if _, err := t.one(ctx, t.db, []any{&n}, `SELECT n FROM crmguard_audit_surrogates WHERE tenant = ? AND surrogate = ?`, s.tenant, s.surrogate[:]); err != nil {
		return err
	}
	if err := t.mirrorPeople(ctx, sink, n/mirrorBlock, of); err != nil {
		return err
	}
	from, err := t.unfoundFrom(ctx)
	if err != nil {
		return err
	}
	var size int64 // not the state's: who damages it holds up no erasure
	if _, err := t.one(ctx, t.db, []any{&size}, `SELECT COALESCE(MAX(idx) + 1, 0) FROM crmguard_audit_entries`); err != nil {
		return err
	}
	for n := from / mirrorBlock; n*mirrorBlock < size; n++ {
		if err := t.mirrorOpenings(ctx, sink, n, blockWork{gone: of}); err != nil {
			return err
		}
	}
	for next := int64(0); ; {
		var idx int64
		found, err := t.one(ctx, t.db, []any{&idx}, `SELECT idx FROM crmguard_audit_persons WHERE k = ? AND idx >= ? ORDER BY idx LIMIT 1`, surrogateK(s.surrogate), next)
		if err != nil || !found {
			return err
		}
		if err := t.mirrorOpenings(ctx, sink, idx/mirrorBlock, blockWork{gone: of}); err != nil {
			return err
		}
		next = (idx/mirrorBlock + 1) * mirrorBlock
	}
}

// mirrorParts are the records of a file of the mirror, none where it is damaged from
// its beginning on.
func (t *Trail) mirrorParts(ctx context.Context, kind, name string) (rest []byte, err error) {
	err = t.withMirror(ctx, copyCall, func(sink Sink) error {
		data, err := sink.ReadFile(ctx, name)
		if err == nil {
			var whole bool
			if _, rest, whole = mirrorRecords(kind, data); !whole {
				t.observe(ctx, "audit.mirror.damaged", 1, slog.String("file", name))
			}
		}
		return err
	})
	return rest, err
}

// takePart takes LP(x) from the front.
func takePart(data []byte) (x, rest []byte, err error) {
	if len(data) < 4 {
		return nil, nil, malformed("a file of the mirror: it ends too early")
	}
	n := int64(binary.BigEndian.Uint32(data))
	if data = data[4:]; n > int64(len(data)) {
		return nil, nil, malformed("a file of the mirror: it ends too early")
	}
	return data[:n:n], data[n:], nil
}

// mirroredOf are the openings of entries from up to to that the mirror has, and that
// their leaves name. Whether they open and say what was committed to shows when
// they are read: whose they are need not be known here.
func (t *Trail) mirroredOf(ctx context.Context, from int64, page []adopted) (out [][]any, err error) {
	if t.config.Mirror == nil {
		return nil, nil
	}
	to := from + int64(len(page))
	for n := from / mirrorBlock; n*mirrorBlock < to; n++ {
		err := t.mirroredLines(ctx, n, func(idx int64) bool { return idx >= from && idx < to }, func(l *mirrorLine) {
			if len(l.sealed) <= mostSealed && slices.Contains(page[l.idx-from].leaf.Owners(), ownerOfRow(l.surrogate[:])) {
				out = append(out, []any{l.idx, l.surrogate[:], l.sealed})
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// peopleBack brings the rows of surrogates back that only the mirror has: whose
// they are their heads say, to whoever has the person's key. It says how many.
func (t *Trail) peopleBack(ctx context.Context, keys *passKeys) (n int, err error) {
	if t.config.Mirror == nil {
		return 0, nil
	}
	s, err := t.state(ctx, t.db)
	if err != nil {
		return 0, err
	}
	for block := max(s.people-mirrorBlock, 0) / mirrorBlock; ; block++ { // a row may have been committed behind one with a higher number
		rest, err := t.mirrorParts(ctx, mirroredPeople, mirrorName(mirroredPeople, block))
		if errors.Is(err, fs.ErrNotExist) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		var rows [][]any
		lines, err := mirrorLines(mirroredPeople, rest)
		if err != nil {
			t.observe(ctx, "audit.mirror.damaged", 1, slog.String("file", mirrorName(mirroredPeople, block)))
		}
		for i := range lines {
			l := &lines[i]
			if ids.Check("tenant", l.tenant) != nil || len(l.sealed) > mostSmall { // damaged: a database may not take it
				t.observe(ctx, "audit.mirror.damaged", 1, slog.String("file", mirrorName(mirroredPeople, block)))
				continue
			}
			if err := keys.fetch(ctx, t, l.tenant); err != nil {
				return n, err
			}
			rows = append(rows, []any{
				l.tenant, l.surrogate[:], surrogateK(l.surrogate), int64(surrogateUnmapped),
				tagIfKnown(keys.by[l.tenant].surrogates, l.tenant, l.surrogate, surrogateUnmapped), l.sealed,
			})
		}
		in := sqldb.Insert{Table: surrogatesTable, Columns: append(slices.Clone(surrogateColumns), "head"), Key: []string{"tenant", "surrogate"}}
		var more int
		if err := t.within(ctx, func(tx HandoverTx) error {
			before, err := t.unmappedNumber(ctx, tx)
			if err == nil {
				err = t.add(ctx, tx, in, rows...)
			}
			if err != nil {
				return err
			}
			after, err := t.unmappedNumber(ctx, tx)
			more = int(after - before)
			return err
		}); err != nil {
			return n, err
		}
		n += max(more, 0)
	}
}
