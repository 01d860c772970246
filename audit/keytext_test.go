package audit

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// The key goes out of the configuration, which somebody may print.
func TestAConfigurationKeepsNoKey(t *testing.T) {
	secret, public, err := GenerateKey("crm.example/audit", 0)
	require.NoError(t, err)
	c := Config{Key: secret}
	require.NoError(t, c.signers())
	require.Empty(t, c.Key)
	require.Equal(t, public, c.Verifier)
}

// Events about a key are told apart by log, key and reason, and their ids are ids as
// any other.
func TestIDsOfKeyEvents(t *testing.T) {
	seen := map[string]bool{}
	for _, id := range []string{keyEvent("o", "k", "rotated"), keyEvent("o", "k", "revoked"), keyEvent("o", "l", "rotated"), keyEvent("p", "k", "rotated")} {
		require.False(t, seen[id])
		seen[id] = true
		parsed, err := uuid.Parse(id)
		require.NoError(t, err)
		require.Equal(t, uuid.Version(8), parsed.Version())
		require.Equal(t, uuid.RFC4122, parsed.Variant())
	}
}
