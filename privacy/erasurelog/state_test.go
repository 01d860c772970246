package erasurelog_test

import (
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// answered is an entry with all that its operation asks for.
func (f *fixture) answered(op erasurelog.Op, plan, person string) erasurelog.Entry {
	e := f.entry(op, plan, person)
	e.By, e.Approved, e.Because = f.principal("user/1"), f.principal("user/2"), "litigation"
	return e
}

// What may follow what: appended, or refused with an error that says why; and
// where somebody who has the root writes it all the same, it has no effect.
func TestWhatMayFollow(t *testing.T) {
	const a, b = "01a2054d-dfbe-790e-a264-7c9f86b09ab7", "01a2054d-dfbe-790e-a264-7c9f86b09ab8"
	const (
		intent, partial, done, void = erasurelog.Intent, erasurelog.Partial, erasurelog.Done, erasurelog.Void
		hold, lift                  = erasurelog.Hold, erasurelog.Lift
	)
	for _, c := range []struct {
		before []erasurelog.Op
		op     erasurelog.Op
		plan   string
		want   error
		status erasurelog.Status
	}{
		{nil, intent, a, nil, erasurelog.Begun},
		{nil, hold, a, nil, erasurelog.Holding},
		{nil, partial, a, erasurelog.ErrAbsent, erasurelog.Unknown},
		{nil, done, a, erasurelog.ErrAbsent, erasurelog.Unknown},
		{nil, void, a, erasurelog.ErrAbsent, erasurelog.Unknown},
		{nil, lift, a, erasurelog.ErrAbsent, erasurelog.Unknown},
		{[]erasurelog.Op{intent}, intent, a, erasurelog.ErrTwice, erasurelog.Begun},
		{[]erasurelog.Op{intent}, hold, a, erasurelog.ErrTwice, erasurelog.Begun},
		{[]erasurelog.Op{intent}, lift, a, erasurelog.ErrAbsent, erasurelog.Begun},
		{[]erasurelog.Op{intent}, done, b, erasurelog.ErrAbsent, erasurelog.Begun},
		{[]erasurelog.Op{intent}, intent, b, nil, erasurelog.Begun},
		{[]erasurelog.Op{intent}, partial, a, nil, erasurelog.Left},
		{[]erasurelog.Op{intent}, done, a, nil, erasurelog.Finished},
		{[]erasurelog.Op{intent}, void, a, nil, erasurelog.Withdrawn},
		{[]erasurelog.Op{intent, partial}, partial, a, nil, erasurelog.Left},
		{[]erasurelog.Op{intent, partial}, done, a, nil, erasurelog.Finished},
		{[]erasurelog.Op{intent, partial}, void, a, nil, erasurelog.Withdrawn},
		{[]erasurelog.Op{intent, done}, done, a, erasurelog.ErrTwice, erasurelog.Finished},
		{[]erasurelog.Op{intent, done}, void, a, erasurelog.ErrEnded, erasurelog.Finished},
		{[]erasurelog.Op{intent, done}, partial, a, erasurelog.ErrEnded, erasurelog.Finished},
		{[]erasurelog.Op{intent, done}, intent, a, erasurelog.ErrTwice, erasurelog.Finished},
		{[]erasurelog.Op{intent, void}, done, a, erasurelog.ErrEnded, erasurelog.Withdrawn},
		{[]erasurelog.Op{intent, void}, partial, a, erasurelog.ErrEnded, erasurelog.Withdrawn},
		{[]erasurelog.Op{intent, void}, void, a, erasurelog.ErrTwice, erasurelog.Withdrawn},
		{[]erasurelog.Op{intent, void}, intent, a, erasurelog.ErrTwice, erasurelog.Withdrawn},
		{[]erasurelog.Op{hold}, hold, a, erasurelog.ErrTwice, erasurelog.Holding},
		{[]erasurelog.Op{hold}, intent, a, erasurelog.ErrTwice, erasurelog.Holding},
		{[]erasurelog.Op{hold}, void, a, erasurelog.ErrAbsent, erasurelog.Holding},
		{[]erasurelog.Op{hold}, lift, a, nil, erasurelog.Lifted},
		{[]erasurelog.Op{hold, lift}, lift, a, erasurelog.ErrTwice, erasurelog.Lifted},
		{[]erasurelog.Op{hold, lift}, hold, a, erasurelog.ErrTwice, erasurelog.Lifted},
	} {
		f := newFixture(t)
		for _, op := range c.before {
			f.append(f.answered(op, a, "ann"))
		}
		e := f.answered(c.op, c.plan, "ann")
		lines := len(f.lines())
		err := f.try(e)
		require.ErrorIs(t, err, c.want, "%v, %s", c.before, c.op)
		require.Equal(t, c.status, f.read().Status(a), "%v, %s", c.before, c.op)
		if c.want == nil {
			require.Empty(t, f.read().Faults())
			continue
		}
		require.Len(t, f.lines(), lines, "nothing was written")
		before := f.read()
		f.force(e)
		s := f.read()
		require.Empty(t, before.Faults(), "a State stays as it was")
		require.Equal(t, c.status, s.Status(a), "%v, %s, by whoever has the root", c.before, c.op)
		require.Len(t, s.Faults(), 1)
		require.Equal(t, s.Head().N, s.Faults()[0].N)
		require.ErrorIs(t, s.Faults()[0].Err, c.want)
		last, _ := s.Last()
		require.True(t, last.Ignored)
		f.append(f.answered(intent, newID(), "bob")) // and the ledger goes on
		f.open()
		require.Len(t, f.read().Faults(), 1)
	}
}

// force writes a line with a good mac, whatever the rules say.
func (f *fixture) force(e erasurelog.Entry) {
	f.t.Helper()
	e.Root = f.roots[0].id
	if e.At.IsZero() {
		e.At = f.now
	}
	line, err := f.log.Line(f.t.Context(), e, f.read().Head())
	require.NoError(f.t, err)
	f.put(append(append(f.data(), line...), '\n'))
}

// What an entry needs, and who must answer for it.
func TestAnEntryThatIsNone(t *testing.T) {
	f := newFixture(t)
	plan, held := newID(), newID()
	f.append(f.answered(erasurelog.Intent, plan, "ann"))
	f.append(f.answered(erasurelog.Hold, held, "ann"))
	for name, c := range map[string]struct {
		op     erasurelog.Op
		plan   string
		change func(e *erasurelog.Entry)
	}{
		"no operation":               {"", newID(), nil},
		"an unknown one":             {"later", newID(), nil},
		"a plan that is no UUID":     {erasurelog.Intent, "plan", nil},
		"upper case":                 {erasurelog.Intent, "01A2054D-DFBE-790E-A264-7C9F86B09AB7", nil},
		"no person":                  {erasurelog.Intent, newID(), func(e *erasurelog.Entry) { e.Person = "" }},
		"no tenant":                  {erasurelog.Intent, newID(), func(e *erasurelog.Entry) { e.Tenant = "" }},
		"a person in the clear":      {erasurelog.Intent, newID(), func(e *erasurelog.Entry) { e.Person = "ann@a.example" }},
		"an alias in the clear":      {erasurelog.Intent, newID(), func(e *erasurelog.Entry) { e.Aliases = []string{"ann"} }},
		"an empty ref":               {erasurelog.Intent, newID(), func(e *erasurelog.Entry) { e.Refs = []string{""} }},
		"a certificate that is none": {erasurelog.Done, plan, func(e *erasurelog.Entry) { e.Cert = "00" }},
		"done of another person":     {erasurelog.Done, plan, func(e *erasurelog.Entry) { e.Person = f.person("bob") }},
		"void by nobody":             {erasurelog.Void, plan, func(e *erasurelog.Entry) { e.By = "" }},
		"void approved by nobody":    {erasurelog.Void, plan, func(e *erasurelog.Entry) { e.Approved = "" }},
		"void approved by oneself":   {erasurelog.Void, plan, func(e *erasurelog.Entry) { e.Approved = e.By }},
		"void without a reason":      {erasurelog.Void, plan, func(e *erasurelog.Entry) { e.Because = "" }},
		"hold by nobody":             {erasurelog.Hold, newID(), func(e *erasurelog.Entry) { e.By = "" }},
		"hold without a reason":      {erasurelog.Hold, newID(), func(e *erasurelog.Entry) { e.Because = "" }},
		"hold that is over":          {erasurelog.Hold, newID(), func(e *erasurelog.Entry) { e.Until = f.now }},
		"lift by nobody":             {erasurelog.Lift, held, func(e *erasurelog.Entry) { e.By = "" }},
		"lift for another person":    {erasurelog.Lift, held, func(e *erasurelog.Entry) { e.Person = f.person("bob") }},
		"clock without need":         {erasurelog.Clock, newID(), nil},
	} {
		e := f.answered(c.op, c.plan, "ann")
		if c.change != nil {
			c.change(&e)
		}
		require.ErrorIs(t, f.try(e), erasurelog.ErrEntry, name)
		require.Len(t, f.lines(), 2)
	}
}

func TestWhatTheLedgerSaysOfAPerson(t *testing.T) {
	f := newFixture(t)
	require.Equal(t, erasurelog.Person{}, f.read().Person(f.keys("ann")...))
	first := f.answered(erasurelog.Intent, newID(), "ann")
	first.Aliases = []string{f.person("anna"), f.person("ann-old"), f.person("anna")}
	first.Refs = []string{f.digest(erasurelog.KindRef, "r2"), f.digest(erasurelog.KindRef, "r1")}
	before := f.append(first)
	written, _ := before.Last()
	require.Len(t, written.Aliases, 2)
	require.IsIncreasing(t, written.Aliases)
	require.IsIncreasing(t, written.Refs, "their order tells nothing of rows")
	f.now = f.now.Add(time.Minute)
	done := f.answered(erasurelog.Done, first.Plan, "ann")
	f.append(done)
	f.erase("bob")
	begun := f.now
	voided := f.answered(erasurelog.Intent, newID(), "ann")
	f.append(voided)
	second := f.answered(erasurelog.Intent, newID(), "ann")
	s := f.append(second)
	require.Len(t, s.Person(f.keys("ann")...).Erasures, 3)
	s = f.append(f.answered(erasurelog.Void, voided.Plan, "ann"))

	for _, id := range []string{"ann", "anna", "ann-old"} {
		p := s.Person(f.keys(id)...)
		require.Equal(t, first.Plan, p.Erasures[0].Plan)
		require.Equal(t, erasurelog.Finished, p.Erasures[0].Status)
		require.Empty(t, p.Holds)
	}
	p := s.Person(append(f.keys("ann"), f.keys("anna")...)...)
	require.Len(t, p.Erasures, 2, "each once, and none that is voided")
	require.Equal(t, erasurelog.Begun, p.Erasures[1].Status)
	require.Equal(t, begun, p.Erased())
	require.ElementsMatch(t, slices.Concat(f.keys("ann"), f.keys("anna"), f.keys("ann-old")), p.AliasKeys())
	ref, err := f.log.Keys(t.Context(), erasurelog.KindRef, "main", []byte("r1"))
	require.NoError(t, err)
	require.Contains(t, p.RefKeys(), ref[0])
	require.Len(t, p.RefKeys(), 2)
	require.Equal(t, erasurelog.Begun, before.Person(f.keys("ann")...).Erasures[0].Status, "as it was then")
	require.True(t, s.InForce(first.Plan))
	require.False(t, s.InForce(voided.Plan))
	require.False(t, s.InForce(newID()))
	var plans []string
	for e := range s.Erasures() {
		plans = append(plans, e.Plan)
	}
	require.Len(t, plans, 3)
	require.NotContains(t, plans, voided.Plan)
	for _, nonsense := range []string{"", "x", "16909060", "16909060/", "/" + first.Person, "7/" + first.Person, "016909060/" + first.Person} {
		require.Empty(t, s.Person(nonsense).Erasures, nonsense)
	}
	require.Len(t, s.Plan(first.Plan), 2)
	require.Equal(t, erasurelog.Done, s.Plan(first.Plan)[1].Op)
	require.Empty(t, s.Plan(newID()))
	require.Empty(t, s.Plan("nonsense"))
}

func TestHolds(t *testing.T) {
	f := newFixture(t)
	held := func(s *erasurelog.State, at time.Time) string {
		h, ok := s.Person(f.keys("ann")...).Held(at)
		require.Equal(t, ok, h.Plan != "")
		return h.Plan
	}
	short, long := f.answered(erasurelog.Hold, newID(), "ann"), f.answered(erasurelog.Hold, newID(), "ann")
	short.Until, short.Because = f.now.Add(time.Hour), "tax"
	long.Until = f.now.Add(2 * time.Hour)
	f.append(short)
	s := f.append(long)
	require.Equal(t, long.Plan, held(s, f.now))
	require.Equal(t, long.Plan, held(s, f.now.Add(time.Hour)))
	require.Empty(t, held(s, f.now.Add(2*time.Hour)), "it ends by itself")
	h, _ := s.Person(f.keys("ann")...).Held(f.now)
	require.Equal(t, "litigation", h.Because)
	require.Equal(t, f.principal("user/1"), h.By)
	endless := f.answered(erasurelog.Hold, newID(), "ann")
	s = f.append(endless)
	require.Equal(t, endless.Plan, held(s, f.now.Add(1000*time.Hour)))
	lift := f.answered(erasurelog.Lift, endless.Plan, "ann")
	lift.By = f.principal("user/3")
	s = f.append(lift)
	require.Equal(t, long.Plan, held(s, f.now))
	require.Equal(t, erasurelog.Lifted, s.Status(endless.Plan))
	require.Len(t, s.Person(f.keys("ann")...).Holds, 2)
	require.Empty(t, s.Person(f.keys("bob")...).Holds)

	// It covers the person, whatever is planned, and does not undo what was done.
	plan := f.erase("ann")
	require.Equal(t, erasurelog.Finished, f.read().Status(plan))
	require.Equal(t, long.Plan, held(f.read(), f.now))
}

func TestTops(t *testing.T) {
	f := newFixture(t)
	e := f.answered(erasurelog.Intent, newID(), "ann")
	e.Tops = map[string]int64{"public.contacts.id": 17, "main.größe.id": 1<<63 - 1, "x.y.z": -3}
	one := f.append(e)
	require.Equal(t, e.Tops, one.Tops())
	next := f.answered(erasurelog.Intent, newID(), "bob")
	next.Tops = map[string]int64{"public.contacts.id": 18, "x.y.z": -4, "main.größe.id": 1<<63 - 1}
	two := f.append(next)
	require.Equal(t, e.Tops, one.Tops(), "a State stays as it was")
	want := maps.Clone(e.Tops)
	want["public.contacts.id"] = 18
	require.Equal(t, want, two.Tops())
	last, _ := two.Last()
	require.Equal(t, map[string]int64{"public.contacts.id": 18}, last.Tops, "what the ledger knows is not written again")
	f.open()
	require.Equal(t, want, f.read().Tops())
	require.Len(t, next.Tops, 3, "the caller's map is left as it is")
}

func TestIntentsSince(t *testing.T) {
	f := newFixture(t)
	begin := f.now
	var states []*erasurelog.State
	for range 5 {
		f.erase("ann")
		states = append(states, f.read())
		f.now = f.now.Add(time.Hour)
	}
	s := f.read()
	require.Equal(t, 5, s.IntentsSince(begin))
	require.Equal(t, 4, s.IntentsSince(begin.Add(1)))
	require.Equal(t, 2, s.IntentsSince(begin.Add(3*time.Hour)))
	require.Equal(t, 0, s.IntentsSince(begin.Add(5*time.Hour)))
	require.Equal(t, 5, s.IntentsSince(time.Time{}))
	require.Equal(t, 3, states[2].IntentsSince(begin), "a State stays as it was")
	f.force(f.entry(erasurelog.Intent, s.Person(f.keys("ann")...).Erasures[0].Plan, "ann"))
	require.Equal(t, 5, f.read().IntentsSince(begin), "a second intent of a plan is none")
}

func TestStateAsASequence(t *testing.T) {
	f := newFixture(t)
	_, ok := f.read().Last()
	require.False(t, ok)
	f.erase("ann")
	middle := f.read()
	f.erase("bob")
	s := f.read()
	var ops []erasurelog.Op
	for e := range s.After(1) {
		require.Equal(t, int64(len(ops)+2), e.N)
		ops = append(ops, e.Op)
	}
	require.Equal(t, []erasurelog.Op{erasurelog.Done, erasurelog.Intent, erasurelog.Done}, ops)
	for range s.After(-1) {
		break
	}
	for range s.After(9) {
		t.Fatal("there are no more")
	}
	at, ok := s.At(2)
	require.True(t, ok)
	require.Equal(t, middle.Head(), at)
	zero, ok := s.At(0)
	require.True(t, ok)
	require.Equal(t, erasurelog.EmptyHead(), zero)
	_, ok = s.At(5)
	require.False(t, ok)
	_, ok = s.At(-1)
	require.False(t, ok)
	require.Equal(t, int64(2), middle.Head().N)
	_, ok = middle.At(3)
	require.False(t, ok)
}

// decide sees the ledger as it is, declines, and is asked again.
func TestAppendAsksAgain(t *testing.T) {
	f := newFixture(t)
	other := *f
	other.open()
	asked := 0
	plan := newID()
	s, err := f.log.Append(t.Context(), nil, func(s *erasurelog.State) (*erasurelog.Entry, error) {
		asked++
		if asked == 1 {
			other.append(other.entry(erasurelog.Intent, plan, "ann"))
		}
		if s.Status(plan) == erasurelog.Unknown {
			e := f.entry(erasurelog.Intent, plan, "ann")
			return &e, nil
		}
		return nil, nil
	})
	require.NoError(t, err)
	require.Equal(t, 2, asked)
	require.Equal(t, []string{"intent"}, f.ops(), "one intent, though both wanted it")
	require.Equal(t, int64(1), s.Head().N)
	refusal := errors.New("not now")
	s, err = f.log.Append(t.Context(), nil, func(*erasurelog.State) (*erasurelog.Entry, error) { return nil, refusal })
	require.Equal(t, refusal, err)
	require.Equal(t, int64(1), s.Head().N)
	_, err = f.log.Append(t.Context(), []erasurelog.Kept{{Name: "mark", Head: erasurelog.Head{Hash: s.Head().Hash, N: 2}}}, always(f.entry(erasurelog.Done, plan, "ann")))
	require.ErrorIs(t, err, erasurelog.ErrRewound)
}

// A hold that ends is looked for from its end on, once: by a lift, or by itself
// where that came first.
func TestAHoldThatHasEnded(t *testing.T) {
	f := newFixture(t)
	begin := f.now
	hour := func(n int) time.Time { return begin.Add(time.Duration(n) * time.Hour) }
	timed := f.answered(erasurelog.Hold, planOf(1), "p1")
	timed.Until = hour(2)
	f.append(timed)
	f.append(f.answered(erasurelog.Hold, planOf(2), "p2"))
	s := f.read()
	require.False(t, s.HoldEnded(begin, hour(1)))
	require.True(t, s.HoldEnded(hour(1), hour(2)))
	require.False(t, s.HoldEnded(hour(2), hour(3)))
	f.now = hour(4)
	f.append(f.answered(erasurelog.Lift, planOf(1), "p1")) // too late to count
	require.False(t, f.read().HoldEnded(hour(2), hour(5)))
	f.now = hour(6)
	f.append(f.answered(erasurelog.Lift, planOf(2), "p2"))
	require.True(t, f.read().HoldEnded(hour(5), hour(6)))
	require.False(t, f.read().HoldEnded(hour(5), hour(5)))
	require.False(t, f.read().HoldEnded(hour(6), hour(7)))
	require.False(t, s.HoldEnded(hour(5), hour(6)), "a State stays as it was")
}

// A plan that was cancelled never begins, and what has begun is not cancelled.
func TestACancelledPlanNeverBegins(t *testing.T) {
	f := newFixture(t)
	f.append(f.entry(erasurelog.Cancel, planOf(1), "p1"))
	require.ErrorIs(t, f.try(f.entry(erasurelog.Intent, planOf(1), "p1")), erasurelog.ErrEnded)
	require.ErrorIs(t, f.try(f.entry(erasurelog.Cancel, planOf(1), "p1")), erasurelog.ErrTwice)
	f.append(f.entry(erasurelog.Intent, planOf(2), "p1"))
	require.ErrorIs(t, f.try(f.entry(erasurelog.Cancel, planOf(2), "p1")), erasurelog.ErrTwice)
	require.Equal(t, erasurelog.Cancelled, f.read().Status(planOf(1)))
	require.Equal(t, erasurelog.Begun, f.read().Status(planOf(2)))
}
