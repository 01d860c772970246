package keyring

import (
	"context"
	"fmt"
	"time"

	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/internal/canon"
)

// Position does what Vault.Position promises.
func (v *Ring) Position(ctx context.Context) ([]byte, error) {
	state, err := v.Mark(ctx)
	if err != nil {
		return nil, err
	}
	if state.Sequence%keptMarks == 0 { // for those who take positions and never a copy
		if err := v.Prune(ctx); err != nil {
			return nil, err
		}
	}
	return MarshalPosition(state)
}

// Head does what Vault.Head promises.
func (v *Ring) Head(ctx context.Context) ([]byte, error) {
	state, err := v.cfg.Keys.State(ctx)
	if err != nil {
		return nil, StoreError(err)
	}
	return MarshalPosition(state)
}

// Mark makes an Update whose mark is kept as one that positions name. It runs
// alone, so every creation is wholly in front of it or wholly behind it.
func (v *Ring) Mark(ctx context.Context) (keystore.State, error) {
	return v.Update(ctx, func(tx keystore.Tx) error {
		state, err := tx.State(ctx)
		if err != nil {
			return err
		}
		return tx.Write(ctx, keystore.Change{Put: keystore.Rows{Marks: []keystore.MarkRow{{
			Sequence: state.Sequence, Mark: state.Mark, Created: v.cfg.Now().UTC().Truncate(time.Microsecond), Position: true, Narrows: keystore.NarrowsNothing,
		}}}})
	})
}

// A PositionMark is a position as it is written.
type PositionMark struct {
	Epoch    int64  `json:"epoch"`
	Mark     string `json:"mark"`
	Sequence int64  `json:"sequence"`
	Store    string `json:"store"`
}

// MarshalPosition writes a position of the key store.
func MarshalPosition(state keystore.State) ([]byte, error) {
	data, err := canon.Marshal(PositionMark{Epoch: state.Epoch, Mark: state.Mark, Sequence: state.Sequence, Store: state.Store})
	if err != nil {
		return nil, fmt.Errorf("encryption: position: %w", err)
	}
	return data, nil
}

// ParsePosition reads one.
func ParsePosition(data []byte) (PositionMark, error) {
	var p PositionMark
	if err := canon.Unmarshal(data, &p); err != nil {
		return p, fmt.Errorf("%w: the position is not readable: %w", ErrNotCovered, err)
	}
	if p.Store == "" || p.Sequence < 1 {
		return p, fmt.Errorf("%w: the position names no key store", ErrNotCovered)
	}
	if !keystore.IsMark(p.Mark) {
		return p, fmt.Errorf("%w: the position has no mark", ErrNotCovered)
	}
	return p, nil
}
