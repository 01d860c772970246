package keyring

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/aead/aesgcm"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/mac/hmac"
	"github.com/tink-crypto/tink-go/v2/prf"
	"github.com/tink-crypto/tink-go/v2/prf/hkdfprf"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/crmguard/crmguard/encryption/insecurekeys"
	"github.com/crmguard/crmguard/encryption/internal/format"
	"github.com/crmguard/crmguard/encryption/internal/tinktest"
	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/internal/frame"
)

func tinkGCM(tb testing.TB, raw []byte, id uint32, variant aesgcm.Variant) *keyset.Handle {
	tb.Helper()
	params, err := aesgcm.NewParameters(aesgcm.ParametersOpts{KeySizeInBytes: len(raw), IVSizeInBytes: 12, TagSizeInBytes: 16, Variant: variant})
	require.NoError(tb, err)
	k, err := aesgcm.NewKey(tinktest.Secret(raw), id, params)
	require.NoError(tb, err)
	return tinktest.Handle(tb, k)
}

func newPersonKey(tb testing.TB, raw []byte, keyVersion uint32) *Key {
	tb.Helper()
	k := &Key{keyVersion: keyVersion, slot: new(atomic.Uint32)}
	require.Equal(tb, len(k.Raw), copy(k.Raw[:], raw))
	return k
}

// Plain Tink opens what we seal and seals what we open.
func TestPlainTinkOpensAField(t *testing.T) {
	tinktest.SkipOutsideFIPS(t)
	raw, keyVersion := tinktest.Counting(32), uint32(0x01020304)
	plain, err := aead.New(tinkGCM(t, raw, keyVersion, aesgcm.VariantTink))
	require.NoError(t, err)
	ours := newPersonKey(t, raw, keyVersion)
	ad := format.AppendFieldAD(nil, format.LevelOwner, false, "t1", "contacts", "email", "p1", "")
	sealed, err := ours.appendSeal(nil, []byte("ann@b.example"), ad)
	require.NoError(t, err)
	opened, err := plain.Decrypt(sealed, tinktest.FieldAD(2, "t1", "contacts", "email", "p1", ""))
	require.NoError(t, err)
	require.Equal(t, "ann@b.example", string(opened))

	theirs, err := plain.Encrypt([]byte("bob@b.example"), ad)
	require.NoError(t, err)
	require.Equal(t, keyVersion, binary.BigEndian.Uint32(theirs[1:format.PrefixSize]))
	opened, err = ours.AppendOpen(nil, theirs, ad)
	require.NoError(t, err)
	require.Equal(t, "bob@b.example", string(opened))
	require.Len(t, theirs, len("bob@b.example")+format.Overhead)
}

// Plain Tink goes from the KEK to a person key: it unwraps the branch key, with
// that the wrap keyset, and with that a key row.
func TestPlainTinkUnwrapsAKeyRow(t *testing.T) {
	tinktest.SkipOutsideFIPS(t)
	kek, err := aead.New(tinkGCM(t, tinktest.Counting(32), 9, aesgcm.VariantTink))
	require.NoError(t, err)
	cfg := testConfig(kekFunc(contextAEAD{kek}))
	v := New(cfg)
	made, err := v.newKeysets(t.Context(), "t1", "k", 1)
	require.NoError(t, err)
	rows := rowsOf(made)
	wrap := made[len(made)-1]
	require.Equal(t, []string{PurposeBranch, PurposeWrap}, []string{rows[0].Purpose, wrap.Row.Purpose})
	wrapped := wrap.WrapKey(tinktest.Counting(32), "t1", "p1", 0x01020304)
	require.Len(t, wrapped, 65)

	branch, err := keyset.ReadWithAssociatedData(keyset.NewBinaryReader(bytes.NewReader(rows[0].Wrapped)), kek, frame.Join("crmguard/keyset/v1", "t1", "branch"))
	require.NoError(t, err)
	by, err := aead.New(branch)
	require.NoError(t, err)
	for _, row := range rows[1:] {
		require.Empty(t, row.KEK, row.Purpose)
		handle, err := keyset.ReadWithAssociatedData(keyset.NewBinaryReader(bytes.NewReader(row.Wrapped)), by, frame.Join("crmguard/keyset/v1", "t1", row.Purpose))
		require.NoError(t, err, row.Purpose)
		_, err = keyset.ReadWithAssociatedData(keyset.NewBinaryReader(bytes.NewReader(row.Wrapped)), kek, frame.Join("crmguard/keyset/v1", "t1", row.Purpose))
		require.Error(t, err, "%s: the KEK wraps the branch key alone", row.Purpose)
		if row.Purpose != PurposeWrap {
			continue
		}
		plain, err := aead.New(handle)
		require.NoError(t, err)
		raw, err := plain.Decrypt(wrapped, format.PersonKeyAD("t1", "p1", 0x01020304))
		require.NoError(t, err)
		require.Equal(t, tinktest.Counting(32), raw)
	}
	// And what plain Tink wraps, ours opens.
	theirs := tinkGCM(t, tinktest.Counting(32), 5, aesgcm.VariantTink)
	var out bytes.Buffer
	require.NoError(t, theirs.WriteWithAssociatedData(keyset.NewBinaryWriter(&out), by, frame.Join("crmguard/keyset/v1", "t1", "wrap")))
	open, err := branchKey{made[0]}.opens(keystore.KeysetRow{Tenant: "t1", Purpose: PurposeWrap, Wrapped: out.Bytes()})
	require.NoError(t, err)
	require.Equal(t, uint32(5), open.Primary())
}

