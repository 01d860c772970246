package encryption

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/aead/aesgcm"
	"github.com/tink-crypto/tink-go/v2/insecuresecretdataaccess"
	"github.com/tink-crypto/tink-go/v2/key"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/mac/hmac"
	"github.com/tink-crypto/tink-go/v2/prf"
	"github.com/tink-crypto/tink-go/v2/prf/hkdfprf"
	"github.com/tink-crypto/tink-go/v2/secretdata"
	"github.com/tink-crypto/tink-go/v2/streamingaead"
	"github.com/tink-crypto/tink-go/v2/streamingaead/aesctrhmac"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/crmguard/crmguard/encryption/insecurekeys"
	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/internal/frame"
)

func secret(b []byte) secretdata.Bytes {
	return secretdata.NewBytesFromData(b, insecuresecretdataaccess.Token{})
}

func handleOf(tb testing.TB, k key.Key) *keyset.Handle {
	tb.Helper()
	manager := keyset.NewManager()
	id, err := manager.AddKey(k)
	require.NoError(tb, err)
	require.NoError(tb, manager.SetPrimary(id))
	handle, err := manager.Handle()
	require.NoError(tb, err)
	return handle
}

func tinkGCM(tb testing.TB, raw []byte, id uint32, variant aesgcm.Variant) *keyset.Handle {
	tb.Helper()
	params, err := aesgcm.NewParameters(aesgcm.ParametersOpts{KeySizeInBytes: len(raw), IVSizeInBytes: 12, TagSizeInBytes: 16, Variant: variant})
	require.NoError(tb, err)
	k, err := aesgcm.NewKey(secret(raw), id, params)
	require.NoError(tb, err)
	return handleOf(tb, k)
}

func newPersonKey(tb testing.TB, raw []byte, keyVersion uint32) *personKey {
	tb.Helper()
	k := &personKey{keyVersion: keyVersion, slot: new(atomic.Uint32)}
	require.Equal(tb, len(k.raw), copy(k.raw[:], raw))
	return k
}

// publishedAD is the associated data as a foreign program would write it from
// formats.md, without any code of ours.
func publishedAD(level byte, parts ...string) []byte {
	lp := func(s string) []byte { return append(binary.BigEndian.AppendUint32(nil, uint32(len(s))), s...) }
	out := append(lp("crmguard/field/v1"), level)
	for _, p := range parts {
		out = append(out, lp(p)...)
	}
	return out
}

// Plain Tink opens what we seal and seals what we open.
func TestPlainTinkOpensAField(t *testing.T) {
	SkipOutsideFIPS(t)
	raw, keyVersion := counting(32), uint32(0x01020304)
	plain, err := aead.New(tinkGCM(t, raw, keyVersion, aesgcm.VariantTink))
	require.NoError(t, err)
	ours := newPersonKey(t, raw, keyVersion)
	ad := appendFieldAD(nil, LevelOwner, false, "t1", "contacts", "email", "p1", "")
	sealed, err := ours.appendSeal(nil, []byte("ann@b.example"), ad)
	require.NoError(t, err)
	opened, err := plain.Decrypt(sealed, publishedAD(2, "t1", "contacts", "email", "p1", ""))
	require.NoError(t, err)
	require.Equal(t, "ann@b.example", string(opened))

	theirs, err := plain.Encrypt([]byte("bob@b.example"), ad)
	require.NoError(t, err)
	named, err := KeyVersionOf(theirs)
	require.NoError(t, err)
	require.Equal(t, keyVersion, named)
	opened, err = ours.appendOpen(nil, theirs, ad)
	require.NoError(t, err)
	require.Equal(t, "bob@b.example", string(opened))
	require.Len(t, theirs, len("bob@b.example")+overhead)
}

// Plain Tink goes from the KEK to a person key: it unwraps the branch key, with
// that the wrap keyset, and with that a key row.
func TestPlainTinkUnwrapsAKeyRow(t *testing.T) {
	SkipOutsideFIPS(t)
	kek, err := aead.New(tinkGCM(t, counting(32), 9, aesgcm.VariantTink))
	require.NoError(t, err)
	cfg, err := Config{Keys: noKeys{}, KEK: kekFunc(asKEK{kek})}.complete()
	require.NoError(t, err)
	v := &Vault{cfg: settings{Config: cfg}}
	made, err := v.newKeysets(t.Context(), "t1", "k", 1)
	require.NoError(t, err)
	rows := rowsOf(made)
	wrap := made[len(made)-1]
	require.Equal(t, []string{purposeBranch, purposeWrap}, []string{rows[0].Purpose, wrap.row.Purpose})
	wrapped := wrap.wrapKey(counting(32), "t1", "p1", 0x01020304)
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
		if row.Purpose != purposeWrap {
			continue
		}
		plain, err := aead.New(handle)
		require.NoError(t, err)
		raw, err := plain.Decrypt(wrapped, personKeyAD("t1", "p1", 0x01020304))
		require.NoError(t, err)
		require.Equal(t, counting(32), raw)
	}
	// And what plain Tink wraps, ours opens.
	theirs := tinkGCM(t, counting(32), 5, aesgcm.VariantTink)
	var out bytes.Buffer
	require.NoError(t, theirs.WriteWithAssociatedData(keyset.NewBinaryWriter(&out), by, frame.Join("crmguard/keyset/v1", "t1", "wrap")))
	open, err := branchKey{made[0]}.opens(keystore.KeysetRow{Tenant: "t1", Purpose: purposeWrap, Wrapped: out.Bytes()})
	require.NoError(t, err)
	require.Equal(t, uint32(5), open.primary())
}

