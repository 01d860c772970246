package erasurelog_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// Nothing is written while the clock is more than a minute behind the last entry,
// and what is finer than entries are does not count.
func TestAClockThatIsBehind(t *testing.T) {
	f := newFixture(t)
	f.now = f.now.Add(999)
	f.erase("ann")
	f.now = f.now.Add(-998)
	f.append(f.entry(erasurelog.Intent, newID(), "bob"))
	last := f.now
	f.now = last.Add(-time.Minute)
	s := f.append(f.entry(erasurelog.Intent, newID(), "dora"))
	e, _ := s.Last()
	require.Equal(t, last.Truncate(time.Microsecond), e.At, "clocks of hosts differ: times go forward all the same")
	f.now = last.Add(-time.Minute - time.Microsecond)
	err := f.try(f.entry(erasurelog.Intent, newID(), "carl"))
	require.ErrorIs(t, err, erasurelog.ErrClock)
	require.ErrorContains(t, err, "set the clock right")
	require.Len(t, f.lines(), 4)
	require.Equal(t, int64(4), f.read().Head().N, "reading goes on")
	f.now = f.now.Add(time.Microsecond)
	f.append(f.entry(erasurelog.Intent, newID(), "carl"))
}

// A clock that was years ahead locks the ledger for those years. Two principals
// answer for the way out, which the ledger records; the entries from the future
// count as of then.
func TestAClockThatWasAhead(t *testing.T) {
	f := newFixture(t)
	f.erase("ann")
	real := f.now
	f.now = real.AddDate(20, 0, 0)
	future := f.erase("bob")
	before := f.read()
	f.now = real.Add(time.Minute)
	require.ErrorIs(t, f.try(f.entry(erasurelog.Intent, newID(), "carl")), erasurelog.ErrClock)

	reset := erasurelog.Entry{Op: erasurelog.Clock, Plan: newID(), By: f.principal("user/1"), Approved: f.principal("user/1")}
	require.ErrorIs(t, f.try(reset), erasurelog.ErrEntry, "approved by oneself")
	reset.Approved = f.principal("user/2")
	now := f.now
	f.now = real.AddDate(20, 0, 0).Add(-time.Minute)
	require.ErrorIs(t, f.try(reset), erasurelog.ErrEntry, "a minute is in nobody's way")
	f.now = now
	s := f.append(reset)
	require.Equal(t, now, s.Person(f.keys("bob")...).Erased(), "what is created from now on is not older than the erasure")
	require.Equal(t, real, s.Person(f.keys("ann")...).Erased())
	require.Equal(t, 2, s.IntentsSince(real))
	require.Equal(t, 1, s.IntentsSince(now))
	require.Equal(t, 0, s.IntentsSince(now.Add(time.Microsecond)))
	require.Equal(t, real.AddDate(20, 0, 0), before.Person(f.keys("bob")...).Erased(), "a State stays as it was")
	require.Equal(t, erasurelog.Finished, s.Status(future))
	f.append(f.entry(erasurelog.Intent, newID(), "carl"))
	require.ErrorIs(t, f.try(reset), erasurelog.ErrTwice)
	f.open()
	again := f.read()
	require.Equal(t, now, again.Person(f.keys("bob")...).Erased())
	require.Equal(t, 3, again.IntentsSince(real))
	require.Empty(t, again.Faults())
	require.Contains(t, f.lines()[4], `"scope":"ledger"`)

	// One that nobody approved has no effect.
	f.force(erasurelog.Entry{Op: erasurelog.Clock, Plan: newID(), By: f.principal("user/1"), At: real.AddDate(-1, 0, 0)})
	s = f.read()
	require.Len(t, s.Faults(), 1)
	require.Equal(t, now, s.Person(f.keys("bob")...).Erased())
	require.Equal(t, 3, s.IntentsSince(real))
	f.now = now.Add(-time.Minute - time.Microsecond)
	require.ErrorIs(t, f.try(f.entry(erasurelog.Intent, newID(), "dora")), erasurelog.ErrClock)
}
