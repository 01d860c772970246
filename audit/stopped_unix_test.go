//go:build unix

package audit_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/internal/killtest"
)

// A process that is stopped between signing and writing, while others publish:
// when it goes on it does not move the checkpoint backwards.
func TestAProcessIsStoppedBetweenSigningAndWriting(t *testing.T) {
	if dir := killtest.Dir(); dir != "" {
		stood := false
		l := openLastingOver(t, dir, func(log place) audit.Sink {
			return &stopSink{place: log, at: func(op, name string) {
				if op == "before swap" && name == "checkpoint" && !stood {
					stood = true
					require.NoError(t, killtest.Stand("signed"))
				}
			}}
		})
		_, err := l.trail.RunOnce(t.Context())
		require.NoError(t, err)
		return
	}
	dir := t.TempDir()
	secret, public, err := audit.GenerateKey("crm.example/audit", 0)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "sign"), []byte(secret), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "verify"), []byte(public), 0o600))
	first := openLasting(t, dir)
	_, err = first.db.ExecContext(t.Context(), `CREATE TABLE contacts (id TEXT PRIMARY KEY, email TEXT) STRICT`)
	require.NoError(t, err)
	_, err = first.write(t.Context(), 1)
	require.NoError(t, err)
	_, err = first.trail.RunOnce(t.Context())
	require.NoError(t, err)
	var said []string
	record := func(l *lasting, n int) {
		id, err := l.write(t.Context(), n)
		require.NoError(t, err)
		said = append(said, id)
	}
	record(first, 2)
	var published []byte
	killtest.Pause(t, dir, "signed", func() {
		record(first, 3)
		r, err := first.trail.RunOnce(t.Context())
		require.NoError(t, err)
		require.Equal(t, r.Size, r.Published)
		published, err = first.trail.Checkpoint(t.Context())
		require.NoError(t, err)
	})
	now, err := first.trail.Checkpoint(t.Context())
	require.NoError(t, err)
	require.Equal(t, published, now)
	store, err := first.trail.VerifyStore(t.Context(), published)
	require.NoError(t, err)
	require.Equal(t, auditlog.OK, store.Verdict, "%+v", store.Faults)
	requireOneEventEach(t, first, said)
}
