package privacy

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/crmguard/crmguard/internal/health"
	"github.com/crmguard/crmguard/privacy/erasurelog"
)

const remedyClock = "set the clock right; nothing is erased while it is behind the ledger"

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
	g, err := d.gather(ctx)
	if err != nil {
		return nil, err
	}
	plans, err := d.planFindings(ctx)
	if err != nil {
		return nil, err
	}
	forged, err := d.forgedFinding(ctx, g)
	if err != nil {
		return nil, err
	}
	out := []Finding{
		d.gateFinding(g), d.openingFinding(g), pendingFinding(g), undecidedFinding(g), numbersFinding(g), d.replayFinding(g),
		ledgerFinding(g), g.anchorFinding(), d.clockFinding(g), partialFinding(g),
	}
	settings, err := d.db.Health(ctx, "privacy.store")
	if err != nil {
		return nil, mute("asking the database", err)
	}
	return slices.Concat(out, plans, []Finding{forged}, settings), ctx.Err() // what was cancelled would be taken for a fault of the ledger
}

// gathered is what findings are made of. Where the ledger is wrong, or cannot be
// read, wrong says so, and what comes from there is zero.
type gathered struct {
	mark      mark
	set       bool
	forged    error // of the mark
	anchors   []erasurelog.Kept
	anchorErr error
	ledger    *erasurelog.State
	open      unfinishedReplays
	behind    map[string]int64 // numbers
	opening   *Opening
	wrong     error
}

func (d *Desk) gather(ctx context.Context) (g gathered, err error) {
	g.mark, g.set, err = d.loadMark(ctx)
	_, unread := errors.AsType[*stateError](err)
	if unread {
		return g, err
	}
	g.forged = err
	g.anchors, g.anchorErr = d.cfg.Ledger.Anchors(ctx)
	against := g.mark.kept()
	if g.forged != nil {
		against = nil
	}
	g.ledger, g.wrong = d.cfg.Ledger.Read(ctx, against...)
	if _, silent := errors.AsType[*erasurelog.AnchorError](g.wrong); silent {
		g.wrong = nil
	}
	if g.wrong == nil {
		g.open, g.wrong = d.unfinished(ctx)
	}
	if g.wrong == nil {
		g.behind, g.wrong = d.numbersBehind(ctx, g.ledger)
	}
	g.opening, _, err = d.loadOpening(ctx)
	if _, unread := errors.AsType[*stateError](err); unread {
		return g, err
	}
	return g, nil
}

// gateFinding is what [Desk.Gate] would say of ledger and database, orders left
// out.
func (d *Desk) gateFinding(g gathered) Finding {
	f := Finding{Name: "privacy.gate", Unit: "entries"}
	switch {
	case g.forged != nil:
		f.Level, f.Remedy = HealthAlarm, "the high-water mark in the database is not what this system wrote: find out who wrote it, keep readers out and call Replay"
		return f
	case errors.Is(g.wrong, erasurelog.ErrUnreachable) && g.set:
		gate, err := d.grace(g.mark, g.anchors, g.wrong)
		if err == nil {
			f.Level, f.Since = HealthNotice, g.mark.seen
			f.Remedy = "the gate opens without having seen the ledger, and will not after " + gate.Until.Format(time.RFC3339) + ": make the ledger readable"
			return f
		}
	}
	if g.wrong != nil {
		f.Level, f.Since, f.Remedy = HealthAlarm, g.mark.seen, "the gate is shut: see privacy.ledger"
		return f
	}
	if behind := g.ledger.Head().N - g.mark.head.N; behind > 0 {
		f.Level, f.Value = HealthAlarm, float64(behind)
		for e := range g.ledger.After(g.mark.head.N) {
			f.Since = e.At
			break
		}
		f.Remedy = "the ledger has entries that are not carried out in this database: keep readers out and call Replay, or Execute what was begun here"
	}
	return f
}

// openingFinding is an alarm for as long as somebody has ordered the gate open.
func (d *Desk) openingFinding(g gathered) Finding {
	f := Finding{Name: "privacy.opening", Unit: "s"}
	if g.opening != nil && d.now().Before(g.opening.Until) {
		f.Level, f.Value = HealthAlarm, g.opening.Until.Sub(d.now()).Seconds()
		f.Remedy = "the gate was ordered open, until " + g.opening.Until.Format(time.RFC3339) + ": mend what it refused for, and call Replay"
	}
	return f
}

func pendingFinding(g gathered) Finding {
	f := Finding{Name: "privacy.replay.pending", Value: float64(g.open.pending()), Unit: "persons"}
	if f.Value > 0 {
		f.Level = HealthAlarm
		f.Remedy = "a replay did not get through every store: keep readers out, mend the store and call Replay again"
	}
	return f
}

