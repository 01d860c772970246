package alone

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/aead"
	tinkgcm "github.com/tink-crypto/tink-go/v2/aead/aesgcm"
	"github.com/tink-crypto/tink-go/v2/insecuresecretdataaccess"
	"github.com/tink-crypto/tink-go/v2/key"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/mac"
	tinkhmac "github.com/tink-crypto/tink-go/v2/mac/hmac"
	"github.com/tink-crypto/tink-go/v2/prf"
	"github.com/tink-crypto/tink-go/v2/prf/hkdfprf"
	"github.com/tink-crypto/tink-go/v2/secretdata"

	"github.com/crmguard/crmguard/internal/frame"
)

// counting is 00..1f, the secret of all vectors.
func counting() []byte {
	secret := make([]byte, keySize)
	for i := range secret {
		secret[i] = byte(i)
	}
	return secret
}

func secretOf(tb testing.TB, secret []byte) Secret {
	tb.Helper()
	s, err := From(secret)
	require.NoError(tb, err)
	return s
}

// The numbers of formats.md, which a program in Python computes too.
func TestKeysAndIDsAreThePublishedOnes(t *testing.T) {
	s := secretOf(t, counting())
	for _, v := range []struct {
		parts []string
		id    uint32
		key   string
	}{
		{[]string{"seal", "t1"}, 0x578d2ab5, "c39cbe17eaf67a45fc7a109332890638b2058bfb6a43e3d429dd6170d1f86157"},
		{[]string{"log", "t1"}, 0x92fa9477, "948787ade2b69802b96bf8f66cb9b6f03b77e342c057e46069cd87866d70c750"},
		{[]string{"audit", "t1"}, 0x6283e3fa, "735019a35cb8f752a93946f87a8b47b66e10ca8c550931f6d7cc5e137281e861"},
		{[]string{"manifest"}, 0x9810e2cd, "b9d9238f52b628e9d8cec6eb0e25edf1f20c42fa32af6625143ec8005938ce33"},
		{[]string{"ledger"}, 0xfbc3607e, "c4a6825cfdec63d3a7abd6fdc12a69de73955bf7a1f214d06086a97000a0e652"},
	} {
		k, err := s.derive(t.Context(), v.parts...)
		require.NoError(t, err)
		require.Equal(t, v.key, hex.EncodeToString(k.key), v.parts)
		require.Equal(t, v.id, k.id, v.parts)
	}
}

func TestAnIDIsNeverZero(t *testing.T) {
	require.EqualValues(t, 1, keyID(make([]byte, keySize)))
	require.EqualValues(t, 1, keyID([]byte{0, 0, 0, 1}))
	require.EqualValues(t, 0xfffefdfc, keyID([]byte{0xff, 0xfe, 0xfd, 0xfc, 0}))
}

type frozen struct {
	Secret   string
	Tags     []struct{ Tenant, Purpose, Data, Tag string }
	Openings []struct{ Tenant, Person, AD, Plain, Sealed string }
	Digests  []struct {
		Label, Data, Digest string
		Root                uint32
	}
	MACKeys []struct {
		Tenant, Info, Key string
		ID                uint32
	}
}

