package adoption

import (
	"context"
	"time"

	"github.com/crmguard/crmguard/encryption"
)

// lingering is how long a table may stand between two worlds before somebody
// should know.
const lingering = 30 * 24 * time.Hour

// Status says how the adoption of a tenant is: its stage, a move that was
// interrupted, a guard that is missing, rows that stand on one side only, and what
// this process has met since it started. It counts rows, over the whole table.
// The names are in the package comment.
func (a *Adoption) Status(ctx context.Context, tenant string) ([]encryption.Finding, error) {
	r, err := a.current(ctx, tenant)
	if err != nil {
		return nil, err
	}
	l, err := a.live(ctx, tenant)
	if err != nil {
		return nil, err
	}
	guard, err := a.Guard(ctx)
	if err != nil {
		return nil, err
	}
	unsealed, err := l.sided(ctx, tenant, true)
	if err != nil {
		return nil, err
	}
	age := a.terms.Now().Sub(r.changed)
	between := r.stage == WriteBoth || r.stage == ReadSealed
	find := func(name string, bad bool, alarm bool, value float64, unit, remedy string) encryption.Finding {
		f := encryption.Finding{Name: name, Subject: a.def.Name, Value: value, Unit: unit}
		if bad {
			f.Level, f.Remedy = encryption.HealthNotice, remedy
			if alarm {
				f.Level = encryption.HealthAlarm
			}
		}
		return f
	}
	stage := find("encryption.adoption.stage", between && age > lingering, false, float64(r.stage.place()), "stage",
		"the table has been at "+string(r.stage)+" for over 30 days: move on, or back")
	stage.Since = r.changed
	move := find("encryption.adoption.move", !r.settled, false, float64(yes(!r.settled)), "moves",
		"a move to "+string(r.stage)+" is under way or was interrupted: call Move again, to there or back")
	move.Since = r.changed
	reset := r.stage == WriteBoth || r.stage == ReadSealed
	missing := reset && guard != Reset && r.gone.IsZero() || r.stage != SealedOnly && guard == Refuse || guard == OtherGuard
	open := r.stage == SealedOnly && r.settled && guard != Refuse
	out := []encryption.Finding{
		stage, move,
		find("encryption.adoption.guard", missing || open, missing, float64(yes(missing || open)), "triggers",
			"the trigger on the table is "+string(guard)+": a release without the adoption may leave sealed values of yesterday, or be refused; execute what GuardSQL returns"),
		find("encryption.adoption.unsealed", r.stage.readsSealed() && unsealed > 0, false, float64(unsealed), "rows",
			"rows stand in the clear only, and are read there: call Backfill"),
	}
	for _, one := range []struct {
		name  string
		alarm bool
		n     int64
		what  string
	}{
		{"encryption.adoption.fallbacks", false, a.counted.fallbacks.Load(), "values were read in the clear because they were not sealed: call Backfill"},
		{"encryption.adoption.mismatches", true, a.counted.mismatches.Load(), "sealed values said something else than the clear: somebody writes only one of them; do not move on, look who it is, put the guard in place and call Backfill"},
		{"encryption.adoption.unreadable", true, a.counted.unreadable.Load(), "sealed values did not open, and the clear was read: call Backfill before moving on"},
	} {
		out = append(out, find(one.name, one.n > 0, one.alarm, float64(one.n), "values", "since this process started, "+one.what))
	}
	return out, nil
}

func yes(b bool) int {
	if b {
		return 1
	}
	return 0
}
