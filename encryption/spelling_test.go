package encryption_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
)

// A UUID that was sealed for in capitals is erased whichever way it is named,
// with whoever was merged with it; and a receipt says where nobody was met.
func TestAnErasureTakesEachSpellingOfAUUID(t *testing.T) {
	const small = "ab000000-0000-4000-8000-00000000000a"
	for _, named := range []string{small, strings.ToUpper(small)} {
		e := newEnv(t, 1)
		for _, person := range []string{small, strings.ToUpper(small), "p2", "p3"} {
			e.insert(t, person, person)
		}
		require.NoError(t, e.vault.AddAlias(t.Context(), tenant, "p2", strings.ToUpper(small)))
		receipts, err := e.vault.EraseMany(t.Context(), tenant, named, "never-heard-of", "p3")
		require.NoError(t, err)
		require.Equal(t, []int{3, 1, 1}, []int{receipts[0].Owners, receipts[1].Owners, receipts[2].Owners})
		require.Equal(t, []int{3, 0, 1}, []int{receipts[0].Keys, receipts[1].Keys, receipts[2].Keys})
		require.Equal(t, []bool{false, true, false}, []bool{receipts[0].Unknown, receipts[1].Unknown, receipts[2].Unknown})
		for _, person := range []string{small, strings.ToUpper(small), "p2"} {
			_, err := e.contacts.Writer(t.Context(), tenant, person)
			require.ErrorIs(t, err, encryption.ErrErased, person)
		}
		again, err := e.vault.Erase(t.Context(), tenant, "never-heard-of")
		require.NoError(t, err)
		require.False(t, again.Unknown, "its tombstone is there")
	}
}

// Whoever had an address for an id, before that was refused, is erased with many
// as alone.
func TestManyAreErasedWhateverTheirIDs(t *testing.T) {
	e := newEnv(t, 1)
	e.insert(t, "c1", "p1")
	receipts, err := e.vault.EraseMany(t.Context(), tenant, "ann@b.example", "p1")
	require.NoError(t, err)
	require.Equal(t, 1, receipts[1].Keys)
	_, err = e.vault.EraseMany(t.Context(), tenant, "p1", "t:")
	require.ErrorIs(t, err, encryption.ErrID)
}
