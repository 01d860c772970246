// Package alone derives the keys of those who import one package of the
// library without package encryption.
//
// One [Secret] of 32 random bytes is the root of them all. A key belongs to a
// purpose and, where the caller tags or seals for a tenant, to that tenant:
//
//	key = HKDF-SHA256(secret, LP("crmguard/alone/v1") ‖ LP(purpose) [‖ LP(tenant)])
//
// and its id, which stands in what it makes, is the first 4 bytes of the same
// over "crmguard/alone/id/v1", where 0 counts as 1. [Secret.MACKeys] derives
// from the key of a purpose once more. What is made has the form
// that Tink gives it (formats.md, "Stand-alone keys"), and purposes and
// associated data are those of a vault of package encryption, so that a vault
// may take over: what stands under another key id answers [fs.ErrNotExist],
// which lets a caller ask one set of keys after the other.
//
// Not promised: there is no key of a person, so nothing here can be shredded;
// no key rotates alone, a leaked secret is replaced by another one
// ([Secret.AuditKeys] says how while events wait); whoever
// reads the secret can tag, seal and open everything.
package alone

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/crmguard/crmguard/internal/frame"
	"github.com/crmguard/crmguard/internal/ids"
)

// The purposes, in the words of package encryption.
const (
	PurposeSeal     = "seal"     // row seals, a key a tenant
	PurposeLog      = "log"      // the queue of the audit trail, a key a tenant
	PurposeAudit    = "audit"    // openings of the audit trail, a key a tenant
	PurposeManifest = "manifest" // backup manifests, one key
	PurposeLedger   = "ledger"   // the erasure ledger, one root
)

const (
	labelKey  = "crmguard/alone/v1"
	labelID   = "crmguard/alone/id/v1"
	labelSeal = "crmguard/personseal/v1"

	keySize    = 32
	prefixSize = 5 // 0x01 and the key id, as Tink writes them
	tagSize    = prefixSize + sha256.Size
	nobody     = "t:" // owner of the tenant's own data
)

var (
	errTag          = errors.New("stand-alone keys: the tag does not verify")
	errOpen   error = notOpenError{}
	errTenant       = errors.New("stand-alone keys: a tenant is 1 to 255 bytes of UTF-8 without NUL")
	errPerson       = errors.New("stand-alone keys: a person id is at most 255 bytes of UTF-8 without NUL, and has no colon in second place")
)

// notOpenError is a verdict on sealed bytes, and no failure of the moment.
type notOpenError struct{}

func (notOpenError) Error() string    { return "stand-alone keys: sealed bytes do not open" }
func (notOpenError) NeverOpens() bool { return false } // there is no key of a person that could be gone

// otherKeyError says that key id and secret do not belong together.
type otherKeyError struct{ err error }

func (e otherKeyError) Error() string {
	return e.err.Error() + ": made under another key than this secret gives"
}
func (e otherKeyError) Unwrap() []error { return []error{e.err, fs.ErrNotExist} }

// Secret is the root of all stand-alone keys of an application. It sits behind
// a func, because package fmt prints what a pointer points at for some verbs.
type Secret struct{ root func() []byte }

// From takes 32 random bytes. It refuses what no random source gives.
func From(secret []byte) (Secret, error) {
	if len(secret) != keySize {
		return Secret{}, fmt.Errorf("the secret has %d bytes: hand in 32 random bytes (not their hex digits)", len(secret))
	}
	if strings.Count(string(secret), string(secret[:1])) == keySize {
		return Secret{}, errors.New("the secret is one byte repeated: hand in 32 random bytes")
	}
	root, err := hkdf.Extract(sha256.New, secret, nil)
	if err != nil {
		return Secret{}, fmt.Errorf("deriving from the secret: %w", err)
	}
	return Secret{func() []byte { return root }}, nil
}

// derived is a key and the id that it goes by.
type derived struct {
	key []byte
	id  uint32
}

// derive returns the key of a purpose and, where there is one, a tenant.
func (s Secret) derive(ctx context.Context, purposeAndTenant ...string) (derived, error) {
	if err := ctx.Err(); err != nil {
		return derived{}, err
	}
	expand := func(label string) ([]byte, error) {
		return hkdf.Expand(sha256.New, s.root(), string(frame.Join(append([]string{label}, purposeAndTenant...)...)), keySize)
	}
	key, err := expand(labelKey)
	if err != nil {
		return derived{}, fmt.Errorf("stand-alone keys: %w", err)
	}
	id, err := expand(labelID)
	if err != nil {
		return derived{}, fmt.Errorf("stand-alone keys: %w", err)
	}
	return derived{key, keyID(id)}, nil
}

// keyID avoids 0, which Tink takes for no id.
func keyID(expanded []byte) uint32 { return max(1, binary.BigEndian.Uint32(expanded)) }

func (k derived) prefix() []byte { return binary.BigEndian.AppendUint32([]byte{1}, k.id) }

func (k derived) tag(data []byte) []byte {
	mac := hmac.New(sha256.New, k.key)
	mac.Write(data)
	return mac.Sum(k.prefix())
}

func (k derived) verify(data, tag []byte) error {
	switch {
	case len(tag) != tagSize || tag[0] != 1:
		return errTag
	case binary.BigEndian.Uint32(tag[1:]) != k.id:
		return otherKeyError{errTag}
	case !hmac.Equal(tag, k.tag(data)):
		return errTag
	}
	return nil
}

