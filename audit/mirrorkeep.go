package audit

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// The mirror may know more than the database: after a restore, or when somebody has
// deleted rows. What a file holds and the database does not have is nobody's to
// throw away but an erasure's, and retention's.

// mirrorLine is one record of a file of the mirror.
type mirrorLine struct {
	idx       int64  // of an opening
	tenant    string // of a person
	surrogate [16]byte
	whole     []byte // of the record
	sealed    []byte // the opening, or the head
}

// key is what tells records of one file apart.
func (l *mirrorLine) key() string {
	return string(binary.BigEndian.AppendUint64([]byte(l.tenant+"\x00"+string(l.surrogate[:])), uint64(l.idx)))
}

// mirrorLines takes the records of a file apart; behind a damaged one nothing is read.
func mirrorLines(kind string, records []byte) (out []mirrorLine, err error) {
	for len(records) > 0 {
		var l mirrorLine
		var tenant, owner []byte
		rest := records
		if kind == mirroredPeople {
			tenant, rest, err = takePart(rest)
		} else if len(rest) < 8 {
			err = malformed("a file of the mirror: it ends too early")
		} else {
			l.idx, rest = int64(binary.BigEndian.Uint64(rest)), rest[8:]
		}
		if err == nil {
			owner, rest, err = takePart(rest)
		}
		if err == nil {
			l.sealed, rest, err = takePart(rest)
		}
		if err == nil && len(owner) != len(l.surrogate) {
			err = malformed("a file of the mirror: a surrogate")
		}
		if err != nil {
			return out, err
		}
		l.tenant, l.surrogate = string(tenant), [16]byte(owner)
		l.whole = records[:len(records)-len(rest)]
		out, records = append(out, l), rest
	}
	return out, nil
}

// withKept is what a file is to hold: what the database says, and those of its
// records that the database does not have, that are of nobody who was erased, and of
// which gone does not say that they are to go.
func (t *Trail) withKept(ctx context.Context, kind string, n int64, there, data []byte, gone func(*mirrorLine) bool) ([]byte, error) {
	has := make(map[string]bool)
	ours, err := mirrorLines(kind, data)
	if err != nil {
		return nil, err
	}
	for i := range ours {
		has[ours[i].key()] = true
	}
	lines, _ := mirrorLines(kind, there) // a damaged rest says nothing
	var foreign []mirrorLine
	var owners [][16]byte
	for i := range lines {
		if l := &lines[i]; !has[l.key()] && (gone == nil || !gone(l)) {
			foreign, owners = append(foreign, *l), append(owners, l.surrogate)
		}
	}
	if len(foreign) == 0 {
		return data, nil
	}
	rows, err := t.marksOf(ctx, owners)
	if err != nil {
		return nil, err
	}
	s, err := t.state(ctx, t.db)
	if err != nil {
		s = state{} // the state row is damaged: nothing is pruned for all that is known
	}
	ruled := make(map[int64]bool)
	if kind == mirroredOpenings {
		if ruled, err = t.ruledOf(ctx, s, n, foreign); err != nil {
			return nil, err
		}
	}
	for i := range foreign {
		l := &foreign[i]
		row, found := rows[l.surrogate]
		switch {
		case found && row.erased, kind == mirroredOpenings && (l.idx < s.pruned || ruled[l.idx]):
		case kind == mirroredPeople && found && row.head: // it stands in the file of its row's number
		default:
			data = append(data, l.whole...)
		}
	}
	return data, nil
}

// ownerMark is what the database says of a surrogate.
type ownerMark struct{ erased, head bool }

// marksOf reads what became of surrogates, of whatever tenant. That one was erased
// counts only under a true tag.
func (t *Trail) marksOf(ctx context.Context, owners [][16]byte) (map[[16]byte]ownerMark, error) {
	type found struct {
		surrogateMark
		head bool
	}
	var all []found
	for len(owners) > 0 {
		part := owners[:min(len(owners), rowsAStatement)]
		owners = owners[len(part):]
		args := make([]any, 2*len(part))
		for i := range part {
			args[i], args[len(part)+i] = surrogateK(part[i]), part[i][:]
		}
		err := t.query(ctx, t.db, func(rows answer) error {
			var f found
			var raw []byte
			var state, head int64
			err := rows.Scan(&f.tenant, &raw, &state, &f.into, &f.person, &f.tag, &head)
			f.fill(raw, state)
			f.head = head == 1
			all = append(all, f)
			return err
		}, `SELECT tenant, `+upTo(mostID, "surrogate")+`, state, `+upTo(mostID, "into_surrogate")+`, person, `+upTo(tagSize, "tag")+`, CASE WHEN head IS NULL THEN 0 ELSE 1 END FROM crmguard_audit_surrogates WHERE k IN (`+sqldb.Marks(len(part))+`) AND surrogate IN (`+sqldb.Marks(len(part))+`)`, args...)
		if err != nil {
			return nil, err
		}
	}
	keys := newPassKeys()
	defer keys.wipe()
	out := make(map[[16]byte]ownerMark, len(all))
	for i := range all {
		f := &all[i]
		if err := keys.fetch(ctx, t, f.tenant); err != nil {
			return nil, err
		}
		erased := (f.state == surrogateErased || f.state == surrogateErasing) && f.check(keys.by[f.tenant].surrogates) == tagRight
		out[f.surrogate] = ownerMark{erased, f.head}
	}
	return out, nil
}

