package certificate_test

import (
	"crypto/ed25519"
	"encoding/hex"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy/certificate"
)

var update = flag.Bool("update", false, "write the samples in testdata anew; never for a released format")

// TestFreeze writes the sample that the other tests open.
func TestFreeze(t *testing.T) {
	if !*update {
		return
	}
	key := ed25519.NewKeyFromSeed(seed(0))
	for name, data := range map[string][]byte{
		"certificate.dsse.json": sign(t, key, statement(t, seed(32))).Envelope,
		"certificate.pub.pem":   publicPEM(t, key.Public()),
		"certificate.salt.hex":  []byte(hex.EncodeToString(seed(32)) + "\n"),
	} {
		require.NoError(t, os.WriteFile(filepath.Join("testdata", name), data, 0o644))
	}
}

func sample(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	return data
}

func TestFrozenCertificate(t *testing.T) {
	keys, err := certificate.ParseKeys(sample(t, "certificate.pub.pem"))
	require.NoError(t, err)
	read, err := certificate.Verify(sample(t, "certificate.dsse.json"), keys...)
	require.NoError(t, err)
	salt, err := hex.DecodeString(strings.TrimSpace(string(sample(t, "certificate.salt.hex"))))
	require.NoError(t, err)
	require.True(t, read.Statement.Concerns(salt, "main", "p1"))
	require.Equal(t, sign(t, ed25519.NewKeyFromSeed(seed(0)), statement(t, salt)), read, "what is written today is what was frozen")
}

// openssl and Python's cryptography verify a fresh and the frozen certificate,
// and openssl refuses it with a bit turned.
func TestForeignProgramsVerifyTheCertificate(t *testing.T) {
	dir := t.TempDir()
	key, public := newKey(t)
	salt := certificate.NewSalt()
	fresh, pub := filepath.Join(dir, "certificate.json"), filepath.Join(dir, "key.pem")
	require.NoError(t, os.WriteFile(fresh, sign(t, key, statement(t, salt)).Envelope, 0o600))
	require.NoError(t, os.WriteFile(pub, publicPEM(t, public), 0o600))
	for _, files := range [][3]string{
		{fresh, pub, hex.EncodeToString(salt)},
		{"testdata/certificate.dsse.json", "testdata/certificate.pub.pem", strings.TrimSpace(string(sample(t, "certificate.salt.hex")))},
	} {
		pae, sig := filepath.Join(dir, "pae"), filepath.Join(dir, "sig")
		out, err := exec.CommandContext(t.Context(), "python3", "testdata/dsse.py", files[0], files[1], files[2], "main", "p1", pae, sig).CombinedOutput()
		require.NoError(t, err, "%s", out)
		verify := func() error {
			return exec.CommandContext(t.Context(), "openssl", "pkeyutl", "-verify", "-pubin", "-inkey", files[1], "-rawin", "-in", pae, "-sigfile", sig).Run()
		}
		require.NoError(t, verify())
		data, err := os.ReadFile(pae)
		require.NoError(t, err)
		data[len(data)-2] ^= 1
		require.NoError(t, os.WriteFile(pae, data, 0o600))
		require.Error(t, verify(), "openssl does check")
	}
}

// FuzzVerify: whatever bytes come, a certificate is what the trusted key signed.
func FuzzVerify(f *testing.F) {
	key := ed25519.NewKeyFromSeed(seed(0))
	good := sign(f, key, statement(f, seed(32)))
	f.Add(good.Envelope, []byte(open(f, good.Envelope).payload(f)))
	f.Add([]byte(`{"signatures":[7]}`), []byte(`{"_type":"https://in-toto.io/Statement/v1"}`))
	public := key.Public().(ed25519.PublicKey)
	f.Fuzz(func(t *testing.T, envelope, payload []byte) {
		if read, err := certificate.Verify(envelope, public); err == nil {
			require.Equal(t, good.Statement, read.Statement, "only one was ever signed")
		}
		read, err := certificate.Verify(signAnything(t, key, string(payload)), public)
		if err != nil {
			require.ErrorIs(t, err, certificate.ErrMalformed)
			return
		}
		again := sign(t, key, read.Statement) // what is read can be written
		require.Equal(t, len(again.Statement.NotCovered), len(read.Statement.NotCovered))
	})
}
