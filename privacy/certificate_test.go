package privacy_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/certificate"
	"github.com/crmguard/crmguard/privacy/erasurelog"
)

func (s *system) public() ed25519.PublicKey { return s.key.Public().(ed25519.PublicKey) }

// verified is the certificate of an outcome, as whoever gets it reads it.
func (s *system) verified(o privacy.Outcome) *certificate.Certificate {
	s.t.Helper()
	c, err := certificate.Verify(o.Certificate, s.public())
	require.NoError(s.t, err)
	return c
}

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
	c := s.verified(o)
	require.EqualValues(t, 1, c.Statement.Intent)
	require.Equal(t, 7*24*time.Hour, c.Statement.FinalAt.Sub(c.Statement.UnreadableLiveAt))
	require.False(t, c.Statement.UnreadableLiveAt.After(s.now))
	require.True(t, c.Statement.Concerns(o.Salt, "main", ann))
	require.False(t, c.Statement.Concerns(o.Salt, "main", newID()))
	require.False(t, c.Statement.Concerns(nil, "main", ann))
	require.False(t, c.Statement.Concerns(make([]byte, 32), "main", ann))
	require.Contains(t, c.Statement.Records, certificate.Records{Store: "crm", Table: "contacts", Count: 1, Class: certificate.Deleted})
	require.Contains(t, c.Statement.Records, certificate.Records{Store: "person keys", Table: "person keys", Count: 1, Class: certificate.Shredded})

	digest := base64.RawURLEncoding.EncodeToString(c.Digest)
	require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM events WHERE id = ? AND action = 'privacy.erase.done' AND attrs LIKE ?`, c.Statement.AuditEvent, "%"+digest+"%"),
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

// A certificate is signed before the ledger says that the erasure is done: one that
// somebody reads out of the database, of an erasure that is voided, verifies. It is
// given out by nobody, and the ledger does not know its digest.
func TestACertificateOfAnErasureThatIsVoided(t *testing.T) {
	s := quick(t)
	p := s.approved(s.contact("ann@a.example"))
	var signed []byte
	for n := 1; signed == nil; n++ { // to the place between certificate and ledger
		s.fuse.left = n
		_, err := s.desk.Execute(t.Context(), p.ID)
		s.fuse.left = 0
		require.Error(t, err)
		require.NoError(t, s.db.QueryRowContext(t.Context(), `SELECT certificate FROM crmguard_privacy_plan WHERE id = ?`, p.ID).Scan(&signed))
	}
	row := s.planRow(p.ID)
	s.exec(`UPDATE crmguard_privacy_plan SET mac = ? WHERE id = ?`, []byte("1.AAAA"), p.ID) // somebody takes it away
	require.NoError(t, s.desk.Void(t.Context(), privacy.Voiding{Plan: p.ID, By: "user/1", Approved: "user/2", Because: "lost"}))
	s.putPlan(p.ID, row) // and brings it back
	for range 2 {
		o, err := s.desk.Execute(t.Context(), p.ID)
		require.ErrorIs(t, err, privacy.ErrVoided)
		require.Empty(t, o.Certificate)
	}
	require.Equal(t, 0, s.count(`SELECT COUNT(*) FROM crmguard_privacy_plan WHERE certificate IS NOT NULL`))
	_, err := certificate.Verify(signed, s.public())
	require.NoError(t, err, "the signature is good")
	ledger, err := s.ledger.Read(t.Context())
	require.NoError(t, err)
	for _, e := range ledger.Plan(p.ID) {
		require.NotEqual(t, erasurelog.Done, e.Op)
	}
}
