package accesscontrol

import (
	"sync/atomic"
	"time"
)

// age says how long ago something began, by both clocks: the steady one stands
// still while a machine sleeps, the other one may be set back. It is safe for
// concurrent use once it has begun.
type age struct {
	steady time.Time
	wall   time.Time // the same moment, by the other clock
	// seen is how old it was by the steady clock when the other one was last
	// looked at, in nanoseconds.
	seen atomic.Int64
}

// clockStep is how far a clock may be set back before an Actor is stale: a
// correction is, an older machine is not.
const clockStep = time.Second

// wallEvery is how long a look at the wall clock lasts by the steady one. It
// costs as much as all the rest of an age.
const wallEvery = 10 * time.Millisecond

func (a *age) begin() {
	a.steady = time.Now()
	a.wall = a.steady.Round(0)
}

// within says whether no clock has gone on by more than hold. After a sleep of
// the machine it may say so for wallEvery of its running time.
func (a *age) within(hold time.Duration) bool {
	old := time.Since(a.steady)
	if old > hold {
		return false
	}
	if since := old - time.Duration(a.seen.Load()); since >= 0 && since < wallEvery {
		return true
	}
	if wall := time.Now().Round(0).Sub(a.wall); wall > hold || wall < -clockStep {
		return false
	}
	a.seen.Store(int64(old))
	return true
}
