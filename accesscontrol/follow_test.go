package accesscontrol

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// clerks is a source whose person may lose the role, go away or be another.
type clerks struct {
	version atomic.Uint64 // raised when something changed
	mu      sync.Mutex
	who     Principal
	err     error
	reads   int
}

func (c *clerks) set(who Principal, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.who, c.err = who, err
	c.version.Add(1)
}

func (c *clerks) read(context.Context) (Principal, func(time.Time) bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reads++
	seen := c.version.Load()
	return c.who, func(time.Time) bool { return c.version.Load() == seen }, c.err
}

func clerk(roles ...string) Principal {
	p := Principal{Tenant: "main", ID: "ann"}
	for _, role := range roles {
		p.Parents = append(p.Parents, Ref{"Role", role})
	}
	return p
}

// An Actor that follows is as its source says at each call, whichever call it is,
// and reads nothing while nothing has changed.
func TestAnActorFollowsItsSource(t *testing.T) {
	p, source := memoPolicy(t), &clerks{who: clerk("clerk")}
	ann, err := p.Follow(t.Context(), source.read)
	require.NoError(t, err)
	for range 3 {
		require.NoError(t, ann.Check(t.Context(), "read", note("x")))
	}
	require.Equal(t, 1, source.reads)
	source.set(clerk(), nil)
	require.ErrorIs(t, ann.Check(t.Context(), "read", note("x")), ErrDenied)
	for _, roles := range [][]string{{"clerk"}, nil, {"clerk"}, nil} {
		source.set(clerk(roles...), nil)
		d, err := ann.Decide(t.Context(), "read", note("x"))
		require.NoError(t, err)
		require.Equal(t, roles != nil, d.Allowed)
	}

	// A source that cannot be read answers for nobody, and is asked again.
	away := errors.New("the store is away")
	source.set(clerk("clerk"), away)
	for range 2 {
		require.ErrorIs(t, ann.Check(t.Context(), "read", note("x")), away)
	}
	source.set(clerk("clerk"), nil)
	require.NoError(t, ann.Check(t.Context(), "read", note("x")))

	// Nor does one that answers for somebody else.
	for _, other := range []Principal{{Tenant: "main", ID: "bob"}, {Tenant: "other", ID: "ann"}, {Tenant: "main", ID: "ann", Type: "Role"}} {
		other.Parents = clerk("clerk").Parents
		source.set(other, nil)
		require.ErrorIs(t, ann.Check(t.Context(), "read", note("x")), ErrRequest)
	}
	source.set(clerk("clerk"), nil)
	require.NoError(t, ann.Check(t.Context(), "read", note("x")))

	_, err = p.Follow(t.Context(), nil)
	require.ErrorIs(t, err, ErrRequest)
	source.set(clerk(), away)
	_, err = p.Follow(t.Context(), source.read)
	require.ErrorIs(t, err, away)
}

// A source that cannot say whether something has changed is read again after
// Hold; so is any other one then.
func TestAnActorThatFollowsIsNeverStale(t *testing.T) {
	p, reads := memoPolicy(t), 0
	source := func(context.Context) (Principal, func(time.Time) bool, error) {
		reads++
		return clerk("clerk"), nil, nil
	}
	ann, err := p.Follow(t.Context(), source)
	require.NoError(t, err)
	for n := 1; n <= 3; n++ {
		require.NoError(t, ann.Check(t.Context(), "read", note("x")))
		require.NoError(t, ann.Check(t.Context(), "read", note("x")))
		require.Equal(t, n, reads)
		held := ann.follows.last.Load().actor
		held.age.steady = held.age.steady.Add(-DefaultHold - time.Second)
	}
}

// Calls at once, while the rights change: none that begins after a change
// answers as before it.
func TestCallsThatFollowAtOnce(t *testing.T) {
	p, source := memoPolicy(t), &clerks{who: clerk("clerk")}
	ann, err := p.Follow(t.Context(), source.read)
	require.NoError(t, err)
	for round := range 50 {
		roles := []string{"clerk"}[:round%2]
		source.set(clerk(roles...), nil)
		var all sync.WaitGroup
		var wrong atomic.Int64
		for range 4 {
			all.Go(func() {
				if (ann.Check(t.Context(), "read", note("x")) == nil) != (len(roles) == 1) {
					wrong.Add(1)
				}
			})
		}
		all.Wait()
		require.Zero(t, wrong.Load(), round)
	}
}
