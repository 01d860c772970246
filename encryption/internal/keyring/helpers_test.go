package keyring

import (
	"context"
	"log/slog"
	"time"

	"github.com/tink-crypto/tink-go/v2/tink"
)

// contextAEAD is an AEAD in the shape of a KEK.
type contextAEAD struct{ tink.AEAD }

func (k contextAEAD) EncryptWithContext(_ context.Context, plaintext, ad []byte) ([]byte, error) {
	return k.Encrypt(plaintext, ad)
}

func (k contextAEAD) DecryptWithContext(_ context.Context, ciphertext, ad []byte) ([]byte, error) {
	return k.Decrypt(ciphertext, ad)
}

// testConfig has what opens and wraps keysets, and no key store.
func testConfig(kek func(context.Context, string, string) (tink.AEADWithContext, error)) Config {
	return Config{
		Keys: noKeys{}, KEK: kek, KEKTimeout: time.Minute, Now: time.Now,
		Observe: func(context.Context, string, float64, ...slog.Attr) {},
	}
}
