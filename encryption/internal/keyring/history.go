package keyring

import (
	"bytes"
	"context"
	"slices"

	"github.com/crmguard/crmguard/encryption/keystore"
)

// The history of a key store is one random mark for each Update, beside its
// sequence. Two stores that were one once, and of which one was put back and
// used on, have other marks under the same numbers. A process knows the pair that
// it saw last, a data snapshot that of its position, a key copy all of them.

// How many marks a key copy carries: those that positions and copies may name,
// two years of one an hour, and those that only processes know, which look every
// few seconds. Older ones go before a copy is written.
const (
	KeptPositions = 20_000
	keptMarks     = 1_000
)

// madeKey is the last key that this process created, as it was read back. A
// creation leaves no mark, so a store that lost the newest of them is noticed
// by what it no longer has.
type madeKey struct {
	row     keystore.KeyRow
	barrier int64 // while it stands there, nothing takes the row away or wraps it anew
}

// Compare reads the state row and tells whether it follows from the state
// before: ErrRewound says that it does not.
func (v *Ring) Compare(ctx context.Context, before keystore.State) (keystore.State, error) {
	start := v.cfg.Now()
	v.mu.RLock()
	made, recent := v.made, slices.Clone(v.recent.keys)
	v.mu.RUnlock()
	asked := recent
	if made != nil {
		asked = append(slices.Clone(recent), &recentKey{row: made.row})
	}
	rows, err := v.readAgain(ctx, asked)
	if err != nil {
		return keystore.State{}, err
	}
	state, err := v.cfg.Keys.State(ctx)
	if err != nil {
		return state, err
	}
	if made != nil && made.lost(rows[made.row.Tenant], state.Barrier) {
		return state, ErrRewound
	}
	for _, key := range recent {
		if key.lost(rows[key.row.Tenant], state.Barrier) {
			return state, ErrRewound
		}
	}
	v.mu.Lock()
	v.recent.found(recent, start)
	v.mu.Unlock()
	if before.Store != "" && state.Store == before.Store && state.Sequence > before.Sequence {
		return state, v.cfg.Keys.Snapshot(ctx, func(tx keystore.Tx) error { return Follows(ctx, tx, before) })
	}
	return state, continues(before, state, state.Mark)
}

// lost reports whether the key is gone although nothing took it away. rows were
// read before the barrier.
func (m *madeKey) lost(rows keystore.Rows, barrier int64) bool {
	if barrier != m.barrier { // it may be erased, or wrapped anew; its owner stays for ever
		return !slices.ContainsFunc(rows.Owners, func(o keystore.OwnerRow) bool { return o.Owner == m.row.Owner })
	}
	for _, row := range rows.Keys {
		if row.Owner == m.row.Owner && row.KeyVersion == m.row.KeyVersion {
			return !bytes.Equal(row.Wrapped, m.row.Wrapped) && WrapID(row.Wrapped) == WrapID(m.row.Wrapped)
		}
	}
	return true
}

// Recognise answers ErrRewound in a transaction of a store that is not the one
// that this process has seen, or an earlier state of it.
func (v *Ring) Recognise(ctx context.Context, tx keystore.Tx) error {
	before := v.Known()
	return Follows(ctx, tx, before)
}

// Follows looks for the state before in the history of the store.
func Follows(ctx context.Context, tx keystore.Tx, before keystore.State) error {
	state, err := tx.State(ctx)
	if err != nil || before.Store == "" {
		return err
	}
	mark := state.Mark
	if state.Store == before.Store && state.Sequence > before.Sequence {
		rows, err := tx.Page(ctx, keystore.Page{Kind: keystore.KindMark, After: []any{before.Sequence - 1}, Limit: 1})
		if err != nil {
			return err
		}
		mark = ""
		if len(rows.Marks) > 0 && rows.Marks[0].Sequence == before.Sequence {
			mark = rows.Marks[0].Mark
		} else if state.Sequence-before.Sequence >= keptMarks {
			return nil // too long ago: what was cached then is long past its lease
		}
	}
	return continues(before, state, mark)
}

// continues compares a state with the one before it; mark is what the store
// has under the sequence of the earlier one.
func continues(before, state keystore.State, mark string) error {
	if before.Store == "" {
		return nil
	}
	if state.Store != before.Store || state.Sequence < before.Sequence || mark != before.Mark {
		return ErrRewound
	}
	return nil
}

// Prune removes the marks that nothing is to find any more.
func (v *Ring) Prune(ctx context.Context) error {
	var positions, others []keystore.MarkRow
	err := v.cfg.Keys.Snapshot(ctx, func(tx keystore.Tx) error {
		return EachPage(ctx, tx, keystore.Page{Kind: keystore.KindMark, Limit: PageSize}, func(rows keystore.Rows) error {
			for _, row := range rows.Marks {
				if row.Position {
					positions = append(positions, row)
				} else {
					others = append(others, row)
				}
			}
			return nil
		})
	})
	if err != nil {
		return StoreError(err)
	}
	gone := append(positions[:max(0, len(positions)-KeptPositions)], others[:max(0, len(others)-keptMarks)]...)
	if len(gone) == 0 {
		return nil
	}
	_, err = v.Update(ctx, func(tx keystore.Tx) error { return tx.Write(ctx, keystore.Change{Remove: keystore.Rows{Marks: gone}}) })
	return err
}
