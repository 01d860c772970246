package privacy

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/crmguard/crmguard/internal/health"
	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// Finding is one thing that [Desk.Status] has looked at. Its fields:
//
//	Name    string    // as the package comment lists it
//	Subject string    // what it is about; "" is all
//	Level   HealthOK, HealthNotice or HealthAlarm, in this order; String is "ok", "notice", "alarm"
//	Value   float64   // what was measured
//	Unit    string    // of Value: "s", or what is counted
//	Since   time.Time // since when it is so; zero where that is not known
//	Remedy  string    // what to do; "" where nothing is to be done
//
// String is one line for people, Compare sorts the worst first, and it goes
// into encoding/json and log/slog as it is. All packages have this one type, so
// one page shows all.
type Finding = health.Finding

// The levels of a Finding. They are ordered: the worst of many is their max.
const (
	HealthOK     = health.OK     // looked at, and well
	HealthNotice = health.Notice // well for now, and somebody should know
	HealthAlarm  = health.Alarm  // a promise does not hold, or will not for long
)

// Status says how erasures stand: every finding of the package comment, those
// that are well included. It changes nothing. The error says that the desk's
// tables cannot be read; a ledger that cannot is a finding.
func (d *Desk) Status(ctx context.Context) ([]Finding, error) {
	m, set, err := d.loadMark(ctx)
	if err != nil {
		return nil, err
	}
	pending, err := d.pending(ctx)
	if err != nil {
		return nil, err
	}
	// After the mark: in a sound system it is never ahead.
	heads, anchorErr := d.cfg.Ledger.anchored(ctx)
	c, ledgerErr := d.cfg.Ledger.load(ctx, append(slices.Clone(heads), m.named()))
	running, waiting, err := d.planFindings(ctx)
	if err != nil {
		return nil, err
	}
	out := []Finding{
		d.gateFinding(m, set, heads, c, ledgerErr), pendingFinding(pending), ledgerFinding(m, c, ledgerErr),
		anchorFinding(len(heads), anchorErr), d.clockFinding(c, ledgerErr), running, waiting, d.partialFinding(c, ledgerErr),
	}
	settings, err := d.db.Health(ctx, "privacy.store")
	if err != nil {
		return nil, mute("asking the database", err)
	}
	return append(out, settings...), ctx.Err() // what was cancelled would be taken for a fault of the ledger
}

// gateFinding is what [Desk.Gate] would say of ledger and database.
func (d *Desk) gateFinding(m mark, set bool, heads []namedHead, c *chain, ledgerErr error) Finding {
	f := Finding{Name: "privacy.gate", Unit: "entries"}
	if errors.Is(ledgerErr, ErrLedgerUnreachable) && set {
		gate, err := d.grace(m, heads, ledgerErr)
		if err == nil {
			f.Level, f.Since = HealthNotice, m.seen
			f.Remedy = "the gate opens without having seen the ledger, and will not after " + gate.Until.Format(time.RFC3339) + ": " + remedyReach
			return f
		}
	}
	if ledgerErr != nil {
		f.Level, f.Since, f.Remedy = HealthAlarm, m.seen, "the gate is shut: see privacy.ledger"
		return f
	}
	if behind := c.head().N - m.head.N; behind > 0 {
		f.Level, f.Value = HealthAlarm, float64(behind)
		if first, err := c.after(m.head.N)[0].time(); err == nil {
			f.Since = first
		}
		f.Remedy = "the ledger has entries that are not carried out in this database: keep readers out and call Replay, or Execute what was begun here"
	}
	return f
}

func pendingFinding(pending []datastore.Person) Finding {
	f := Finding{Name: "privacy.replay.pending", Value: float64(len(pending)), Unit: "persons"}
	if len(pending) > 0 {
		f.Level = HealthAlarm
		f.Remedy = "a replay did not get through every store: keep readers out, mend the store and call Replay again"
	}
	return f
}

