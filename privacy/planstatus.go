package privacy

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// clockSlack is how far the clocks of two processes differ where both are well.
const clockSlack = time.Minute

// planFindings count the plans that wait for somebody: those that have begun;
// those that were neither approved nor executed although their delay is over;
// and those that were made while a clock was ahead, whose delay is not over
// before that time.
func (d *Desk) planFindings(ctx context.Context) ([]Finding, error) {
	now := d.now()
	running := Finding{Name: "privacy.plans.running", Unit: "plans"}
	waiting := Finding{Name: "privacy.plans.waiting", Unit: "plans"}
	ahead := Finding{Name: "privacy.plans.ahead", Unit: "plans"}
	err := sqldb.Each(ctx, d.db, func(rows *sql.Rows) error {
		var state string
		var changed int64
		if err := rows.Scan(&state, &changed); err != nil {
			return err
		}
		since := time.UnixMicro(changed).UTC()
		f := &waiting
		switch {
		case since.After(now.Add(clockSlack)):
			f = &ahead
		case state != statePlanned && state != stateApproved:
			f = &running
		case since.After(now.Add(-d.cfg.delay())):
			return nil
		}
		if f.Value++; f.Since.IsZero() || since.Before(f.Since) {
			f.Since = since
		}
		f.Level = HealthNotice
		return nil
	}, d.db.Bind(`SELECT state, changed FROM crmguard_privacy_plan WHERE state NOT IN (?, ?, ?)`), stateDone, stateCancelled, stateVoid)
	if running.Value > 0 {
		running.Remedy = "erasures have begun and are not finished: execute them again, or let Run run"
	}
	if waiting.Value > 0 {
		waiting.Remedy = "the delay of these erasures is over: approve and execute them, or cancel them"
	}
	if ahead.Value > 0 {
		ahead.Level = HealthAlarm
		ahead.Remedy = "these plans were made or approved while a clock was ahead, and are not due before that time: set the clocks right, cancel them and plan anew"
	}
	return []Finding{running, waiting, ahead}, mute("reading the plans", err)
}

// forgedFinding counts the rows of plans that somebody has written. Only a state that
// is wrong keeps no plan from being carried out.
func (d *Desk) forgedFinding(ctx context.Context, g gathered) (Finding, error) {
	f := Finding{Name: "privacy.plans.forged", Unit: "plans"}
	rows, err := d.openPlans(ctx, g.ledger)
	if err != nil {
		return f, err
	}
	for _, row := range rows {
		switch moved, err := d.authentic(ctx, &row); {
		case moved, errors.Is(err, ErrPlanForged):
			f.Value++
			f.Level, f.Remedy = HealthAlarm, "somebody has written into the rows of plans: find out who; what RunOnce names then, Cancel or Void, and plan anew"
		case err != nil:
			return f, nil //nolint:nilerr // privacy.ledger says that its keys do not answer
		}
	}
	return f, nil
}