// TestWhatWasMadeOnceStaysGood opens bytes that were made when the format was
// written down.
func TestWhatWasMadeOnceStaysGood(t *testing.T) {
	text, err := os.ReadFile("testdata/v1.json")
	require.NoError(t, err)
	var f frozen
	require.NoError(t, json.Unmarshal(text, &f))
	s := secretOf(t, unhex(t, f.Secret))
	require.Len(t, f.Tags, 3)
	for _, v := range f.Tags {
		verify := func(tag []byte) error {
			return s.Tagger(v.Purpose).Verify(t.Context(), v.Tenant, unhex(t, v.Data), tag)
		}
		if v.Tenant == "" {
			verify = func(tag []byte) error { return s.Manifests().Verify(t.Context(), unhex(t, v.Data), tag) }
		}
		requireOnly(t, unhex(t, v.Tag), verify)
	}
	require.Len(t, f.Openings, 2)
	for _, v := range f.Openings {
		requireOnly(t, unhex(t, v.Sealed), func(sealed []byte) error {
			plain, err := s.Sealer(PurposeAudit).Open(t.Context(), v.Tenant, v.Person, sealed, unhex(t, v.AD))
			if err == nil {
				require.Equal(t, v.Plain, hex.EncodeToString(plain))
			}
			return err
		})
	}
	require.Len(t, f.Digests, 1)
	for _, v := range f.Digests {
		roots, digests, err := s.LedgerDigests(t.Context(), v.Label, unhex(t, v.Data))
		require.NoError(t, err)
		require.Equal(t, []uint32{v.Root}, roots)
		require.Equal(t, v.Digest, hex.EncodeToString(digests[0]))
	}
	require.Len(t, f.MACKeys, 2)
	for _, v := range f.MACKeys {
		keyIDs, keys, err := s.MACKeys(t.Context(), v.Tenant, unhex(t, v.Info))
		require.NoError(t, err)
		require.Equal(t, []uint32{v.ID}, keyIDs)
		require.Equal(t, v.Key, hex.EncodeToString(keys[0]))
	}
}

// requireOnly fails unless the bytes are taken, and refused with any bit turned.
func requireOnly(t *testing.T, data []byte, take func([]byte) error) {
	t.Helper()
	require.NoError(t, take(data))
	for at := range data {
		turned := bytes.Clone(data)
		turned[at] ^= 1 << (at % 8)
		require.Error(t, take(turned), "byte %d", at)
	}
	require.Error(t, take(data[:len(data)-1]))
	require.Error(t, take(append(bytes.Clone(data), 0)))
	require.Error(t, take(nil))
}

func unhex(tb testing.TB, text string) []byte {
	tb.Helper()
	data, err := hex.DecodeString(text)
	require.NoError(tb, err)
	return data
}

// tinkKeyset puts one derived key under its id into a keyset of Tink.
func tinkKeyset(t *testing.T, made key.Key, err error) *keyset.Handle {
	t.Helper()
	require.NoError(t, err)
	manager := keyset.NewManager()
	id, err := manager.AddKey(made)
	require.NoError(t, err)
	require.NoError(t, manager.SetPrimary(id))
	handle, err := manager.Handle()
	require.NoError(t, err)
	return handle
}

func tinkSecret(k derived) secretdata.Bytes {
	return secretdata.NewBytesFromData(k.key, insecuresecretdataaccess.Token{})
}

func TestTinkVerifiesTagsAndWeVerifyTinks(t *testing.T) {
	s := secretOf(t, counting())
	params, err := tinkhmac.NewParameters(tinkhmac.ParametersOpts{KeySizeInBytes: 32, TagSizeInBytes: 32, HashType: tinkhmac.SHA256, Variant: tinkhmac.VariantTink})
	require.NoError(t, err)
	tink := func(parts ...string) (compute func([]byte) []byte, verify func(tag, data []byte) error) {
		k, err := s.derive(t.Context(), parts...)
		require.NoError(t, err)
		made, err := tinkhmac.NewKey(tinkSecret(k), params, k.id)
		primitive, err := mac.New(tinkKeyset(t, made, err))
		require.NoError(t, err)
		return func(data []byte) []byte {
			tag, err := primitive.ComputeMAC(data)
			require.NoError(t, err)
			return tag
		}, primitive.VerifyMAC
	}
	data := []byte("a row")
	for _, purpose := range []string{PurposeSeal, PurposeLog} {
		compute, verify := tink(purpose, "t1")
		tag, err := s.Tagger(purpose).Tag(t.Context(), "t1", data)
		require.NoError(t, err)
		require.Len(t, tag, 37)
		require.NoError(t, verify(tag, data))
		require.Equal(t, compute(data), tag)
		require.NoError(t, s.Tagger(purpose).Verify(t.Context(), "t1", data, compute(data)))
	}
	compute, verify := tink(PurposeManifest)
	tag, err := s.Manifests().Tag(t.Context(), data)
	require.NoError(t, err)
	require.NoError(t, verify(tag, data))
	require.NoError(t, s.Manifests().Verify(t.Context(), data, compute(data)))
}

