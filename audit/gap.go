package audit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/internal/losses"
)

// What was lost under [FailOpen] is counted in memory, and the log says later how
// many there were: an event of kind [auditlog.KindGap] for each class. A process that is
// killed takes along what it had counted.

// gapPatience is how long a sale that comes by waits for what was lost to be written;
// where that was in vain, the next ones leave it to the sequencer for a while.
const gapPatience = 100 * time.Millisecond

// tryGaps writes what was lost, where that is done at once. What cannot be written
// stays counted.
func (t *Trail) tryGaps(ctx context.Context) {
	if t.gaps.Rest() {
		return
	}
	bounded, cancel := context.WithTimeout(ctx, gapPatience)
	defer cancel()
	if t.writeGaps(bounded) != nil {
		t.observe(ctx, "audit.gap.failed", 1)
		if bounded.Err() == nil {
			return // it said so at once
		}
		t.gaps.Vain()
	}
}

// missed counts an event that was not written, and says so.
func (t *Trail) missed(ctx context.Context, e *Event, c class) {
	t.gaps.Lost(losses.ID{Tenant: e.Tenant, Class: c.name}, t.now())
	t.observe(ctx, "audit.gap", float64(t.gaps.Number()))
}

// writeGaps puts what was lost into the log, each in a transaction of its own. What
// cannot be written stays counted, under the id that it has: whether a COMMIT
// that was not answered was done need not be known.
func (t *Trail) writeGaps(ctx context.Context) error {
	open, err := t.gaps.Begin(NewID)
	if err != nil || len(open) == 0 {
		return err
	}
	var written []*losses.Loss
	var failed []error
	for _, one := range open {
		if err := t.writeGap(ctx, one); err != nil {
			failed = append(failed, err)
			continue
		}
		written = append(written, one)
	}
	t.gaps.Done(written)
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("audit: gap: %w", err)
	}
	t.observe(ctx, "audit.gap", float64(t.gaps.Number()))
	return nil
}

func (t *Trail) writeGap(ctx context.Context, one *losses.Loss) error {
	row, err := t.own(ctx, &auditlog.Leaf{
		ID: one.Event, Kind: auditlog.KindGap, At: t.now(), Tenant: one.Tenant, Actor: itself, Action: one.Class, Outcome: OutcomeFailed,
		Gap: &auditlog.LeafGap{Count: one.Count, From: one.From, To: one.To, Why: "failed"},
	})
	if err != nil {
		return err
	}
	return t.within(ctx, func(tx HandoverTx) error { return t.putRow(ctx, tx, row) })
}
