package primitives

import (
	"context"
	"fmt"

	"github.com/crmguard/crmguard/encryption/internal/keyring"
)

// Tagger makes and verifies tags with a keyset of the tenant: Tink
// HMAC-SHA256, 37 bytes. It is safe for concurrent use.
type Tagger struct {
	keys    *Keys
	purpose string
}

// Tagger is that of encryption.Vault.
func (k *Keys) Tagger(purpose string) Tagger { return Tagger{keys: k, purpose: purpose} }

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
		return keyring.ErrTag
	}
	// Made by a key that this process has not seen yet: read afresh once.
	fresh, err := t.keys.ring.LoadTenant(ctx, tenant)
	if err != nil {
		return err
	}
	if k, err = t.keys.ring.KeysetOf(ctx, fresh, t.purpose); err != nil {
		return err
	}
	return keyring.VerifyWith(k, data, tag)
}

func (t Tagger) keyset(ctx context.Context, tenant string) (*keyring.Keyset, error) {
	if t.purpose != keyring.PurposeSeal && t.purpose != keyring.PurposeLog {
		return nil, fmt.Errorf("%w: no tagger has this purpose: there are %q and %q", keyring.ErrKeyset, keyring.PurposeSeal, keyring.PurposeLog)
	}
	if err := keyring.CheckTenant(tenant); err != nil {
		return nil, err
	}
	return t.keys.ring.KnownKeyset(ctx, tenant, t.purpose)
}

// ManifestTagger makes and verifies tags with the installation's manifest
// keyset. It is safe for concurrent use.
type ManifestTagger struct{ keys *Keys }

// ManifestTagger is that of encryption.Vault.
func (k *Keys) ManifestTagger() ManifestTagger { return ManifestTagger{keys: k} }

// Tag returns the tag of data.
func (t ManifestTagger) Tag(ctx context.Context, data []byte) ([]byte, error) {
	k, err := t.keys.ring.KnownKeyset(ctx, "", keyring.PurposeManifest)
	if err != nil {
		return nil, err
	}
	return keyring.TagWith(k, data)
}

// Verify returns nil if tag is the tag of data, ErrTag otherwise; where the
// keyset lacks the key that the tag names, the error is fs.ErrNotExist too.
func (t ManifestTagger) Verify(ctx context.Context, data, tag []byte) error {
	k, err := t.keys.ring.KnownKeyset(ctx, "", keyring.PurposeManifest)
	if err != nil {
		return err
	}
	return keyring.VerifyWith(k, data, tag)
}