func TestTinkOpensSealedBytesAndWeOpenTinks(t *testing.T) {
	s := secretOf(t, counting())
	params, err := tinkgcm.NewParameters(tinkgcm.ParametersOpts{KeySizeInBytes: 32, IVSizeInBytes: 12, TagSizeInBytes: 16, Variant: tinkgcm.VariantTink})
	require.NoError(t, err)
	k, err := s.derive(t.Context(), PurposeAudit, "t1")
	require.NoError(t, err)
	made, err := tinkgcm.NewKey(tinkSecret(k), k.id, params)
	primitive, err := aead.New(tinkKeyset(t, made, err))
	require.NoError(t, err)
	for person, owner := range map[string]string{"p1": "p1", "": "t:"} {
		full := frame.Join("crmguard/personseal/v1", "audit", "t1", owner, "ad")
		sealed, err := s.Sealer(PurposeAudit).Seal(t.Context(), "t1", person, []byte("an opening"), []byte("ad"))
		require.NoError(t, err)
		plain, err := primitive.Decrypt(sealed, full)
		require.NoError(t, err)
		require.Equal(t, "an opening", string(plain))
		sealed, err = primitive.Encrypt([]byte("Tink's"), full)
		require.NoError(t, err)
		plain, err = s.Sealer(PurposeAudit).Open(t.Context(), "t1", person, sealed, []byte("ad"))
		require.NoError(t, err)
		require.Equal(t, "Tink's", string(plain))
	}
}

// Tink has the ledger's derivation as a PRF, whose output is the HMAC's key.
func TestTinkDerivesTheLedgersKeys(t *testing.T) {
	s := secretOf(t, counting())
	root, err := s.derive(t.Context(), PurposeLedger)
	require.NoError(t, err)
	params, err := hkdfprf.NewParameters(keySize, hkdfprf.SHA256, nil)
	require.NoError(t, err)
	made, err := hkdfprf.NewKey(tinkSecret(root), params)
	set, err := prf.NewPRFSet(tinkKeyset(t, made, err))
	require.NoError(t, err)
	expanded, err := set.ComputePrimaryPRF(frame.Join("crmguard/ledger/digest/v1"), keySize)
	require.NoError(t, err)
	want := derived{key: expanded}.tag([]byte("data"))[prefixSize:]
	roots, digests, err := s.LedgerDigests(t.Context(), "crmguard/ledger/digest/v1", []byte("data"))
	require.NoError(t, err)
	require.Equal(t, [][]byte{want}, digests)
	require.Equal(t, []uint32{root.id}, roots)
}

