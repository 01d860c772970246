package encryption_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/insecurekeys"
	"github.com/crmguard/crmguard/encryption/keycopy"
)

// pair is a KEK of two funcs.
type pair struct {
	seal, open func(plaintext, ad []byte) ([]byte, error)
}

func (p pair) EncryptWithContext(_ context.Context, plaintext, ad []byte) ([]byte, error) {
	return p.seal(plaintext, ad)
}

func (p pair) DecryptWithContext(_ context.Context, ciphertext, ad []byte) ([]byte, error) {
	return p.open(ciphertext, ad)
}

// brokenKEKs are KEKs that answer, and lose what they wrap.
func brokenKEKs(t *testing.T) map[string]func() (tink.AEADWithContext, error) {
	t.Helper()
	sound, err := insecurekeys.KEK(make([]byte, 32))
	require.NoError(t, err)
	seal := func(plaintext, ad []byte) ([]byte, error) {
		return sound.EncryptWithContext(t.Context(), plaintext, ad)
	}
	open := func(ciphertext, ad []byte) ([]byte, error) {
		return sound.DecryptWithContext(t.Context(), ciphertext, ad)
	}
	text := func([]byte, []byte) ([]byte, error) { return []byte("garbage"), nil }
	same := func(in, _ []byte) ([]byte, error) { return in, nil }
	before := wrappedBefore(t)
	old := func(_, ad []byte) ([]byte, error) { return before[string(ad)], nil }
	return map[string]func() (tink.AEADWithContext, error){
		"wraps garbage":    func() (tink.AEADWithContext, error) { return pair{text, open}, nil },
		"opens an old one": func() (tink.AEADWithContext, error) { return pair{seal, old}, nil },
		"opens garbage":    func() (tink.AEADWithContext, error) { return pair{seal, text}, nil },
		"may not decrypt":  func() (tink.AEADWithContext, error) { return pair{seal, denied}, nil },
		"may not encrypt":  func() (tink.AEADWithContext, error) { return pair{denied, open}, nil },
		"does not encrypt": func() (tink.AEADWithContext, error) { return pair{same, same}, nil },
		"answers nothing":  func() (tink.AEADWithContext, error) { return nil, nil },
		"another key each time": func() (tink.AEADWithContext, error) {
			key := make([]byte, 32)
			_, _ = rand.Read(key)
			return insecurekeys.KEK(key)
		},
	}
}

// wrappedBefore are sound keysets of an installation with the same tenants, by
// the associated data that they were wrapped with.
func wrappedBefore(t *testing.T) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	kek := pair{
		func(plaintext, ad []byte) ([]byte, error) { out[string(ad)] = bytes.Clone(plaintext); return ad, nil },
		func(ciphertext, ad []byte) ([]byte, error) {
			if !bytes.Equal(ciphertext, ad) {
				return denied(ciphertext, ad)
			}
			return bytes.Clone(out[string(ciphertext)]), nil
		},
	}
	vault, err := encryption.Create(t.Context(), encryption.Config{
		Keys: encryptiontest.Keys(), KEK: func(context.Context, string, string) (tink.AEADWithContext, error) { return kek, nil },
	})
	require.NoError(t, err)
	require.NoError(t, vault.AddTenant(t.Context(), "x"))
	require.NoError(t, vault.AddTenant(t.Context(), "b"))
	return out
}

func denied([]byte, []byte) ([]byte, error) { return nil, errors.New("access denied") }

// A tenant whose KEK does not open what it wraps would lose everything at the
// next start: it does not come into being.
func TestATenantHasAKEKThatOpensWhatItWraps(t *testing.T) {
	for name, broken := range brokenKEKs(t) {
		healed := false
		cfg := encryption.Config{Keys: encryptiontest.Keys(), KEK: func(_ context.Context, of, _ string) (tink.AEADWithContext, error) {
			if of == "x" && !healed {
				return broken()
			}
			return insecurekeys.KEK(make([]byte, 32))
		}}
		vault, err := encryption.Create(t.Context(), cfg)
		require.NoError(t, err, name)
		before := stateOfStore(t, cfg.Keys)
		require.ErrorIs(t, vault.AddTenant(t.Context(), "x"), encryption.ErrKEK, name)
		require.Equal(t, before, stateOfStore(t, cfg.Keys), "%s: nothing was written", name)
		require.ErrorIs(t, vault.Ensure(t.Context(), "x", "p1"), encryption.ErrTenant, name)

		empty := cfg
		empty.Keys = encryptiontest.Keys()
		empty.KEK = func(context.Context, string, string) (tink.AEADWithContext, error) { return broken() }
		_, err = encryption.Create(t.Context(), empty)
		require.ErrorIs(t, err, encryption.ErrKEK, name)
		require.Empty(t, stateOfStore(t, empty.Keys).Store, name)

		healed = true
		require.NoError(t, vault.AddTenant(t.Context(), "x"), name)
		require.NoError(t, vault.Ensure(t.Context(), "x", "p1"), name)
	}
}

