package encryption_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
)

// Who was erased is known to a Reader once the lease is over in which it was made,
// whoever erased, in any spelling, and nobody else is.
func TestAReaderKnowsWhoWasErased(t *testing.T) {
	const person = "0b1d2c3e-4f50-4a61-8b72-9c83ad94be05"
	e := newEnv(t, 1)
	require.NoError(t, e.vault.Ensure(t.Context(), tenant, person, "p2"))
	reader, err := e.contacts.Reader(t.Context(), tenant, person, "p2", "never-heard-of")
	require.NoError(t, err)
	erased := func(owner string, want bool) {
		t.Helper()
		have, err := reader.Erased(t.Context(), owner)
		require.NoError(t, err)
		require.Equal(t, want, have, owner)
	}
	for _, owner := range []string{person, "p2", "never-heard-of", "", "ann@b.example"} {
		erased(owner, false)
	}
	other := e.another(t)
	_, err = other.EraseMany(t.Context(), tenant, person, "never-heard-of")
	require.NoError(t, err)
	erased(person, true)
	erased(strings.ToUpper(person), true)
	erased("never-heard-of", true)
	erased("p2", false)
	e.clock.Move(encryption.DefaultLease)
	require.NoError(t, e.keysDB.Close())
	_, err = reader.Erased(t.Context(), "p2")
	require.Error(t, err, "a key store that is away is no verdict")
}

// What a room tags beside a table is tagged with the key of row seals.
func TestATablesTaggerIsThatOfRowSeals(t *testing.T) {
	e := newEnv(t, 1)
	tag, err := e.contacts.Tagger().Tag(t.Context(), tenant, []byte("a"))
	require.NoError(t, err)
	require.NoError(t, e.vault.Tagger("seal").Verify(t.Context(), tenant, []byte("a"), tag))
	require.ErrorIs(t, e.contacts.Tagger().Verify(t.Context(), tenant, []byte("b"), tag), encryption.ErrTag)
}
