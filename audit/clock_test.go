package audit_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
)

const year = 365 * 24 * time.Hour

// otherClock is another process over the same tables, whose clock is off by d.
func (b *bench) otherClock(d time.Duration) *bench {
	b.t.Helper()
	other := b.impatient(b.sink)
	other.advance(d)
	return other
}

func (b *bench) requireClock(seconds float64, word string) {
	b.t.Helper()
	f := b.found("audit.clock", "")
	require.InDelta(b.t, seconds, f.Value, 1)
	require.Contains(b.t, f.Remedy, word)
	level := audit.HealthOK
	if word != "" {
		level = audit.HealthAlarm
	}
	require.Equal(b.t, level, f.Level)
}

// A clock that is an hour or ten years off, of whoever records, files or signs, or
// of who asks, is found by what each has left.
func TestClocksThatAreApartAreFound(t *testing.T) {
	for _, off := range []time.Duration{time.Hour, 10 * year} {
		b := newBench(t)
		b.fill(2)
		b.run()
		b.requireClock(0, "")

		// Who records is ahead: while the event waits, and when it has its place.
		writer := b.otherClock(off)
		writer.record(update("p1", 1))
		b.requireClock(off.Seconds(), "waits")
		b.run()
		b.requireClock(off.Seconds(), "recorded by a process")
		b.fill(16)
		b.run()
		b.requireClock(0, "")

		// Who files and signs is ahead, and after that another one files.
		sequencer := b.otherClock(off)
		b.fill(1)
		sequencer.run()
		b.requireClock(off.Seconds(), "ahead of this one's")
		b.fill(1)
		b.run()
		b.requireClock(off.Seconds(), "were filed by")
		b.fill(20)
		b.run()
		b.requireClock(0, "")

		// Who asks is behind.
		b.otherClock(-off).requireClock(off.Seconds(), "ahead of this one's")
	}
}

// Some minutes are no alarm, and neither is a log that was idle for years.
func TestClocksThatAreNearlyTogetherAreWell(t *testing.T) {
	b := newBench(t)
	b.fill(2)
	b.otherClock(4 * time.Minute).run()
	b.requireClock(240, "")
	b.advance(10 * year)
	b.requireClock(0, "")
}

// The newest entries were filed by two processes, and the one behind by the clock that is
// right: also when its time has come since.
func TestClocksOfProcessesThatAreApartAreFound(t *testing.T) {
	b := newBench(t)
	b.fill(1)
	b.otherClock(time.Hour).run()
	b.fill(1)
	b.run()
	b.advance(2 * time.Hour)
	b.requireClock(3600, "apart")
}
