package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/crmguard/crmguard/audit/auditlog"
)

// What was lost under [FailOpen] is counted in memory, and the log says later how
// many there were: an event of kind [auditlog.KindGap] for each class. A process that is
// killed takes along what it had counted.

// gapID is what losses are counted by.
type gapID struct{ tenant, class string }

// gap is a number of lost events.
type gap struct {
	gapID
	count    int64
	from, to time.Time
	event    string // its id, once it is on the way into the log
}

// gaps are those of a process. Its zero value is ready.
type gaps struct {
	mu       sync.Mutex
	counting map[gapID]*gap
	pending  []*gap // being written: the same id each time, so that none is written twice
	writing  bool
	tried    time.Time // when a sale last waited for that in vain, by the process's clock
}

// A sale that comes by writes what was lost, and waits for it no longer than this; where
// that was in vain, the next ones leave it to the sequencer for a while.
const (
	gapPatience = 100 * time.Millisecond
	gapPause    = time.Second
)

// tryGaps writes what was lost, where that is done at once. What cannot be written
// stays counted.
func (t *Trail) tryGaps(ctx context.Context) {
	t.gaps.mu.Lock()
	rest := !t.gaps.tried.IsZero() && time.Since(t.gaps.tried) < gapPause
	t.gaps.mu.Unlock()
	if rest {
		return
	}
	bounded, cancel := context.WithTimeout(ctx, gapPatience)
	defer cancel()
	if t.writeGaps(bounded) != nil {
		t.observe(ctx, "audit.gap.failed", 1)
		if bounded.Err() == nil {
			return // it said so at once
		}
		t.gaps.mu.Lock()
		t.gaps.tried = time.Now()
		t.gaps.mu.Unlock()
	}
}

// lost counts an event.
func (g *gaps) lost(id gapID, at time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	one := g.counting[id]
	if one == nil {
		if g.counting == nil {
			g.counting = make(map[gapID]*gap)
		}
		one = &gap{gapID: id, from: at, to: at}
		g.counting[id] = one
	}
	one.count++
	if at.Before(one.from) {
		one.from = at // a clock that went back
	}
	if at.After(one.to) {
		one.to = at
	}
}

// number is how many events were lost and do not stand in the log yet.
func (g *gaps) number() (n int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, one := range g.counting {
		n += one.count
	}
	for _, one := range g.pending {
		n += one.count
	}
	return n
}

// begin hands out what is to be written; nothing where another call does so.
func (g *gaps) begin() ([]*gap, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.writing || len(g.counting)+len(g.pending) == 0 {
		return nil, nil
	}
	for id, one := range g.counting {
		event, err := NewID()
		if err != nil {
			return nil, err
		}
		one.event = event
		g.pending = append(g.pending, one)
		delete(g.counting, id)
	}
	slices.SortFunc(g.pending, func(a, b *gap) int { return cmp.Or(cmp.Compare(a.tenant, b.tenant), cmp.Compare(a.event, b.event)) })
	g.writing = true
	return slices.Clone(g.pending), nil
}

// done forgets what stands in the log.
func (g *gaps) done(written []*gap) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.writing = false
	g.pending = slices.DeleteFunc(g.pending, func(one *gap) bool { return slices.Contains(written, one) })
}

// missed counts an event that was not written, and says so.
func (t *Trail) missed(ctx context.Context, e *Event, c class) {
	t.gaps.lost(gapID{e.Tenant, c.name}, t.now())
	t.observe(ctx, "audit.gap", float64(t.gaps.number()))
}

// writeGaps puts what was lost into the log, each in a transaction of its own. What
// cannot be written stays counted, under the id that it has: whether a COMMIT
// that was not answered was done need not be known.
func (t *Trail) writeGaps(ctx context.Context) error {
	open, err := t.gaps.begin()
	if err != nil || len(open) == 0 {
		return err
	}
	var written []*gap
	var failed []error
	for _, one := range open {
		if err := t.writeGap(ctx, one); err != nil {
			failed = append(failed, err)
			continue
		}
		written = append(written, one)
	}
	t.gaps.done(written)
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("audit: gap: %w", err)
	}
	t.observe(ctx, "audit.gap", float64(t.gaps.number()))
	return nil
}

func (t *Trail) writeGap(ctx context.Context, one *gap) error {
	row, err := t.own(ctx, &auditlog.Leaf{
		ID: one.event, Kind: auditlog.KindGap, At: t.now(), Tenant: one.tenant, Actor: itself, Action: one.class, Outcome: OutcomeFailed,
		Gap: &auditlog.LeafGap{Count: one.count, From: one.from, To: one.to, Why: "failed"},
	})
	if err != nil {
		return err
	}
	return t.within(ctx, func(tx HandoverTx) error { return t.putRow(ctx, tx, row) })
}
