// Package insecurekeys makes a key encryption key from bytes in the clear.
//
// It is insecure because whoever reads those bytes (a file, a variable of the
// environment, a core dump) can unwrap every keyset. It serves examples,
// tests, and small installations that know it; others hand in the AEAD of
// their KMS. It promises only what AES-256-GCM promises. Call Folder for KEKs in
// files, KEK for one in memory; what they return is safe for concurrent use. A
// key of another length than 32 bytes is an error. The ciphertext is IV (12),
// ciphertext, tag (16), which Tink opens as an AES256-GCM key without prefix.
// Stability: settling.
package insecurekeys

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/tink"
)

// kek keeps its cipher, which holds the key, in a func: package fmt prints what
// a pointer points at for a verb that does not suit it (%s).
type kek struct{ gcm func() cipher.AEAD }

// KEK returns the key encryption key of these 32 bytes.
func KEK(key []byte) (tink.AEADWithContext, error) {
	if len(key) != 32 {
		return nil, errors.New("insecurekeys: a KEK has 32 bytes")
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("insecurekeys: %w", err)
	}
	gcm, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("insecurekeys: %w", err)
	}
	return kek{func() cipher.AEAD { return gcm }}, nil
}

// EncryptWithContext seals.
func (k kek) EncryptWithContext(ctx context.Context, plaintext, associatedData []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return k.gcm().Seal(nil, nil, plaintext, associatedData), nil //nolint:gosec // the AEAD draws its nonce itself
}

// DecryptWithContext opens.
func (k kek) DecryptWithContext(ctx context.Context, ciphertext, associatedData []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	plaintext, err := k.gcm().Open(nil, nil, ciphertext, associatedData)
	if err != nil {
		return nil, errors.New("insecurekeys: does not open")
	}
	return plaintext, nil
}
