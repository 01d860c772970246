package encryption

import (
	"context"
	"time"
)

// ChangeLease changes the lease of the key store, for every process that shares
// it: from a millisecond to an hour. None has to be started anew.
//
// A longer lease holds at once. A shorter one is trusted at once, too, but
// erasures go on waiting for the old one, and so does this call, until no process
// can trust what it was granted under it. Interrupted, it may be called again, by
// any process; until then erasures wait longer than they had to, and Status says
// so. Another lease may be named instead at any time.
func (v *Vault) ChangeLease(ctx context.Context, lease time.Duration) error {
	return v.ring.ChangeLease(ctx, lease)
}
