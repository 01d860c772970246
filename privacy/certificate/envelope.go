package certificate

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
)

// Why a certificate is refused.
var (
	// ErrSigner is wrapped by what goes wrong at the signer.
	ErrSigner = errors.New("certificate: signer gives no Ed25519 signature")
	// ErrNotSigned says that no trusted key has signed it.
	ErrNotSigned = errors.New("certificate: no trusted key has signed this")
	// ErrMalformed is wrapped by what says that bytes are no erasure certificate.
	ErrMalformed = errors.New("certificate: not an erasure certificate")
	// ErrKeys says that what was handed in as public keys is none.
	ErrKeys = errors.New("certificate: no Ed25519 public keys")
)

const (
	payloadType   = "application/vnd.in-toto+json"
	maxSignatures = 100 // of one envelope, each of which may be tried under each key
)

// Certificate is a signed statement.
type Certificate struct {
	Statement Statement // as it stands in the envelope: times are cut off to microseconds
	Envelope  []byte    // DSSE, JSON: what is kept and handed out
	Digest    []byte    // SHA-256 of the statement's bytes, as recorded in ledger and audit trail
	KeyID     string    // of the key that signed: hex SHA-256 of its SubjectPublicKeyInfo
}

// Sign makes the certificate of a statement. The key may be in a key service:
// anything that is a [crypto.Signer] with an Ed25519 public key.
func Sign(ctx context.Context, key crypto.Signer, s Statement) (*Certificate, error) {
	payload, err := s.encode()
	if err != nil {
		return nil, err
	}
	if key == nil {
		return nil, fmt.Errorf("%w: there is none", ErrSigner)
	}
	public, ok := key.Public().(ed25519.PublicKey)
	if !ok || len(public) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("%w: its public key is of another kind", ErrSigner)
	}
	signature, err := sign(ctx, key, dsse.PAE(payloadType, payload))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSigner, err)
	}
	envelope, err := json.Marshal(dsse.Envelope{
		PayloadType: payloadType, Payload: base64.StdEncoding.EncodeToString(payload),
		Signatures: []dsse.Signature{{KeyID: keyID(public), Sig: base64.StdEncoding.EncodeToString(signature)}},
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStatement, err)
	}
	made, err := Verify(envelope, public)
	if errors.Is(err, ErrNotSigned) {
		return nil, fmt.Errorf("%w: what it signed does not verify under its own public key", ErrSigner)
	}
	return made, err
}

// sign asks the signer, which knows no context: where that ends the goroutine
// is left behind until the signer answers.
func sign(ctx context.Context, key crypto.Signer, data []byte) ([]byte, error) {
	type answer struct {
		signature []byte
		err       error
	}
	answers := make(chan answer, 1)
	go func() {
		signature, err := crypto.SignMessage(key, rand.Reader, data, crypto.Hash(0))
		answers <- answer{signature, err}
	}()
	select {
	case a := <-answers:
		return a.signature, a.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Verify checks an envelope and reads its statement. One signature of one of the
// keys is enough: keys are all that ever signed and are still trusted.
func Verify(envelope []byte, keys ...ed25519.PublicKey) (*Certificate, error) {
	var e struct {
		PayloadType string            `json:"payloadType"`
		Payload     string            `json:"payload"`
		Signatures  []json.RawMessage `json:"signatures"` // each read by itself: one that is garbage spoils no other
	}
	if err := json.Unmarshal(envelope, &e); err != nil || len(e.Signatures) > maxSignatures {
		return nil, malformed("no DSSE envelope, or one of too many signatures")
	}
	payload, err := decodeBase64(e.Payload)
	if err != nil || e.PayloadType != payloadType {
		return nil, malformed("not an in-toto statement")
	}
	key, err := signedBy(dsse.PAE(payloadType, payload), e.Signatures, keys)
	if err != nil {
		return nil, err
	}
	s, err := decode(payload)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(payload)
	return &Certificate{Statement: s, Envelope: bytes.Clone(envelope), Digest: sum[:], KeyID: keyID(key)}, nil
}

// signedBy is the first key that one of the signatures is of. The verifier of
// package dsse is not asked: it refuses all where one is no base64, and prints.
func signedBy(data []byte, signatures []json.RawMessage, keys []ed25519.PublicKey) (ed25519.PublicKey, error) {
	for _, key := range keys {
		if len(key) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("%w: one of another length", ErrKeys)
		}
	}
	for _, raw := range signatures {
		var s struct {
			Sig string `json:"sig"`
		}
		if json.Unmarshal(raw, &s) != nil {
			continue
		}
		signature, err := decodeBase64(s.Sig)
		if err != nil {
			continue
		}
		for _, key := range keys {
			if ed25519.Verify(key, data, signature) {
				return key, nil
			}
		}
	}
	return nil, ErrNotSigned
}

// decodeBase64 takes both alphabets, as DSSE says that readers do.
func decodeBase64(text string) ([]byte, error) {
	return (&dsse.Envelope{Payload: text}).DecodeB64Payload()
}

// keyID is empty for what cannot be encoded, which no Ed25519 key is.
func keyID(public ed25519.PublicKey) string {
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(spki)
	return hex.EncodeToString(sum[:])
}

// ParseKeys reads public keys for [Verify]: PEM blocks PUBLIC KEY one after
// another, as openssl pkey -pubout writes them, with any text between them.
func ParseKeys(text []byte) ([]ed25519.PublicKey, error) {
	var keys []ed25519.PublicKey
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		key, err := x509.ParsePKIXPublicKey(block.Bytes)
		public, ok := key.(ed25519.PublicKey)
		if err != nil || !ok {
			return nil, fmt.Errorf("%w: block %d is another thing", ErrKeys, len(keys)+1)
		}
		keys = append(keys, public)
	}
	if len(keys) == 0 || len(keys) != bytes.Count(text, []byte("-----BEGIN ")) {
		return nil, fmt.Errorf("%w: no PEM block PUBLIC KEY, or one that is damaged", ErrKeys)
	}
	return keys, nil
}