// So is each branch key that an epoch wraps under a new KEK, tenant by tenant,
// before the old one is overwritten.
func TestAnEpochLosesNoKeysetToANewKEK(t *testing.T) {
	for name, broken := range brokenKEKs(t) {
		healed := false
		cfg := encryption.Config{Keys: encryptiontest.Keys(), KEK: func(_ context.Context, of, name string) (tink.AEADWithContext, error) {
			if of == "b" && name == "kek-2" && !healed {
				return broken()
			}
			return insecurekeys.KEK(fmt.Appendf(nil, "%-32.32s", of+"/"+name))
		}}
		vault, err := encryption.Create(t.Context(), cfg)
		require.NoError(t, err, name)
		for _, of := range []string{"a", "b"} {
			require.NoError(t, vault.AddTenant(t.Context(), of), name)
			require.NoError(t, vault.Ensure(t.Context(), of, "p1"), name)
		}
		var destroyed []string
		epoch := keycopy.Rewrap{KEK: "kek-2", Copy: vault.Copier(t.TempDir()), Destroy: func(_ context.Context, name string) error {
			destroyed = append(destroyed, name)
			return nil
		}}
		_, err = vault.RewrapKeys(t.Context(), epoch)
		require.ErrorIs(t, err, encryption.ErrKEK, name)
		require.Empty(t, destroyed, name)
		require.Equal(t, "kek-1", keysetOf(t, cfg.Keys, "b", "branch").KEK, name)
		fresh, err := encryption.Open(t.Context(), cfg)
		require.NoError(t, err, name)
		require.NoError(t, fresh.Ensure(t.Context(), "b", "p1"), name)

		healed = true
		_, err = vault.RewrapKeys(t.Context(), epoch)
		require.NoError(t, err, name)
		require.Equal(t, []string{"kek-1"}, destroyed, name)
		fresh, err = encryption.Open(t.Context(), cfg)
		require.NoError(t, err, name)
		require.NoError(t, fresh.Ensure(t.Context(), "b", "p1"), name)
	}
}

// counted counts what a KMS counts, a bill and a limit each: every wrapping and
// every opening.
type counted struct {
	tink.AEADWithContext
	calls *atomic.Int64
}

func (c counted) EncryptWithContext(ctx context.Context, plaintext, ad []byte) ([]byte, error) {
	c.calls.Add(1)
	return c.AEADWithContext.EncryptWithContext(ctx, plaintext, ad)
}

func (c counted) DecryptWithContext(ctx context.Context, ciphertext, ad []byte) ([]byte, error) {
	c.calls.Add(1)
	return c.AEADWithContext.DecryptWithContext(ctx, ciphertext, ad)
}

// How often a KEK is asked is what a KMS sends a bill for, and what it limits:
// once for a tenant, whatever is done with it, and three times to close an epoch.
func TestHowOftenAKEKIsAsked(t *testing.T) {
	const tenants = 100
	var calls atomic.Int64
	cfg := encryption.Config{Keys: encryptiontest.Keys(), KEK: func(_ context.Context, of, name string) (tink.AEADWithContext, error) {
		kek, err := insecurekeys.KEK(fmt.Appendf(nil, "%-32.32s", of+"/"+name))
		return counted{kek, &calls}, err
	}}
	vault, err := encryption.Create(t.Context(), cfg)
	require.NoError(t, err)
	require.EqualValues(t, 5, calls.Swap(0), "the branch key of the installation is wrapped, opened, refused as another tenant's twice, and opened")
	for i := range tenants {
		require.NoError(t, vault.AddTenant(t.Context(), fmt.Sprint("t", i)))
	}
	require.EqualValues(t, 5*tenants, calls.Swap(0), "and that of each tenant")
	use := func(vault *encryption.Vault) {
		contacts, err := vault.Table(contactsTable)
		require.NoError(t, err)
		for range 3 {
			_, err = contacts.Writer(t.Context(), "t1", "p1")
			require.NoError(t, err)
			_, err = vault.Tagger("seal").Tag(t.Context(), "t1", nil)
			require.NoError(t, err)
			_, err = vault.Tagger("log").Tag(t.Context(), "t1", nil)
			require.NoError(t, err)
			_, _, err = vault.Digests("suppression")(t.Context(), "t1", nil, nil)
			require.NoError(t, err)
			_, _, err = vault.AuditKeys().MACKeys(t.Context(), "t1", macInfo)
			require.NoError(t, err)
		}
	}
	use(vault)
	require.Zero(t, calls.Load(), "who made a tenant has its keysets")

	open := func() *encryption.Vault {
		vault, err := encryption.Open(t.Context(), cfg)
		require.NoError(t, err)
		_, _, err = vault.LedgerDigests()(t.Context(), "l", nil)
		require.NoError(t, err)
		require.EqualValues(t, 1, calls.Swap(0), "a start costs one call, for the installation")
		return vault
	}
	fresh := open()
	use(fresh)
	require.EqualValues(t, 1, calls.Swap(0), "and one for a tenant, whatever is used of it")
	folder := t.TempDir()
	fresh = open()
	_, err = fresh.WriteCopy(t.Context(), folder)
	require.NoError(t, err)
	require.EqualValues(t, tenants, calls.Swap(0), "each branch key once")
	_, err = vault.WriteCopy(t.Context(), folder)
	require.NoError(t, err)
	require.Zero(t, calls.Load(), "none where they are in use, and their bytes the same")
	path, err := keycopy.Newest(folder)
	require.NoError(t, err)
	fresh = open()
	_, err = fresh.VerifyCopy(t.Context(), path)
	require.NoError(t, err)
	require.EqualValues(t, tenants, calls.Swap(0), "nor is a copy that another process has written opened at a higher price")

	fresh = open()
	_, err = fresh.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: "kek-2", Copy: fresh.Copier(folder)})
	require.NoError(t, err)
	// Each branch key is opened; a new one is wrapped under the new KEK, and proved.
	// That of the installation was opened at the start, and is where the new KEK
	// proves that it binds.
	require.EqualValues(t, 3*tenants+5, calls.Swap(0))
	use(fresh)
	require.Zero(t, calls.Load())
}