// Tink's own PRF gives the keys that digests and indexes are made with.
func TestPlainTinkDerivesIndexKeys(t *testing.T) {
	handle, err := newKeyset(PurposeIndex)
	require.NoError(t, err)
	open, err := openedKeyset(keystore.KeysetRow{Purpose: PurposeIndex}, handle)
	require.NoError(t, err)
	set, err := prf.NewPRFSet(handle)
	require.NoError(t, err)
	info := frame.Join("crmguard/test/v1")
	want, err := set.ComputePrimaryPRF(info, 32)
	require.NoError(t, err)
	got, err := format.Derive(open.Roots[0].Key, info)
	require.NoError(t, err)
	require.Equal(t, want, got)
	require.Equal(t, set.PrimaryID, open.Primary())
}

// RAW keys would be tried one by one, CRUNCHY and LEGACY are history, other
// sizes and algorithms are not what the bytes say.
func TestOnlyTheRightKeysetsAreAccepted(t *testing.T) {
	mac := func(variant hmac.Variant, size, tag int, hash hmac.HashType) *keyset.Handle {
		params, err := hmac.NewParameters(hmac.ParametersOpts{KeySizeInBytes: size, TagSizeInBytes: tag, HashType: hash, Variant: variant})
		require.NoError(t, err)
		id := uint32(7)
		if variant == hmac.VariantNoPrefix {
			id = 0
		}
		k, err := hmac.NewKey(tinktest.Secret(tinktest.Counting(size)), params, id)
		require.NoError(t, err)
		return tinktest.Handle(t, k)
	}
	root := func(size int, hash hkdfprf.HashType, salt []byte) *keyset.Handle {
		params, err := hkdfprf.NewParameters(size, hash, salt)
		require.NoError(t, err)
		k, err := hkdfprf.NewKey(tinktest.Secret(tinktest.Counting(size)), params)
		require.NoError(t, err)
		return tinktest.Handle(t, k)
	}
	good := map[string]*keyset.Handle{
		PurposeWrap: tinkGCM(t, tinktest.Counting(32), 7, aesgcm.VariantTink), PurposeSeal: mac(hmac.VariantTink, 32, 32, hmac.SHA256), PurposeLog: mac(hmac.VariantTink, 32, 32, hmac.SHA256),
		PurposeManifest: mac(hmac.VariantTink, 32, 32, hmac.SHA256), PurposeIndex: root(32, hkdfprf.SHA256, nil), PurposeLedger: root(32, hkdfprf.SHA256, nil), PurposeSuppression: root(32, hkdfprf.SHA256, nil),
	}
	for purpose, handle := range good {
		_, err := openedKeyset(keystore.KeysetRow{Purpose: purpose}, handle)
		require.NoError(t, err, purpose)
	}
	good[PurposeBranch] = good[PurposeWrap]
	bad := map[string][]*keyset.Handle{
		PurposeWrap: {
			tinkGCM(t, tinktest.Counting(32), 0, aesgcm.VariantNoPrefix), tinkGCM(t, tinktest.Counting(32), 7, aesgcm.VariantCrunchy), tinkGCM(t, tinktest.Counting(16), 7, aesgcm.VariantTink),
			tinkGCM(t, tinktest.Counting(32), 0, aesgcm.VariantTink), good[PurposeSeal], good[PurposeIndex],
		},
		PurposeSeal: {
			mac(hmac.VariantNoPrefix, 32, 32, hmac.SHA256), mac(hmac.VariantCrunchy, 32, 32, hmac.SHA256), mac(hmac.VariantLegacy, 32, 32, hmac.SHA256),
			mac(hmac.VariantTink, 32, 16, hmac.SHA256), mac(hmac.VariantTink, 64, 32, hmac.SHA256), mac(hmac.VariantTink, 32, 32, hmac.SHA512), good[PurposeWrap],
		},
		PurposeIndex:    {root(64, hkdfprf.SHA256, nil), root(32, hkdfprf.SHA512, nil), root(32, hkdfprf.SHA256, []byte("salt")), good[PurposeSeal]},
		"other purpose": {good[PurposeWrap]},
	}
	bad[PurposeLog], bad[PurposeManifest], bad[PurposeLedger], bad[PurposeBranch] = bad[PurposeSeal], bad[PurposeSeal], bad[PurposeIndex], bad[PurposeWrap]
	for purpose, handles := range bad {
		for i, handle := range handles {
			_, err := openedKeyset(keystore.KeysetRow{Purpose: purpose}, handle)
			require.ErrorIs(t, err, ErrKeyset, "%s %d", purpose, i)
		}
	}
}

