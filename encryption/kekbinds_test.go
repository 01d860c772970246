package encryption_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/insecurekeys"
	"github.com/crmguard/crmguard/encryption/keycopy"
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
			_, err = vault.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: "kek-2", Copy: vault.Copier(folder), Destroy: func(_ context.Context, name string) error {
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

// A KEK that fails now and then, as one that limits how often it is asked, does not
// pass for one that refuses: whichever call it is that fails.
func TestAKEKThatFailsNowAndThenDoesNotPassForOneThatBinds(t *testing.T) {
	for name, loose := range looseKEKs(t) {
		for every := 2; every <= 5; every++ {
			for first := range every {
				calls := 0
				limited := pair{
					func(plaintext, ad []byte) ([]byte, error) {
						return loose.EncryptWithContext(t.Context(), plaintext, ad)
					},
					func(ciphertext, ad []byte) ([]byte, error) {
						if calls++; calls%every == first {
							return nil, errors.New("throttled")
						}
						return loose.DecryptWithContext(t.Context(), ciphertext, ad)
					},
				}
				empty := encryptiontest.Keys()
				_, err := encryption.Create(t.Context(), encryption.Config{Keys: empty, KEK: func(context.Context, string, string) (tink.AEADWithContext, error) { return limited, nil }})
				require.ErrorIs(t, err, encryption.ErrKEK, "%s: call %d of %d", name, first, every)
				require.Empty(t, stateOfStore(t, empty).Store)
			}
		}
	}
}

// A KEK that makes other bytes of them, and says nothing, refuses nobody.
func TestAKEKThatOpensAnythingDoesNotBind(t *testing.T) {
	sound, err := insecurekeys.KEK(bytes.Repeat([]byte{5}, 32))
	require.NoError(t, err)
	garbling := pair{
		func(plaintext, ad []byte) ([]byte, error) {
			return sound.EncryptWithContext(t.Context(), plaintext, ad)
		},
		func(ciphertext, ad []byte) ([]byte, error) {
			if opened, err := sound.DecryptWithContext(t.Context(), ciphertext, ad); err == nil {
				return opened, nil
			}
			return bytes.Repeat([]byte{7}, len(ciphertext)), nil
		},
	}
	empty := encryptiontest.Keys()
	_, err = encryption.Create(t.Context(), encryption.Config{Keys: empty, KEK: func(context.Context, string, string) (tink.AEADWithContext, error) { return garbling, nil }})
	require.ErrorIs(t, err, encryption.ErrKEK)
	require.ErrorContains(t, err, "binds associated data")
	require.Empty(t, stateOfStore(t, empty).Store)
}

// late is the error of a client that has waited as long as it waits.
type late struct{ error }

func (late) Timeout() bool { return true }

// Nor does one that does not answer in time when it is asked as another tenant.
func TestAKEKThatDoesNotAnswerDoesNotPassForOneThatBinds(t *testing.T) {
	for _, answer := range []error{context.DeadlineExceeded, fmt.Errorf("client: %w", context.Canceled), fmt.Errorf("client: %w", late{errors.New("no answer")})} {
		for name, loose := range looseKEKs(t) {
			wrapped := map[string]bool{} // what it was asked to wrap for
			slow := pair{
				func(plaintext, ad []byte) ([]byte, error) {
					wrapped[string(ad)] = true
					return loose.EncryptWithContext(t.Context(), plaintext, ad)
				},
				func(ciphertext, ad []byte) ([]byte, error) {
					if !wrapped[string(ad)] {
						return nil, answer
					}
					return loose.DecryptWithContext(t.Context(), ciphertext, ad)
				},
			}
			empty := encryptiontest.Keys()
			_, err := encryption.Create(t.Context(), encryption.Config{Keys: empty, KEK: func(context.Context, string, string) (tink.AEADWithContext, error) { return slow, nil }})
			require.ErrorIs(t, err, encryption.ErrKEK, name)
			require.ErrorContains(t, err, "whether it refuses")
			require.Empty(t, stateOfStore(t, empty).Store)
		}
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
