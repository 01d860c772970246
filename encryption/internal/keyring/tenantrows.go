package keyring

import (
	"context"
	"fmt"
	"slices"

	"github.com/crmguard/crmguard/encryption/keystore"
)

// CheckEmpty answers ErrNotEmpty for a key store that has anything in it: rows that
// stand under a state row which was reset would become those of another history.
func CheckEmpty(ctx context.Context, tx keystore.Tx) error {
	state, err := tx.State(ctx)
	if err != nil {
		return err
	}
	if state.Store != "" {
		return ErrNotEmpty
	}
	for _, kind := range []keystore.Kind{keystore.KindKeyset, keystore.KindKeyVersion, keystore.KindOwner, keystore.KindKey, keystore.KindAlias, keystore.KindIndex, keystore.KindMark} {
		rows, err := tx.Page(ctx, keystore.Page{Kind: kind, Limit: 2})
		if err != nil {
			return err
		}
		rows.Marks = slices.DeleteFunc(rows.Marks, func(m keystore.MarkRow) bool { return m.Mark == state.Mark }) // of this very change
		if rows.Len() > 0 {
			return fmt.Errorf("%w (its state row is, and others of its rows are there: put the state row right, or take new tables)", ErrNotEmpty)
		}
	}
	return nil
}

// sameIndexRows compares whatever the order in which a store answers.
func sameIndexRows(a, b []keystore.IndexRow) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(row keystore.IndexRow) bool { return !slices.Contains(b, row) })
}
