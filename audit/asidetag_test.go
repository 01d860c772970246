package audit_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit/auditlog"
)

// An event that somebody parks, as if it had been set aside and dismissed, is told of.
func TestAParkedEventIsToldOf(t *testing.T) {
	for _, body := range [][]byte{{}, {1}} {
		b := newBench(t)
		b.record(update("p", 1))
		b.run()
		id := b.record(update("p", 2))
		b.exec(`UPDATE crmguard_audit_events SET idx = -1, body = NULL WHERE id = ?`, key(id))
		b.exec(`INSERT INTO crmguard_audit_aside (id, body, why, at, tag) VALUES (?, ?, 'no valid tag', 1, x'01')`, key(id), body)
		b.run()
		require.Equal(t, auditlog.Tampered, b.verifyStore(b.checkpoint()).Verdict)
	}
}

// What the sequencer has set aside is explained, dismissed or not, and after an
// erasure; its bytes are held to its tag.
func TestWhatWasSetAsideIsExplained(t *testing.T) {
	b := newBench(t)
	b.record(update("p", 1))
	b.run()
	b.rewrite(b.record(update("p", 2)), "contact", "kontact")
	b.run()
	require.Equal(t, 1, b.count(`SELECT COUNT(*) FROM crmguard_audit_aside`))
	require.Equal(t, auditlog.OK, b.verifyStore(b.checkpoint()).Verdict)
	require.NoError(t, b.trail.Erase(t.Context(), "main", "p"))
	b.run()
	require.Equal(t, auditlog.OK, b.verifyStore(b.checkpoint()).Verdict)
	before := b.blob(`SELECT body FROM crmguard_audit_aside`)
	b.exec(`UPDATE crmguard_audit_aside SET body = x''`)
	require.Equal(t, auditlog.Tampered, b.verifyStore(b.checkpoint()).Verdict, "nobody has dismissed it")
	b.exec(`UPDATE crmguard_audit_aside SET body = ?`, before)
	n, err := b.trail.Dismiss(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, n)
	b.run()
	require.Equal(t, auditlog.OK, b.verifyStore(b.checkpoint()).Verdict)
}
