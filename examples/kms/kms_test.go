package kms_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/tink"
	_ "modernc.org/sqlite"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/keycopy"
	"github.com/crmguard/crmguard/encryption/sqlkeys"
)

type kekFunc = func(ctx context.Context, tenant, kek string) (tink.AEADWithContext, error)

// service is a key management service with two keys.
type service struct {
	kek           kekFunc
	first, second string   // names of KEKs
	keks          []string // Config.KEKs that permit both
	others        []string // Config.KEKs of somebody else's account
	destroy       func(ctx context.Context, kek string) error
}

var services = map[string]func(*testing.T) service{
	"AWS KMS": onAWS, "Google Cloud KMS": onGoogle, "Vault transit": onTransit,
}

// seen is what went to the service to be opened.
type seen struct {
	kek, tenant    string
	wrapped, bound []byte
}

// watched is a KEK func whose keys remember what they opened.
type watched struct {
	kekFunc
	mu     sync.Mutex
	opened []seen
	asked  int
}

func (w *watched) KEK(ctx context.Context, tenant, kek string) (tink.AEADWithContext, error) {
	w.mu.Lock()
	w.asked++
	w.mu.Unlock()
	key, err := w.kekFunc(ctx, tenant, kek)
	return watchedKey{w, key, seen{kek: kek, tenant: tenant}}, err
}

type watchedKey struct {
	*watched
	tink.AEADWithContext
	seen
}

func (k watchedKey) DecryptWithContext(ctx context.Context, wrapped, bound []byte) ([]byte, error) {
	plain, err := k.AEADWithContext.DecryptWithContext(ctx, wrapped, bound)
	if err == nil {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.wrapped, k.bound = wrapped, bound
		k.opened = append(k.opened, k.seen)
	}
	return plain, err
}

// A vault has its whole life on each service: it is made, opened again, moved to
// another key, and opens when the first one is destroyed. No keyset opens as
// that of another tenant, and a key of another account is not asked for.
func TestAVaultLivesOnEachService(t *testing.T) {
	for name, begin := range services {
		t.Run(name, func(t *testing.T) {
			on := begin(t)
			ctx := t.Context()
			db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "keys.db")+"?_pragma=synchronous(FULL)&_pragma=secure_delete(1)")
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, db.Close()) })
			require.NoError(t, sqlkeys.Install(ctx, db))
			store, err := sqlkeys.Open(ctx, db)
			require.NoError(t, err)
			w := &watched{kekFunc: on.kek}
			cfg := encryption.Config{Keys: store, KEK: w.KEK, KEKs: on.keks, NewKEK: on.first}
			vault, err := encryption.Create(ctx, cfg)
			require.NoError(t, err)
			def := encryption.Table{Name: "contacts", Columns: []encryption.Column{{Name: "email"}}}
			sealed := map[string][]byte{}
			for _, tenant := range []string{"a", "b"} {
				require.NoError(t, vault.AddTenant(ctx, tenant))
				contacts, err := vault.Table(def)
				require.NoError(t, err)
				writer, err := contacts.Writer(ctx, tenant, "p1")
				require.NoError(t, err)
				sealed[tenant] = writer.Text("email", tenant+"@example.com").Bytes()
			}
			works := func() {
				t.Helper()
				vault, err := encryption.Open(ctx, cfg)
				require.NoError(t, err)
				contacts, err := vault.Table(def)
				require.NoError(t, err)
				for tenant, cell := range sealed {
					row, err := contacts.Row(ctx, tenant, "p1", "")
					require.NoError(t, err)
					text, err := row.Text(ctx, "email", cell)
					require.NoError(t, err)
					require.Equal(t, tenant+"@example.com", text)
				}
			}
			works()

			tried := 0
			for _, one := range w.opened {
				for _, other := range w.opened {
					if string(one.bound) == string(other.bound) {
						continue
					}
					tried++
					key, err := on.kek(ctx, other.tenant, one.kek)
					require.NoError(t, err)
					_, err = key.DecryptWithContext(ctx, one.wrapped, other.bound)
					require.Error(t, err, "%q opens as %q", one.bound, other.bound)
				}
			}
			require.NotZero(t, tried)

			before := w.asked
			foreign := cfg
			foreign.KEKs = on.others
			_, err = encryption.Open(ctx, foreign)
			require.ErrorIs(t, err, encryption.ErrKeyset)
			require.Equal(t, before, w.asked, "what is not permitted is not asked")

			vault, err = encryption.Open(ctx, cfg)
			require.NoError(t, err)
			_, err = vault.RewrapKeys(ctx, keycopy.Rewrap{KEK: on.second, Copy: vault.Copier(t.TempDir()), Destroy: on.destroy})
			require.NoError(t, err)
			old, err := on.kek(ctx, "", on.first)
			if err == nil {
				_, err = old.DecryptWithContext(ctx, w.opened[0].wrapped, w.opened[0].bound)
			}
			require.Error(t, err, "the first key is gone")
			works()
		})
	}
}

// A name that leads elsewhere than the KEK func's own account, ring or mount is
// refused before the service hears of it.
func TestNamesThatLeadElsewhereAreRefused(t *testing.T) {
	for name, begin := range services {
		t.Run(name, func(t *testing.T) {
			on := begin(t)
			for _, kek := range []string{
				"", ".", "..", "../sys/seal", "kek-1/../kek-2", "kek 1", "alias/crm", "gcp-kms://", "gcp-kms://projects/p", "aws-kms://x",
				"arn:aws:kms:eu-west-2:111122223333:alias/crm", "arn:aws:s3:::bucket/key/1", "kek-1?x=1", "kek-1\n",
			} {
				key, err := on.kek(t.Context(), "a", kek)
				require.Error(t, err, "%q", kek)
				require.Nil(t, key, "%q", kek)
			}
		})
	}
}

// A call ends with its context.
func TestACallEndsWithItsContext(t *testing.T) {
	for name, begin := range services {
		t.Run(name, func(t *testing.T) {
			on := begin(t)
			key, err := on.kek(t.Context(), "a", on.first)
			require.NoError(t, err)
			sealed, err := key.EncryptWithContext(t.Context(), []byte("x"), []byte("a"))
			require.NoError(t, err)
			ctx, stop := context.WithCancel(t.Context())
			stop()
			_, err = key.EncryptWithContext(ctx, []byte("x"), []byte("a"))
			require.Error(t, err)
			_, err = key.DecryptWithContext(ctx, sealed, []byte("a"))
			require.Error(t, err)
			plain, err := key.DecryptWithContext(t.Context(), sealed, []byte("a"))
			require.NoError(t, err)
			require.Equal(t, []byte("x"), plain)
		})
	}
}
