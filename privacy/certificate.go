package privacy

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"github.com/crmguard/crmguard/internal/canon"
	"github.com/crmguard/crmguard/internal/frame"
	"github.com/crmguard/crmguard/privacy/datastore"
)

const (
	statementType = "https://in-toto.io/Statement/v1"
	payloadType   = "application/vnd.in-toto+json"
	predicateType = "https://github.com/crmguard/crmguard/erasure/v1"
	saltSize      = 32
)

// ErrCertificate is wrapped by every refusal of [VerifyCertificate].
var ErrCertificate = errors.New("privacy: certificate does not verify")

// Certificate is what a verified erasure certificate says.
type Certificate struct {
	Name             string // "erasure/<n>", n the number of the intent in the ledger
	Classes          []CertifiedClass
	NotCovered       []string
	UnreadableLiveAt time.Time // nothing in the live system opens the data from then on
	FinalAt          time.Time // the last key copy that could has ended by then
	AuditEvent       string    // id of the event that records the certificate; empty without a trail
	Digest           []byte    // SHA-256 of the statement, as recorded in ledger and audit trail

	person string // commitment, hex
}

// CertifiedClass is one line of a certificate: records of one table with one
// fate under its true name.
type CertifiedClass struct {
	Because string          `json:"because,omitempty"`
	Class   datastore.Class `json:"class"`
	Count   int             `json:"count"`
	Table   string          `json:"table"`
	Until   string          `json:"until,omitempty"` // RFC 3339, of what is kept
}

type statement struct {
	Type          string             `json:"_type"`
	Predicate     predicate          `json:"predicate"`
	PredicateType string             `json:"predicateType"`
	Subject       []statementSubject `json:"subject"`
}

type statementSubject struct {
	Digest map[string]string `json:"digest"`
	Name   string            `json:"name"`
}

type predicate struct {
	AuditEvent       string           `json:"audit_event_id,omitempty"`
	Classes          []CertifiedClass `json:"classes"`
	FinalAt          string           `json:"final_at"`
	NotCovered       []string         `json:"not_covered"`
	UnreadableLiveAt string           `json:"unreadable_live_at"`
}

// PersonCommitment is the subject of a certificate: it names the person only
// to whoever holds the salt.
func PersonCommitment(salt []byte, tenant, person string) []byte {
	data := frame.Join("crmguard/certificate/person/v1")
	data = append(data, salt...)
	data = frame.Append(frame.Append(data, tenant), person)
	sum := sha256.Sum256(data)
	return sum[:]
}

// Concerns reports whether the certificate is about the person, given the
// salt that was handed to them.
func (c *Certificate) Concerns(salt []byte, tenant, person string) bool {
	want := hex.EncodeToString(PersonCommitment(salt, tenant, person))
	return len(salt) == saltSize && hmac.Equal([]byte(want), []byte(c.person))
}

type issued struct {
	envelope, digest, salt []byte
}

func (d *Desk) certify(ctx context.Context, p *Plan, o Outcome, n int64, unreadable time.Time, event string) (issued, error) {
	salt := make([]byte, saltSize)
	if _, err := rand.Read(salt); err != nil {
		return issued{}, mute("drawing a salt", err)
	}
	return certify(ctx, d.sign(), salt, statement{
		Type: statementType, PredicateType: predicateType,
		Subject: []statementSubject{{
			Name:   fmt.Sprintf("erasure/%d", n),
			Digest: map[string]string{"sha256": hex.EncodeToString(PersonCommitment(salt, p.Tenant, p.Person))},
		}},
		Predicate: predicate{
			AuditEvent: event, Classes: classes(p.Counts), NotCovered: append([]string{}, o.NotCovered...),
			UnreadableLiveAt: stamp(unreadable), FinalAt: stamp(unreadable.Add(d.cfg.window())),
		},
	})
}