// mirrorThere says that the mirror still has what the state row of a restored
// database knows to be in it, and that has not gone with retention since.
func (t *Trail) mirrorThere(ctx context.Context, s state, pruned int64) error {
	if t.config.Mirror == nil {
		return nil
	}
	s.pruned = max(s.pruned, pruned)
	gone := false
	err := t.withMirror(ctx, copyCall, func(sink Sink) (err error) {
		gone, err = mirrorGone(ctx, sink, s)
		return err
	})
	if err == nil && gone {
		err = fmt.Errorf("%w: of %d entries that it had", ErrMirrorLost, s.mirrored)
	}
	return err
}

// mirrorGone says whether the last files are missing that a state row knows to be in
// the mirror: it is not the one that was filled, or an older one.
func mirrorGone(ctx context.Context, sink Sink, s state) (bool, error) {
	var names []string
	if s.mirrored > s.pruned {
		names = append(names, mirrorName(mirroredOpenings, (s.mirrored-1)/mirrorBlock))
	}
	if s.people > 0 {
		names = append(names, mirrorName(mirroredPeople, s.people/mirrorBlock))
	}
	for _, name := range names {
		_, err := sink.ReadFile(ctx, name)
		if errors.Is(err, fs.ErrNotExist) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
	}
	return false, nil
}

// Files of the mirror are gone over in rounds, this many of each kind this often: one
// that was lost, damaged or put back to before an erasure does not stay so.
const (
	mirrorRound      = 64
	mirrorRoundEvery = time.Minute
)

// roundDue says whether it is time for the next round; a clock that went back does not
// put it off.
func (t *Trail) roundDue() bool {
	t.mirrored.mu.Lock()
	defer t.mirrored.mu.Unlock()
	return t.mirrored.round.IsZero() || away(t.now(), t.mirrored.round) >= mirrorRoundEvery
}

// mirrorRounds does a round, where one is due, over the files of the entries and of so
// many rows of surrogates.
func (t *Trail) mirrorRounds(ctx context.Context, sink Sink, s state, people int64) error {
	if !t.roundDue() {
		return nil
	}
	m := &t.mirrored // of the one turn that is at work
	if err := t.goOver(ctx, sink, mirroredOpenings, &m.nextOpenings, s.pruned, s.N); err != nil {
		return err
	}
	if err := t.goOver(ctx, sink, mirroredPeople, &m.nextPeople, 0, people+1); err != nil {
		return err
	}
	m.mu.Lock()
	m.round = t.now()
	m.mu.Unlock()
	return nil
}

// goOver compares the next files of the mirror with the database, whatever the state
// row says, and removes those of entries that went with retention: a process without
// the mirror may have taken them, or somebody has put it back.
func (t *Trail) goOver(ctx context.Context, sink Sink, kind string, next *int64, pruned, end int64) error {
	if *next*mirrorBlock >= end {
		*next = 0
	}
	for range mirrorRound {
		if *next*mirrorBlock >= end {
			return nil
		}
		var err error
		switch {
		case *next*mirrorBlock < pruned:
			err = mirrorForget(ctx, sink, *next)
		case kind == mirroredPeople:
			err = t.mirrorPeople(ctx, sink, *next, nil)
		default:
			err = t.mirrorOpenings(ctx, sink, *next, blockWork{})
		}
		if err != nil {
			return err
		}
		*next++
	}
	return nil
}

// mirrorForget removes the files of a block of openings, whichever of them are there:
// who was stopped, or came late, leaves the one without the other.
func mirrorForget(ctx context.Context, sink Sink, n int64) error {
	remover, ok := sink.(Remover)
	if !ok {
		return nil
	}
	name := mirrorName(mirroredOpenings, n)
	err := remover.RemoveAll(ctx, name)
	if err == nil {
		err = remover.RemoveAll(ctx, largeFolder(n))
	}
	return err
}
