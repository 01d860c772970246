package alone

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/frame"
)

var macInfo = frame.Join("crmguard/audit/queue-key/v2", "crm.example/audit")

func macKeysOf(t *testing.T, keys AuditKeys, tenant string, info []byte) (ids []uint32, all [][]byte) {
	t.Helper()
	ids, all, err := keys.MACKeys(t.Context(), tenant, info)
	require.NoError(t, err)
	require.Len(t, all, len(ids))
	for _, key := range all {
		require.Len(t, key, keySize)
	}
	return ids, all
}

func tagID(tag []byte) uint32 { return binary.BigEndian.Uint32(tag[1:prefixSize]) }

func TestAuditKeysAreThoseOfTheSecret(t *testing.T) {
	s, ctx := secretOf(t, counting()), t.Context()
	keys := s.AuditKeys()
	require.NoError(t, keys.Prepare(ctx, "t1", "p1", ""))
	for _, person := range []string{"p1", ""} {
		sealed, err := keys.Seal(ctx, "t1", person, []byte("was: Ann"), []byte("ad"))
		require.NoError(t, err)
		plain, err := s.Sealer(PurposeAudit).Open(ctx, "t1", person, sealed, []byte("ad"))
		require.NoError(t, err)
		require.Equal(t, "was: Ann", string(plain))
		requireOnly(t, sealed, func(sealed []byte) error {
			_, err := keys.Open(ctx, "t1", person, sealed, []byte("ad"))
			return err
		})
	}
	tag, err := keys.Tag(ctx, "t1", []byte("leaf"))
	require.NoError(t, err)
	require.NoError(t, s.Tagger(PurposeLog).Verify(ctx, "t1", []byte("leaf"), tag))
	requireOnly(t, tag, func(tag []byte) error { return keys.Verify(ctx, "t1", []byte("leaf"), tag) })

	ids, all := macKeysOf(t, keys, "t1", macInfo)
	require.Equal(t, []uint32{tagID(tag)}, ids, "the id is that of tags")
	_, again := macKeysOf(t, keys, "t1", macInfo)
	require.Equal(t, all, again)
	clear(again[0])
	_, again = macKeysOf(t, keys, "t1", macInfo)
	require.Equal(t, all, again, "who wipes a key wipes a copy")
	require.NoError(t, keys.Verify(ctx, "t1", []byte("leaf"), tag))
	_, other := macKeysOf(t, keys, "t2", macInfo)
	require.NotEqual(t, all, other, "of another tenant")
	_, other = macKeysOf(t, keys, "t1", frame.Join("crmguard/audit/retry-key/v2", "crm.example/audit"))
	require.NotEqual(t, all, other, "for another use")
	_, other = macKeysOf(t, keys, "t1", frame.Join("crmguard/audit/queue-key/v2", "crm.example/other"))
	require.NotEqual(t, all, other, "for another log")
}

// A new secret beside the one that it replaces: two ids, and nothing is lost.
func TestAFormerSecretStandsBesideTheNewOne(t *testing.T) {
	was, is, ctx := secretOf(t, counting()), secretOf(t, bytes.Repeat([]byte{1, 2}, 16)), t.Context()
	old, both := was.AuditKeys(), is.AuditKeys(was)
	oldTag, err := old.Tag(ctx, "t1", []byte("leaf"))
	require.NoError(t, err)
	oldSealed, err := old.Seal(ctx, "t1", "p1", []byte("x"), []byte("ad"))
	require.NoError(t, err)
	newTag, err := both.Tag(ctx, "t1", []byte("leaf"))
	require.NoError(t, err)
	newSealed, err := both.Seal(ctx, "t1", "p1", []byte("x"), []byte("ad"))
	require.NoError(t, err)

	oldIDs, oldKeys := macKeysOf(t, old, "t1", macInfo)
	newIDs, newKeys := macKeysOf(t, is.AuditKeys(), "t1", macInfo)
	require.NotEqual(t, oldIDs, newIDs)
	ids, keys := macKeysOf(t, both, "t1", macInfo)
	require.Equal(t, append(newIDs, oldIDs...), ids, "the new one first")
	require.Equal(t, append(newKeys, oldKeys...), keys)
	require.Equal(t, []uint32{tagID(newTag), tagID(oldTag)}, ids, "nothing new is made under the former one")

	for _, tag := range [][]byte{oldTag, newTag} {
		requireOnly(t, tag, func(tag []byte) error { return both.Verify(ctx, "t1", []byte("leaf"), tag) })
		err := both.Verify(ctx, "t1", []byte("fael"), tag)
		require.ErrorIs(t, err, errTag)
		require.NotErrorIs(t, err, fs.ErrNotExist, "forged, and not made under another key")
	}
	for _, sealed := range [][]byte{oldSealed, newSealed} {
		requireOnly(t, sealed, func(sealed []byte) error {
			_, err := both.Open(ctx, "t1", "p1", sealed, []byte("ad"))
			return err
		})
		_, err := both.Open(ctx, "t1", "p2", sealed, []byte("ad"))
		require.ErrorIs(t, err, errOpen)
		require.NotErrorIs(t, err, fs.ErrNotExist)
	}
	_, err = is.AuditKeys().Open(ctx, "t1", "p1", newSealed, []byte("ad"))
	require.NoError(t, err, "sealed under the new one")

	ahead := was.AuditKeys(is) // a process that makes nothing under the new one yet
	require.NoError(t, ahead.Verify(ctx, "t1", []byte("leaf"), newTag))
	_, err = ahead.Open(ctx, "t1", "p1", newSealed, []byte("ad"))
	require.NoError(t, err)
	ids, _ = macKeysOf(t, ahead, "t1", macInfo)
	require.Equal(t, append(oldIDs, newIDs...), ids)

	// Of the two alone each knows its own, and says that it does not know the other's.
	require.ErrorIs(t, is.AuditKeys().Verify(ctx, "t1", []byte("leaf"), oldTag), fs.ErrNotExist)
	require.ErrorIs(t, old.Verify(ctx, "t1", []byte("leaf"), newTag), fs.ErrNotExist)
	_, err = is.AuditKeys().Open(ctx, "t1", "p1", oldSealed, []byte("ad"))
	require.ErrorIs(t, err, fs.ErrNotExist)

	ids, _ = macKeysOf(t, is.AuditKeys(was, is, was), "t1", macInfo)
	require.Len(t, ids, 2, "one that is named twice counts once")
}

