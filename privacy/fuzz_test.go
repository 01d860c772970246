package privacy_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy"
)

// Whatever stands in the file: a ledger that verifies is the frozen one or a
// part of it, and reading never changes the folder.
func FuzzLedger(f *testing.F) {
	frozen, err := os.ReadFile("testdata/ledger/ledger.jsonl")
	require.NoError(f, err)
	f.Add(frozen)
	f.Add(frozen[:len(frozen)-1])
	f.Add([]byte("{}\n"))
	f.Add([]byte(`{"at":"2026-11-22T12:00:00.000000Z","keyid":"16909060","mac":"","n":1,"op":"intent","person":"x","plan":"x","prev":"x","scope":"person","tenant":"x","v":1}` + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		path := filepath.Join(dir, "ledger.jsonl")
		require.NoError(t, os.WriteFile(path, data, 0o600))
		l, err := privacy.NewLedger(privacy.LedgerConfig{Dir: dir, Digests: digestsOf(root{16909060, seqKey(0)})})
		require.NoError(t, err)
		if l.Verify(t.Context()) == nil {
			whole := data[:bytes.LastIndexByte(data, '\n')+1]
			require.True(t, bytes.HasPrefix(frozen, whole), "an entry verified that was never written")
		}
		after, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, data, after)
	})
}

func FuzzCertificate(f *testing.F) {
	frozen, err := os.ReadFile("testdata/certificate.dsse.json")
	require.NoError(f, err)
	text, err := os.ReadFile("testdata/certificate.pub.pem")
	require.NoError(f, err)
	block, _ := pem.Decode(text)
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	require.NoError(f, err)
	want, err := privacy.VerifyCertificate(f.Context(), frozen, key.(ed25519.PublicKey))
	require.NoError(f, err)
	f.Add(frozen)
	f.Add([]byte(`{"payload":"","payloadType":"application/vnd.in-toto+json","signatures":[{"sig":""}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := privacy.VerifyCertificate(t.Context(), data, key.(ed25519.PublicKey))
		if err == nil {
			require.Equal(t, want, c, "another statement verified")
		}
	})
}

func FuzzManifest(f *testing.F) {
	f.Add([]byte(`{"files":[{"count":1,"name":"data/contacts.ndjson","schema":"contact/3","sha256":"00"}],"made":"2026-11-22T12:00:00.000000Z","omissions":[],"tenant":"main","v":1}`))
	f.Add([]byte(`{"files":[],"v":2}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := privacy.ParseManifest(data)
		if err == nil {
			require.Equal(t, 1, m.V)
		}
	})
}

func FuzzOpenExport(f *testing.F) {
	f.Add([]byte("PK\x03\x04"))
	sample, err := os.ReadFile("testdata/export.zip")
	require.NoError(f, err)
	f.Add(sample)
	f.Fuzz(func(t *testing.T, data []byte) {
		_, err := privacy.OpenExport(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			require.ErrorIs(t, err, privacy.ErrManifest)
		}
	})
}
