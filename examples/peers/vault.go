package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/mac"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/sqlkeys"
)

// A kek is a key encryption key in memory; an application has a KMS.
type kek struct {
	handle *keyset.Handle
	aead   tink.AEAD
}

func newKEK() (*kek, error) {
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, err
	}
	primitive, err := aead.New(handle)
	return &kek{handle, primitive}, err
}

func (k *kek) EncryptWithContext(_ context.Context, plaintext, ad []byte) ([]byte, error) {
	return k.aead.Encrypt(plaintext, ad)
}

func (k *kek) DecryptWithContext(_ context.Context, ciphertext, ad []byte) ([]byte, error) {
	return k.aead.Decrypt(ciphertext, ad)
}

// clear is the key as a Tink keyset in JSON: what a foreign program is given.
func (k *kek) clear() (json.RawMessage, error) {
	var out bytes.Buffer
	err := insecurecleartextkeyset.Write(k.handle, keyset.NewJSONWriter(&out))
	return out.Bytes(), err
}

// newVault makes an installation with one tenant over an SQLite file.
func newVault(ctx context.Context, p *bench) (*encryption.Vault, error) {
	vault, _, _, err := openVault(ctx, p)
	return vault, err
}

func openVault(ctx context.Context, p *bench) (*encryption.Vault, *sqlkeys.Store, *kek, error) {
	db, err := p.database(ctx, "keys")
	if err != nil {
		return nil, nil, nil, err
	}
	if err := sqlkeys.Install(ctx, db); err != nil {
		return nil, nil, nil, err
	}
	store, err := sqlkeys.Open(ctx, db)
	if err != nil {
		return nil, nil, nil, err
	}
	key, err := newKEK()
	if err != nil {
		return nil, nil, nil, err
	}
	vault, err := encryption.Create(ctx, encryption.Config{
		Keys: store,
		KEK:  func(context.Context, string, string) (tink.AEADWithContext, error) { return key, nil },
		// A writer is good for one lease, 5 s by default: an application makes
		// one a request. Here one writer serves all rounds.
		Lease: time.Hour,
		Wait:  func(ctx context.Context, _ time.Duration) error { return ctx.Err() }, // nobody else is there to wait for
	})
	if err != nil {
		return nil, nil, nil, err
	}
	return vault, store, key, errors.Join(vault.AddTenant(ctx, tenant), vault.Ensure(ctx, tenant, person))
}

// A tagger authenticates manifests with a plain Tink MAC, so that a backup is
// measured by itself.
type tagger struct{ mac tink.MAC }

func manifestTagger() (tagger, error) {
	handle, err := keyset.NewHandle(mac.HMACSHA256Tag256KeyTemplate())
	if err != nil {
		return tagger{}, err
	}
	primitive, err := mac.New(handle)
	return tagger{primitive}, err
}

func (t tagger) Tag(_ context.Context, data []byte) ([]byte, error) { return t.mac.ComputeMAC(data) }

func (t tagger) Verify(_ context.Context, data, tag []byte) error { return t.mac.VerifyMAC(tag, data) }
