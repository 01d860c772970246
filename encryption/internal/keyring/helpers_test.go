package keyring

import (
	"context"
	"crypto/fips140"
	"encoding/binary"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/insecuresecretdataaccess"
	"github.com/tink-crypto/tink-go/v2/key"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/secretdata"
	"github.com/tink-crypto/tink-go/v2/tink"
)

func countingBytes(n int) []byte {
	key := make([]byte, n)
	for i := range key {
		key[i] = byte(i)
	}
	return key
}

func secretOf(b []byte) secretdata.Bytes {
	return secretdata.NewBytesFromData(b, insecuresecretdataaccess.Token{})
}

func handleWith(tb testing.TB, k key.Key) *keyset.Handle {
	tb.Helper()
	manager := keyset.NewManager()
	id, err := manager.AddKey(k)
	require.NoError(tb, err)
	require.NoError(tb, manager.SetPrimary(id))
	handle, err := manager.Handle()
	require.NoError(tb, err)
	return handle
}

// foreignAD is the associated data as a foreign program would write it from
// formats.md, without any code of ours.
func foreignAD(level byte, parts ...string) []byte {
	lp := func(s string) []byte { return append(binary.BigEndian.AppendUint32(nil, uint32(len(s))), s...) }
	out := append(lp("crmguard/field/v1"), level)
	for _, p := range parts {
		out = append(out, lp(p)...)
	}
	return out
}

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

// outsideFIPSHere are the tests in which plain Tink seals by AES-GCM under an IV of
// its own, which Go refuses where only what FIPS 140 approves is allowed.
var outsideFIPSHere = []string{"TestPlainTinkOpensAField", "TestPlainTinkUnwrapsAKeyRow"}

func skipOutsideFIPS(t *testing.T) {
	t.Helper()
	require.Contains(t, outsideFIPSHere, t.Name())
	if fips140.Enforced() {
		t.Skip("plain Tink seals by AES-GCM under an IV of its own, which FIPS 140 only mode refuses")
	}
}
