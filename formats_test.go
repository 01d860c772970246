package crmguard_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A format is a promise once a second program agrees with it byte for byte:
// testdata/formats.py knows nothing of this library.

// python runs formats.py and returns what it printed.
func python(t *testing.T, args ...string) string {
	t.Helper()
	interpreter := os.Getenv("CRMGUARD_PYTHON")
	if interpreter == "" {
		interpreter = "python3"
	}
	if err := exec.CommandContext(t.Context(), interpreter, "-c", "import cryptography, sqlite3").Run(); err != nil {
		t.Skipf("%s with the modules cryptography and sqlite3 is not installed", interpreter)
	}
	if _, err := exec.LookPath("zstd"); err != nil {
		t.Skip("zstd is not installed")
	}
	script, err := filepath.Abs(filepath.Join("testdata", "formats.py"))
	require.NoError(t, err)
	out, err := exec.CommandContext(t.Context(), interpreter, append([]string{script}, args...)...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return string(out)
}

// requireAgreement fails where the program has passed over something.
func requireAgreement(t *testing.T, out string, about ...string) {
	t.Helper()
	require.Equal(t, about, strings.Split(strings.TrimSuffix(strings.ReplaceAll(out, "agrees: ", ""), "\n"), "\n"))
}

func TestPythonRecomputesEveryVector(t *testing.T) {
	out := python(t, "vectors")
	require.Equal(t, 108, strings.Count(out, "agrees: "), "%s", out)
}

// TestPythonReadsWhatGoWrites hands Python a small installation. It begins
// with the key copy and the KEK alone, opens everything, and must refuse all
// of it with a bit turned.
func TestPythonReadsWhatGoWrites(t *testing.T) {
	in := newInstallation(t)
	out := python(t, "read", in.writeIndex(t))
	requireAgreement(
		t, out,
		"key copy", "person keys", "sealed fields", "person-sealed bytes", "stream", "blind indexes", "row seals and roots", "tags", "suppression",
		"audit queue", "audit log", "audit openings", "ledger", "certificate", "repository", "manifest",
	)
}

// writeIndex stores what Python is told, beside the installation.
func (in *installation) writeIndex(t *testing.T) string {
	t.Helper()
	data, err := json.MarshalIndent(in.index, "", "  ")
	require.NoError(t, err)
	path := filepath.Join(in.dir, "index.json")
	require.NoError(t, os.WriteFile(path, data, 0o600))
	return path
}