// A wrong secret is another id: what it does not know is not forged.
func TestAWrongSecretIsAnotherID(t *testing.T) {
	right, ctx := secretOf(t, counting()).AuditKeys(), t.Context()
	wrong := secretOf(t, bytes.Repeat([]byte{1, 2}, 16)).AuditKeys(secretOf(t, bytes.Repeat([]byte{3, 4}, 16)))
	tag, err := right.Tag(ctx, "t1", []byte("leaf"))
	require.NoError(t, err)
	ids, _ := macKeysOf(t, wrong, "t1", macInfo)
	require.NotContains(t, ids, tagID(tag))
	err = wrong.Verify(ctx, "t1", []byte("leaf"), tag)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorIs(t, err, errTag)
	for _, none := range [][]byte{nil, tag[:4], tag[:36]} {
		require.NotErrorIs(t, wrong.Verify(ctx, "t1", []byte("leaf"), none), fs.ErrNotExist, "what is no tag names no key")
	}
}

func TestMACKeysAreForTheTrailAlone(t *testing.T) {
	s, ctx := secretOf(t, counting()), t.Context()
	for _, info := range [][]byte{nil, []byte("crmguard/audit/queue-key/v2"), frame.Join("crmguard/audit/"), frame.Join("crmguard/ledger/digest/v1"), append(bytes.Clone(macInfo), 0)} {
		for _, keys := range []AuditKeys{s.AuditKeys(), s.AuditKeys(secretOf(t, bytes.Repeat([]byte{1, 2}, 16)))} {
			ids, all, err := keys.MACKeys(ctx, "t1", info)
			require.ErrorIs(t, err, errInfo)
			require.Empty(t, ids)
			require.Empty(t, all)
		}
	}
}

// Prepare refuses what Seal and Tag would refuse in the transaction.
func TestPrepareRefusesWhatSealWould(t *testing.T) {
	keys, ctx := secretOf(t, counting()).AuditKeys(), t.Context()
	for _, tenant := range []string{"", strings.Repeat("t", 256), "a\x00b", "\xff"} {
		require.ErrorIs(t, keys.Prepare(ctx, tenant), errTenant)
		_, _, err := keys.MACKeys(ctx, tenant, macInfo)
		require.ErrorIs(t, err, errTenant)
	}
	for _, person := range []string{"t:", "r:1", strings.Repeat("p", 256), "a\x00b", "\xff"} {
		_, err := keys.Seal(ctx, "t1", person, nil, nil)
		require.ErrorIs(t, err, errPerson)
		err = keys.Prepare(ctx, "t1", "p1", "", person)
		require.ErrorIs(t, err, errPerson)
		require.ErrorContains(t, err, "position 2")
		if len(person) > 3 {
			require.NotContains(t, err.Error(), person)
		}
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	require.ErrorIs(t, keys.Prepare(ended, "t1", "p1"), context.Canceled)
	_, _, err := keys.MACKeys(ended, "t1", macInfo)
	require.ErrorIs(t, err, context.Canceled)
}

func TestAuditKeysDoNotPrint(t *testing.T) {
	s, former := secretOf(t, []byte("\xb1r4ndom-bytes-as-a-marker-32-long"[:keySize])), secretOf(t, []byte("\xb2r4ndom-bytes-as-a-marker-32-long"[:keySize]))
	keys := s.AuditKeys(former)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		text := fmt.Sprintf(verb, struct{ keys, at any }{keys, &keys})
		for _, hidden := range [][]byte{s.root(), former.root()} {
			for _, form := range []string{string(hidden), hex.EncodeToString(hidden), fmt.Sprintf("%d", hidden), fmt.Sprintf("%q", hidden)} {
				require.NotContains(t, text, strings.Trim(form, "[]\""), verb)
			}
		}
	}
}
