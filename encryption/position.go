package encryption

import (
	"context"
	"fmt"
	"time"

	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/internal/canon"
)

// Position writes a mark into the history of the key store and returns it as
// canonical JSON {"epoch","mark","sequence","store"}: what a data snapshot
// names, and what a key copy must cover. Take it after the snapshot has read
// its last row: every key that was committed before the call stands in front of
// the mark, and a copy that holds the mark holds those keys.
//
// The newest 20,000 positions are kept, two years of one an hour; who only
// wants to know how far the store is, as for an anchor outside, takes Head.
func (v *Vault) Position(ctx context.Context) ([]byte, error) {
	state, err := v.mark(ctx)
	if err != nil {
		return nil, err
	}
	if state.Sequence%keptMarks == 0 { // for those who take positions and never a copy
		if err := v.prune(ctx); err != nil {
			return nil, err
		}
	}
	return marshalPosition(state)
}

// Head returns where the key store is, in the form of Position, and writes
// nothing: the mark is that of the last change other than the creation of keys.
// What was created since stands behind it, so a data snapshot needs Position.
func (v *Vault) Head(ctx context.Context) ([]byte, error) {
	state, err := v.cfg.Keys.State(ctx)
	if err != nil {
		return nil, storeError(err)
	}
	return marshalPosition(state)
}

// mark makes an Update whose mark is kept as one that positions name. It runs
// alone, so every creation is wholly in front of it or wholly behind it.
func (v *Vault) mark(ctx context.Context) (keystore.State, error) {
	return v.update(ctx, func(tx keystore.Tx) error {
		state, err := tx.State(ctx)
		if err != nil {
			return err
		}
		return tx.Write(ctx, keystore.Change{Put: keystore.Rows{Marks: []keystore.MarkRow{{
			Sequence: state.Sequence, Mark: state.Mark, Created: v.cfg.Now().UTC().Truncate(time.Microsecond), Position: true, Narrows: keystore.NarrowsNothing,
		}}}})
	})
}

type position struct {
	Epoch    int64  `json:"epoch"`
	Mark     string `json:"mark"`
	Sequence int64  `json:"sequence"`
	Store    string `json:"store"`
}

func marshalPosition(state keystore.State) ([]byte, error) {
	data, err := canon.Marshal(position{Epoch: state.Epoch, Mark: state.Mark, Sequence: state.Sequence, Store: state.Store})
	if err != nil {
		return nil, fmt.Errorf("encryption: position: %w", err)
	}
	return data, nil
}

func parsePosition(data []byte) (position, error) {
	var p position
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