// Nothing of one tenant, purpose, person or secret serves another.
func TestKeysDoNotServeEachOther(t *testing.T) {
	s, ctx := secretOf(t, counting()), t.Context()
	other := secretOf(t, bytes.Repeat([]byte{1, 2}, 16))
	tag, err := s.Tagger(PurposeSeal).Tag(ctx, "t1", []byte("x"))
	require.NoError(t, err)
	for name, err := range map[string]error{
		"tenant":  s.Tagger(PurposeSeal).Verify(ctx, "t2", []byte("x"), tag),
		"purpose": s.Tagger(PurposeLog).Verify(ctx, "t1", []byte("x"), tag),
		"secret":  other.Tagger(PurposeSeal).Verify(ctx, "t1", []byte("x"), tag),
		"none":    s.Manifests().Verify(ctx, []byte("x"), tag),
	} {
		require.ErrorIs(t, err, fs.ErrNotExist, "%s: made under another key, and not forged", name)
		require.ErrorIs(t, err, errTag, name)
	}
	err = s.Tagger(PurposeSeal).Verify(ctx, "t1", []byte("y"), tag)
	require.ErrorIs(t, err, errTag)
	require.NotErrorIs(t, err, fs.ErrNotExist, "forged, and not made under another key")

	tag, err = other.Tagger(PurposeSeal).Tag(ctx, "t1", []byte("x"))
	require.NoError(t, err)
	for _, none := range [][]byte{tag[:36], tag[:5], tag[:4], append([]byte{0}, tag[1:]...), append(tag, 0)} {
		err = s.Tagger(PurposeSeal).Verify(ctx, "t1", []byte("x"), none)
		require.ErrorIs(t, err, errTag)
		require.NotErrorIs(t, err, fs.ErrNotExist, "what is no tag names no key")
	}

	sealer := s.Sealer(PurposeAudit)
	sealed, err := sealer.Seal(ctx, "t1", "p1", []byte("x"), []byte("ad"))
	require.NoError(t, err)
	_, err = sealer.Open(ctx, "t2", "p1", sealed, []byte("ad"))
	require.ErrorIs(t, err, fs.ErrNotExist)
	for _, person := range []string{"p2", ""} {
		_, err = sealer.Open(ctx, "t1", person, sealed, []byte("ad"))
		require.ErrorIs(t, err, errOpen)
		require.NotErrorIs(t, err, fs.ErrNotExist)
	}
	_, err = sealer.Open(ctx, "t1", "p1", sealed, []byte("da"))
	require.ErrorIs(t, err, errOpen)
	again, err := sealer.Seal(ctx, "t1", "p1", []byte("x"), []byte("ad"))
	require.NoError(t, err)
	require.NotEqual(t, sealed, again, "the IV is drawn anew")
}

func TestIDsThatAreNoneAreRefused(t *testing.T) {
	s, ctx := secretOf(t, counting()), t.Context()
	for _, tenant := range []string{"", strings.Repeat("t", 256), "a\x00b", "\xff"} {
		_, err := s.Tagger(PurposeLog).Tag(ctx, tenant, nil)
		require.ErrorIs(t, err, errTenant)
		require.ErrorIs(t, s.Tagger(PurposeLog).Verify(ctx, tenant, nil, nil), errTenant)
		_, err = s.Sealer(PurposeAudit).Seal(ctx, tenant, "p1", nil, nil)
		require.ErrorIs(t, err, errTenant)
	}
	for _, person := range []string{"t:", "r:1", strings.Repeat("p", 256), "a\x00b", "\xff"} {
		_, err := s.Sealer(PurposeAudit).Seal(ctx, "t1", person, nil, nil)
		require.ErrorIs(t, err, errPerson)
		_, err = s.Sealer(PurposeAudit).Open(ctx, "t1", person, nil, nil)
		require.ErrorIs(t, err, errPerson)
	}
}

func TestAContextThatEndedIsAnError(t *testing.T) {
	s := secretOf(t, counting())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Tagger(PurposeSeal).Tag(ctx, "t1", nil)
	require.ErrorIs(t, err, context.Canceled)
	_, err = s.Manifests().Tag(ctx, nil)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, s.Manifests().Verify(ctx, nil, nil), context.Canceled)
	_, _, err = s.LedgerDigests(ctx, "label", nil)
	require.ErrorIs(t, err, context.Canceled)
}

// Package fmt follows pointers for verbs that do not suit them, also where the
// secret is an unexported field of somebody else's struct.
func TestASecretDoesNotPrint(t *testing.T) {
	secret := []byte("\xb1r4ndom-bytes-as-a-marker-32-long"[:keySize])
	s := secretOf(t, secret)
	k, err := s.derive(t.Context(), PurposeSeal, "t1")
	require.NoError(t, err)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		text := fmt.Sprintf(verb, struct {
			s      Secret
			tagger Tagger
			sealer *Sealer
		}{s, s.Tagger(PurposeSeal), new(s.Sealer(PurposeAudit))})
		for _, hidden := range [][]byte{secret, s.root(), k.key} {
			for _, form := range []string{string(hidden), hex.EncodeToString(hidden), fmt.Sprintf("%d", hidden), fmt.Sprintf("%q", hidden)} {
				require.NotContains(t, text, strings.Trim(form, "[]\""), verb)
			}
		}
	}
}
