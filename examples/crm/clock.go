package main

import (
	"context"
	"sync"
	"time"
)

// clock is the time of all six packages in this tour. It runs with the real
// one, ahead by what was skipped: a lease of seconds, the days before an
// erasure may begin. Nothing else differs from the time a server uses.
type clock struct {
	began time.Time
	mu    sync.Mutex
	ahead time.Duration
}

// now is the Now of every Config.
func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

// skip moves the clock forward.
func (c *clock) skip(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += max(d, 0)
}

// wait is for packages that wait: it skips instead.
func (c *clock) wait(ctx context.Context, d time.Duration) error {
	c.skip(d)
	return ctx.Err()
}
