package keyring

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/crmguard/crmguard/encryption/keystore"
)

// What a lease may be. A shorter one is over before a store has answered, a
// longer one keeps every erasure waiting that long.
const (
	minLease = time.Millisecond
	maxLease = time.Hour
)

// CheckLease refuses a lease that nobody can grant.
func CheckLease(d time.Duration) error {
	if d < minLease || d > maxLease || d%time.Microsecond != 0 {
		return fmt.Errorf("%w: a lease of %v: from %v to %v, in whole microseconds", ErrDefinition, d, minLease, maxLease)
	}
	return nil
}

// CheckLeaseOf refuses a state row on which no lease can be granted: whoever
// trusts it could outlast an erasure.
func CheckLeaseOf(s keystore.State) error {
	if CheckLease(s.Lease) != nil || CheckLease(s.LeaseWait) != nil || s.Lease > s.LeaseWait {
		return fmt.Errorf("%w: its state row names no lease that can be granted (%v, waited for %v)", ErrStore, s.Lease, s.LeaseWait)
	}
	return nil
}

// Grant is the time for which a process may trust what it has compared with the
// key store. It keeps the lease that the store had when it was granted: a lease
// that became longer since lengthens none that was granted before.
type Grant struct {
	start, Until time.Time
	wall         time.Time // until, by the wall clock alone
}

func grantFrom(start time.Time, lease time.Duration) Grant {
	until := start.Add(lease)
	return Grant{start, until, until.Round(0)}
}

// Over reports whether the time has passed by any clock there is. The monotonic
// one stands still while a machine sleeps, the wall clock may be set; a moment
// before the beginning comes of a clock that went back, and says nothing.
func (g Grant) Over(now time.Time) bool { return g.Ended(now) }

// Ended is Over without a copy of the grant: what is asked for each value.
func (g *Grant) Ended(now time.Time) bool {
	return !now.Before(g.Until) || now.Before(g.start) || !now.Before(g.wall)
}

// half is the part of a grant after which whoever takes something to keep
// compares again, so that what is handed out then lasts.
func (g Grant) half() Grant { return grantFrom(g.start, g.Until.Sub(g.start)/2) }

// Fresh makes sure that what is cached was compared with the key store within
// the lease, and returns the grant of that comparison. early compares once half
// of it has passed; a failing early comparison is forgiven while the lease runs.
func (v *Ring) Fresh(ctx context.Context, early bool) (Grant, error) {
	due := func() (Grant, bool) {
		g := v.granted()
		if early {
			return g, g.half().Over(v.cfg.Now())
		}
		return g, g.Over(v.cfg.Now())
	}
	if g, over := due(); !over {
		return g, nil
	}
	select {
	case v.check <- struct{}{}:
		defer func() { <-v.check }()
	case <-ctx.Done():
		return Grant{}, StoreError(ctx.Err())
	}
	g, over := due()
	if !over {
		return g, nil
	}
	before := v.Known()
	start := v.cfg.Now()
	state, err := v.Compare(ctx, before)
	if err == nil {
		err = CheckLeaseOf(state)
	}
	if errors.Is(err, ErrRewound) {
		v.Doubt()
		return Grant{}, err
	}
	if err != nil {
		if early && !g.Over(v.cfg.Now()) {
			return g, nil
		}
		return Grant{}, StoreError(err)
	}
	v.observed(ctx, state, start)
	return grantFrom(start, state.Lease), nil
}

func (v *Ring) granted() Grant {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.grant
}

// LeaseWait is how long it takes from now until nobody trusts any more what the
// key store said before: the lease of no process is longer.
func (v *Ring) LeaseWait() time.Duration {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.state.LeaseWait
}

// sighting remembers when a sequence was known to be committed, and how long
// leases then were at most.
type sighting struct {
	sequence int64
	at       time.Time
	wait     time.Duration
}

// past reports whether every lease has ended that was granted before the
// sighting. Here only time that has really passed counts: the monotonic clock
// where there is one.
func (s sighting) past(now time.Time) bool { return now.Sub(s.at) >= s.wait }

// sightLocked notes that a state is committed. Of the sightings that are past
// only the last one matters.
func (v *Ring) sightLocked(state keystore.State, now time.Time) {
	for len(v.seen) > 1 && v.seen[1].past(now) {
		v.seen = v.seen[1:]
	}
	v.seen = append(v.seen, sighting{state.Sequence, now, state.LeaseWait})
	if len(v.history) == sawMarks {
		v.history = slices.Delete(v.history, 1, 2) // the first one stays: it is the least that a store can have gone back
	}
	v.history = append(v.history, sawMark{state.Sequence, state.Mark})
}

// settled reports whether a change of this sequence is known to be older than
// every lease, so that no process acts on anything earlier.
func (v *Ring) settled(sequence int64) bool {
	v.mu.RLock()
	defer v.mu.RUnlock()
	now := v.cfg.Now()
	return slices.ContainsFunc(v.seen, func(s sighting) bool { return sequence <= s.sequence && s.past(now) })
}
