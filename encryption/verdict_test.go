package encryption_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
)

// Who seals through an interface and knows no type of this package tells what will
// never open from what a service did not answer, by a method; and what went with
// its person from what was changed.
func TestVerdictsOnSealedBytesHaveAMethod(t *testing.T) {
	verdict := func(err error) (said, erased bool) {
		var never interface{ NeverOpens() bool }
		if !errors.As(fmt.Errorf("behind others: %w", err), &never) {
			return false, false
		}
		return true, never.NeverOpens()
	}
	for err, want := range map[error][2]bool{
		encryption.ErrErased: {true, true}, encryption.ErrOpen: {true, false}, encryption.ErrNoKey: {true, false}, encryption.ErrDestroyed: {true, false},
		encryption.ErrStore: {}, encryption.ErrKEK: {}, encryption.ErrLease: {}, encryption.ErrRewound: {}, encryption.ErrDamaged: {},
	} {
		said, erased := verdict(&encryption.KeyError{Op: "open", Err: err})
		require.Equal(t, want, [2]bool{said, erased}, err)
	}
	e := newEnv(t, 1)
	keys := e.vault.AuditKeys()
	require.NoError(t, keys.Prepare(t.Context(), tenant, "p1"))
	sealed, err := keys.Seal(t.Context(), tenant, "p1", []byte("text"), []byte("ad"))
	require.NoError(t, err)
	for i := range sealed {
		sealed[i] ^= 1
		_, err := keys.Open(t.Context(), tenant, "p1", sealed, []byte("ad"))
		said, erased := verdict(err)
		require.True(t, said, "byte %d: %v", i, err)
		require.False(t, erased)
		sealed[i] ^= 1
	}
}
