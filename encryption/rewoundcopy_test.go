package encryption_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/keystore"
)

// A key store that was put back meets, in the folder of its key copies, the copy
// that was written before: the only place where the keys that it lost still are.
func TestACopyOfALostHistoryIsNeitherDeletedNorTakenForTheNewest(t *testing.T) {
	for name, ahead := range map[string]int64{"the store is behind the copy": -3, "the next copy would have the same name": -1, "the store has gone past it": 5} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, 1)
			e.insert(t, "c1", "p1")
			kept := e.keep(t)
			for range 8 {
				_, err := e.vault.Position(t.Context())
				require.NoError(t, err)
			}
			e.insert(t, "c2", "p2")
			dir := t.TempDir()
			lost, err := e.vault.WriteCopy(t.Context(), dir)
			require.NoError(t, err)
			before, err := os.ReadFile(lost.Path)
			require.NoError(t, err)

			vault := e.over(t, kept)
			for sequenceOf(t, kept) < lost.Sequence+ahead {
				_, err := vault.Position(t.Context())
				require.NoError(t, err)
			}
			for range 2 {
				_, err = vault.WriteCopy(t.Context(), dir)
				require.ErrorIs(t, err, encryption.ErrRewound)
				require.ErrorIs(t, vault.Copier(dir)(t.Context()), encryption.ErrRewound)
			}
			after, err := os.ReadFile(lost.Path)
			require.NoError(t, err, "the copy that has the lost keys")
			require.Equal(t, before, after)
			require.Equal(t, []string{filepath.Base(lost.Path)}, names(t, dir))
		})
	}
}

// A folder that is used once in a long while holds a copy whose end the history
// has pruned since: nothing is lost with it.
func TestACopyOlderThanTheHistoryIsReplaced(t *testing.T) {
	for positions, want := range map[int]error{20_000: nil, 19_990: encryption.ErrRewound} {
		e := newEnv(t, 1)
		for range 3 {
			_, err := e.vault.NewKeyVersion(t.Context(), tenant) // marks that are no positions and stay
			require.NoError(t, err)
		}
		dir := t.TempDir()
		old, err := e.vault.WriteCopy(t.Context(), dir)
		require.NoError(t, err)
		state, err := e.store.State(t.Context())
		require.NoError(t, err)
		_, err = e.store.Update(t.Context(), func(tx keystore.Tx) error {
			var put, remove keystore.Rows
			remove.Marks = []keystore.MarkRow{{Sequence: old.Sequence}} // as pruned, or by whoever may write the table
			for i := range positions {
				put.Marks = append(put.Marks, keystore.MarkRow{Sequence: old.Sequence + 2 + int64(i), Mark: keystore.NewMark(), Created: e.clock.Now(), Position: true})
			}
			state.Sequence = old.Sequence + int64(positions) + 1
			return tx.Write(t.Context(), keystore.Change{Put: put, Remove: remove, Store: &state})
		})
		require.NoError(t, err)
		written, err := e.another(t).WriteCopy(t.Context(), dir)
		require.ErrorIs(t, err, want)
		if want == nil {
			require.Equal(t, []string{filepath.Base(written.Path)}, names(t, dir))
		} else {
			require.Equal(t, []string{filepath.Base(old.Path)}, names(t, dir))
		}
	}
}