func certify(ctx context.Context, key crypto.Signer, salt []byte, s statement) (issued, error) {
	payload, err := canon.Marshal(s)
	if err != nil {
		return issued{}, mute("encoding the certificate", err)
	}
	signer, err := dsse.NewEnvelopeSigner(edSigner{key})
	if err != nil {
		return issued{}, mute("signing the certificate", err)
	}
	signed, err := signer.SignPayload(ctx, payloadType, payload)
	if err != nil {
		return issued{}, mute("signing the certificate", err)
	}
	envelope, err := json.Marshal(signed)
	if err != nil {
		return issued{}, mute("encoding the certificate", err)
	}
	sum := sha256.Sum256(payload)
	return issued{envelope: envelope, digest: sum[:], salt: salt}, nil
}

func classes(counts []Count) []CertifiedClass {
	list := make([]CertifiedClass, 0, len(counts))
	for _, c := range counts {
		list = append(list, CertifiedClass{Because: c.Because, Class: c.Class, Count: c.Rows, Table: c.Table, Until: stamp(c.Until)})
	}
	return list
}

// VerifyCertificate checks an envelope against the one public key that is
// trusted (its key id is a hint and ignored) and reads the statement.
func VerifyCertificate(ctx context.Context, envelope []byte, public ed25519.PublicKey) (*Certificate, error) {
	bad := func(text string) (*Certificate, error) { return nil, fmt.Errorf("%w: %s", ErrCertificate, text) }
	if len(public) != ed25519.PublicKeySize {
		return bad("no Ed25519 public key")
	}
	var e dsse.Envelope
	if err := json.Unmarshal(envelope, &e); err != nil || len(e.Signatures) == 0 {
		return bad("no DSSE envelope")
	}
	if e.PayloadType != payloadType {
		return bad("not an in-toto statement")
	}
	for i := range e.Signatures {
		e.Signatures[i].KeyID = ""
	}
	verifier, err := dsse.NewEnvelopeVerifier(edVerifier{public})
	if err != nil {
		return bad("no verifier")
	}
	_, payload, err := verifier.VerifyAndDecode(ctx, &e)
	if err != nil {
		return bad("signature")
	}
	return readStatement(payload)
}

func readStatement(payload []byte) (*Certificate, error) {
	bad := func(text string) (*Certificate, error) { return nil, fmt.Errorf("%w: %s", ErrCertificate, text) }
	var s statement
	if err := canon.Unmarshal(payload, &s); err != nil {
		return bad("statement is not canonical JSON")
	}
	if s.Type != statementType || s.PredicateType != predicateType || len(s.Subject) != 1 {
		return bad("not an erasure statement")
	}
	unreadable, err1 := canon.ParseTime(s.Predicate.UnreadableLiveAt)
	final, err2 := canon.ParseTime(s.Predicate.FinalAt)
	if err := errors.Join(err1, err2); err != nil {
		return bad("dates")
	}
	sum := sha256.Sum256(payload)
	return &Certificate{
		Name: s.Subject[0].Name, Classes: s.Predicate.Classes,
		NotCovered: s.Predicate.NotCovered, UnreadableLiveAt: unreadable, FinalAt: final,
		AuditEvent: s.Predicate.AuditEvent, Digest: sum[:], person: s.Subject[0].Digest["sha256"],
	}, nil
}

// edSigner and edVerifier are Ed25519 for DSSE with the key id of formats.md:
// hex SHA-256 of the SubjectPublicKeyInfo.
type edSigner struct{ key crypto.Signer }

func (s edSigner) Sign(_ context.Context, data []byte) ([]byte, error) {
	return s.key.Sign(rand.Reader, data, crypto.Hash(0))
}

func (s edSigner) KeyID() (string, error) {
	spki, err := x509.MarshalPKIXPublicKey(s.key.Public())
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(spki)
	return hex.EncodeToString(sum[:]), nil
}

type edVerifier struct{ key ed25519.PublicKey }

func (v edVerifier) Verify(_ context.Context, data, sig []byte) error {
	if !ed25519.Verify(v.key, data, sig) {
		return errors.New("signature does not verify")
	}
	return nil
}

func (v edVerifier) KeyID() (string, error) { return "", nil }

func (v edVerifier) Public() crypto.PublicKey { return slices.Clone(v.key) }
