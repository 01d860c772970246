package erasurelog_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// A model is the ledger's rules written a second time, the slow way: what became
// of each plan, and when.
type model struct {
	entries []erasurelog.Entry
	ignored int
}

func (m *model) of(plan string, op erasurelog.Op) bool {
	return slices.ContainsFunc(m.entries, func(e erasurelog.Entry) bool { return e.Plan == plan && e.Op == op && !e.Ignored })
}

// allows says whether an entry may follow.
func (m *model) allows(e erasurelog.Entry) bool {
	intent, done, void := m.of(e.Plan, erasurelog.Intent), m.of(e.Plan, erasurelog.Done), m.of(e.Plan, erasurelog.Void)
	hold, lift := m.of(e.Plan, erasurelog.Hold), m.of(e.Plan, erasurelog.Lift)
	for _, earlier := range m.entries {
		opens := earlier.Op == erasurelog.Intent || earlier.Op == erasurelog.Hold || earlier.Op == erasurelog.Cancel
		if opens && earlier.Plan == e.Plan && !earlier.Ignored && e.Op != erasurelog.Intent && e.Op != erasurelog.Hold && earlier.Root == e.Root && earlier.Person != e.Person {
			return false
		}
	}
	alone := slices.ContainsFunc([]erasurelog.Op{erasurelog.Cancel, erasurelog.Older, erasurelog.Newer, erasurelog.Unsuppress}, func(op erasurelog.Op) bool { return m.of(e.Plan, op) })
	switch e.Op {
	case erasurelog.Intent, erasurelog.Hold, erasurelog.Cancel, erasurelog.Older, erasurelog.Newer, erasurelog.Unsuppress:
		return !intent && !hold && !alone
	case erasurelog.Partial, erasurelog.Done, erasurelog.Void:
		return intent && !done && !void
	case erasurelog.Lift:
		return hold && !lift
	case erasurelog.Clock:
	}
	return false
}

func (m *model) status(plan string) erasurelog.Status {
	for _, s := range []struct {
		op     erasurelog.Op
		status erasurelog.Status
	}{
		{erasurelog.Done, erasurelog.Finished},
		{erasurelog.Void, erasurelog.Withdrawn},
		{erasurelog.Partial, erasurelog.Left},
		{erasurelog.Intent, erasurelog.Begun},
		{erasurelog.Cancel, erasurelog.Cancelled},
		{erasurelog.Lift, erasurelog.Lifted},
		{erasurelog.Hold, erasurelog.Holding},
	} {
		if m.of(plan, s.op) {
			return s.status
		}
	}
	return erasurelog.Unknown
}

// person lists the plans of erasures in force and of holds, oldest first.
func (m *model) person(names func(e erasurelog.Entry) bool) (erasures, holds []string) {
	for _, e := range m.entries {
		switch status := m.status(e.Plan); {
		case e.Ignored || !names(e):
		case e.Op == erasurelog.Intent && status != erasurelog.Withdrawn:
			erasures = append(erasures, e.Plan)
		case e.Op == erasurelog.Hold && status == erasurelog.Holding:
			holds = append(holds, e.Plan)
		}
	}
	return erasures, holds
}

// suppressed says whether an address is on the list.
func (m *model) suppressed(address func(e erasurelog.Entry) bool) (on bool) {
	var since []string
	for _, e := range m.entries {
		switch {
		case e.Ignored || !address(e):
		case e.Op == erasurelog.Unsuppress:
			since = nil
		default:
			since = append(since, e.Plan)
		}
	}
	return slices.ContainsFunc(since, func(plan string) bool { return m.status(plan) != erasurelog.Withdrawn })
}

// decided is what was said last of a row.
func (m *model) decided(row func(e erasurelog.Entry) bool) (op erasurelog.Op) {
	for _, e := range m.entries {
		if !e.Ignored && (e.Op == erasurelog.Older || e.Op == erasurelog.Newer) && row(e) {
			op = e.Op
		}
	}
	return op
}

