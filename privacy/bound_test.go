package privacy

import (
	"context"
	"time"
)

// BoundPasses sets what bounds the steps of a pass.
func (d *Desk) BoundPasses(bound func(ctx context.Context, most time.Duration) (context.Context, context.CancelFunc)) {
	d.bound = bound
}
