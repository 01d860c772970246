package adoption

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/crmguard/crmguard/encryption"
)

// lingering is how long a table may stand between two worlds before somebody
// should know.
const lingering = 30 * 24 * time.Hour

// Status says how the adoption of a tenant is: its stage, a move that was
// interrupted, a guard that is missing, rows that stand on one side only, what the
// last Backfill found, and what this process has met since it started. It counts
// rows, over the whole table. The names are in the package comment. A stage that was
// changed by hand is a finding, and then the only one.
func (a *Adoption) Status(ctx context.Context, tenant string) ([]encryption.Finding, error) {
	r, err := a.current(ctx, tenant)
	var forged *forgedError
	if errors.As(err, &forged) {
		return []encryption.Finding{a.finding("encryption.adoption.stage", true, -1, "stage", err.Error())}, nil
	}
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
	rows, err := l.oneSided(ctx, r)
	if err != nil {
		return nil, err
	}
	out := a.ofStage(r, guard)
	var unsealed int64
	for _, one := range rows {
		out = append(out, a.finding(one.name, one.alarm, one.n, one.unit, one.what))
		if one.name == unsealedRows {
			unsealed = one.n
		}
	}
	return append(out, a.met(r, unsealed)...), nil
}

// finding is ok where there is nothing of it.
func (a *Adoption) finding(name string, alarm bool, n int64, unit, remedy string) encryption.Finding {
	f := encryption.Finding{Name: name, Subject: a.def.Name, Value: float64(n), Unit: unit}
	if n != 0 {
		f.Level, f.Remedy = encryption.HealthNotice, remedy
		if alarm {
			f.Level = encryption.HealthAlarm
		}
	}
	return f
}

// ofStage are the findings about the stage, the move to it, and the guard.
func (a *Adoption) ofStage(r stageRow, guard Guard) []encryption.Finding {
	between := r.stage == WriteBoth || r.stage == ReadSealed
	stage := a.finding("encryption.adoption.stage", false, int64(yes(between && a.terms.Now().Sub(r.changed) > lingering)), "stage",
		"the table has been at "+string(r.stage)+" for over 30 days: move on, or back")
	stage.Since, stage.Value = r.changed, float64(r.stage.place())
	move := a.finding("encryption.adoption.move", false, int64(yes(!r.settled)), "moves",
		"a move to "+string(r.stage)+" is under way or was interrupted: call Move again, to there or back")
	move.Since = r.changed
	missing := between && guard != Reset && r.gone.IsZero() || r.stage != SealedOnly && guard == Refuse || guard == OtherGuard
	open := r.stage == SealedOnly && r.settled && guard != Refuse
	return []encryption.Finding{
		stage, move,
		a.finding("encryption.adoption.guard", missing, int64(yes(missing || open)), "wrong triggers",
			"the trigger on the table is "+string(guard)+": a release without the adoption may leave sealed values of yesterday, or be refused; execute what GuardSQL returns"),
	}
}

// met are the findings about what this process has met. What is over by what the
// database holds now is ok, with its count: nothing could be done about it. A value in
// the clear is read where rows stand there alone; and at Plain no sealed value is read,
// nor is one left that differs or does not open once Clear was clean.
func (a *Adoption) met(r stageRow, unsealed int64) (out []encryption.Finding) {
	over := r.stage == Plain || r.cleared()
	for _, one := range []struct {
		name  string
		alarm bool
		over  bool
		n     int64
		what  string
	}{
		{"encryption.adoption.fallbacks", false, unsealed == 0, a.counted.fallbacks.Load(), fmt.Sprintf("values were read in the clear because they were not sealed, and %d rows stand so now: call Backfill, and look at what it lists", unsealed)},
		{"encryption.adoption.mismatches", true, over, a.counted.mismatches.Load(), "sealed values said something else than the clear: somebody writes only one of them; do not move on, look who it is, put the guard in place and call Backfill"},
		{"encryption.adoption.unreadable", true, over, a.counted.unreadable.Load(), "sealed values did not open, and the clear was read: call Backfill before moving on"},
		{"encryption.adoption.rewound", true, false, a.counted.rewound.Load(), "the recorded stage became an older one: where no older database was put in place, look who may write crmguard_adoption"},
	} {
		f := a.finding(one.name, one.alarm, one.n, "values", "since this process started, "+one.what)
		if one.over {
			f.Level, f.Remedy = encryption.HealthOK, ""
		}
		out = append(out, f)
	}
	return out
}

