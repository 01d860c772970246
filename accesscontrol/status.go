package accesscontrol

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/crmguard/crmguard/accesscontrol/internal/cedarx"
	"github.com/crmguard/crmguard/internal/health"
)

// Finding is one thing that [Policy.Status] has looked at. Its fields:
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

// Status says what is in force: every finding of the package comment, those
// that are well included. It asks neither files nor database.
func (p *Policy) Status(ctx context.Context) ([]Finding, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s, err := p.snapshot()
	if err != nil {
		return nil, err
	}
	out := p.past.findings(s)
	out = append(out, s.unbound()...)
	return append(out, s.unpermitted()...), nil
}

// record remembers what became of reloads and comparisons.
type record struct {
	mu       sync.Mutex
	since    time.Time // when the set in force was loaded
	failing  time.Time // since when reloads are refused; zero: the last one was not
	failures int
	seen     *snapshot // the set that was compared with a database, nil: none
	at       time.Time // when
	differs  int       // problems found then
}

func (r *record) loaded() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.since, r.failing, r.failures = time.Now(), time.Time{}, 0
}

func (r *record) refused() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failures++; r.failing.IsZero() {
		r.failing = time.Now()
	}
}

// compared takes note of an answer; a database that did not give one says
// nothing.
func (r *record) compared(s *snapshot, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	schema, differs := errors.AsType[*SchemaError](err)
	switch {
	case err == nil:
		r.seen, r.at, r.differs = s, time.Now(), 0
	case differs:
		r.seen, r.at, r.differs = s, time.Now(), len(schema.Problems)
	}
}

func (r *record) findings(s *snapshot) []Finding {
	r.mu.Lock()
	defer r.mu.Unlock()
	policy := Finding{Name: "accesscontrol.policy", Subject: s.hash, Value: float64(len(s.rules.policies)), Unit: "policies", Since: r.since}
	reload := Finding{Name: "accesscontrol.reload.refused", Value: float64(r.failures), Unit: "reloads", Since: r.failing}
	if r.failures > 0 {
		reload.Level, reload.Remedy = HealthAlarm, "the set before is still in force: mend what the PolicyError of Reload lists"
	}
	schema := Finding{Name: "accesscontrol.schema", Unit: "tables"}
	for _, t := range s.tables {
		if t.Name != "" {
			schema.Value++
		}
	}
	switch {
	case schema.Value == 0: // nothing is filtered
	case r.seen != s:
		schema.Level, schema.Remedy = HealthNotice, "whether filters agree with checks on the live tables is not known: call CheckSchema at start, and after each reload and migration"
	case r.differs > 0:
		schema.Level, schema.Since = HealthAlarm, r.at
		schema.Remedy = "filters may select other rows than checks permit: migrate the tables, or correct the binding, as the SchemaError of CheckSchema lists; then call it again"
	default:
		schema.Since = r.at
	}
	return []Finding{policy, reload, schema}
}

// unbound finds the types of records that actions apply to and no table binds:
// every question about them is refused.
func (s *snapshot) unbound() []Finding {
	bound := map[cedarx.EntityType]bool{}
	for _, t := range s.tables {
		bound[t.kind] = true
	}
	missing := map[cedarx.EntityType]bool{}
	for _, action := range s.actions {
		for _, kind := range action.Resources {
			if !bound[kind] {
				missing[kind] = true
			}
		}
	}
	sum := Finding{Name: "accesscontrol.types.unbound", Value: float64(len(missing)), Unit: "types"}
	var each []Finding
	for kind := range missing {
		each = append(each, Finding{
			Name: sum.Name, Subject: string(kind), Level: HealthNotice, Value: 1, Unit: sum.Unit,
			Remedy: "every question about such a record is refused: bind the type in Config.Tables",
		})
	}
	return health.Tally(sum, each)
}

// unpermitted finds the actions that tables bind, those of groups of fields
// among them, and that no permit is about: the answer is no for everybody.
func (s *snapshot) unpermitted() []Finding {
	wanted := map[string]bool{}
	for _, t := range s.tables {
		for _, name := range []string{t.Read, t.Create, t.Update, t.Delete} {
			wanted[name] = true
		}
		for _, g := range t.Groups {
			wanted[g.Action], wanted[g.Masked], wanted[g.Update] = true, true, true
		}
	}
	delete(wanted, "")
	sum := Finding{Name: "accesscontrol.actions.unpermitted", Unit: "actions"}
	var each []Finding
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		if s.permitted(s.actions[name]) {
			continue
		}
		sum.Value++
		each = append(each, Finding{
			Name: sum.Name, Subject: name, Level: HealthNotice, Value: 1, Unit: sum.Unit,
			Remedy: "nobody may do this: write a permit, or take the action out of Config.Tables",
		})
	}
	return health.Tally(sum, each)
}

// permitted says whether the scope of any permit covers the action.
func (s *snapshot) permitted(action cedarx.Action) bool {
	return slices.ContainsFunc(s.rules.policies, func(p *cedarx.Policy) bool {
		if !p.Permit {
			return false
		}
		if p.Action.Kind != cedarx.ScopeEq && p.Action.Kind != cedarx.ScopeIn {
			return true
		}
		return slices.ContainsFunc(p.Action.Entities, func(uid cedarx.EntityUID) bool {
			return uid == action.UID || slices.Contains(action.Ancestors, uid)
		})
	})
}
