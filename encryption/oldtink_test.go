package encryption_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"io"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/mac"
	"github.com/tink-crypto/tink-go/v2/prf"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/encryptiontest"
	"github.com/crmguard/crmguard/encryption/insecurekeys"
	"github.com/crmguard/crmguard/encryption/internal/tinktest"
	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/encryption/streams"
	"github.com/crmguard/crmguard/internal/frame"
)

// What github.com/google/tink/go v1.7.0 wrote, the module that the one in use
// replaced: testdata/google-tink says how.
type oldTink struct {
	KEK           []byte
	Keysets       []oldKeyset
	PersonKey     []byte
	KeyVersion    uint32 `json:"Generation"`
	Field, Stream []byte
	StreamLength  int
}

type oldKeyset struct {
	Tenant, Purpose            string
	ClearBinary, WrappedBinary []byte
	ClearJSON, WrappedJSON     json.RawMessage
	First, Second              []byte // made with the older key, and with the primary
}

func readOldTink(t *testing.T) oldTink {
	t.Helper()
	text, err := os.ReadFile("testdata/google-tink/samples.json")
	require.NoError(t, err)
	var old oldTink
	require.NoError(t, json.Unmarshal(text, &old))
	require.Len(t, old.Keysets, 9, "one for each purpose, and two branch keys")
	return old
}

func (o oldTink) of(t *testing.T, purpose string) oldKeyset {
	t.Helper()
	for _, k := range o.Keysets {
		if k.Purpose == purpose {
			return k
		}
	}
	require.Fail(t, "no keyset", purpose)
	return oldKeyset{}
}

// branch is the branch key of a tenant, opened by its KEK, as our code takes it.
func (o oldTink) branch(t *testing.T, tenant string) tink.AEADWithContext {
	t.Helper()
	kek, err := insecurekeys.KEK(o.KEK)
	require.NoError(t, err)
	for _, k := range o.Keysets {
		if k.Tenant == tenant && k.Purpose == "branch" {
			handle, err := keyset.ReadWithContext(t.Context(), keyset.NewBinaryReader(bytes.NewReader(k.WrappedBinary)), kek, oldKeysetAD(k))
			require.NoError(t, err)
			branch, err := encryption.BranchKey(handle)
			require.NoError(t, err)
			return branch
		}
	}
	require.Fail(t, "no branch key", tenant)
	return nil
}

func oldKeysetAD(k oldKeyset) []byte {
	if k.Tenant == "" {
		return frame.Join("crmguard/keyset/installation/v1", k.Purpose)
	}
	return frame.Join("crmguard/keyset/v1", k.Tenant, k.Purpose)
}

// requireWorks opens or makes again what the old module made with the keyset.
func (o oldTink) requireWorks(t *testing.T, k oldKeyset, handle *keyset.Handle) {
	t.Helper()
	if k.Purpose == "branch" {
		require.Equal(t, 1, handle.Len())
		return // the keysets that it wraps are what was made with it
	}
	require.Equal(t, 2, handle.Len())
	switch k.Purpose {
	case "wrap":
		tinktest.SkipOutsideFIPS(t)
		primitive, err := aead.New(handle)
		require.NoError(t, err)
		ad := append(frame.Join("crmguard/personkey/v1", "t1", "p1"), 1, 2, 3, 4)
		for _, sealed := range [][]byte{k.First, k.Second} {
			key, err := primitive.Decrypt(sealed, ad)
			require.NoError(t, err)
			require.Equal(t, o.PersonKey, key)
			_, err = primitive.Decrypt(sealed, nil)
			require.Error(t, err)
		}
	case "seal", "log", "manifest":
		primitive, err := mac.New(handle)
		require.NoError(t, err)
		require.NoError(t, primitive.VerifyMAC(k.First, []byte("sample")))
		require.Error(t, primitive.VerifyMAC(k.First, []byte("another")))
		again, err := primitive.ComputeMAC([]byte("sample"))
		require.NoError(t, err)
		require.Equal(t, k.Second, again)
	default:
		set, err := prf.NewPRFSet(handle)
		require.NoError(t, err)
		again, err := set.ComputePrimaryPRF(frame.Join("crmguard/test/v1"), 32)
		require.NoError(t, err)
		require.Equal(t, k.Second, again)
		older, err := handle.Entry(0)
		require.NoError(t, err)
		again, err = set.PRFs[older.KeyID()].ComputePRF(frame.Join("crmguard/test/v1"), 32)
		require.NoError(t, err)
		require.Equal(t, k.First, again)
	}
}

func TestKeysetsOfTheOldTinkOpenInEveryForm(t *testing.T) {
	old := readOldTink(t)
	kek, err := insecurekeys.KEK(old.KEK)
	require.NoError(t, err)
	for _, k := range old.Keysets {
		ad := oldKeysetAD(k)
		by := kek
		if k.Purpose != "branch" {
			by = old.branch(t, k.Tenant)
		}
		for form, open := range map[string]func() (*keyset.Handle, error){
			"binary, clear": func() (*keyset.Handle, error) {
				return insecurecleartextkeyset.Read(keyset.NewBinaryReader(bytes.NewReader(k.ClearBinary)))
			},
			"JSON, clear": func() (*keyset.Handle, error) {
				return insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(k.ClearJSON)))
			},
			"binary, wrapped": func() (*keyset.Handle, error) {
				return keyset.ReadWithContext(t.Context(), keyset.NewBinaryReader(bytes.NewReader(k.WrappedBinary)), by, ad)
			},
			"JSON, wrapped": func() (*keyset.Handle, error) {
				return keyset.ReadWithContext(t.Context(), keyset.NewJSONReader(bytes.NewReader(k.WrappedJSON)), by, ad)
			},
		} {
			t.Run(k.Purpose+", "+form, func(t *testing.T) {
				handle, err := open()
				require.NoError(t, err)
				old.requireWorks(t, k, handle)
			})
		}
		_, err := keyset.ReadWithContext(t.Context(), keyset.NewBinaryReader(bytes.NewReader(k.WrappedBinary)), by, append(ad, 0))
		require.Error(t, err, "%s: wrapped for something else", k.Purpose)
	}
}

