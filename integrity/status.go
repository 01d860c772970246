package integrity

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/crmguard/crmguard/internal/health"
)

// Finding is one thing that [Sealer.Status] has looked at. Its fields:
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
// one page shows all. What a sweep finds is a [SweepFinding].
type Finding = health.Finding

// The levels of a Finding. They are ordered: the worst of many is their max.
const (
	HealthOK     = health.OK     // looked at, and well
	HealthNotice = health.Notice // well for now, and somebody should know
	HealthAlarm  = health.Alarm  // a promise does not hold, or will not for long
)

// Status says what this Sealer has come across: every finding of the package
// comment, those that are well included. It reads no table; [Sealer.Sweep]
// does.
func (s *Sealer) Status(ctx context.Context) ([]Finding, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	return s.past.findings(), ctx.Err()
}

// history remembers what went wrong, in this process. What goes well costs it
// one look at an atomic number.
type history struct {
	failures atomic.Int64 // calls of the tagger since the last one that succeeded

	mu         sync.Mutex
	failing    time.Time // since when
	tables     map[tableID]trouble
	incomplete map[tableID]time.Time // since when
	whole      map[tableID]time.Time // when the newest whole sweep ended
	sweeps     bool
}

type tableID struct{ tenant, table string }

func (t tableID) String() string { return t.tenant + "/" + t.table }

// trouble is rows of a table that are not as they were sealed. There are as
// many of them as tables that somebody has changed.
type trouble struct {
	rows  int64
	since time.Time
}

// answered takes note of what the tagger did; one that was stopped says
// nothing.
func (r *history) answered(ctx context.Context, err error) {
	switch {
	case err == nil && r.failures.Load() == 0, err != nil && ctx.Err() != nil:
	case err == nil:
		r.failures.Store(0)
	case r.failures.Add(1) == 1:
		r.mu.Lock()
		defer r.mu.Unlock()
		r.failing = time.Now()
	}
}

// judged takes note of a verified row.
func (r *history) judged(ref Ref, err error) {
	if err == nil {
		return
	}
	switch verdictOf(err) {
	case Tampered, MissingSeal, UnknownSchema, UnknownKey:
		r.add(tableID{ref.Tenant, ref.Table}, 1)
	case Misfit, DuplicateKey, BucketChanged: // the caller's fault, or a sweep's to say
	}
}

func (r *history) add(table tableID, rows int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.tables == nil {
		r.tables = map[tableID]trouble{}
	}
	t := r.tables[table]
	if t.rows += rows; t.since.IsZero() {
		t.since = time.Now()
	}
	r.tables[table] = t
}

// swept takes the word of a whole sweep for the whole table.
func (r *history) swept(tenant, table string, report SweepReport) {
	id := tableID{tenant, table}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sweeps = true
	if !report.Complete {
		if r.incomplete == nil {
			r.incomplete = map[tableID]time.Time{}
		}
		if _, already := r.incomplete[id]; !already {
			r.incomplete[id] = time.Now()
		}
		return
	}
	if r.whole == nil {
		r.whole = map[tableID]time.Time{}
	}
	now := time.Now()
	r.whole[id] = now
	delete(r.incomplete, id)
	if report.OK() {
		delete(r.tables, id)
		return
	}
	if r.tables == nil {
		r.tables = map[tableID]trouble{}
	}
	t := r.tables[id]
	t.rows = 0
	for _, n := range report.Counts {
		t.rows += n
	}
	if t.since.IsZero() {
		t.since = now
	}
	r.tables[id] = t
}

func (r *history) findings() []Finding {
	r.mu.Lock()
	defer r.mu.Unlock()
	tagger := Finding{Name: "integrity.tagger", Value: float64(r.failures.Load()), Unit: "calls"}
	if tagger.Value > 0 {
		tagger.Level, tagger.Since = HealthAlarm, r.failing
		tagger.Remedy = "nothing is sealed or verified: bring the keys of the tagger back; see the error of Seal"
	}
	rows := Finding{Name: "integrity.rows", Unit: "rows"}
	var changed, open []Finding
	for id, t := range r.tables {
		rows.Value += float64(t.rows)
		changed = append(changed, Finding{
			Name: rows.Name, Subject: id.String(), Level: HealthAlarm, Value: float64(t.rows), Unit: rows.Unit, Since: t.since,
			Remedy: "rows are not what was sealed: look them up in the audit trail, restore them, and sweep the table",
		})
	}
	out := append([]Finding{tagger}, health.Tally(rows, changed)...)
	if !r.sweeps {
		return out
	}
	for id, since := range r.incomplete {
		open = append(open, Finding{
			Name: "integrity.sweep.incomplete", Subject: id.String(), Level: HealthNotice, Value: 1, Unit: "tables", Since: since,
			Remedy: "nothing is known of the rows that were not read: see the error of Sweep, and sweep again",
		})
	}
	out = append(out, health.Tally(Finding{Name: "integrity.sweep.incomplete", Value: float64(len(open)), Unit: "tables"}, open)...)
	age := Finding{Name: "integrity.sweep.age", Unit: "s"}
	for _, at := range r.whole { // a table that nobody sweeps any more must not hide behind the others
		if age.Since.IsZero() || at.Before(age.Since) {
			age.Since = at
			age.Value = time.Since(at).Seconds()
		}
	}
	return append(out, age)
}