func TestPlainTinkReadsAStream(t *testing.T) {
	personKey := counting(32)
	primitive, err := streamPrimitive(personKey)
	require.NoError(t, err)
	ad := streamAD("t1", "files", "content", "p1", "r1")
	var sealed bytes.Buffer
	w, err := primitive.NewEncryptingWriter(&sealed, ad)
	require.NoError(t, err)
	content := bytes.Repeat([]byte("content "), 20_000)
	_, err = w.Write(content)
	require.NoError(t, err)
	require.NoError(t, w.Close())

	params, err := aesctrhmac.NewParameters(aesctrhmac.ParametersOpts{
		KeySizeInBytes: 32, DerivedKeySizeInBytes: 32, HkdfHashType: aesctrhmac.SHA256, HmacHashType: aesctrhmac.SHA256, HmacTagSizeInBytes: 32, SegmentSizeInBytes: 64 << 10,
	})
	require.NoError(t, err)
	derived, err := derive(personKey, frame.Join(streamKeyDomain))
	require.NoError(t, err)
	k, err := aesctrhmac.NewKey(params, secret(derived))
	require.NoError(t, err)
	plain, err := streamingaead.New(handleOf(t, k))
	require.NoError(t, err)
	r, err := plain.NewDecryptingReader(bytes.NewReader(sealed.Bytes()), append(frame.Join("crmguard/streamad/v1"), publishedAD(3, "t1", "files", "content", "p1", "r1")...))
	require.NoError(t, err)
	got, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Equal(t, content, got)
}

