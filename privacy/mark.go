package privacy

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"strconv"
	"time"

	"github.com/crmguard/crmguard/internal/frame"
	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// ErrMarkForged says that the high-water mark is not what this system wrote.
// Remedy: find out who wrote to the database, keep readers out and call Replay,
// which trusts no mark.
var ErrMarkForged = errors.New("privacy: the high-water mark in the database is not what this system wrote: find out who wrote it, keep readers out and call Replay")

const labelMark = "crmguard/privacy/mark/v1"

// mark is the high-water mark inside the database: the ledger head up to which
// every erasure has been carried out in this database. A tag binds all of it,
// so that whoever may write the table cannot raise it; an older row that was
// genuine once may be put back, and then more is replayed than need be.
type mark struct {
	head     erasurelog.Head
	seen     time.Time // when the ledger last verified and everything of it was carried out; zero after a refusal
	underWay time.Time // what seen was, and will be again: an erasure is carried out that not every store has answered
	replayed time.Time // when a replay last got through
	trace    string    // of the database that wrote the row, see restoreTrace
	tag      []byte
	here     string // the trace as it is now
}

// kept is the mark as the ledger compares it. The mark of a database where none
// was ever set is before every entry.
func (m mark) kept() []erasurelog.Kept {
	if m.head.N <= 0 {
		return nil
	}
	return []erasurelog.Kept{{Name: "the application database", Head: m.head}}
}

// none says that no mark was ever set.
func (m mark) none() bool { return m.head.N < 0 }

func (m mark) covered() []byte {
	number := func(n int64) []byte { return strconv.AppendInt(nil, n, 10) }
	return frame.Join(number(m.head.N), []byte(m.head.Hash), number(m.lastSeen()), number(micros(m.replayed)), []byte(m.trace))
}

// lastSeen is seen as the table has it: less than 0 where an erasure is under way.
func (m mark) lastSeen() int64 { return micros(m.seen) - micros(m.underWay) }

// micros are 0 for the zero time.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}

// loadMark returns the mark; set is false where none was ever set. With other
// keys than it was written under nothing verifies: then the error is what the
// ledger says of them, where it has entries.
func (d *Desk) loadMark(ctx context.Context) (m mark, set bool, err error) {
	m, set, err = d.markIn(ctx, d.db)
	if errors.Is(err, ErrMarkForged) {
		_, wrong := d.cfg.Ledger.Read(ctx)
		err = cmp.Or(wrong, err)
	}
	return m, set, err
}

// markIn is loadMark within a transaction.
func (d *Desk) markIn(ctx context.Context, q sqldb.Querier) (m mark, set bool, err error) {
	m, err = d.readMark(ctx, q, "")
	if err != nil || m.none() {
		return mark{}, false, err
	}
	err = d.genuine(ctx, m)
	if errors.Is(err, ErrMarkForged) && m.head.N == 0 { // it says nothing that none would not say
		return mark{}, false, nil
	}
	return m, true, err
}

// genuine is ErrMarkForged of a mark that this system did not write.
func (d *Desk) genuine(ctx context.Context, m mark) error {
	ok, err := d.cfg.Ledger.VerifyTag(ctx, labelMark, m.covered(), m.tag)
	if err == nil && !ok {
		err = ErrMarkForged
	}
	return err
}

func (d *Desk) readMark(ctx context.Context, q sqldb.Querier, lock string) (m mark, err error) {
	var seen, replayed int64
	err = sqldb.One(ctx, q, []any{&m.head.N, &m.head.Hash, &seen, &replayed, &m.trace, &m.tag, &m.here},
		`SELECT n, hash, seen, replayed, trace, tag, `+d.traceRead()+` FROM crmguard_privacy_mark WHERE id = 1`+lock)
	if errors.Is(err, sql.ErrNoRows) {
		return mark{head: erasurelog.Head{N: -1}}, nil
	}
	m.seen, m.underWay, m.replayed = fromMicros(max(seen, 0)), fromMicros(max(-seen, 0)), fromMicros(replayed)
	return m, mute("reading the high-water mark", err)
}

// lockMark makes transactions that raise the mark come one after the other:
// each must see which erasures the one before has carried out. It is the first
// thing in such a transaction. A mark of -1 is none.
func (d *Desk) lockMark(ctx context.Context, tx datastore.Tx) error {
	in := sqldb.Insert{Table: "crmguard_privacy_mark", Columns: []string{"id", "n", "hash", "seen", "replayed", "trace", "tag"}, Key: []string{"id"}}
	if err := d.db.Insert(ctx, tx, in, [][]any{{1, -1, "", 0, 0, "", []byte{}}}); err != nil {
		return mute("locking the high-water mark", err)
	}
	if d.db.Kind == sqldb.SQLite { // its writers are serial
		return nil
	}
	_, err := d.readMark(ctx, tx, " FOR UPDATE")
	return err
}

// raise sets the mark to h, up to which everything is carried out here; it never
// lowers one that is genuine. all says that h is the head of the ledger: where it
// knows more than that the gate stays shut while it cannot be read. The mark is
// locked.
func (d *Desk) raise(ctx context.Context, tx datastore.Tx, h erasurelog.Head, all bool) error {
	return d.setMark(ctx, tx, func(m *mark) bool {
		if m.head.N > h.N {
			return false
		}
		m.head = h
		if m.seen.IsZero() && m.underWay.IsZero() { // after a refusal the gate says first that all is well
			return true
		}
		m.seen, m.underWay = time.Time{}, d.now()
		if all {
			m.seen, m.underWay = m.underWay, time.Time{}
		}
		return true
	})
}

// raiseAll is raise by the gate and by a replay, which have looked at everything;
// well says that they have found nothing amiss.
// replayed is when a replay that has got through began; zero is none.
func (d *Desk) raiseAll(ctx context.Context, tx datastore.Tx, h erasurelog.Head, replayed time.Time, well bool) error {
	return d.setMark(ctx, tx, func(m *mark) bool {
		if m.head.N > h.N {
			return false
		}
		m.head, m.seen, m.underWay = h, time.Time{}, time.Time{}
		if well {
			m.seen = d.now()
		}
		switch {
		case !replayed.IsZero():
			m.replayed = replayed
		case h.N == 0: // nothing to replay is replayed
			m.replayed = d.now()
		}
		return true
	})
}

// setMark changes the mark and tags it anew. One that is forged, or none, comes
// to change as the zero mark. The mark is locked.
func (d *Desk) setMark(ctx context.Context, tx datastore.Tx, change func(m *mark) bool) error {
	m, err := d.readMark(ctx, tx, "")
	if err != nil {
		return err
	}
	if !m.none() {
		err = d.genuine(ctx, m)
	}
	switch {
	case m.none(), errors.Is(err, ErrMarkForged):
		m = mark{}
	case err != nil:
		return err
	}
	if !change(&m) {
		return nil
	}
	m.trace = ""
	if !m.seen.IsZero() {
		if m.trace, err = d.traceNow(ctx, tx); err != nil {
			return err
		}
	}
	tag, err := d.cfg.Ledger.Tag(ctx, labelMark, m.covered())
	if err != nil {
		return err
	}
	err = d.exec(ctx, tx, "raising the high-water mark", `UPDATE crmguard_privacy_mark SET n = ?, hash = ?, seen = ?, replayed = ?, trace = ?, tag = ? WHERE id = 1`,
		m.head.N, m.head.Hash, m.lastSeen(), micros(m.replayed), m.trace, tag)
	return err
}
