package privacy_test

import (
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the samples in testdata anew; never for a released format")

// TestFreeze writes the samples that the TestFrozen… tests open.
func TestFreeze(t *testing.T) {
	if !*update {
		return
	}
	s := newSystem(t)
	s.now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	bob := s.contact("bob@b.example")
	s.contactOf("p1", newID(), "ann@a.example")
	s.activity("p1 and another", "p1", bob)
	id := identity(t)
	b, err := s.desk.Export(t.Context(), "main", "p1", id.Recipient().String())
	require.NoError(t, err)
	export := inner(t, b, id)
	s.keys.broken = true
	p := s.approved("p1")
	_, err = s.desk.Execute(t.Context(), p.ID) // partial
	require.NoError(t, err)
	s.keys.broken = false
	_, err = s.desk.Execute(t.Context(), p.ID)
	require.NoError(t, err)
	s.now = s.now.Add(time.Minute)
	o, err := s.desk.Execute(t.Context(), p.ID)
	require.NoError(t, err)
	head, err := s.desk.LedgerHead(t.Context())
	require.NoError(t, err)
	ledger, err := os.ReadFile(s.ledgerPath())
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll("testdata/ledger", 0o755))
	for name, data := range map[string][]byte{
		"ledger/ledger.jsonl": ledger, "ledger/head.json": head,
		"certificate.dsse.json": o.Certificate, "certificate.pub.pem": publicPEM(t, s.public()),
		"export.zip": export, "export.zip.age": b.Data, "export.identity.txt": []byte(id.String() + "\n"),
		"certificate.salt.hex": []byte(hex.EncodeToString(o.Salt) + "\n"),
	} {
		require.NoError(t, os.WriteFile(filepath.Join("testdata", name), data, 0o644))
	}
}