type noKeys struct{ keystore.Store }

// A RAW keyset that someone put into the store, wrapped by the real KEK or the
// real branch key, is refused where it is read; so is a branch keyset of two keys.
func TestAPlantedRawKeysetIsRefused(t *testing.T) {
	kek, err := insecurekeys.KEK(tinktest.Counting(32))
	require.NoError(t, err)
	cfg := testConfig(kekFunc(kek))
	v := New(cfg)
	raw := tinkGCM(t, tinktest.Counting(32), 0, aesgcm.VariantNoPrefix)
	written := func(handle *keyset.Handle, by tink.AEADWithContext, purpose string) []byte {
		var out bytes.Buffer
		require.NoError(t, handle.WriteWithContext(t.Context(), keyset.NewBinaryWriter(&out), by, format.KeysetAD("t1", purpose)))
		return out.Bytes()
	}
	_, err = v.wrapKeyset(t.Context(), keystore.KeysetRow{Tenant: "t1", Purpose: PurposeBranch, KEK: "k"}, raw)
	require.ErrorIs(t, err, ErrKeyset, "nor is it written")
	wrapped := written(raw, kek, PurposeBranch)
	_, err = v.unwrapKeyset(t.Context(), keystore.KeysetRow{Tenant: "t1", Purpose: PurposeBranch, KEK: "k", Wrapped: wrapped})
	require.ErrorIs(t, err, ErrKeyset)
	_, err = v.unwrapKeyset(t.Context(), keystore.KeysetRow{Tenant: "t2", Purpose: PurposeBranch, KEK: "k", Wrapped: wrapped})
	require.ErrorIs(t, err, ErrKEK, "a branch key is bound to its tenant")
	_, err = v.unwrapKeyset(t.Context(), keystore.KeysetRow{Tenant: "t1", Purpose: PurposeWrap, KEK: "k", Wrapped: wrapped})
	require.ErrorIs(t, err, ErrKEK, "and to its purpose")
	ctx, stop := context.WithCancel(t.Context())
	stop()
	_, err = v.unwrapKeyset(ctx, keystore.KeysetRow{Tenant: "t2", Purpose: PurposeBranch, KEK: "k", Wrapped: wrapped})
	require.True(t, errors.Is(err, context.Canceled), "an interruption stays recognisable")

	two, err := newKeyset(PurposeBranch)
	require.NoError(t, err)
	manager := keyset.NewManagerFromHandle(two)
	_, err = addKey(manager, PurposeBranch)
	require.NoError(t, err)
	two, err = manager.Handle()
	require.NoError(t, err)
	_, err = v.unwrapKeyset(t.Context(), keystore.KeysetRow{Tenant: "t1", Purpose: PurposeBranch, KEK: "k", Wrapped: written(two, kek, PurposeBranch)})
	require.ErrorIs(t, err, ErrKeyset, "an old branch key does not live on beside the new one")

	opened, err := v.newBranch(t.Context(), keystore.KeysetRow{Tenant: "t1", Purpose: PurposeBranch, KEK: "k"})
	require.NoError(t, err)
	branch := branchKey{opened}
	_, err = branch.wraps(keystore.KeysetRow{Tenant: "t1", Purpose: PurposeWrap}, raw)
	require.ErrorIs(t, err, ErrKeyset, "nor is it written")
	_, err = branch.opens(keystore.KeysetRow{Tenant: "t1", Purpose: PurposeWrap, Wrapped: written(raw, contextAEAD{branch}, PurposeWrap)})
	require.ErrorIs(t, err, ErrKeyset)
	require.NotErrorIs(t, err, ErrBranch, "it is opened, and then refused")
	handle, err := newKeyset(PurposeWrap)
	require.NoError(t, err)
	good := written(handle, contextAEAD{branch}, PurposeWrap)
	_, err = branch.opens(keystore.KeysetRow{Tenant: "t1", Purpose: PurposeWrap, Wrapped: good})
	require.NoError(t, err)
	for _, row := range []keystore.KeysetRow{{Tenant: "t2", Purpose: PurposeWrap}, {Tenant: "", Purpose: PurposeWrap}, {Tenant: "t1", Purpose: PurposeSeal}, {Tenant: "t1", Purpose: PurposeBranch}} {
		row.Wrapped = good
		_, err = branch.opens(row)
		require.ErrorIs(t, err, ErrBranch, "it is bound to its tenant and its purpose")
	}
	other, err := v.newBranch(t.Context(), keystore.KeysetRow{Tenant: "t1", Purpose: PurposeBranch, KEK: "k"}, opened.Primary())
	require.NoError(t, err)
	for _, wrapped := range [][]byte{nil, {}, {0x12, 0}, good[:len(good)-1], append(bytes.Clone(good), 0), bytes.Repeat([]byte{0xff}, 100)} {
		_, err = branch.opens(keystore.KeysetRow{Tenant: "t1", Purpose: PurposeWrap, Wrapped: wrapped})
		require.ErrorIs(t, err, ErrKeyset, "%x", wrapped)
	}
	_, err = branchKey{other}.opens(keystore.KeysetRow{Tenant: "t1", Purpose: PurposeWrap, Wrapped: good})
	require.ErrorIs(t, err, ErrBranch)
	require.ErrorContains(t, err, "another branch key")
}

