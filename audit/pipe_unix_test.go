//go:build unix

package audit_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/tilesink"
)

// A pipe in the place of a published file keeps nobody waiting.
func TestAPipeInTheLogIsNoFile(t *testing.T) {
	b := newBench(t)
	dir := t.TempDir()
	require.NoError(t, syscall.Mkfifo(filepath.Join(dir, "checkpoint"), 0o600))
	r, err := auditlog.VerifyLog(t.Context(), os.DirFS(dir), b.trust())
	require.NoError(t, err)
	require.Equal(t, auditlog.Incomplete, r.Verdict)
	sink, err := tilesink.Open(dir)
	require.NoError(t, err)
	_, err = sink.ReadFile(t.Context(), "checkpoint")
	require.Error(t, err)
}
