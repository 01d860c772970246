package encryption_test

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/insecurekeys"
	"github.com/crmguard/crmguard/encryption/keycopy"
)

// Each call of a KEK has Config.KEKTimeout for itself: a KMS that takes most of it for
// each serves where something is made, too, which takes five of them.
func TestASlowKEKServesWhereSomethingIsMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, vault, kms := guarded(t)
		kms.set(func(_ context.Context, step, _, _ string) error {
			if step != "func" {
				time.Sleep(encryption.DefaultKEKTimeout - time.Second)
			}
			return nil
		})
		require.NoError(t, vault.AddTenant(t.Context(), "new"))
		_, err := vault.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: "kek-2", Copy: func(context.Context) error { return nil }})
		require.NoError(t, err)

		ctx, cancel := context.WithTimeout(t.Context(), 3*encryption.DefaultKEKTimeout)
		defer cancel()
		began := time.Now()
		require.ErrorIs(t, vault.AddTenant(ctx, "other"), context.DeadlineExceeded, "the caller's own time counts for all of them")
		require.Equal(t, 3*encryption.DefaultKEKTimeout, time.Since(began))
		time.Sleep(encryption.DefaultKEKTimeout) // until the call that was given up has come back
	})
}

// keeping is a client that works with the context with which it was made.
type keeping struct {
	tink.AEADWithContext
	made context.Context //nolint:containedctx // as clients do
}

func (k keeping) EncryptWithContext(_ context.Context, plaintext, ad []byte) ([]byte, error) {
	return k.AEADWithContext.EncryptWithContext(k.made, plaintext, ad)
}

func (k keeping) DecryptWithContext(_ context.Context, ciphertext, ad []byte) ([]byte, error) {
	if err := k.made.Err(); err != nil {
		return nil, err
	}
	return k.AEADWithContext.DecryptWithContext(k.made, ciphertext, ad)
}

// A client that keeps the context with which it was asked for has it as long as it is
// used.
func TestAClientMayKeepTheContextItWasMadeWith(t *testing.T) {
	vault, err := encryption.Create(t.Context(), encryption.Config{Keys: encryptiontest.Keys(), KEK: func(ctx context.Context, _, _ string) (tink.AEADWithContext, error) {
		sound, err := insecurekeys.KEK(make([]byte, 32))
		return keeping{sound, ctx}, err
	}})
	require.NoError(t, err)
	require.NoError(t, vault.AddTenant(t.Context(), "a"))
}

// A KEK that binds nothing and hangs when it is asked as another tenant does not pass
// for one that refuses.
func TestAKEKThatHangsDoesNotPassForOneThatBinds(t *testing.T) {
	for name, loose := range looseKEKs(t) {
		synctest.Test(t, func(t *testing.T) {
			wrapped := map[string]bool{}
			free := make(chan struct{})
			defer close(free)
			hanging := pair{
				func(plaintext, ad []byte) ([]byte, error) {
					wrapped[string(ad)] = true
					return loose.EncryptWithContext(context.Background(), plaintext, ad)
				},
				func(ciphertext, ad []byte) ([]byte, error) {
					if !wrapped[string(ad)] {
						<-free
					}
					return loose.DecryptWithContext(context.Background(), ciphertext, ad)
				},
			}
			empty := encryptiontest.Keys()
			_, err := encryption.Create(t.Context(), encryption.Config{Keys: empty, KEK: func(context.Context, string, string) (tink.AEADWithContext, error) { return hanging, nil }})
			require.ErrorIs(t, err, encryption.ErrKEK, name)
			require.ErrorContains(t, err, "no answer in time")
			require.Empty(t, stateOfStore(t, empty).Store)
		})
	}
}

// A client that takes a pause after refusals is told what it has to bear.
func TestAClientThatPausesAfterRefusalsIsToldOfThem(t *testing.T) {
	sound, err := insecurekeys.KEK(bytes.Repeat([]byte{5}, 32))
	require.NoError(t, err)
	refused := 0
	breaker := pair{
		func(plaintext, ad []byte) ([]byte, error) {
			return sound.EncryptWithContext(context.Background(), plaintext, ad)
		},
		func(ciphertext, ad []byte) ([]byte, error) {
			if refused >= 2 {
				return nil, errors.New("circuit open")
			}
			out, err := sound.DecryptWithContext(context.Background(), ciphertext, ad)
			if err != nil {
				refused++
			}
			return out, err
		},
	}
	_, err = encryption.Create(t.Context(), encryption.Config{Keys: encryptiontest.Keys(), KEK: func(context.Context, string, string) (tink.AEADWithContext, error) { return breaker, nil }})
	require.ErrorIs(t, err, encryption.ErrKEK)
	require.ErrorContains(t, err, "refused it twice as another tenant's, which is asked of it on purpose")
	require.ErrorContains(t, err, "circuit open")
}

// A KEK that does not answer in time for one keyset, and serves otherwise, says nothing
// of that keyset: no copy is written without it, and it is not called damaged.
func TestAKeysetThatAKEKDoesNotAnswerForIsNotDamaged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, _, kms := guarded(t)
		var slow atomic.Bool
		cfg.KEK = func(ctx context.Context, of, name string) (tink.AEADWithContext, error) {
			sound, err := kms.get(ctx, of, name)
			return pair{
				func(plaintext, ad []byte) ([]byte, error) {
					return sound.EncryptWithContext(context.Background(), plaintext, ad)
				},
				func(ciphertext, ad []byte) ([]byte, error) {
					if slow.Load() && of == "a" && len(ciphertext) > 100 {
						time.Sleep(encryption.DefaultKEKTimeout + time.Second)
					}
					return sound.DecryptWithContext(context.Background(), ciphertext, ad)
				},
			}, err
		}
		vault, err := encryption.Open(t.Context(), cfg)
		require.NoError(t, err)
		slow.Store(true)
		_, err = vault.WriteCopy(t.Context(), t.TempDir())
		require.ErrorIs(t, err, encryption.ErrKEK)
		require.NotErrorIs(t, err, encryption.ErrDamaged)
		time.Sleep(2 * time.Second) // until the call that was given up has come back
		slow.Store(false)
		_, err = vault.WriteCopy(t.Context(), t.TempDir())
		require.NoError(t, err)
	})
}
