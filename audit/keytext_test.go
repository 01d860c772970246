package audit

import (
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// The verifier key is read out of the signing key, also where its base64 holds a
// plus, which otherwise parts the key.
func TestTheSigningKeyHoldsTheVerifierKey(t *testing.T) {
	pluses := map[bool]int{}
	for pluses[true] < 3 || pluses[false] < 3 {
		secret, public, err := GenerateKey("crm.example/audit", 0)
		require.NoError(t, err)
		signer, verifier, err := signingKey(secret)
		require.NoError(t, err)
		require.Equal(t, public, verifier)
		require.Equal(t, "crm.example/audit/0", signer.Name())
		pluses[strings.Count(secret, "+") > 4]++
	}
}

// What is wrong with a signing key is said, and the key is not shown.
func TestASigningKeyThatIsNone(t *testing.T) {
	secret, public, err := GenerateKey("crm.example/audit", 0)
	require.NoError(t, err)
	for text, want := range map[string]string{
		"":                      "it is empty",
		public:                  "it is the signing key, the first result of GenerateKey",
		secret[:len(secret)-4]:  "malformed",
		strings.ToLower(secret): "does not begin with PRIVATE+KEY+",
	} {
		_, _, err := signingKey(text)
		require.ErrorContains(t, err, want)
		if text != "" {
			require.NotContains(t, err.Error(), text)
		}
	}
}

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
