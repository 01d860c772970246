package accesscontrol

import (
	"context"
	"sync/atomic"
	"time"
)

// Source reads who acts, and hands back what says whether that still holds.
// Fresh is asked at each call of an [Actor], from many goroutines, with the time
// of the call: it asks memory, and no database. A nil one holds for
// [Config.Hold].
type Source func(ctx context.Context) (p Principal, fresh func(now time.Time) bool, err error)

// Follow binds whom read answers, as [Policy.For] does, and reads them anew at
// the first call at which they are no longer fresh, or older than [Config.Hold]:
// such an Actor may be held for as long as one likes, and is never [ErrStale].
// What read answers is as old as the question to it. An error of read is the
// answer of the call, then: nobody goes on with rights that cannot be read. A
// source that answers for somebody else than at first is a [*RequestError].
//
// A store of package roles makes such an Actor with its method For.
func (p *Policy) Follow(ctx context.Context, read Source) (*Actor, error) {
	if read == nil {
		return nil, &RequestError{Part: "principal", Text: "nothing says who acts: hand in a func that does"}
	}
	f := &follower{policy: p, read: read}
	if _, err := f.renew(ctx); err != nil {
		return nil, err
	}
	return &Actor{policy: p, follows: f}, nil
}

// follower is what an Actor of [Policy.Follow] works by.
type follower struct {
	policy *Policy
	read   Source
	last   atomic.Pointer[reading]
}

// reading is one answer of a source. Its actor follows nothing.
type reading struct {
	actor *Actor
	fresh func(now time.Time) bool
}

// enter goes on with what was read last, or reads. Several calls may read at
// once: each goes on with what it has read itself, which is as new as the call.
func (f *follower) enter(ctx context.Context, now time.Time) (*standing, error) {
	last := f.last.Load()
	if last.fresh == nil || last.fresh(now) {
		if state, err := last.actor.held(); err == nil {
			return state, nil
		}
	}
	last, err := f.renew(ctx)
	if err != nil {
		return nil, err
	}
	return last.actor.standing()
}

func (f *follower) renew(ctx context.Context) (*reading, error) {
	actor := &Actor{policy: f.policy}
	actor.age.begin() // what is answered late is as old as the question
	principal, fresh, err := f.read(ctx)
	if err != nil {
		return nil, err
	}
	if err := actor.bind(principal); err != nil {
		return nil, err
	}
	if before := f.last.Load(); before != nil && !same(&before.actor.given, &principal) {
		return nil, &RequestError{Part: "principal", Text: "the source answers for somebody else than before: take an Actor for each person"}
	}
	now := &reading{actor, fresh}
	f.last.Store(now)
	return now, nil
}

func same(a, b *Principal) bool { return a.Tenant == b.Tenant && a.Type == b.Type && a.ID == b.ID }
