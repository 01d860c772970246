package privacy

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/erasurelog"
)

const remedyMoved = "somebody has written another state into the row of this plan, which was put right: find out who"

// betweenRuns is how often [Desk.Run] looks what is due.
const betweenRuns = time.Minute

// Run carries out by itself, until its context ends, whatever is due: see
// [Desk.RunOnce]. Findings and errors of a pass go to Config.Observe as
// privacy.run, those that are not well one by one as privacy.run.finding, and
// the next pass tries again. Any number of processes may run at once. The error
// is that of the context.
func (d *Desk) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		findings, err := d.RunOnce(ctx)
		for _, f := range findings {
			if f.Level > HealthOK {
				d.observe(ctx, "privacy.run.finding", f.Value, slog.String("finding", f.Name), slog.String("subject", f.Subject), slog.String("remedy", f.Remedy))
			}
		}
		failed := 0.0
		if err != nil && ctx.Err() == nil {
			failed = 1
		}
		d.observe(ctx, "privacy.run", failed)
		timer := time.NewTimer(betweenRuns)
		select {
		case <-ctx.Done():
			timer.Stop()
		case <-timer.C:
		}
	}
	return ctx.Err()
}

// A pass waits so long for one plan, and so long for its replay; a store that
// hangs holds up no more than that. What was done until then stays done, and the
// next pass goes on.
const (
	planMost   = 15 * time.Minute
	replayMost = time.Hour
)

// RunOnce is one pass:
//
//   - where a replay is due (Config.ReplayEvery), a hold has ended since the last
//     one, or the database is behind the ledger, it replays, which also finds tables that were brought back, and
//     finishes what obligations kept until their end;
//   - every plan that is approved and due is executed, and every one that has
//     begun is executed again: released from a hold, out of its lease, or Partial
//     before. Holds are read anew for each.
//
// One plan that cannot be carried out does not keep the others from it: it is a
// finding, privacy.run.plan with the plan's id. The error says that nothing could
// be looked at.
func (d *Desk) RunOnce(ctx context.Context) ([]Finding, error) {
	findings := []Finding{d.runReplay(ctx)}
	ledger, err := d.cfg.Ledger.Latest(ctx)
	if err != nil {
		ledger = nil // each plan says so
	}
	rows, err := d.openPlans(ctx, ledger)
	if err != nil {
		return findings, err
	}
	full := false // the day's cap is reached: what has not begun waits
	for _, row := range rows {
		if ctx.Err() != nil {
			return findings, ctx.Err()
		}
		moved, err := d.authentic(ctx, &row)
		if moved {
			err = d.inTx(ctx, func(tx *sql.Tx) error { return d.restate(ctx, tx, row.id) })
			findings = append(findings, Finding{Name: "privacy.run.plan", Subject: row.id, Level: HealthAlarm, Value: 1, Unit: "plans", Remedy: remedyMoved})
		}
		if err == nil && row.state == statePlanned || full && row.state == stateApproved {
			continue
		}
		f := Finding{Name: "privacy.run.plan", Subject: row.id, Unit: "plans"}
		bounded, stop := d.bound(ctx, planMost)
		o, err := d.Execute(bounded, row.id)
		stop()
		switch {
		case errors.Is(err, ErrTooEarly), errors.Is(err, ErrNoPlan), errors.Is(err, ErrCancelled), errors.Is(err, ErrVoided):
			continue // its time will come, or it has ended
		case errors.Is(err, ErrTooMany):
			full = true
			f.Level, f.Value, f.Remedy = HealthNotice, 1, "the cap of a day is reached: it goes on tomorrow, or raise Config.PerDay"
		case errors.Is(err, ErrExpired):
			f.Level, f.Value, f.Remedy = HealthNotice, 1, err.Error()
		case err != nil:
			f.Level, f.Value, f.Remedy = HealthAlarm, 1, err.Error()
		case o.State == Partial:
			f.Level, f.Value, f.Remedy = HealthAlarm, 1, partialRemedy(o)
		}
		findings = append(findings, f)
	}
	return findings, nil
}

// partialRemedy names the stores that left something.
func partialRemedy(o Outcome) string {
	var text strings.Builder
	text.WriteString("something is left; it is tried again in the next pass. Mend")
	for _, s := range o.Stores {
		if s.Remaining > 0 || len(s.Missing) > 0 || s.Err != nil && !errors.Is(s.Err, datastore.ErrLater) {
			text.WriteString(" " + s.Store)
		}
	}
	return text.String()
}

// runReplay replays where that is due.
func (d *Desk) runReplay(ctx context.Context) Finding {
	ctx, stop := d.bound(ctx, replayMost)
	defer stop()
	f := Finding{Name: "privacy.run.replay", Unit: "persons"}
	m, _, err := d.loadMark(ctx)
	switch {
	case err != nil && !errors.Is(err, ErrMarkForged):
		f.Level, f.Remedy = HealthAlarm, err.Error()
		return f
	case err == nil && !d.replayDue(m) && !d.releasedSince(ctx, m):
		if _, err = d.look(ctx); err == nil || errors.Is(err, ErrUnderWay) { // this pass goes on with that
			return f
		}
		if !errors.Is(err, ErrBehind) && !errors.Is(err, ErrNumbers) {
			f.Level, f.Remedy = HealthAlarm, err.Error()
			return f
		}
	}
	r, err := d.Replay(ctx)
	f.Value = float64(r.Erased)
	if err != nil {
		f.Level, f.Remedy = HealthAlarm, err.Error()
	} else if r.Erased > 0 {
		f.Level, f.Remedy = HealthNotice, "persons who had been erased came back and were erased again: find out what was restored, and call Ready after each restore"
	}
	return f
}

// replayDue says whether the last replay that got through is too long ago.
func (d *Desk) replayDue(m mark) bool {
	every := d.cfg.replayEvery()
	since := d.now().Sub(m.replayed)
	return every > 0 && (since >= every || since < 0)
}

// released says whether a hold has ended since the last replay that got through:
// that one has passed over whom the hold kept.
func (d *Desk) released(m mark, s *erasurelog.State) bool {
	since, now := m.replayed, d.now()
	if since.After(now) { // by a clock that was ahead
		since = time.Time{}
	}
	return s.HoldEnded(since, now)
}

// releasedSince asks the ledger; where it does not answer the gate says so.
func (d *Desk) releasedSince(ctx context.Context, m mark) bool {
	s, err := d.cfg.Ledger.Latest(ctx, m.kept()...)
	return err == nil && d.released(m, s)
}
