package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// keks stands for the key management service that an application would use:
// the key encryption keys by name, in one file of mode 0600. Only a
// demonstration keeps them beside the data.
type keks struct {
	path string
	keys map[string]tink.AEADWithContext
	text map[string]string // name -> binary Tink keyset in hex, as in the file
}

func newKEKs(path string) *keks {
	return &keks{path: path, keys: map[string]tink.AEADWithContext{}, text: map[string]string{}}
}

// create makes a KEK of that name.
func (k *keks) create(name string) error {
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return err
	}
	var text strings.Builder
	if err := insecurecleartextkeyset.Write(handle, keyset.NewBinaryWriter(hex.NewEncoder(&text))); err != nil {
		return err
	}
	primitive, err := aead.New(handle)
	if err != nil {
		return err
	}
	k.keys[name], k.text[name] = withContext{primitive}, text.String()
	return k.save()
}

// get is encryption.Config.KEK.
func (k *keks) get(_ context.Context, _, name string) (tink.AEADWithContext, error) {
	key, ok := k.keys[name]
	if !ok {
		return nil, fmt.Errorf("there is no key encryption key %q in %s", name, filepath.Base(k.path))
	}
	return key, nil
}

// destroy forgets a KEK for ever.
func (k *keks) destroy(_ context.Context, name string) error {
	delete(k.keys, name)
	delete(k.text, name)
	return k.save()
}

func (k *keks) save() error {
	var out strings.Builder
	for name, text := range k.text {
		fmt.Fprintf(&out, "%s %s\n", name, text)
	}
	return keep(k.path, []byte(out.String()))
}

// withContext makes a local key fit where a KMS would take a context.
type withContext struct{ tink.AEAD }

func (w withContext) EncryptWithContext(_ context.Context, plaintext, associatedData []byte) ([]byte, error) {
	return w.Encrypt(plaintext, associatedData)
}

func (w withContext) DecryptWithContext(_ context.Context, ciphertext, associatedData []byte) ([]byte, error) {
	return w.Decrypt(ciphertext, associatedData)
}
