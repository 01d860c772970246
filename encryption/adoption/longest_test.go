package adoption_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/adoption"
)

// An operator's program need not know how long the application's transactions last: a
// move waits for the longest that any process has stated, also one that came later.
func TestAMoveWaitsForTheLongestTransactionOfAnyProcess(t *testing.T) {
	const longest = 7 * time.Minute
	e := newLite(t)
	e.prepare(t)
	application := e.cfg
	application.LongestTransaction = longest
	_, err := encryption.Open(t.Context(), application)
	require.NoError(t, err)

	began := e.clock.Now()
	e.move(t, adoption.WriteBoth, adoption.MoveOptions{})
	require.GreaterOrEqual(t, e.clock.Now().Sub(began), longest)
}
