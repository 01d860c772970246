package audit

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit/auditlog"
)

// Run waits for a contradiction that may pass from when it began, by this
// machine's clock; a pass that got on, or failed by something else, ends the wait,
// and the next one begins anew.
func TestPatienceBeginsAnewWithTheNextContradiction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		behind := late(auditlog.ErrRolledBack)
		require.ErrorIs(t, behind, auditlog.ErrRolledBack)
		var p patience
		require.False(t, p.ends(behind, time.Minute))
		time.Sleep(59 * time.Second)
		require.False(t, p.ends(behind, time.Minute))
		for _, between := range []error{nil, errors.New("the disk is full")} {
			require.False(t, p.ends(between, time.Minute))
			time.Sleep(59 * time.Second)
			require.False(t, p.ends(behind, time.Minute), "a new one")
		}
		time.Sleep(time.Minute)
		require.True(t, p.ends(behind, time.Minute))
		require.True(t, new(patience).ends(auditlog.ErrForked, time.Minute), "what no cache explains")
	})
}