// unsealedRows is the finding about rows that stand in the clear only, where sealed
// values are read: 0 elsewhere.
const unsealedRows = "encryption.adoption.unsealed"

// counted is a finding about rows.
type counted struct {
	name, unit string
	alarm      bool
	n          int64
	what       string
}

// oneSided counts the rows that stand on one side only, in the clear where nothing
// should, or not where a constraint could see them.
func (l *live) oneSided(ctx context.Context, r stageRow) ([]counted, error) {
	p := &pass{live: l, tenant: r.tenant}
	var plain, sealed, inClear, nothing, owners int64
	filling, err := l.filling(ctx, r)
	if err == nil && r.stage.readsSealed() {
		plain, err = l.sided(ctx, r.tenant, true)
	}
	if err == nil && r.stage != SealedOnly {
		sealed, err = l.sided(ctx, r.tenant, false)
	}
	if err == nil && r.cleared() {
		inClear, err = p.clearLeft(ctx)
	}
	if err == nil && r.stage.readsSealed() {
		nothing, err = l.nothingTwice(ctx, r.tenant)
	}
	if err == nil {
		owners, err = l.otherOwners(ctx, r)
	}
	if err != nil {
		return nil, err
	}
	only := "call Backfill, which takes them away, or keeps what was accepted"
	switch {
	case filling:
		only = "call Unseal, which fills the clear"
	case r.stage == ReadSealed:
		only = "somebody emptied the clear and no guard took the sealed value away, which is still read: Backfill lists them; where that was meant, empty sealed and index columns, too"
	case r.stage == Plain:
		only = "empty sealed and index columns, or drop them"
	}
	return []counted{
		{unsealedRows, "rows", r.cleared(), plain, "rows stand in the clear only, and are read there: call Backfill"},
		{"encryption.adoption.emptied", "rows", r.stage == ReadSealed && !filling, sealed, "rows are sealed only: " + only},
		{"encryption.adoption.inclear", "rows", true, inClear + l.counted.inClear.Load(), "values came into the clear after Clear had found none left, and are not read: look who writes there; put the guard Refuse in place" + split(inClear, "stand there now", l.counted.inClear.Load())},
		{"encryption.adoption.owners", "rows", true, owners + l.counted.otherOwners.Load(), "sealed values are whole and do not open for the owner of their row: a Writer names another owner, or spells it otherwise; look at the program before SealedOnly, where they are lost, then call Backfill" + split(owners, "of the last Backfill", l.counted.otherOwners.Load())},
		{"encryption.adoption.unique", "rows", false, max(0, nothing-1), "values that are nothing to the normaliser ('', blanks) stand beside each other, where the clear was UNIQUE: the index has NULL there, which is never equal; the way back will refuse all but one"},
	}, nil
}

// split says which part of a finding ends with its cause, and which one with the
// process.
func split(now int64, how string, met int64) string {
	return fmt.Sprintf(" (%d %s, %d met since this process started, which it counts until it ends)", now, how, met)
}

// nothingTwice counts the values that a unique index does not hold to be one.
func (l *live) nothingTwice(ctx context.Context, tenant string) (n int64, err error) {
	for _, c := range l.cells {
		for i, x := range c.indexes {
			if !x.Unique {
				continue
			}
			where, args := c.stored.Name+" IS NOT NULL AND "+c.values[i].Name+" IS NULL", []any(nil)
			if l.tenant != nil {
				of, more := l.db.Named(*l.tenant, tenant)
				where, args = of+" AND "+where, more
			}
			some, err := l.count(ctx, where, args)
			if err != nil {
				return 0, err
			}
			n = max(n, some)
		}
	}
	return n, nil
}

// otherOwners is what the last Backfill has found of them: none at Plain, where no
// sealed value is read, and at WriteBoth only since it has come there, which may have
// been from Plain.
func (a *Adoption) otherOwners(ctx context.Context, r stageRow) (int64, error) {
	if r.stage == Plain {
		return 0, nil
	}
	j, err := a.readJob(ctx, r.tenant, "backfill")
	if err != nil || j.counts == "" || r.stage == WriteBoth && j.revision != r.revision {
		return 0, err
	}
	var last kept
	if err := json.Unmarshal([]byte(j.counts), &last); err != nil {
		return 0, fmt.Errorf("adoption: the recorded counts of a job are damaged; begin anew (Again): %w", err)
	}
	return last.Report.Owners, nil
}

func yes(b bool) int {
	if b {
		return 1
	}
	return 0
}
