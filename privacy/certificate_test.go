package privacy_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datastore"
)

func (s *system) public() ed25519.PublicKey { return s.key.Public().(ed25519.PublicKey) }

func publicPEM(t *testing.T, key ed25519.PublicKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func TestCertificate(t *testing.T) {
	s := newSystem(t)
	ann := s.contact("ann@a.example")
	o := s.erase(ann)
	c, err := privacy.VerifyCertificate(t.Context(), o.Certificate, s.public())
	require.NoError(t, err)
	require.Equal(t, "erasure/1", c.Name)
	require.Equal(t, 7*24*time.Hour, c.FinalAt.Sub(c.UnreadableLiveAt))
	require.False(t, c.UnreadableLiveAt.After(s.now))
	require.True(t, c.Concerns(o.Salt, "main", ann))
	require.False(t, c.Concerns(o.Salt, "main", newID()))
	require.False(t, c.Concerns(nil, "main", ann))
	require.False(t, c.Concerns(make([]byte, 32), "main", ann))
	require.Contains(t, c.Classes, privacy.CertifiedClass{Table: "contacts", Count: 1, Class: datastore.Deleted})
	require.Contains(t, c.Classes, privacy.CertifiedClass{Table: "person keys", Count: 1, Class: datastore.Shredded})

	digest := base64.RawURLEncoding.EncodeToString(c.Digest)
	require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM events WHERE id = ? AND action = 'privacy.erase.done' AND attrs LIKE ?`, c.AuditEvent, "%"+digest+"%"),
		"the trail holds the statement's digest under the event that the certificate names")
	require.Contains(t, lines(t, s.ledgerPath())[1], `"cert":"`+digest+`"`)

	var e struct {
		PayloadType, Payload string
		Signatures           []struct{ KeyID, Sig string }
	}
	require.NoError(t, json.Unmarshal(o.Certificate, &e))
	block, _ := pem.Decode(publicPEM(t, s.public()))
	sum := sha256.Sum256(block.Bytes)
	require.Equal(t, hex.EncodeToString(sum[:]), e.Signatures[0].KeyID)
	require.Equal(t, "application/vnd.in-toto+json", e.PayloadType)
	payload, err := base64.StdEncoding.DecodeString(e.Payload)
	require.NoError(t, err)
	require.NotContains(t, string(payload), ann)
	require.NotContains(t, string(payload), "ann@a.example")
}

func TestACertificateThatWasTouched(t *testing.T) {
	s := newSystem(t)
	o := s.erase(s.contact("ann@a.example"))
	_, other, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	bad := func(envelope []byte, key ed25519.PublicKey) {
		t.Helper()
		_, err := privacy.VerifyCertificate(t.Context(), envelope, key)
		require.ErrorIs(t, err, privacy.ErrCertificate)
	}
	bad(o.Certificate, other.Public().(ed25519.PublicKey))
	bad(o.Certificate, nil)
	bad([]byte("{}"), s.public())
	bad([]byte(strings.Replace(string(o.Certificate), "in-toto", "in-dodo", 1)), s.public())
	var e map[string]any
	require.NoError(t, json.Unmarshal(o.Certificate, &e))
	payload, err := base64.StdEncoding.DecodeString(e["payload"].(string))
	require.NoError(t, err)
	e["payload"] = base64.StdEncoding.EncodeToString([]byte(strings.Replace(string(payload), `"count":1`, `"count":2`, 1)))
	changed, err := json.Marshal(e)
	require.NoError(t, err)
	bad(changed, s.public())
	hint := []byte(strings.Replace(string(o.Certificate), `"keyid":"`, `"keyid":"00`, 1))
	_, err = privacy.VerifyCertificate(t.Context(), hint, s.public())
	require.NoError(t, err, "the key id is a hint")
}

// openssl and Python's cryptography verify a fresh and the frozen certificate.
func TestForeignProgramsVerifyTheCertificate(t *testing.T) {
	s := newSystem(t)
	o := s.erase(s.contact("ann@a.example"))
	dir := t.TempDir()
	fresh, key := filepath.Join(dir, "certificate.json"), filepath.Join(dir, "key.pem")
	require.NoError(t, os.WriteFile(fresh, o.Certificate, 0o600))
	require.NoError(t, os.WriteFile(key, publicPEM(t, s.public()), 0o600))
	for _, pair := range [][2]string{{fresh, key}, {"testdata/certificate.dsse.json", "testdata/certificate.pub.pem"}} {
		pae, sig := filepath.Join(dir, "pae"), filepath.Join(dir, "sig")
		script(t, "dsse.py", pair[0], pair[1], pae, sig)
		out, err := exec.CommandContext(t.Context(), "openssl", "pkeyutl", "-verify", "-pubin", "-inkey", pair[1], "-rawin", "-in", pae, "-sigfile", sig).CombinedOutput()
		require.NoError(t, err, "%s", out)
		data, err := os.ReadFile(pae)
		require.NoError(t, err)
		data[len(data)-2] ^= 1
		require.NoError(t, os.WriteFile(pae, data, 0o600))
		_, err = exec.CommandContext(t.Context(), "openssl", "pkeyutl", "-verify", "-pubin", "-inkey", pair[1], "-rawin", "-in", pae, "-sigfile", sig).CombinedOutput()
		require.Error(t, err, "openssl does check")
	}
}

func TestFrozenCertificate(t *testing.T) {
	envelope, err := os.ReadFile("testdata/certificate.dsse.json")
	require.NoError(t, err)
	text, err := os.ReadFile("testdata/certificate.pub.pem")
	require.NoError(t, err)
	block, _ := pem.Decode(text)
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	require.NoError(t, err)
	c, err := privacy.VerifyCertificate(t.Context(), envelope, key.(ed25519.PublicKey))
	require.NoError(t, err)
	require.Equal(t, "erasure/1", c.Name)
	salt, err := os.ReadFile("testdata/certificate.salt.hex")
	require.NoError(t, err)
	raw, err := hex.DecodeString(strings.TrimSpace(string(salt)))
	require.NoError(t, err)
	require.True(t, c.Concerns(raw, "main", "p1"))
}
