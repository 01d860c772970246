package keyring

import (
	"context"
	"fmt"
	"time"

	"github.com/crmguard/crmguard/encryption/keystore"
)

// ChangeLease does what Vault.ChangeLease promises.
func (v *Ring) ChangeLease(ctx context.Context, lease time.Duration) error {
	if err := CheckLease(lease); err != nil {
		return err
	}
	var begun keystore.State
	_, err := v.Update(ctx, func(tx keystore.Tx) error {
		state, err := tx.State(ctx)
		if err != nil {
			return err
		}
		if begun = state; CheckLeaseOf(state) != nil {
			begun.Lease, begun.LeaseWait = 0, maxLease // it can have been anything
		}
		if lease == begun.Lease {
			return nil // it is so, or somebody did not come to the end
		}
		begun.Lease, begun.LeaseWait, begun.LeaseSince = lease, max(lease, begun.LeaseWait), state.Sequence
		return writeState(ctx, tx, begun)
	})
	if err != nil || begun.Lease == begun.LeaseWait {
		return err
	}
	// From here on nobody is granted more than the new lease. Whoever was granted
	// more was so before, and is not any more once the wait is over.
	if err := v.cfg.Wait(ctx, begun.LeaseWait); err != nil {
		return fmt.Errorf("encryption: change lease: until it is called again, erasures wait for the old lease of %v: %w", begun.LeaseWait, err)
	}
	_, err = v.Update(ctx, func(tx keystore.Tx) error {
		state, err := tx.State(ctx)
		if err != nil || state.LeaseSince != begun.LeaseSince {
			return err // another one came after: it is that one's to end
		}
		state.LeaseWait = state.Lease
		return writeState(ctx, tx, state)
	})
	return err
}

// writeState replaces the state row and leaves the sequence to the Update.
func writeState(ctx context.Context, tx keystore.Tx, state keystore.State) error {
	state.Sequence = 0
	return tx.Write(ctx, keystore.Change{Store: &state})
}
