package main

import (
	"archive/zip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// checkForeign opens what the tour left with programs that know nothing of
// ours. Each skips with a visible line where its program is missing.
func checkForeign(t *testing.T, dir string) {
	t.Helper()
	t.Run("ForeignRestic", func(t *testing.T) { resticAgrees(t, dir) })
	t.Run("ForeignAge", func(t *testing.T) { ageOpensTheExport(t, dir) })
	t.Run("ForeignOpenSSL", func(t *testing.T) { opensslVerifiesTheCertificate(t, dir) })
	t.Run("ForeignSQLite", func(t *testing.T) { sqliteReadsTheDatabase(t, dir) })
}

// foreign runs a program in dir and returns what it printed.
func foreign(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed", name)
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "RESTIC_CACHE_DIR="+t.TempDir())
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s %s: %s", name, strings.Join(args, " "), out)
	return string(out)
}

func resticAgrees(t *testing.T, dir string) {
	t.Helper()
	for _, store := range []string{"a", "b"} {
		repo := []string{"-r", "./backup/" + store, "-p", "keys/repository-password"}
		out := foreign(t, dir, "restic", append(repo, "check", "--read-data")...)
		require.Contains(t, out, "no errors were found")
		target := t.TempDir()
		foreign(t, dir, "restic", append(repo, "restore", "latest", "--target", target)...)
		_, err := os.Stat(filepath.Join(target, "db", "crm.db"))
		require.NoError(t, err)
		require.Equal(t, digestOf(t, "policy.cedar"), digestOf(t, filepath.Join(target, "config", "policy.cedar")), "byte for byte with its source")
		for _, file := range mustGlob(t, filepath.Join(dir, "live", "attachments", "*")) {
			// The live folder came out of this snapshot through our own restore;
			// the erased person's files are gone from it, all others are equal.
			require.Equal(t, digestOf(t, file), digestOf(t, filepath.Join(target, "attachments", filepath.Base(file))))
		}
	}
}

func mustGlob(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	require.NoError(t, err)
	require.NotEmpty(t, files, pattern)
	return files
}

func ageOpensTheExport(t *testing.T, dir string) {
	t.Helper()
	archive := filepath.Join(t.TempDir(), "export.zip")
	foreign(t, dir, "age", "-d", "-i", "keys/export-identity.txt", "-o", archive, mustGlob(t, filepath.Join(dir, "export", "*.zip.age"))[0])
	foreign(t, dir, "unzip", "-t", archive)
	r, err := zip.OpenReader(archive)
	require.NoError(t, err)
	defer r.Close()
	names := map[string]bool{}
	for _, f := range r.File {
		names[f.Name] = true
	}
	require.True(t, names["manifest.json"] && names["index.html"] && names["data/contacts.ndjson"], "%v", names)
}

func opensslVerifiesTheCertificate(t *testing.T, dir string) {
	t.Helper()
	var envelope struct {
		Payload, PayloadType string
		Signatures           []struct{ Sig string }
	}
	data, err := os.ReadFile(filepath.Join(dir, "certificate.dsse.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &envelope))
	payload, err := base64.StdEncoding.DecodeString(envelope.Payload)
	require.NoError(t, err)
	signature, err := base64.StdEncoding.DecodeString(envelope.Signatures[0].Sig)
	require.NoError(t, err)
	work := t.TempDir()
	pae := fmt.Sprintf("DSSEv1 %d %s %d %s", len(envelope.PayloadType), envelope.PayloadType, len(payload), payload)
	require.NoError(t, os.WriteFile(filepath.Join(work, "pae"), []byte(pae), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(work, "sig"), signature, 0o600))
	verify := []string{"pkeyutl", "-verify", "-pubin", "-inkey", filepath.Join(dir, "certificate.pub.pem"), "-rawin", "-in", filepath.Join(work, "pae"), "-sigfile", filepath.Join(work, "sig")}
	require.Contains(t, foreign(t, dir, "openssl", verify...), "Success")

	require.NoError(t, os.WriteFile(filepath.Join(work, "pae"), []byte(pae+" "), 0o600))
	out, err := exec.CommandContext(t.Context(), "openssl", verify...).CombinedOutput()
	require.Error(t, err, "openssl accepts a changed certificate: %s", out)
}

func sqliteReadsTheDatabase(t *testing.T, dir string) {
	t.Helper()
	out := foreign(t, dir, "sqlite3", "live/crm.db", "PRAGMA integrity_check; SELECT COUNT(*), COUNT(email), SUM(substr(email, 1, 1) = x'01') FROM contacts")
	require.Equal(t, "ok\n198|196|196\n", out, "every e-mail is a Tink ciphertext")
}