// describe is all that a State answers.
func describe(s *erasurelog.State, keysOf map[string][]string) string {
	var b strings.Builder
	fmt.Fprintln(&b, s.Head(), s.Tops(), len(s.Faults()))
	for _, fault := range s.Faults() {
		fmt.Fprintln(&b, fault.N, fault.Err)
	}
	for e := range s.After(0) {
		fmt.Fprintln(&b, e, s.Status(e.Plan), s.InForce(e.Plan), s.IntentsSince(e.At), s.IntentsSince(e.At.Add(1)), len(s.Plan(e.Plan)))
	}
	for e := range s.Erasures() {
		fmt.Fprintln(&b, e)
	}
	for _, name := range []string{"ann", "bob", "carl"} {
		fmt.Fprintln(&b, name, s.Person(keysOf[name]...))
		since, listed := s.Suppressed(keysOf["address of "+name]...)
		older, decided := s.Decided(keysOf["row of "+name]...)
		fmt.Fprintln(&b, since, listed, older, decided)
	}
	return b.String()
}

// Whatever is appended, forced by whoever has the root, reset by a clock entry or
// read by another process, in any order: the rules are those of the model, what a
// process has read bit by bit is what a new one reads at once, and a State that
// was handed out stays as it was.
func TestTheLedgerIsItsModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		f := newFixture(t)
		other := process(t, f.dir)
		m := &model{}
		names := []string{"ann", "bob", "carl"}
		plans := []string{newID(), newID(), newID(), newID()}
		ops := []erasurelog.Op{
			erasurelog.Intent, erasurelog.Partial, erasurelog.Done, erasurelog.Void, erasurelog.Cancel, erasurelog.Hold, erasurelog.Lift,
			erasurelog.Older, erasurelog.Newer, erasurelog.Unsuppress,
		}
		type kept struct {
			state *erasurelog.State
			text  string
			keys  map[string][]string
		}
		var states []kept
		keysOf := func() map[string][]string {
			keys := map[string][]string{}
			for _, name := range names {
				keys[name] = f.keys(name)
				keys["address of "+name] = f.keysOf("suppressed/email", name)
				keys["row of "+name] = f.keysOf(erasurelog.KindRef, name)
			}
			return keys
		}
		draw := func() erasurelog.Entry {
			e := f.answered(rapid.SampledFrom(ops).Draw(rt, "op"), rapid.SampledFrom(plans).Draw(rt, "plan"), rapid.SampledFrom(names).Draw(rt, "person"))
			switch who := rapid.SampledFrom(names).Draw(rt, "whose"); e.Op {
			case erasurelog.Intent:
				if rapid.Bool().Draw(rt, "known") {
					e.Known = []string{f.address(who)}
				}
			case erasurelog.Older, erasurelog.Newer:
				if e.Plan = newID(); rapid.Bool().Draw(rt, "of a plan") {
					e.Plan = rapid.SampledFrom(plans).Draw(rt, "plan")
				}
				e.Refs = []string{f.digest(erasurelog.KindRef, who)}
			case erasurelog.Unsuppress:
				e = f.taken(newID(), who)
			default:
			}
			if e.Op == erasurelog.Intent && rapid.Bool().Draw(rt, "alias") {
				e.Aliases = []string{f.person(rapid.SampledFrom(names).Draw(rt, "who"))}
			}
			if rapid.Bool().Draw(rt, "tops") {
				e.Tops = map[string]int64{rapid.SampledFrom([]string{"a.b.c", "d.e.f"}).Draw(rt, "column"): rapid.Int64().Draw(rt, "top")}
			}
			e.Root = f.roots[0].id
			return e
		}
		looks := 0
		look := func() {
			if looks++; looks%4 > 0 {
				return
			}
			keys := keysOf()
			s := f.read()
			fresh := process(t, f.dir)
			fresh.roots, fresh.now = f.roots, f.now
			fresh.open()
			text := describe(s, keys)
			if text != describe(fresh.read(), keys) {
				rt.Fatal("what was read bit by bit is not what is read at once")
			}
			for _, k := range states {
				if describe(k.state, k.keys) != k.text {
					rt.Fatal("a State has changed")
				}
			}
			if states = append(states, kept{s, text, keys}); len(states) > 4 {
				states = slices.Delete(states, 1, 2)
			}
			for _, plan := range plans {
				if s.Status(plan) != m.status(plan) {
					rt.Fatalf("status %s, the model says %s", s.Status(plan), m.status(plan))
				}
			}
			for _, name := range names {
				digests := map[string]bool{}
				for _, key := range keys[name] {
					digests[key] = true
				}
				erasures, holds := m.person(func(e erasurelog.Entry) bool {
					return slices.ContainsFunc(e.PersonKeys(), func(key string) bool { return digests[key] })
				})
				on := func(list []string, of []string, root uint32) bool {
					return slices.ContainsFunc(list, func(digest string) bool { return slices.Contains(of, fmt.Sprintf("%d/%s", root, digest)) })
				}
				if _, listed := s.Suppressed(keys["address of "+name]...); listed != m.suppressed(func(e erasurelog.Entry) bool { return on(e.Known, keys["address of "+name], e.Root) }) {
					rt.Fatalf("%s: on the suppression list: %t", name, listed)
				}
				said := m.decided(func(e erasurelog.Entry) bool { return on(e.Refs, keys["row of "+name], e.Root) })
				if older, ok := s.Decided(keys["row of "+name]...); ok != (said != "") || older != (said == erasurelog.Older) {
					rt.Fatalf("%s: decided %t %t, the model says %s", name, older, ok, said)
				}
				p := s.Person(keys[name]...)
				var gotErasures, gotHolds []string
				for _, e := range p.Erasures {
					gotErasures = append(gotErasures, e.Plan)
				}
				for _, e := range p.Holds {
					gotHolds = append(gotHolds, e.Plan)
				}
				if !slices.Equal(gotErasures, erasures) || !slices.Equal(gotHolds, holds) {
					rt.Fatalf("%s: %v %v, the model says %v %v", name, gotErasures, gotHolds, erasures, holds)
				}
			}
			if len(s.Faults()) != m.ignored {
				rt.Fatalf("%d faults, the model says %d", len(s.Faults()), m.ignored)
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"append": func(rt *rapid.T) {
				e, log := draw(), f.log
				if rapid.Bool().Draw(rt, "by another process") {
					other.roots, other.now = f.roots, f.now
					log = other.log
				}
				_, err := log.Append(t.Context(), nil, always(e))
				if (err == nil) != m.allows(e) {
					rt.Fatalf("%s of %s: %v, the model says %v", e.Op, e.Plan, err, m.allows(e))
				}
				if err == nil {
					m.entries = append(m.entries, e)
				}
			},
			"force": func(rt *rapid.T) {
				e := draw()
				e.Ignored = !m.allows(e)
				f.force(e)
				if e.Ignored {
					m.ignored++
				}
				m.entries = append(m.entries, e)
			},
			"time": func(rt *rapid.T) {
				f.now = f.now.Add(time.Duration(rapid.IntRange(0, 3).Draw(rt, "hours")) * time.Hour)
				other.now = f.now
			},
			"clock": func(*rapid.T) {
				last, ok := f.read().Last()
				if !ok {
					return
				}
				f.now = last.At.Add(-48 * time.Hour)
				other.now = f.now
				reset := erasurelog.Entry{Op: erasurelog.Clock, Plan: newID(), By: f.principal("user/1"), Approved: f.principal("user/2")}
				require.NoError(t, f.try(reset))
			},
			"root": func(*rapid.T) {
				if len(f.roots) > 2 {
					return
				}
				f.roots = append([]root{{uint32(len(f.roots)), seqKey(byte(10 * len(f.roots)))}}, f.roots...)
				f.open()
				other.roots = f.roots
				other.open()
			},
			"": func(*rapid.T) { look() },
		})
	})
}
