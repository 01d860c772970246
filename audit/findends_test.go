package audit_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
)

// Bounds that no number of microseconds can be bound nothing.
func TestBoundsBeyondAllTimes(t *testing.T) {
	b := newBench(t)
	b.fill(3)
	b.run()
	for name, f := range map[string]audit.Filter{
		"from":  {From: time.Unix(-1<<60, 0)},
		"to":    {To: time.Unix(1<<60, 0)},
		"both":  {From: time.Unix(-1<<60, 0), To: time.Unix(1<<60, 0)},
		"edges": {From: time.UnixMicro(-1 << 63), To: time.UnixMicro(1<<63 - 1)},
	} {
		f.Tenant, f.Action = "main", "contact.update"
		found, err := b.trail.Find(t.Context(), f, audit.Page{})
		require.NoError(t, err)
		require.Len(t, found.Entries, 3, name)
	}
	for _, f := range []audit.Filter{{From: time.Unix(1<<60, 0)}, {To: time.Unix(-1<<60, 0)}} {
		f.Tenant = "main"
		found, err := b.trail.Find(t.Context(), f, audit.Page{})
		require.NoError(t, err)
		require.Empty(t, found.Entries)
	}
}
