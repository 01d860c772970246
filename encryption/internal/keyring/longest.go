package keyring

import (
	"context"
	"fmt"
	"time"

	"github.com/crmguard/crmguard/encryption/keystore"
)

// LongestTransaction is how long whoever waits for the transactions of others waits,
// beside the lease: the longest one that any process was opened with. Read the key
// store before, for one may have been opened since.
func (v *Ring) LongestTransaction() time.Duration { return v.LongestOf(v.Known()) }

// LongestOf is LongestTransaction by a state that was read just now.
func (v *Ring) LongestOf(state keystore.State) time.Duration {
	return max(whole(v.cfg.LongestTransaction), state.LongestTransaction)
}

// whole rounds up to what a state row can hold.
func whole(d time.Duration) time.Duration {
	return (d + time.Microsecond - 1).Truncate(time.Microsecond)
}

// StateLongest sees to it that the key store knows of a longest transaction as long as
// this process's own: before it seals anything.
func (v *Ring) StateLongest(ctx context.Context) error {
	own := whole(v.cfg.LongestTransaction)
	if v.Known().LongestTransaction >= own {
		return nil
	}
	_, err := v.Update(ctx, func(tx keystore.Tx) error {
		state, err := tx.State(ctx)
		if err != nil || state.LongestTransaction >= own {
			return err
		}
		state.LongestTransaction = own
		return writeState(ctx, tx, state)
	})
	return err
}

// ChangeLongestTransaction does what Vault.ChangeLongestTransaction promises.
func (v *Ring) ChangeLongestTransaction(ctx context.Context, longest time.Duration) error {
	if longest < v.cfg.LongestTransaction {
		return fmt.Errorf("%w: a longest transaction of %v: this process was opened with %v (Config.LongestTransaction)", ErrDefinition, longest, v.cfg.LongestTransaction)
	}
	_, err := v.Update(ctx, func(tx keystore.Tx) error {
		state, err := tx.State(ctx)
		if err != nil || state.LongestTransaction == whole(longest) {
			return err
		}
		state.LongestTransaction = whole(longest)
		return writeState(ctx, tx, state)
	})
	return err
}
