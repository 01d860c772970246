package audit_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
)

// Another process puts an entry between two batches of a pass: what the pass has
// kept of its own is filed for those entries and for no others.
func TestWhatAPassKeepsIsOfItsOwnEntries(t *testing.T) {
	b := newBench(t)
	b.fill(700) // two batches
	other := b.impatient(b.sink)
	calls := 0
	keys := &fedKeys{hookKeys: &hookKeys{Keys: b.keys}, feeds: 1000, feed: func() {
		if calls++; calls == 2 { // the first batch is in the log
			require.NoError(t, other.trail.Beat(t.Context()))
		}
	}}
	keys.after = func() { keys.begun = true }
	b.config.Keys = keys
	b.open()
	r := b.run()
	require.Equal(t, 700, r.Sequenced)
	require.Equal(t, 702, b.count(`SELECT COUNT(*) FROM crmguard_audit_found`), "beats are two")
	require.Equal(t, 3, b.count(`SELECT COUNT(DISTINCT k) FROM crmguard_audit_persons`))
	require.Equal(t, auditlog.Unanchored, b.verifyStore(nil).Verdict)
	found, err := b.trail.Find(t.Context(), audit.Filter{Tenant: "main", Person: "p1"}, audit.Page{Size: 500})
	require.NoError(t, err)
	require.Len(t, found.Entries, 233)
	require.Zero(t, found.Behind)
}

// What is found of a pass is what it filed, whatever becomes of the row before the
// query keys are filed.
func TestAnEntryIsFoundByWhatWasFiled(t *testing.T) {
	b := newBench(t)
	b.record(update("p1", 1))
	b.sink.Fail = func(op, name string) error {
		if op == "swap" && name == "checkpoint" {
			b.exec(`UPDATE crmguard_audit_entries SET leaf = x'' WHERE idx = 0`)
		}
		return nil
	}
	b.run()
	require.Equal(t, 1, b.count(`SELECT COUNT(*) FROM crmguard_audit_persons WHERE idx = 0`))
}

// While many files are written the query keys of what they hold are filed.
func TestQueryKeysAreFiledBesideALongPublication(t *testing.T) {
	b := newBench(t)
	b.fill(2100)
	waited := false
	b.sink.Fail = func(op, name string) error {
		if !waited && strings.HasPrefix(name, "tile/") {
			waited = true
			require.Eventually(t, func() bool { return b.count(`SELECT found FROM crmguard_audit_state`) > 0 }, time.Minute, 10*time.Millisecond)
		}
		return nil
	}
	r := b.run()
	require.True(t, waited)
	require.Equal(t, 2100, r.Sequenced)
	require.EqualValues(t, r.Size, b.count(`SELECT COUNT(*) FROM crmguard_audit_found`))
	require.Equal(t, auditlog.Unanchored, b.verifyStore(nil).Verdict)
}
