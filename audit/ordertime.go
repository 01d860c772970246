package audit

import (
	"context"
	"slices"
	"time"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// An entry is found by the time that its leaf says, which is a clock of the
// application, unless that clock was evidently wrong. Two witnesses can say so: the
// clock of the filing, and the entries before, which were filed earlier and so
// happened earlier, or nearly so. A leaf between both is believed however far they
// are apart: that is what an outage of a month looks like, or a night in which
// nothing happened. So no clock alone hides an event, neither the one that recorded
// it nor the one that filed it. The first entries of a log have no others before
// them.
const (
	clockAhead  = 5 * time.Minute
	clockBehind = 30 * 24 * time.Hour
	lookedBack  = 16 // entries before; a beat is none of them, for its clock is that of the filing
)

// noTime is that of the entry before the first.
const noTime = -1 << 63

// orderTime is the time by which an entry is found, in microseconds, when it was
// filed at a time and the entries before are found up to another.
func orderTime(at time.Time, filed, before int64) int64 {
	first, last := filed, filed
	if before != noTime {
		first, last = min(filed, before), max(filed, before)
	}
	says := at.UnixMicro()
	if says > last+clockAhead.Microseconds() || says < first-clockBehind.Microseconds() {
		return last
	}
	return says
}

// foundBefore are the times by which the last entries are found.
type foundBefore struct {
	next int64 // the index that follows them
	at   []int64
}

// add appends the entry that follows.
func (b *foundBefore) add(index, at int64, leaf *auditlog.Leaf) {
	if index != b.next { // what is between is not known
		b.at = b.at[:0]
	}
	b.next = index + 1
	if leaf.Kind == auditlog.KindBeat {
		at = noTime
	}
	if b.at = append(b.at, at); len(b.at) > lookedBack {
		b.at = slices.Delete(b.at, 0, 1)
	}
}

// latest is the latest of them, noTime where there is none.
func (b *foundBefore) latest() int64 {
	if len(b.at) == 0 {
		return noTime
	}
	return slices.Max(b.at)
}

// whole says that they are all that count for the entry that follows.
func (b *foundBefore) whole() bool { return int64(len(b.at)) == min(b.next, lookedBack) }

// foundBefore reads those before a place.
func (t *Trail) foundBefore(ctx context.Context, q sqldb.Querier, index int64) (foundBefore, error) {
	b := foundBefore{next: max(0, index-lookedBack)}
	return b, t.query(ctx, q, func(rows answer) error {
		var idx, at int64
		var raw []byte
		if err := rows.Scan(&idx, &at, &raw); err != nil {
			return err
		}
		if leaf, err := auditlog.ParseLeaf(raw); err == nil { // otherwise somebody changed it: VerifyStore says so
			b.add(idx, at, &leaf)
		}
		return nil
	}, `SELECT idx, at, `+upTo(auditlog.MaxLeaf, "leaf")+` FROM crmguard_audit_entries WHERE idx >= ? AND idx < ? ORDER BY idx`, index-lookedBack, index)
}

// file is the time by which an entry is found that is filed next.
func (b *foundBefore) file(leaf *auditlog.Leaf, filed time.Time) int64 {
	at := orderTime(leaf.At, filed.UnixMicro(), b.latest())
	b.add(b.next, at, leaf)
	return at
}

// ifFiled tells the time by which an event is found that waits, as if it were filed
// now. Its zero value has not asked yet what was filed before.
type ifFiled struct {
	asked  bool
	before int64
}

func (f *ifFiled) found(ctx context.Context, t *Trail, at time.Time) (int64, error) {
	now := t.now().UnixMicro()
	if says := at.UnixMicro(); orderTime(at, now, noTime) == says {
		return says, nil
	}
	if !f.asked {
		var size int64
		if _, err := t.one(ctx, t.db, []any{&size}, `SELECT size FROM crmguard_audit_state WHERE id = 1`); err != nil {
			return 0, err
		}
		b, err := t.foundBefore(ctx, t.db, size)
		if err != nil {
			return 0, err
		}
		f.asked, f.before = true, b.latest()
	}
	return orderTime(at, now, f.before), nil
}

// timesBack gives entries that are read back the times that they had, as far as the
// log tells: when one was filed is not in it, but each beat says when it was made.
// So a question about May has the same answer before a restore and after it.
func (t *Trail) timesBack(ctx context.Context, tx HandoverTx, from int64, page []adopted) error {
	before, err := t.foundBefore(ctx, tx, from)
	if err != nil {
		return err
	}
	var beat int64 // the one before
	if _, err := t.one(ctx, tx, []any{&beat}, `SELECT beat FROM crmguard_audit_state WHERE id = 1`); err != nil {
		return err
	}
	next := make([]int64, len(page)) // the one that follows, 0 where it is not among these
	for i := len(page) - 1; i >= 0; i-- {
		switch {
		case page[i].leaf.Kind == auditlog.KindBeat:
			next[i] = page[i].leaf.At.UnixMicro()
		case i+1 < len(page):
			next[i] = next[i+1]
		}
	}
	now := t.now().UnixMicro()
	for i := range page {
		a, says := &page[i], page[i].leaf.At.UnixMicro()
		switch {
		case next[i] > 0:
			a.filed = next[i]
		case beat > 0:
			a.filed = beat
		default:
			a.filed = now
		}
		a.at = orderTime(a.leaf.At, a.filed, before.latest())
		if next[i] == 0 && says > a.at && says <= now+clockAhead.Microseconds() {
			a.at = says // up to when it was filed nobody knows
		}
		if a.leaf.Kind == auditlog.KindBeat {
			beat = says
		}
		before.add(from+int64(i), a.at, &a.leaf)
	}
	return nil
}
