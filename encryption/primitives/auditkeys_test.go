package primitives

import (
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption/internal/format"
	"github.com/crmguard/crmguard/encryption/internal/tinktest"
	"github.com/crmguard/crmguard/internal/frame"
)

// The MAC key of formats.md is frozen: what waits in a queue is known by it.
func TestAMACKeyIsWhatItWas(t *testing.T) {
	key, err := format.Derive(tinktest.Counting(32), frame.Join("crmguard/audit/queue-key/v2", "crm.example/audit"))
	require.NoError(t, err)
	require.Equal(t, "c4556f5853bbd83fa702d62f2d1d8bbd469466fdc0ca88bc132732d85b144406", hex.EncodeToString(key))
}
