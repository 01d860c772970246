package accesscontrol

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAnAgeGoesByBothClocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		within := func(move func(a *age)) bool {
			var a age
			a.begin()
			require.True(t, a.within(time.Minute))
			move(&a)
			time.Sleep(wallEvery)
			return a.within(time.Minute)
		}
		for name, move := range map[string]func(a *age){
			"the steady clock alone went on": func(a *age) { a.steady = a.steady.Add(-time.Hour) },
			"the machine slept":              func(a *age) { a.wall = a.wall.Add(-time.Hour) },
			"the clock was set back":         func(a *age) { a.wall = a.wall.Add(clockStep + 2*wallEvery) },
			"both went on":                   func(a *age) { time.Sleep(time.Minute) },
		} {
			require.False(t, within(move), name)
		}
		require.True(t, within(func(a *age) { time.Sleep(time.Minute - wallEvery) }), "to the end of the minute")
		require.True(t, within(func(a *age) { a.wall = a.wall.Add(clockStep) }), "a correction")
	})
}

// However often it is asked, the wall clock is looked at every ten
// milliseconds.
func TestAnAgeThatIsAskedAllTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a age
		a.begin()
		for range 10 * wallEvery / time.Millisecond {
			require.True(t, a.within(time.Minute))
			time.Sleep(time.Millisecond)
		}
		a.wall = a.wall.Add(-time.Hour)
		asked := 0
		for ; a.within(time.Minute); asked++ {
			time.Sleep(time.Millisecond)
		}
		require.LessOrEqual(t, asked, int(wallEvery/time.Millisecond))
		require.False(t, a.within(time.Minute), "and it stays so")
	})
}
