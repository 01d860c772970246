package audit

import (
	"bytes"
	"cmp"
	"encoding/binary"

	"github.com/crmguard/crmguard/internal/canon"
)

// An answer has two parts, one behind the other: the events that waited when the
// first page was made, by the time and the id that they have themselves, and the
// entries that the log had then, by the time that they are filed under and their
// index. The size of the log at that moment tells which part an event belongs to
// however long ago it was filed, so that none stands in both.

// place is where a page ends.
type place struct {
	first bool     // before all
	waits bool     // among the events that waited
	end   int64    // how many entries the log had on the first page
	at    int64    // the time of the event, microseconds
	n     int64    // the index of an entry
	id    [16]byte // the id of an event that waited
	rows  seqs     // the rows that waited on the first page
}

// seqs is a run of numbers of rows that wait; the zero value is of all.
type seqs struct{ from, to int64 }

const placeVersion = 1

// String is the cursor of a place.
func (p *place) String() string {
	data := []byte{placeVersion, 0}
	data = binary.BigEndian.AppendUint64(data, uint64(p.end))
	data = binary.BigEndian.AppendUint64(data, uint64(p.at))
	if p.waits {
		data[1] = 1
		data = binary.BigEndian.AppendUint64(data, uint64(p.rows.from))
		data = binary.BigEndian.AppendUint64(data, uint64(p.rows.to))
		return canon.FormatBytes(append(data, p.id[:]...))
	}
	return canon.FormatBytes(binary.BigEndian.AppendUint64(data, uint64(p.n)))
}

// parsePlace reads a cursor; none is before all.
func parsePlace(cursor string) (p place, err error) {
	if cursor == "" {
		return place{first: true, waits: true}, nil
	}
	const fixed = 2 + 8 + 8
	data, err := canon.ParseBytes(cursor)
	if err != nil || len(data) < fixed || data[0] != placeVersion {
		return p, invalid("find: Page.Before is no cursor")
	}
	p.end = int64(binary.BigEndian.Uint64(data[2:]))
	p.at = int64(binary.BigEndian.Uint64(data[10:]))
	rest := data[fixed:]
	switch {
	case data[1] == 1 && len(rest) == 16+len(p.id):
		p.waits = true
		p.rows = seqs{int64(binary.BigEndian.Uint64(rest)), int64(binary.BigEndian.Uint64(rest[8:]))}
		copy(p.id[:], rest[16:])
	case data[1] == 0 && len(rest) == 8:
		p.n = int64(binary.BigEndian.Uint64(rest))
	default:
		return p, invalid("find: Page.Before is no cursor")
	}
	if p.end < 0 || p.rows.from > p.rows.to {
		return p, invalid("find: Page.Before is no cursor")
	}
	return p, nil
}

// newer orders places of one answer, the newest first.
func (p *place) newer(q *place) int {
	if p.waits != q.waits {
		if p.waits {
			return -1
		}
		return 1
	}
	if p.waits {
		return cmp.Or(cmp.Compare(q.at, p.at), bytes.Compare(q.id[:], p.id[:]))
	}
	return cmp.Or(cmp.Compare(q.at, p.at), cmp.Compare(q.n, p.n))
}

// before says that a place stands behind another one, on its page or a later one.
func (p *place) before(q *place) bool { return q.first || q.newer(p) < 0 }
