package roles

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/accesscontrol"
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
	for i := range 3 * cacheSize {
		c.keep(person{"main", string(rune(i + 1))}, c.begin("main"), time.Hour, accesscontrol.Principal{})
	}
	require.LessOrEqual(t, len(c.young)+len(c.old), 2*cacheSize)
}
