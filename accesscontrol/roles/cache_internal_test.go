package roles

import (
	"math"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/internal/health"
)

// What was read answers for as long as it may be old, or until something begins
// or ends, and not a moment longer.
func TestWhatWasReadGrowsOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cache{age: 5 * time.Second}
		ann, bob := person{"main", "ann"}, person{"main", "bob"}
		c.keep(ann, c.begin("main"), time.Hour, accesscontrol.Principal{ID: "ann"})
		c.keep(bob, c.begin("main"), time.Second, accesscontrol.Principal{ID: "bob"})
		fresh := func(who person) bool {
			k := c.find(who)
			require.True(t, k == nil || k.principal.ID == who.id)
			return k != nil
		}
		require.True(t, fresh(ann) && fresh(bob))
		time.Sleep(time.Second - 1)
		require.True(t, fresh(ann) && fresh(bob))
		time.Sleep(time.Nanosecond)
		require.True(t, fresh(ann))
		require.False(t, fresh(bob), "its role ended")
		time.Sleep(4*time.Second - 1)
		require.True(t, fresh(ann))
		time.Sleep(time.Nanosecond)
		require.False(t, fresh(ann))
	})
}

// A clock that was set, either way, lets the store ask again.
func TestAClockThatWasSetKeepsNothing(t *testing.T) {
	for wall, fresh := range map[time.Duration]bool{0: true, -time.Hour: false, time.Hour: false} {
		now := time.Now()
		k := kept{began: now, lasts: time.Minute, changes: new(atomic.Uint64)}
		if wall != 0 {
			k.began = now.Round(0).Add(wall) // without the steady clock, the other one is compared twice
		}
		require.Equal(t, fresh, k.fresh(time.Now()), wall)
	}
}

// What was being read when something changed is not kept: it may be from before.
func TestWhatWasReadBeforeAChangeIsNotKept(t *testing.T) {
	c := &cache{age: time.Hour}
	who := person{"main", "ann"}
	reading := c.begin("main")
	c.forget("main")
	c.keep(who, reading, time.Hour, accesscontrol.Principal{})
	require.Nil(t, c.find(who))
	reading = c.begin("main")
	c.keep(who, reading, time.Hour, accesscontrol.Principal{})
	require.NotSame(t, c.of("main"), c.of("other"))
	c.forget("other")
	require.NotNil(t, c.find(who), "another tenant changed")
	c.forget("main")
	require.Nil(t, c.find(who))
	require.False(t, reading.fresh(time.Now()), "whoever holds it is told, too")
	reading = c.begin("main")
	c.keep(who, reading, time.Hour, accesscontrol.Principal{})
	c.forgetAll()
	require.Nil(t, c.find(who))
}

func TestTheMemoryIsBounded(t *testing.T) {
	c := &cache{age: time.Hour}
	count := func() (people, entities int) {
		for _, m := range []map[person]*kept{c.young, c.old} {
			people += len(m)
			for _, k := range m {
				entities += len(k.principal.Entities)
			}
		}
		return people, entities
	}
	for i := range cacheSize {
		c.keep(person{"main", strconv.Itoa(i)}, c.begin("main"), time.Hour, accesscontrol.Principal{})
	}
	people, _ := count()
	require.LessOrEqual(t, people, 2*cacheSize/8)
	require.Greater(t, people, cacheSize/8)
	below := make([]accesscontrol.Entity, 5000)
	for i := range 100 {
		c.keep(person{"main", strconv.Itoa(i)}, c.begin("main"), time.Hour, accesscontrol.Principal{Entities: below})
	}
	_, entities := count()
	require.LessOrEqual(t, entities, 2*cacheSize)
	require.NotNil(t, c.find(person{"main", "99"}))

	// Scopes and the managers of those below are kept as well.
	units := make([]accesscontrol.Ref, 5000)
	for i, p := range []accesscontrol.Principal{
		{Attrs: map[string]any{"rep.unit": units}},
		{Entities: []accesscontrol.Entity{{Parents: units}}},
	} {
		for n := range 100 {
			c.keep(person{strconv.Itoa(i), strconv.Itoa(n)}, c.begin("main"), time.Hour, p)
		}
		people, _ := count()
		require.LessOrEqual(t, people, 2*cacheSize/len(units))
	}
}

// Of two reports at once, the one that has counted first may end last: that is no
// older state. Fewer changes than had been seen before are one, and stay so.
func TestReportsAtOnceAreNoOlderState(t *testing.T) {
	var p past
	first, second := p.seen(), p.seen()
	require.Equal(t, health.OK, p.finding(second, 11, time.Time{}).Level)
	require.Equal(t, health.OK, p.finding(first, 10, time.Time{}).Level)
	require.Equal(t, health.OK, p.finding(p.seen(), 11, time.Time{}).Level)
	require.Equal(t, health.Alarm, p.finding(p.seen(), 10, time.Time{}).Level)
	require.Equal(t, health.Alarm, p.finding(p.seen(), 12, time.Time{}).Level)
}

// What is handed out is the caller's: whatever they do to it, nobody else is.
func TestWhatIsHandedOutIsTheCallers(t *testing.T) {
	ref := accesscontrol.Ref{Type: "Unit", ID: "south"}
	kept := func() accesscontrol.Principal {
		return accesscontrol.Principal{
			Attrs: map[string]any{"rep.unit": []accesscontrol.Ref{ref}}, Parents: []accesscontrol.Ref{ref},
			Entities: []accesscontrol.Entity{{Type: "Unit", ID: "lake", Parents: []accesscontrol.Ref{ref}}},
		}
	}
	p := kept()
	mine, north := own(p), accesscontrol.Ref{Type: "Unit", ID: "north"}
	refs, _ := mine.Attrs["rep.unit"].([]accesscontrol.Ref)
	refs[0], mine.Parents[0], mine.Entities[0].Parents[0], mine.Entities[0].ID = north, north, north, "x"
	mine.Attrs["region"] = "eu"
	require.Equal(t, kept(), p)
}

// A clock that is off is found, whichever it is, and so is one that was set back.
func TestClocksThatAreApart(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		server, changed time.Duration
		level           health.Level
		value           float64
	}{
		{0, -time.Hour, health.OK, 0},
		{4 * time.Minute, 0, health.OK, 240},
		{time.Hour, 0, health.Alarm, 3600},
		{-time.Hour, -2 * time.Hour, health.Alarm, 3600},
		{0, time.Hour, health.Alarm, 3600},
		{-10 * 365 * 24 * time.Hour, -20 * 365 * 24 * time.Hour, health.Alarm, 10 * 365 * 24 * 3600},
	} {
		f := apart(now, now, now.Add(c.server).UnixMicro(), now.Add(c.changed).UnixMicro())
		require.Equal(t, c.level, f.Level)
		require.InDelta(t, c.value, f.Value, 0.001)
	}
	f := apart(now, now.Add(time.Hour), now.Add(time.Minute).UnixMicro(), math.MaxInt64)
	require.Equal(t, health.Alarm, f.Level, "whatever somebody has written there")
	require.Equal(t, health.OK, apart(now, now.Add(time.Hour), now.Add(time.Minute).UnixMicro(), 0).Level, "what the question took counts for neither")
}