// ledgerFinding takes the remedy, and no more, from the ledger's error.
func ledgerFinding(m mark, c *chain, err error) Finding {
	f := Finding{Name: "privacy.ledger", Value: float64(m.head.N), Unit: "entries"}
	if err == nil {
		f.Value = float64(c.head().N)
		return f
	}
	f.Level, f.Since, f.Remedy = HealthAlarm, m.seen, "the ledger or its keys cannot be read, and nothing is erased: see the error of Ledger.Verify"
	if wrong, ok := errors.AsType[*LedgerError](err); ok {
		f.Remedy = wrong.Remedy
	}
	return f
}

func anchorFinding(heads int, err error) Finding {
	f := Finding{Name: "privacy.ledger.anchors", Value: float64(heads), Unit: "heads"}
	switch {
	case err != nil:
		f.Level, f.Remedy = HealthAlarm, "a place that keeps a head of the ledger does not answer, and nothing is erased without it: bring it back"
	case heads == 0:
		f.Level, f.Remedy = HealthNotice, "no head of the ledger is kept elsewhere: a roll-back of database and ledger together would go unnoticed; set LedgerConfig.Anchors"
	}
	return f
}

func (d *Desk) clockFinding(c *chain, ledgerErr error) Finding {
	f := Finding{Name: "privacy.clock", Unit: "s"}
	if ledgerErr != nil || len(c.entries) == 0 {
		return f
	}
	last, err := c.entries[len(c.entries)-1].time()
	if err == nil && d.now().Before(last) {
		f.Level, f.Value, f.Since, f.Remedy = HealthAlarm, last.Sub(d.now()).Seconds(), last, remedyClock
	}
	return f
}

// planFindings count the plans that wait for somebody: those that have begun,
// and those that were neither approved nor executed although their delay is
// over.
func (d *Desk) planFindings(ctx context.Context) (running, waiting Finding, err error) {
	running = Finding{Name: "privacy.plans.running", Unit: "plans"}
	waiting = Finding{Name: "privacy.plans.waiting", Unit: "plans"}
	err = sqldb.Each(ctx, d.db, func(rows *sql.Rows) error {
		var state string
		var n float64
		var changed sql.NullInt64
		if err := rows.Scan(&state, &n, &changed); err != nil {
			return err
		}
		f := &waiting
		if state == stateRunning {
			f = &running
		}
		since := time.UnixMicro(changed.Int64).UTC()
		if f.Value += n; f.Since.IsZero() || since.Before(f.Since) {
			f.Since = since
		}
		f.Level = HealthNotice
		return nil
	}, `SELECT state, COUNT(*), MIN(changed) FROM crmguard_privacy_plan
		WHERE state = 'running' OR state IN ('planned', 'approved') AND changed <= `+strconv.FormatInt(d.now().Add(-d.cfg.delay()).UnixMicro(), 10)+` GROUP BY state`)
	if running.Value > 0 {
		running.Remedy = "erasures have begun and are not finished: execute them again"
	}
	if waiting.Value > 0 {
		waiting.Remedy = "the delay of these erasures is over: approve and execute them, or cancel them"
	}
	return running, waiting, mute("reading the plans", err)
}

// partialFinding counts the plans whose last word in the ledger is that
// something is left.
func (d *Desk) partialFinding(c *chain, ledgerErr error) Finding {
	f := Finding{Name: "privacy.plans.partial", Unit: "plans"}
	if ledgerErr != nil {
		return f // privacy.ledger says that it is not known
	}
	last := map[string]entry{}
	for _, e := range c.entries {
		last[e.Plan] = e
	}
	for _, e := range last {
		if e.Op != opPartial {
			continue
		}
		f.Value++
		f.Level = HealthAlarm
		f.Remedy = "personal data is left in a store after an erasure: see Outcome.Stores, mend the store and execute the plan again"
		if at, err := e.time(); err == nil && (f.Since.IsZero() || at.Before(f.Since)) {
			f.Since = at
		}
	}
	return f
}