func (k derived) gcm() (cipher.AEAD, error) {
	block, err := aes.NewCipher(k.key)
	if err != nil {
		return nil, fmt.Errorf("stand-alone keys: %w", err)
	}
	gcm, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("stand-alone keys: %w", err)
	}
	return gcm, nil
}

// Tagger makes and verifies tags of tenants: 0x01 ‖ key id ‖ HMAC-SHA256.
type Tagger struct {
	secret  Secret
	purpose string
}

// Tagger returns the tagger for a purpose that has a key a tenant.
func (s Secret) Tagger(purpose string) Tagger { return Tagger{s, purpose} }

// Tag returns the tag of data.
func (t Tagger) Tag(ctx context.Context, tenant string, data []byte) ([]byte, error) {
	k, err := t.secret.ofTenant(ctx, t.purpose, tenant)
	if err != nil {
		return nil, err
	}
	return k.tag(data), nil
}

// Verify returns nil if tag is the tag of data. A tag under another key is
// [fs.ErrNotExist].
func (t Tagger) Verify(ctx context.Context, tenant string, data, tag []byte) error {
	k, err := t.secret.ofTenant(ctx, t.purpose, tenant)
	if err != nil {
		return err
	}
	return k.verify(data, tag)
}

// Manifests makes and verifies tags that belong to no tenant.
type Manifests struct{ secret Secret }

// Manifests returns the tagger for backup manifests.
func (s Secret) Manifests() Manifests { return Manifests{s} }

// Tag returns the tag of data.
func (m Manifests) Tag(ctx context.Context, data []byte) ([]byte, error) {
	k, err := m.secret.derive(ctx, PurposeManifest)
	if err != nil {
		return nil, err
	}
	return k.tag(data), nil
}

// Verify returns nil if tag is the tag of data. A tag under another key is
// [fs.ErrNotExist].
func (m Manifests) Verify(ctx context.Context, data, tag []byte) error {
	k, err := m.secret.derive(ctx, PurposeManifest)
	if err != nil {
		return err
	}
	return k.verify(data, tag)
}

// Sealer seals bytes about persons, under one key a tenant: the person is
// bound by the associated data, which is that of person-sealed bytes.
type Sealer struct {
	secret  Secret
	purpose string
}

// Sealer returns the sealer for a purpose, which is part of every value.
func (s Secret) Sealer(purpose string) Sealer { return Sealer{s, purpose} }

// Seal returns 0x01 ‖ key id ‖ IV ‖ ciphertext ‖ tag. The person "" is nobody.
func (s Sealer) Seal(ctx context.Context, tenant, person string, plaintext, ad []byte) ([]byte, error) {
	k, full, err := s.prepare(ctx, tenant, person, ad)
	if err != nil {
		return nil, err
	}
	gcm, err := k.gcm()
	if err != nil {
		return nil, err
	}
	return append(k.prefix(), gcm.Seal(nil, nil, plaintext, full)...), nil //nolint:gosec // the AEAD draws its nonce itself
}

// Open undoes Seal. What was sealed under another key is [fs.ErrNotExist].
func (s Sealer) Open(ctx context.Context, tenant, person string, sealed, ad []byte) ([]byte, error) {
	k, full, err := s.prepare(ctx, tenant, person, ad)
	if err != nil {
		return nil, err
	}
	if len(sealed) < prefixSize || sealed[0] != 1 {
		return nil, errOpen
	}
	if binary.BigEndian.Uint32(sealed[1:]) != k.id {
		return nil, otherKeyError{errOpen}
	}
	gcm, err := k.gcm()
	if err != nil {
		return nil, err
	}
	plaintext, err := gcm.Open(nil, nil, sealed[prefixSize:], full)
	if err != nil {
		return nil, errOpen
	}
	return plaintext, nil
}

// prepare returns the key and the whole associated data.
func (s Sealer) prepare(ctx context.Context, tenant, person string, ad []byte) (derived, []byte, error) {
	k, err := s.secret.ofTenant(ctx, s.purpose, tenant)
	if err != nil {
		return derived{}, nil, err
	}
	owner := person
	if person == "" {
		owner = nobody
	} else if err := ids.CheckGiven("person", person); err != nil {
		return derived{}, nil, fmt.Errorf("%w: %w", errPerson, err)
	}
	return k, frame.Append(frame.Join(labelSeal, s.purpose, tenant, owner), ad), nil
}

// LedgerDigests answers the root's id and HMAC-SHA256(HKDF(root, LP(label)),
// data): what the erasure ledger asks of its keys.
func (s Secret) LedgerDigests(ctx context.Context, label string, data []byte) (roots []uint32, digests [][]byte, err error) {
	key, err := s.ledgerKey(ctx, label)
	if err != nil {
		return nil, nil, err
	}
	roots, digests = key.digest(data)
	return roots, digests, nil
}

// ledgerKey is the key of a label, with the id of the root.
func (s Secret) ledgerKey(ctx context.Context, label string) (derived, error) {
	root, err := s.derive(ctx, PurposeLedger)
	if err != nil {
		return derived{}, err
	}
	key, err := hkdf.Key(sha256.New, root.key, nil, string(frame.Join(label)), keySize)
	if err != nil {
		return derived{}, fmt.Errorf("stand-alone keys: %w", err)
	}
	return derived{id: root.id, key: key}, nil
}

func (s Secret) ofTenant(ctx context.Context, purpose, tenant string) (derived, error) {
	if err := ids.Check("tenant", tenant); err != nil {
		return derived{}, fmt.Errorf("%w: %w", errTenant, err)
	}
	return s.derive(ctx, purpose, tenant)
}
