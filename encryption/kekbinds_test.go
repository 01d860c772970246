package encryption_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/insecurekeys"
)

// looseKEKs encrypt soundly and bind too little of the associated data.
func looseKEKs(t *testing.T) map[string]tink.AEADWithContext {
	t.Helper()
	sound, err := insecurekeys.KEK(bytes.Repeat([]byte{5}, 32))
	require.NoError(t, err)
	binding := func(part func([]byte) []byte) tink.AEADWithContext {
		return pair{
			func(plaintext, ad []byte) ([]byte, error) {
				return sound.EncryptWithContext(t.Context(), plaintext, part(ad))
			},
			func(ciphertext, ad []byte) ([]byte, error) {
				return sound.DecryptWithContext(t.Context(), ciphertext, part(ad))
			},
		}
	}
	return map[string]tink.AEADWithContext{
		"nothing":       binding(func([]byte) []byte { return nil }),
		"its length":    binding(func(ad []byte) []byte { return make([]byte, len(ad)) }),
		"its beginning": binding(func(ad []byte) []byte { return ad[:min(len(ad), 16)] }),
	}
}

// A KEK under which the keys of one tenant open as another's is refused where an
// installation, a tenant or an epoch begins, and nothing is stored.
func TestAKEKThatDoesNotBindItsTenantIsRefused(t *testing.T) {
	for name, loose := range looseKEKs(t) {
		t.Run(name, func(t *testing.T) {
			always := func(context.Context, string, string) (tink.AEADWithContext, error) { return loose, nil }
			empty := encryptiontest.Keys()
			_, err := encryption.Create(t.Context(), encryption.Config{Keys: empty, KEK: always})
			require.ErrorIs(t, err, encryption.ErrKEK)
			require.ErrorContains(t, err, "binds associated data")
			require.Empty(t, stateOfStore(t, empty).Store)

			cfg := encryption.Config{Keys: encryptiontest.Keys(), KEK: func(_ context.Context, tenant, kek string) (tink.AEADWithContext, error) {
				if tenant == "b" || kek == "kek-2" {
					return loose, nil
				}
				return insecurekeys.KEK(make([]byte, 32))
			}}
			vault, err := encryption.Create(t.Context(), cfg)
			require.NoError(t, err)
			require.NoError(t, vault.AddTenant(t.Context(), "a"))
			before := stateOfStore(t, cfg.Keys)
			err = vault.AddTenant(t.Context(), "b")
			require.Equal(t, before, stateOfStore(t, cfg.Keys))
			require.ErrorIs(t, err, encryption.ErrKEK)
			require.ErrorContains(t, err, "binds associated data")
			detail, ok := errors.AsType[*encryption.KEKError](err)
			require.True(t, ok)
			require.Equal(t, "b", detail.Tenant)
			require.True(t, detail.Wraps)

			folder := t.TempDir()
			var destroyed []string
			_, err = vault.RewrapKeys(t.Context(), encryption.Rewrap{KEK: "kek-2", Copy: vault.Copier(folder), Destroy: func(_ context.Context, name string) error {
				destroyed = append(destroyed, name)
				return nil
			}})
			require.ErrorIs(t, err, encryption.ErrKEK)
			require.ErrorContains(t, err, "binds associated data")
			require.Empty(t, destroyed)
			require.Equal(t, before, stateOfStore(t, cfg.Keys))
			require.NoError(t, vault.Ensure(t.Context(), "a", "p1"), "the tenant is still under the KEK that binds")
		})
	}
}

// The first start without a KEK names what is missing, first, and does not ask
// whether something was replaced that never was.
func TestTheFirstStartWithoutAKEKSaysWhatIsMissing(t *testing.T) {
	_, err := encryption.Create(t.Context(), encryption.Config{Keys: encryptiontest.Keys(), KEK: insecurekeys.Folder(t.TempDir())})
	require.ErrorIs(t, err, encryption.ErrKEK)
	require.ErrorContains(t, err, `encryption: key encryption key "kek-1": insecurekeys: KEK from a file: `)
	require.ErrorContains(t, err, "make a KEK of that name")
	require.NotContains(t, err.Error(), "was it replaced")
}
