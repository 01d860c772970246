package audit_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit/auditlog"
)

// fedKeys records more events, as fast as a pass reads them, and not for ever.
type fedKeys struct {
	*hookKeys
	feeds int
	feed  func()
}

func (f *fedKeys) Tag(ctx context.Context, tenant string, data []byte) ([]byte, error) {
	if f.feeds > 0 {
		f.feeds--
		f.feed()
	}
	return f.Keys.Tag(ctx, tenant, data)
}

// Where events come faster than a pass files them, it files what waited when it
// began, and publishes.
func TestAPassEndsThoughEventsKeepComing(t *testing.T) {
	b := newBench(t)
	b.fill(300) // more than are read at once
	other := b.impatient(b.sink)
	keys := &fedKeys{hookKeys: &hookKeys{Keys: b.keys}, feed: func() { other.fill(300) }}
	b.config.Keys = keys
	b.open()
	keys.feeds = 6
	r := b.run()
	const waits = `SELECT COUNT(*) FROM crmguard_audit_events WHERE idx IS NULL`
	require.GreaterOrEqual(t, r.Sequenced, 300)
	require.LessOrEqual(t, r.Sequenced, 900, "of 2,100 that came in the end")
	require.Equal(t, r.Size, r.Published)
	require.Positive(t, b.count(waits), "what came meanwhile is of the next pass")
	for keys.feeds > 0 || b.count(waits) > 0 {
		b.run()
	}
	require.Equal(t, auditlog.Unanchored, b.verifyStore(nil).Verdict)
}

// A pass that has very much to file publishes on its way.
func TestALongPassPublishesOnItsWay(t *testing.T) {
	b := newBench(t)
	b.fill(1100)
	b.trail.PublishEach(256)
	checkpoints := 0
	b.sink.Fail = func(op, name string) error {
		if op == "swap" && name == "checkpoint" {
			checkpoints++
		}
		return nil
	}
	r := b.run()
	require.Equal(t, 1100, r.Sequenced)
	require.Equal(t, r.Size, r.Published)
	require.GreaterOrEqual(t, checkpoints, 3)
	require.Equal(t, auditlog.Unanchored, b.verifyStore(nil).Verdict)
}
