//go:build freeze

package auditlog

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestFreezeDisclosures writes testdata/v1/disclosures anew: go test -tags freeze
// -run TestFreezeDisclosures. Never again once it has been released.
func TestFreezeDisclosures(t *testing.T) {
	verifier, out := aDisclosure(t)
	require.NoError(t, os.MkdirAll(disclosures, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(disclosures, "log.vkey"), []byte(verifier+"\n"), 0o644))
	for name, data := range out {
		require.NoError(t, os.WriteFile(filepath.Join(disclosures, name+".json"), data, 0o644))
	}
}

// TestFreezeForgedDisclosures writes those that nobody must believe.
func TestFreezeForgedDisclosures(t *testing.T) {
	verifier, out := forgedDisclosures(t)
	require.NoError(t, os.WriteFile(filepath.Join(disclosures, "forged.vkey"), []byte(verifier+"\n"), 0o644))
	for name, data := range out {
		require.NoError(t, os.WriteFile(filepath.Join(disclosures, name+".json"), data, 0o644))
	}
}
