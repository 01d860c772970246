package encryption

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"

	"github.com/crmguard/crmguard/encryption/internal/format"
	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/internal/frame"
)

// Tagger makes and verifies tags with a keyset of the tenant: Tink
// HMAC-SHA256, 37 bytes. It is safe for concurrent use.
type Tagger struct {
	vault   *Vault
	purpose string
}

// Tagger returns the tagger for a purpose: "seal" (row seals, votes) or "log"
// (the audit queue). Another purpose fails at its first use with ErrKeyset.
func (v *Vault) Tagger(purpose string) Tagger { return Tagger{vault: v, purpose: purpose} }

// Tag returns the tag of data.
func (t Tagger) Tag(ctx context.Context, tenant string, data []byte) ([]byte, error) {
	k, err := t.keyset(ctx, tenant)
	if err != nil {
		return nil, err
	}
	return keyring.TagWith(k, data)
}

// Verify returns nil if tag is the tag of data, ErrTag otherwise; where the
// keyset lacks the key that the tag names, the error is fs.ErrNotExist too.
func (t Tagger) Verify(ctx context.Context, tenant string, data, tag []byte) error {
	k, err := t.keyset(ctx, tenant)
	if err != nil {
		return err
	}
	if keyring.VerifyWith(k, data, tag) == nil {
		return nil
	}
	if k.Has(tag) {
		return ErrTag
	}
	// Made by a key that this process has not seen yet: read afresh once.
	fresh, err := t.vault.ring.LoadTenant(ctx, tenant)
	if err != nil {
		return err
	}
	if k, err = t.vault.ring.KeysetOf(ctx, fresh, t.purpose); err != nil {
		return err
	}
	return keyring.VerifyWith(k, data, tag)
}

func (t Tagger) keyset(ctx context.Context, tenant string) (*keyring.Keyset, error) {
	if t.purpose != keyring.PurposeSeal && t.purpose != keyring.PurposeLog {
		return nil, fmt.Errorf("%w: no tagger has this purpose: there are %q and %q", ErrKeyset, keyring.PurposeSeal, keyring.PurposeLog)
	}
	if err := keyring.CheckTenant(tenant); err != nil {
		return nil, err
	}
	return t.vault.ring.KnownKeyset(ctx, tenant, t.purpose)
}

// ManifestTagger makes and verifies tags with the installation's manifest
// keyset. It is safe for concurrent use.
type ManifestTagger struct{ vault *Vault }

// ManifestTagger returns the tagger for backup manifests.
func (v *Vault) ManifestTagger() ManifestTagger { return ManifestTagger{vault: v} }

// Tag returns the tag of data.
func (t ManifestTagger) Tag(ctx context.Context, data []byte) ([]byte, error) {
	k, err := t.vault.ring.KnownKeyset(ctx, "", keyring.PurposeManifest)
	if err != nil {
		return nil, err
	}
	return keyring.TagWith(k, data)
}

// Verify returns nil if tag is the tag of data, ErrTag otherwise; where the
// keyset lacks the key that the tag names, the error is fs.ErrNotExist too.
func (t ManifestTagger) Verify(ctx context.Context, data, tag []byte) error {
	k, err := t.vault.ring.KnownKeyset(ctx, "", keyring.PurposeManifest)
	if err != nil {
		return err
	}
	return keyring.VerifyWith(k, data, tag)
}

// Digests returns a func that computes keyed digests under every root of a
// tenant's keyset, the primary first, the others newest first. The only
// purpose is "suppression"; another one fails at the first use.
//
// A digest is HMAC-SHA256(HKDF(root, info), data), where info is LP encoded by
// the caller (formats.md 11 has four parts); roots are Tink key ids.
func (v *Vault) Digests(purpose string) func(ctx context.Context, tenant string, info, data []byte) (roots []uint32, digests [][]byte, err error) {
	return func(ctx context.Context, tenant string, info, data []byte) ([]uint32, [][]byte, error) {
		if purpose != keyring.PurposeSuppression {
			return nil, nil, fmt.Errorf("%w: no digests have this purpose", ErrKeyset)
		}
		if err := keyring.CheckTenant(tenant); err != nil {
			return nil, nil, err
		}
		return v.digests(ctx, tenant, purpose, info, data)
	}
}

// LedgerDigests returns the digests of the installation's ledger keyset, in
// the form of Digests with the info LP(label).
func (v *Vault) LedgerDigests() func(ctx context.Context, label string, data []byte) (roots []uint32, digests [][]byte, err error) {
	return func(ctx context.Context, label string, data []byte) ([]uint32, [][]byte, error) {
		return v.digests(ctx, "", keyring.PurposeLedger, frame.Join(label), data)
	}
}

func (v *Vault) digests(ctx context.Context, tenant, purpose string, info, data []byte) ([]uint32, [][]byte, error) {
	k, err := v.ring.Keyset(ctx, tenant, purpose)
	if err != nil {
		return nil, nil, err
	}
	roots := make([]uint32, 0, len(k.Roots))
	digests := make([][]byte, 0, len(k.Roots))
	for _, r := range k.Roots {
		digest, err := digest(r.Key, info, data)
		if err != nil {
			return nil, nil, err
		}
		roots = append(roots, r.ID)
		digests = append(digests, digest)
	}
	return roots, digests, nil
}

func digest(root, info, data []byte) ([]byte, error) {
	key, err := format.Derive(root, info)
	if err != nil {
		return nil, err
	}
	mac := hmac.New(sha256.New, key)
	mac.Write(data)
	return mac.Sum(nil), nil
}
