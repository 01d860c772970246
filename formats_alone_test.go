package crmguard_test

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/backup"
	"github.com/crmguard/crmguard/integrity"
	"github.com/crmguard/crmguard/internal/alone"
	"github.com/crmguard/crmguard/internal/frame"
	"github.com/crmguard/crmguard/privacy/erasurelog"
)

type (
	aloneTag     struct{ Tenant, Purpose, Data, Tag string }
	aloneOpening struct{ Tenant, Person, AD, Plain, Sealed string }
	aloneDigest  struct {
		Label, Data, Digest string
		Root                uint32
	}
	aloneMACKey struct {
		Tenant, Info, Key string
		ID                uint32
	}
	aloneSample struct {
		Tags     []aloneTag
		Openings []aloneOpening
		Digests  []aloneDigest
		MACKeys  []aloneMACKey
	}
)

// TestPythonAndGoShareStandAloneKeys begins with a new secret in a file. Each
// program takes what the other made of it, and refuses it with a bit turned.
func TestPythonAndGoShareStandAloneKeys(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "crm.secret")
	require.NoError(t, alone.Create(path))
	secret := must(alone.Read(path))(t)
	made := must(json.Marshal(makeAlone(t, secret)))(t)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "made.json"), made, 0o600))
	requireAgreement(t, python(t, "alone", dir), "stand-alone keys")

	var written aloneSample
	require.NoError(t, json.Unmarshal(must(os.ReadFile(filepath.Join(dir, "written.json")))(t), &written))
	require.Len(t, written.Tags, 3)
	for _, v := range written.Tags {
		requireOnly(t, unhex(t, v.Tag), func(tag []byte) error {
			if v.Tenant == "" {
				return secret.Manifests().Verify(t.Context(), unhex(t, v.Data), tag)
			}
			return secret.Tagger(v.Purpose).Verify(t.Context(), v.Tenant, unhex(t, v.Data), tag)
		})
	}
	require.Len(t, written.Openings, 2)
	for _, v := range written.Openings {
		requireOnly(t, unhex(t, v.Sealed), func(sealed []byte) error {
			plain, err := secret.Sealer(alone.PurposeAudit).Open(t.Context(), v.Tenant, v.Person, sealed, unhex(t, v.AD))
			return different(hex.EncodeToString(plain), v.Plain, err)
		})
	}
	again := makeAlone(t, secret)
	require.Equal(t, again.Digests, written.Digests)
	require.Equal(t, again.MACKeys, written.MACKeys)
}

// TestEachPackageDerivesForItsPurpose holds what the packages offer against the
// vectors of formats.md.
func TestEachPackageDerivesForItsPurpose(t *testing.T) {
	ctx, data := t.Context(), []byte("tagged")
	secret := unhex(t, "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f")
	trail := must(audit.KeysFrom(secret))(t)
	require.NoError(t, trail.Verify(ctx, "t1", data, unhex(t, "0192fa947799dd96060194a2ca6da633c397d9fdfe77ac35614dbfc315595de4f1fa1eff5d")))
	sealed := unhex(t, "016283e3fa000102030405060708090a0be66c7e900658ff6b6f5739efd71c5a3d3039b3669c81be2ab319")
	require.Equal(t, "an opening", string(must(trail.Open(ctx, "t1", "p1", sealed, []byte("ad")))(t)))
	seals := must(integrity.KeysFrom(secret))(t)
	require.NoError(t, seals.Verify(ctx, "t1", data, unhex(t, "01578d2ab5dfb11f9dfc3e9eeee2aa3905d2c488a6d89bd4ffd1d369be42333a2a2a287102")))
	manifests := must(backup.ParseMachineKey(hex.EncodeToString(secret)))(t).Manifests()
	require.NoError(t, manifests.Verify(ctx, data, unhex(t, "019810e2cde3433143f17e687f32cf01c0ca50f4205d23da35cfc0a985a31c46fb35d6ce34")))
	roots, digests, err := must(erasurelog.KeysFrom(secret))(t)(ctx, "crmguard/ledger/digest/v1", []byte("p1"))
	require.NoError(t, err)
	require.Equal(t, []uint32{0xfbc3607e}, roots)
	require.Equal(t, [][]byte{unhex(t, "f321601b6c60cef29dbd2db2e31e4ff3eeb7e8b55d8b6b8a3724fc49e728689f")}, digests)
}

func makeAlone(t *testing.T, secret alone.Secret) (s aloneSample) {
	t.Helper()
	data := []byte("tagged")
	for _, purpose := range []string{alone.PurposeSeal, alone.PurposeLog} {
		tag := must(secret.Tagger(purpose).Tag(t.Context(), "t1", data))(t)
		s.Tags = append(s.Tags, aloneTag{"t1", purpose, hex.EncodeToString(data), hex.EncodeToString(tag)})
	}
	tag := must(secret.Manifests().Tag(t.Context(), data))(t)
	s.Tags = append(s.Tags, aloneTag{"", alone.PurposeManifest, hex.EncodeToString(data), hex.EncodeToString(tag)})
	for _, person := range []string{"p1", ""} {
		sealed := must(secret.Sealer(alone.PurposeAudit).Seal(t.Context(), "t1", person, []byte("an opening"), []byte("ad")))(t)
		s.Openings = append(s.Openings, aloneOpening{"t1", person, hex.EncodeToString([]byte("ad")), hex.EncodeToString([]byte("an opening")), hex.EncodeToString(sealed)})
	}
	label := "crmguard/ledger/digest/v1"
	roots, digests, err := secret.LedgerDigests(t.Context(), label, []byte("p1"))
	require.NoError(t, err)
	s.Digests = []aloneDigest{{label, hex.EncodeToString([]byte("p1")), hex.EncodeToString(digests[0]), roots[0]}}
	for _, label := range []string{"crmguard/audit/queue-key/v2", "crmguard/audit/retry-key/v2"} {
		info := frame.Join(label, "crm.example/audit")
		keyIDs, keys, err := secret.AuditKeys().MACKeys(t.Context(), "t1", info)
		require.NoError(t, err)
		s.MACKeys = append(s.MACKeys, aloneMACKey{"t1", hex.EncodeToString(info), hex.EncodeToString(keys[0]), keyIDs[0]})
	}
	return s
}

func unhex(t *testing.T, text string) []byte {
	t.Helper()
	return must(hex.DecodeString(text))(t)
}