// Whoever reads rows in their order has the branch key before what it wraps.
func TestTheBranchKeyIsTheFirstOfItsTenant(t *testing.T) {
	for _, of := range []string{"", "t1"} {
		purposes := PurposesOf(of)
		require.True(t, slices.IsSorted(purposes))
		require.Equal(t, PurposeBranch, purposes[0])
	}
}

func FuzzOpenKeyRow(f *testing.F) {
	handle, err := newKeyset(PurposeWrap)
	require.NoError(f, err)
	open, err := openedKeyset(keystore.KeysetRow{Tenant: "t1", Purpose: PurposeWrap}, handle)
	require.NoError(f, err)
	good := open.WrapKey(tinktest.Counting(32), "t1", "p1", 1)
	f.Add(good)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, wrapped []byte) {
		raw, _, err := open.UnwrapKey(keystore.KeyRow{Tenant: "t1", Owner: "p1", KeyVersion: 1, Wrapped: wrapped})
		if err == nil && !bytes.Equal(wrapped, good) {
			t.Fatalf("forged: %x", raw)
		}
	})
}

func FuzzPosition(f *testing.F) {
	f.Add([]byte(`{"epoch":1,"sequence":1,"store":"s"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := ParsePosition(data)
		if err == nil {
			require.NotEmpty(t, p.Store)
		}
	})
}

func kekFunc(kek tink.AEADWithContext) func(context.Context, string, string) (tink.AEADWithContext, error) {
	return func(context.Context, string, string) (tink.AEADWithContext, error) { return kek, nil }
}
