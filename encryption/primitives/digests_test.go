package primitives

import (
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption/internal/tinktest"
	"github.com/crmguard/crmguard/internal/frame"
)

// The digest of a ledger's line is frozen: whoever was erased is known by it.
func TestADigestIsWhatItWas(t *testing.T) {
	ledger, err := digest(tinktest.Counting(32), frame.Join("crmguard/ledger/digest/v1"), frame.Join("crmguard/ledger/v1", "person", "t1", "p1"))
	require.NoError(t, err)
	require.Equal(t, "619ffcbbd503b050676d1c8b4ebce9b8bbb798c8cfc3728f5ce6104f43677d46", hex.EncodeToString(ledger))
}
