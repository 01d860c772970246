package keytext_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/internal/keytext"
)

// The verifier key is read out of the signing key, also where its base64 holds a
// plus, which otherwise parts the key.
func TestTheSigningKeyHoldsTheVerifierKey(t *testing.T) {
	pluses := map[bool]int{}
	for pluses[true] < 3 || pluses[false] < 3 {
		secret, public, err := audit.GenerateKey("crm.example/audit", 0)
		require.NoError(t, err)
		signer, verifier, err := keytext.Read(secret)
		require.NoError(t, err)
		require.Equal(t, public, verifier)
		require.Equal(t, "crm.example/audit/0", signer.Name())
		pluses[strings.Count(secret, "+") > 4]++
	}
}

// What is wrong with a signing key is said, and the key is not shown.
func TestASigningKeyThatIsNone(t *testing.T) {
	secret, public, err := audit.GenerateKey("crm.example/audit", 0)
	require.NoError(t, err)
	for text, want := range map[string]string{
		"":                      "it is empty",
		public:                  "it is the signing key, the first result of GenerateKey",
		secret[:len(secret)-4]:  "malformed",
		strings.ToLower(secret): "does not begin with PRIVATE+KEY+",
	} {
		_, _, err := keytext.Read(text)
		require.ErrorContains(t, err, want)
		if text != "" {
			require.NotContains(t, err.Error(), text)
		}
	}
}