// oldInstallation is a key store with nothing in it but rows of the old module.
func oldInstallation(t *testing.T, old oldTink) encryption.Config {
	t.Helper()
	kek, err := insecurekeys.KEK(old.KEK)
	require.NoError(t, err)
	rows := keystore.Rows{
		KeyVersions: []keystore.KeyVersionRow{{Tenant: "t1", KeyVersion: old.KeyVersion, State: keystore.Active, Created: time.UnixMicro(0).UTC()}},
		Owners:      []keystore.OwnerRow{{Tenant: "t1", Owner: "t:", State: keystore.Live}, {Tenant: "t1", Owner: "p1", State: keystore.Live}},
		// Wrapped by the older of two keys.
		Keys: []keystore.KeyRow{{Tenant: "t1", Owner: "p1", KeyVersion: old.KeyVersion, Wrapped: old.of(t, "wrap").First}},
	}
	for _, k := range old.Keysets {
		row := keystore.KeysetRow{Tenant: k.Tenant, Purpose: k.Purpose, Epoch: 1, Version: 1, Wrapped: k.WrappedBinary}
		if k.Purpose == "branch" {
			row.KEK = "old"
		}
		rows.Keysets = append(rows.Keysets, row)
	}
	store := encryptiontest.Keys()
	_, err = store.Update(t.Context(), func(tx keystore.Tx) error {
		return tx.Write(t.Context(), keystore.Change{Put: rows, Narrows: true, Store: &keystore.State{Store: "made by the old module", Epoch: 1, KEK: "old", Lease: encryption.DefaultLease, LeaseWait: encryption.DefaultLease}})
	})
	require.NoError(t, err)
	return encryption.Config{Keys: store, NewKEK: "old", KEK: func(context.Context, string, string) (tink.AEADWithContext, error) { return kek, nil }}
}

// An installation whose every key, field, stream and tag the old module made
// goes on.
func TestAnInstallationOfTheOldTinkGoesOn(t *testing.T) {
	ctx, old := t.Context(), readOldTink(t)
	vault, err := encryption.Open(ctx, oldInstallation(t, old))
	require.NoError(t, err)

	contacts, err := vault.Table(encryption.Table{Name: "contacts", Columns: []encryption.Column{{Name: "email"}}})
	require.NoError(t, err)
	reader, err := contacts.Reader(ctx, "t1", "p1")
	require.NoError(t, err)
	text, err := reader.Row("p1", "r1").Text(ctx, "email", old.Field)
	require.NoError(t, err)
	require.Equal(t, "ann@b.example", text)
	writer, err := contacts.Writer(ctx, "t1", "p1")
	require.NoError(t, err)
	sealed, err := writer.Seal("email", []byte("ann@c.example"))
	require.NoError(t, err)
	require.Equal(t, old.Field[:5], sealed[:5], "the same key version")
	text, err = reader.Row("p1", "r1").Text(ctx, "email", sealed)
	require.NoError(t, err)
	require.Equal(t, "ann@c.example", text)

	files, err := vault.Table(encryption.Table{Name: "files", Columns: []encryption.Column{{Name: "content", Stream: true}}})
	require.NoError(t, err)
	stream, err := files.OpenStream(ctx, bytes.NewReader(old.Stream), streams.Ref{Tenant: "t1", Owner: "p1", Column: "content", Row: "r1"})
	require.NoError(t, err)
	content, err := io.ReadAll(stream)
	require.NoError(t, err)
	require.Equal(t, "old.txt", stream.Name)
	require.Equal(t, make([]byte, old.StreamLength), content)

	for _, purpose := range []string{"seal", "log"} {
		k := old.of(t, purpose)
		tagger := vault.Tagger(purpose)
		require.NoError(t, tagger.Verify(ctx, "t1", []byte("sample"), k.First))
		tag, err := tagger.Tag(ctx, "t1", []byte("sample"))
		require.NoError(t, err)
		require.Equal(t, k.Second, tag)
	}
	manifest := old.of(t, "manifest")
	require.NoError(t, vault.ManifestTagger().Verify(ctx, []byte("sample"), manifest.First))
	tag, err := vault.ManifestTagger().Tag(ctx, []byte("sample"))
	require.NoError(t, err)
	require.Equal(t, manifest.Second, tag)

	digests := func(purpose string) [][]byte { // under both roots, the primary first
		k := old.of(t, purpose)
		var out [][]byte
		for _, key := range [][]byte{k.Second, k.First} {
			m := hmac.New(sha256.New, key)
			m.Write([]byte("data"))
			out = append(out, m.Sum(nil))
		}
		return out
	}
	_, got, err := vault.Digests("suppression")(ctx, "t1", frame.Join("crmguard/test/v1"), []byte("data"))
	require.NoError(t, err)
	require.Equal(t, digests("suppression"), got)
	_, got, err = vault.LedgerDigests()(ctx, "crmguard/test/v1", []byte("data"))
	require.NoError(t, err)
	require.Equal(t, digests("ledger"), got)
}
