package audit

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/internal/canon"
)

// A row that waits is looked at before the lock is taken: its tag, its leaf and
// the frame of its openings, each once, on as many processors as there are. What
// the sequencer files afterwards are the bytes that were looked at, in memory, so
// that it does not matter what becomes of the row in between.

// waiting is a row of an event that waits for its place.
type waiting struct {
	seq  int64
	id   []byte // as found
	body []byte // nil: somebody took it
}

// checked is a row that may enter the log.
type checked struct {
	seq     int64
	id      [16]byte
	leaf    auditlog.Leaf
	raw     []byte // exact bytes of the leaf
	hash    tlog.Hash
	frames  []auditlog.Frame
	persons [][16]byte // of the leaf
	at      int64      // by which it is found, once it has its place
}

// refusal is a row that may not.
type refusal struct {
	waiting
	why string
	// definite: no key that comes later would make the row right. Whatever else is
	// wrong with a row may pass: it waits, and is looked at again.
	definite bool
	tenant   string // as the leaf says, "" where none can be read
}

// The reasons of a refusal, frozen: they stand in crmguard_audit_aside.
const (
	refusedBody    = "malformed"
	refusedVersion = "of a later version"
	refusedNoKey   = "no key for its tag"
	refusedTag     = "no valid tag"
	refusedLeaf    = "leaf is malformed"
	refusedBeat    = "beats are never queued"
	refusedRow     = "leaf of another row"
	refusedOwners  = "openings of others than the leaf names"
)

// verify looks at rows that wait, in their order. An error is one of the context
// alone: a key that does not answer leaves the rows of its tenant waiting.
func (t *Trail) verify(ctx context.Context, rows []waiting, keys *passKeys) (good []checked, refused []refusal, err error) {
	looked := make([]lookedAt, len(rows))
	eachOf(len(rows), func(i int) { looked[i].read(&rows[i]) })
	for i := range looked {
		if looked[i].why == "" {
			if err := keys.fetch(ctx, t, looked[i].leaf.Tenant); err != nil {
				return nil, nil, err
			}
		}
	}
	eachOf(len(rows), func(i int) { looked[i].judge(t.config.Name, keys) })
	good = make([]checked, 0, len(rows))
	for i := range looked {
		if l := &looked[i]; l.why == "" {
			good = append(good, l.checked)
		} else {
			refused = append(refused, refusal{rows[i], l.why, l.definite, l.leaf.Tenant})
		}
	}
	return good, refused, ctx.Err()
}

// eachOf calls do for 0 to n-1, on all processors.
func eachOf(n int, do func(i int)) {
	const few = 32 // for which another processor is not worth waking
	workers := min(runtime.GOMAXPROCS(0), (n+few-1)/few)
	if workers <= 1 {
		for i := range n {
			do(i)
		}
		return
	}
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			for i := w * n / workers; i < (w+1)*n/workers; i++ {
				do(i)
			}
		})
	}
	group.Wait()
}

// lookedAt is a row while it is looked at.
type lookedAt struct {
	checked
	tag, sealed []byte
	why         string
	definite    bool
}

func (l *lookedAt) refuse(why string) { l.why, l.definite = why, true }

// read takes the row apart; whether it says the truth is found out with the key of
// its tenant.
func (l *lookedAt) read(row *waiting) {
	if len(row.body) > mostBody { // and there is more of it than was read
		l.refuse(refusedBody)
		return
	}
	if len(row.body) > 0 && row.body[0] > 1 { // another process knows what it is
		l.why = refusedVersion
		return
	}
	body, err := auditlog.ParseRowBody(row.body)
	if err != nil || len(row.id) != len(l.id) {
		l.refuse(refusedBody)
		return
	}
	l.seq, l.raw, l.tag, l.sealed = row.seq, body.Leaf, body.Tag, body.Sealed
	copy(l.id[:], row.id)
	if l.leaf, err = auditlog.ParseLeaf(l.raw); err != nil {
		l.refuse(refusedLeaf)
	}
}

// judge says whether the row may enter.
func (l *lookedAt) judge(name string, keys *passKeys) {
	if l.why != "" {
		return
	}
	if l.leaf.Kind == auditlog.KindBeat {
		l.refuse(refusedBeat)
		return
	}
	switch checkQueueTag(keys.by[l.leaf.Tenant].queue, name, l.leaf.Tenant, l.sealed, l.raw, l.tag) {
	case tagRight:
	case tagUnknown:
		l.why = refusedNoKey
		return
	default:
		l.refuse(refusedTag)
		return
	}
	var err error
	if l.frames, err = auditlog.ParseFrames(l.sealed); err != nil {
		l.refuse(refusedBody)
		return
	}
	id, err := auditlog.ParseID(l.leaf.ID)
	if err != nil || id != l.id {
		l.refuse(refusedRow)
		return
	}
	if l.persons, err = surrogatesOf(l.leaf.Persons); err != nil || !ownersMatch(&l.leaf, l.frames) || !l.ownersNamed() {
		l.refuse(refusedOwners)
		return
	}
	l.hash = tlog.RecordHash(l.raw)
}

// ownersNamed says whether all owners stand among the persons: an erasure finds
// openings by those.
func (l *lookedAt) ownersNamed() bool {
	for i := range l.frames {
		if o := l.frames[i].Owner; o != ([16]byte{}) && !slices.Contains(l.persons, o) {
			return false
		}
	}
	return true
}

var errSurrogate = errors.New("audit: not a surrogate")

// surrogateBytes are the 16 bytes of a surrogate as a leaf has it.
func surrogateBytes(text string) (out [16]byte, err error) {
	rest, ok := strings.CutPrefix(text, "s:")
	raw, err := canon.ParseBytes(rest)
	if !ok || err != nil || len(raw) != len(out) {
		return out, errSurrogate
	}
	return [16]byte(raw), nil
}

func surrogatesOf(texts []string) ([][16]byte, error) {
	if len(texts) == 0 {
		return nil, nil
	}
	out := make([][16]byte, len(texts))
	for i, text := range texts {
		var err error
		if out[i], err = surrogateBytes(text); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// ownersMatch says whether the openings of an event are those of the owners that
// its leaf names, no more and no less.
func ownersMatch(leaf *auditlog.Leaf, frames []auditlog.Frame) bool {
	owners := make([][16]byte, 0, len(frames))
	for _, owner := range leaf.Owners() {
		var o [16]byte // nobody
		if owner != auditlog.Nobody {
			var err error
			if o, err = surrogateBytes(owner); err != nil {
				return false
			}
		}
		owners = append(owners, o)
	}
	slices.SortFunc(owners, func(a, b [16]byte) int { return bytes.Compare(a[:], b[:]) })
	return slices.EqualFunc(owners, frames, func(o [16]byte, f auditlog.Frame) bool { return o == f.Owner })
}