// Tink's own PRF gives the keys that digests and indexes are made with.
func TestPlainTinkDerivesIndexKeys(t *testing.T) {
	handle, err := newKeyset(purposeIndex)
	require.NoError(t, err)
	open, err := openedKeyset(keystore.KeysetRow{Purpose: purposeIndex}, handle)
	require.NoError(t, err)
	set, err := prf.NewPRFSet(handle)
	require.NoError(t, err)
	info := frame.Join("crmguard/test/v1")
	want, err := set.ComputePrimaryPRF(info, 32)
	require.NoError(t, err)
	got, err := derive(open.roots[0].key, info)
	require.NoError(t, err)
	require.Equal(t, want, got)
	require.Equal(t, set.PrimaryID, open.primary())
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
		k, err := hmac.NewKey(secret(counting(size)), params, id)
		require.NoError(t, err)
		return handleOf(t, k)
	}
	root := func(size int, hash hkdfprf.HashType, salt []byte) *keyset.Handle {
		params, err := hkdfprf.NewParameters(size, hash, salt)
		require.NoError(t, err)
		k, err := hkdfprf.NewKey(secret(counting(size)), params)
		require.NoError(t, err)
		return handleOf(t, k)
	}
	good := map[string]*keyset.Handle{
		purposeWrap: tinkGCM(t, counting(32), 7, aesgcm.VariantTink), purposeSeal: mac(hmac.VariantTink, 32, 32, hmac.SHA256), purposeLog: mac(hmac.VariantTink, 32, 32, hmac.SHA256),
		purposeManifest: mac(hmac.VariantTink, 32, 32, hmac.SHA256), purposeIndex: root(32, hkdfprf.SHA256, nil), purposeLedger: root(32, hkdfprf.SHA256, nil), purposeSuppression: root(32, hkdfprf.SHA256, nil),
	}
	for purpose, handle := range good {
		_, err := openedKeyset(keystore.KeysetRow{Purpose: purpose}, handle)
		require.NoError(t, err, purpose)
	}
	good[purposeBranch] = good[purposeWrap]
	bad := map[string][]*keyset.Handle{
		purposeWrap: {
			tinkGCM(t, counting(32), 0, aesgcm.VariantNoPrefix), tinkGCM(t, counting(32), 7, aesgcm.VariantCrunchy), tinkGCM(t, counting(16), 7, aesgcm.VariantTink),
			tinkGCM(t, counting(32), 0, aesgcm.VariantTink), good[purposeSeal], good[purposeIndex],
		},
		purposeSeal: {
			mac(hmac.VariantNoPrefix, 32, 32, hmac.SHA256), mac(hmac.VariantCrunchy, 32, 32, hmac.SHA256), mac(hmac.VariantLegacy, 32, 32, hmac.SHA256),
			mac(hmac.VariantTink, 32, 16, hmac.SHA256), mac(hmac.VariantTink, 64, 32, hmac.SHA256), mac(hmac.VariantTink, 32, 32, hmac.SHA512), good[purposeWrap],
		},
		purposeIndex:    {root(64, hkdfprf.SHA256, nil), root(32, hkdfprf.SHA512, nil), root(32, hkdfprf.SHA256, []byte("salt")), good[purposeSeal]},
		"other purpose": {good[purposeWrap]},
	}
	bad[purposeLog], bad[purposeManifest], bad[purposeLedger], bad[purposeBranch] = bad[purposeSeal], bad[purposeSeal], bad[purposeIndex], bad[purposeWrap]
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
	kek, err := insecurekeys.KEK(counting(32))
	require.NoError(t, err)
	cfg, err := Config{Keys: noKeys{}, KEK: kekFunc(kek)}.complete()
	require.NoError(t, err)
	v := &Vault{cfg: settings{Config: cfg}}
	raw := tinkGCM(t, counting(32), 0, aesgcm.VariantNoPrefix)
	written := func(handle *keyset.Handle, by tink.AEADWithContext, purpose string) []byte {
		var out bytes.Buffer
		require.NoError(t, handle.WriteWithContext(t.Context(), keyset.NewBinaryWriter(&out), by, keysetAD("t1", purpose)))
		return out.Bytes()
	}
	_, err = v.wrapKeyset(t.Context(), keystore.KeysetRow{Tenant: "t1", Purpose: purposeBranch, KEK: "k"}, raw)
	require.ErrorIs(t, err, ErrKeyset, "nor is it written")
	wrapped := written(raw, kek, purposeBranch)
	_, err = v.unwrapKeyset(t.Context(), keystore.KeysetRow{Tenant: "t1", Purpose: purposeBranch, KEK: "k", Wrapped: wrapped})
	require.ErrorIs(t, err, ErrKeyset)
	_, err = v.unwrapKeyset(t.Context(), keystore.KeysetRow{Tenant: "t2", Purpose: purposeBranch, KEK: "k", Wrapped: wrapped})
	require.ErrorIs(t, err, ErrKEK, "a branch key is bound to its tenant")
	_, err = v.unwrapKeyset(t.Context(), keystore.KeysetRow{Tenant: "t1", Purpose: purposeWrap, KEK: "k", Wrapped: wrapped})
	require.ErrorIs(t, err, ErrKEK, "and to its purpose")
	ctx, stop := context.WithCancel(t.Context())
	stop()
	_, err = v.unwrapKeyset(ctx, keystore.KeysetRow{Tenant: "t2", Purpose: purposeBranch, KEK: "k", Wrapped: wrapped})
	require.True(t, errors.Is(err, context.Canceled), "an interruption stays recognisable")

	two, err := newKeyset(purposeBranch)
	require.NoError(t, err)
	manager := keyset.NewManagerFromHandle(two)
	_, err = addKey(manager, purposeBranch)
	require.NoError(t, err)
	two, err = manager.Handle()
	require.NoError(t, err)
	_, err = v.unwrapKeyset(t.Context(), keystore.KeysetRow{Tenant: "t1", Purpose: purposeBranch, KEK: "k", Wrapped: written(two, kek, purposeBranch)})
	require.ErrorIs(t, err, ErrKeyset, "an old branch key does not live on beside the new one")

	opened, err := v.newBranch(t.Context(), keystore.KeysetRow{Tenant: "t1", Purpose: purposeBranch, KEK: "k"})
	require.NoError(t, err)
	branch := branchKey{opened}
	_, err = branch.wraps(keystore.KeysetRow{Tenant: "t1", Purpose: purposeWrap}, raw)
	require.ErrorIs(t, err, ErrKeyset, "nor is it written")
	_, err = branch.opens(keystore.KeysetRow{Tenant: "t1", Purpose: purposeWrap, Wrapped: written(raw, asKEK{branch}, purposeWrap)})
	require.ErrorIs(t, err, ErrKeyset)
	require.NotErrorIs(t, err, errBranch, "it is opened, and then refused")
	handle, err := newKeyset(purposeWrap)
	require.NoError(t, err)
	good := written(handle, asKEK{branch}, purposeWrap)
	_, err = branch.opens(keystore.KeysetRow{Tenant: "t1", Purpose: purposeWrap, Wrapped: good})
	require.NoError(t, err)
	for _, row := range []keystore.KeysetRow{{Tenant: "t2", Purpose: purposeWrap}, {Tenant: "", Purpose: purposeWrap}, {Tenant: "t1", Purpose: purposeSeal}, {Tenant: "t1", Purpose: purposeBranch}} {
		row.Wrapped = good
		_, err = branch.opens(row)
		require.ErrorIs(t, err, errBranch, "it is bound to its tenant and its purpose")
	}
	other, err := v.newBranch(t.Context(), keystore.KeysetRow{Tenant: "t1", Purpose: purposeBranch, KEK: "k"}, opened.primary())
	require.NoError(t, err)
	for _, wrapped := range [][]byte{nil, {}, {0x12, 0}, good[:len(good)-1], append(bytes.Clone(good), 0), bytes.Repeat([]byte{0xff}, 100)} {
		_, err = branch.opens(keystore.KeysetRow{Tenant: "t1", Purpose: purposeWrap, Wrapped: wrapped})
		require.ErrorIs(t, err, ErrKeyset, "%x", wrapped)
	}
	_, err = branchKey{other}.opens(keystore.KeysetRow{Tenant: "t1", Purpose: purposeWrap, Wrapped: good})
	require.ErrorIs(t, err, errBranch)
	require.ErrorContains(t, err, "another branch key")
}