func undecidedFinding(g gathered) Finding {
	f := Finding{Name: "privacy.replay.undecided", Value: float64(g.open.undecided()), Unit: "rows"}
	if f.Value > 0 {
		f.Level = HealthAlarm
		f.Remedy = "rows of erased persons came back without a creation time, and the gate is shut: Decide about each that ReplayPlan lists, then call Replay"
	}
	return f
}

func numbersFinding(g gathered) Finding {
	f := Finding{Name: "privacy.numbers", Value: float64(len(g.behind)), Unit: "columns"}
	if f.Value > 0 {
		f.Level = HealthAlarm
		f.Remedy = "the database would give out numbers of erased persons again: keep writers out and call Replay, which moves the counters on"
	}
	return f
}

// replayFinding says how long ago a replay got through: so long a table that was
// brought back may have gone unnoticed.
func (d *Desk) replayFinding(g gathered) Finding {
	f := Finding{Name: "privacy.replay.age", Unit: "s", Since: g.mark.replayed}
	every := d.cfg.replayEvery()
	if g.set && g.wrong == nil && d.released(g.mark, g.ledger) {
		f.Level, f.Remedy = HealthAlarm, "a hold has ended, and whom it kept from a replay is not erased: let Run run, or call Replay"
		return f
	}
	if !g.set || every == 0 {
		return Finding{Name: f.Name, Unit: f.Unit}
	}
	since := d.now().Sub(g.mark.replayed)
	f.Value = max(since, 0).Seconds()
	switch {
	case g.mark.replayed.IsZero():
		f.Value = 0
		f.Level, f.Remedy = HealthNotice, "no replay has got through yet: let Run run, or call Replay now and then"
	case since > 2*every:
		f.Level, f.Remedy = HealthAlarm, "the last replay is long ago, and a table that was restored since would not be noticed: let Run run, or call Replay"
	}
	return f
}

// ledgerFinding takes the remedy, and no more, from the ledger's error.
func ledgerFinding(g gathered) Finding {
	f := Finding{Name: "privacy.ledger", Value: float64(g.mark.head.N), Unit: "entries"}
	if g.ledger != nil {
		f.Value = float64(g.ledger.Head().N)
	}
	if g.wrong != nil {
		f.Level, f.Since, f.Remedy = HealthAlarm, g.mark.seen, "the ledger or its keys cannot be read, and nothing is erased: see the error of Log.Verify"
		if wrong, ok := errors.AsType[*erasurelog.LedgerError](g.wrong); ok {
			f.Remedy = wrong.Remedy
		}
		return f
	}
	if faults := g.ledger.Faults(); len(faults) > 0 {
		f.Level, f.Remedy = HealthAlarm, "the ledger has entries that this library does not write there: find out who has its roots (State.Faults)"
	}
	return f
}

func (g gathered) anchorFinding() Finding {
	f := Finding{Name: "privacy.ledger.anchors", Value: float64(len(g.anchors)), Unit: "heads"}
	switch {
	case g.anchorErr != nil:
		f.Level, f.Remedy = HealthAlarm, "a place that keeps a head of the ledger does not answer, and nothing is erased without it: bring it back"
	case len(g.anchors) == 0:
		f.Level, f.Remedy = HealthNotice, "no head of the ledger is kept elsewhere: a roll-back of database and ledger together would go unnoticed; set erasurelog.Config.Anchors"
	}
	return f
}

func (d *Desk) clockFinding(g gathered) Finding {
	f := Finding{Name: "privacy.clock", Unit: "s"}
	if g.wrong != nil {
		return f
	}
	if last, ok := g.ledger.Last(); ok && d.now().Before(last.At) {
		f.Level, f.Value, f.Since, f.Remedy = HealthAlarm, last.At.Sub(d.now()).Seconds(), last.At, remedyClock
	}
	return f
}

// partialFinding counts the plans of which something is left.
func partialFinding(g gathered) Finding {
	f := Finding{Name: "privacy.plans.partial", Unit: "plans"}
	if g.wrong != nil {
		return f // privacy.ledger says that it is not known
	}
	for e := range g.ledger.Erasures() {
		if e.Status != erasurelog.Left {
			continue
		}
		f.Value++
		f.Level = HealthAlarm
		f.Remedy = "personal data is left in a store after an erasure: see Outcome.Stores, mend the store and execute the plan again"
		for _, of := range g.ledger.Plan(e.Plan) {
			if of.Op == erasurelog.Partial && (f.Since.IsZero() || of.At.Before(f.Since)) {
				f.Since = of.At
			}
		}
	}
	return f
}
