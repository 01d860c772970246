package audit

import (
	"context"
	"errors"
	"time"

	"github.com/crmguard/crmguard/audit/internal/hanging"
)

// errTags says that the key of the tags does not work at the moment.
var errTags = errors.New("audit: tag")

// longest is how long a store may take.
const longest = 10 * time.Second

// waitEach is how long each store is waited for.
func waitEach(ctx context.Context) time.Duration {
	if until, ok := ctx.Deadline(); ok {
		return min(longest, time.Until(until)/4)
	}
	return longest
}

// questions are those that Status asks beside the database.
type questions struct{ kept, look, compared hanging.Left }

// lookWithin is look, for somebody who does not wait for ever.
func (t *Trail) lookWithin(ctx context.Context, limit time.Duration) (view, error) {
	return hanging.Ask(ctx, &t.asked.look, limit, func(ctx context.Context) (view, error) { return t.look(ctx, false) })
}