// Whoever reads rows in their order has the branch key before what it wraps.
func TestTheBranchKeyIsTheFirstOfItsTenant(t *testing.T) {
	for _, of := range []string{"", "t1"} {
		purposes := purposesOf(of)
		require.True(t, slices.IsSorted(purposes))
		require.Equal(t, purposeBranch, purposes[0])
	}
}

func FuzzOpenKeyRow(f *testing.F) {
	handle, err := newKeyset(purposeWrap)
	require.NoError(f, err)
	open, err := openedKeyset(keystore.KeysetRow{Tenant: "t1", Purpose: purposeWrap}, handle)
	require.NoError(f, err)
	good := open.wrapKey(counting(32), "t1", "p1", 1)
	f.Add(good)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, wrapped []byte) {
		raw, _, err := open.unwrapKey(keystore.KeyRow{Tenant: "t1", Owner: "p1", KeyVersion: 1, Wrapped: wrapped})
		if err == nil && !bytes.Equal(wrapped, good) {
			t.Fatalf("forged: %x", raw)
		}
	})
}

func FuzzScanCopy(f *testing.F) {
	f.Add([]byte(`{"epoch":1,"kek":"k","sequence":1,"store":"s","v":1,"written":"x"}` + "\n" + `{"count":0,"sha256":""}` + "\n"))
	f.Add([]byte(`{"kind":"key"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		rows := 0
		_, end, err := scanCopy(t.Context(), bytes.NewReader(data), func(row copyRow) error {
			rows++
			_, err := row.rows()
			return err
		})
		if err == nil {
			require.Equal(t, rows, end.Count)
		}
	})
}

func FuzzPosition(f *testing.F) {
	f.Add([]byte(`{"epoch":1,"sequence":1,"store":"s"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := parsePosition(data)
		if err == nil {
			require.NotEmpty(t, p.Store)
		}
	})
}

// The sealed size is checked at the end, whatever the stream itself says.
func TestTheSizeOfAStreamIsChecked(t *testing.T) {
	for size, content := range map[uint64]string{2: "hello", 10: "hello", 5: "hello", 0: ""} {
		plain := append(frame.Append(binary.BigEndian.AppendUint64(nil, size), "x.txt"), content...)
		stream, err := openStream(bytes.NewReader(plain))
		require.NoError(t, err)
		got, err := io.ReadAll(stream)
		if int(size) == len(content) {
			require.NoError(t, err)
			require.Equal(t, content, string(got))
		} else {
			require.ErrorIs(t, err, ErrStream)
		}
	}
}

func FuzzOpenStream(f *testing.F) {
	f.Add(append(frame.Append(binary.BigEndian.AppendUint64(nil, 5), "x.txt"), "hello"...))
	f.Fuzz(func(t *testing.T, plain []byte) {
		stream, err := openStream(bytes.NewReader(plain))
		if err != nil {
			return
		}
		got, err := io.ReadAll(stream)
		if err == nil {
			require.Len(t, got, int(stream.Size))
		}
	})
}

func kekFunc(kek tink.AEADWithContext) func(context.Context, string, string) (tink.AEADWithContext, error) {
	return func(context.Context, string, string) (tink.AEADWithContext, error) { return kek, nil }
}
