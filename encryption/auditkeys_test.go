package encryption_test

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/insecuresecretdataaccess"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/mac"
	tinkhmac "github.com/tink-crypto/tink-go/v2/mac/hmac"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/keycopy"
	"github.com/crmguard/crmguard/encryption/keystore"
	"github.com/crmguard/crmguard/encryption/primitives"
	"github.com/crmguard/crmguard/internal/frame"
	"github.com/crmguard/crmguard/internal/testdb"
)

// macInfo is what a trail derives a MAC key for.
var macInfo = frame.Join("crmguard/audit/queue-key/v2", "crm.example/audit")

// macKey is a MAC key and the id that it goes by.
type macKey struct {
	id  uint32
	key string
}

func macKeysOf(t *testing.T, keys primitives.AuditKeys, tenant string) []macKey {
	t.Helper()
	ids, all, err := keys.MACKeys(t.Context(), tenant, macInfo)
	require.NoError(t, err)
	require.Len(t, all, len(ids))
	var out []macKey
	for i, id := range ids {
		require.Len(t, all[i], 32)
		out = append(out, macKey{id, string(all[i])})
	}
	return out
}

func tagID(tag []byte) uint32 { return binary.BigEndian.Uint32(tag[1:5]) }

// addTagKey gives the tenant's keyset of tags one more key, which makes what is new
// from now on, as another process or Tink's own tool would do it.
func (e *env) addTagKey(t *testing.T, tenant string) {
	t.Helper()
	ctx := t.Context()
	open := func(purpose string, read func(keystore.KeysetRow) (*keyset.Handle, error)) (keystore.KeysetRow, *keyset.Handle) {
		row := keysetOf(t, e.store, tenant, purpose)
		handle, err := read(row)
		require.NoError(t, err)
		return row, handle
	}
	_, branch := open("branch", func(row keystore.KeysetRow) (*keyset.Handle, error) {
		kek, err := e.kms.get(ctx, tenant, row.KEK)
		require.NoError(t, err)
		return keyset.ReadWithContext(ctx, keyset.NewBinaryReader(bytes.NewReader(row.Wrapped)), kek, frame.Join("crmguard/keyset/v1", tenant, "branch"))
	})
	by, err := encryption.BranchKey(branch)
	require.NoError(t, err)
	ad := frame.Join("crmguard/keyset/v1", tenant, "log")
	row, handle := open("log", func(row keystore.KeysetRow) (*keyset.Handle, error) {
		return keyset.ReadWithContext(ctx, keyset.NewBinaryReader(bytes.NewReader(row.Wrapped)), by, ad)
	})
	manager := keyset.NewManagerFromHandle(handle)
	id, err := manager.Add(mac.HMACSHA256Tag256KeyTemplate())
	require.NoError(t, err)
	require.NoError(t, manager.SetPrimary(id))
	handle, err = manager.Handle()
	require.NoError(t, err)
	var wrapped bytes.Buffer
	require.NoError(t, handle.WriteWithContext(ctx, keyset.NewBinaryWriter(&wrapped), by, ad))
	row.Wrapped, row.Version = wrapped.Bytes(), row.Version+1
	overwrite(t, e.store, keystore.Change{Put: keystore.Rows{Keysets: []keystore.KeysetRow{row}}, Narrows: true, Of: keystore.Scope{Tenant: tenant}, Keeps: true})
}

// destroyTenant takes all keysets of a tenant, its key versions and its own key away.
func (e *env) destroyTenant(t *testing.T, tenant string) {
	t.Helper()
	rows, err := e.store.Tenant(t.Context(), tenant)
	require.NoError(t, err)
	overwrite(t, e.store, keystore.Change{Remove: rows, Narrows: true, Of: keystore.Scope{Tenant: tenant}})
}

// What a trail asks of a vault is the person sealer, the tagger and the MAC keys of
// one tenant, in every process the same.
func TestAuditKeysAreThoseOfTheVault(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		e := newEnvOn(t, d)
		require.NoError(t, e.vault.AddTenant(t.Context(), "t2"))
		here, elsewhere := e.vault.AuditKeys(), e.another(t)
		require.NoError(t, here.Prepare(t.Context(), tenant, "p1", ""))
		for _, person := range []string{"p1", ""} {
			sealed, err := here.Seal(t.Context(), tenant, person, []byte("was: Ann"), []byte("ad"))
			require.NoError(t, err)
			plain, err := elsewhere.PersonSealer("audit").Open(t.Context(), tenant, person, sealed, []byte("ad"))
			require.NoError(t, err)
			require.Equal(t, "was: Ann", string(plain))
			_, err = elsewhere.PersonSealer("undo").Open(t.Context(), tenant, person, sealed, []byte("ad"))
			require.ErrorIs(t, err, encryption.ErrOpen, "sealed for another purpose")
			again, err := elsewhere.AuditKeys().Open(t.Context(), tenant, person, sealed, []byte("ad"))
			require.NoError(t, err)
			require.Equal(t, plain, again)
		}
		tag, err := here.Tag(t.Context(), tenant, []byte("leaf"))
		require.NoError(t, err)
		require.NoError(t, elsewhere.Tagger("log").Verify(t.Context(), tenant, []byte("leaf"), tag))
		require.NoError(t, elsewhere.AuditKeys().Verify(t.Context(), tenant, []byte("leaf"), tag))
		require.ErrorIs(t, here.Verify(t.Context(), tenant, []byte("fael"), tag), encryption.ErrTag)

		mine := macKeysOf(t, here, tenant)
		require.Len(t, mine, 1)
		require.Equal(t, tagID(tag), mine[0].id, "the id is that of tags")
		require.Equal(t, mine, macKeysOf(t, elsewhere.AuditKeys(), tenant))
		other := macKeysOf(t, here, "t2")
		require.NotEqual(t, mine[0].key, other[0].key, "of another tenant")
		_, keys, err := here.MACKeys(t.Context(), tenant, frame.Join("crmguard/audit/retry-key/v2", "crm.example/audit"))
		require.NoError(t, err)
		require.NotEqual(t, mine[0].key, string(keys[0]), "for another use")
		_, keys, err = here.MACKeys(t.Context(), tenant, frame.Join("crmguard/audit/queue-key/v2", "crm.example/other"))
		require.NoError(t, err)
		require.NotEqual(t, mine[0].key, string(keys[0]), "for another log")

		_, keys, err = here.MACKeys(t.Context(), tenant, macInfo)
		require.NoError(t, err)
		clear(keys[0])
		require.Equal(t, mine, macKeysOf(t, here, tenant), "who wipes a key wipes a copy")
		require.NoError(t, here.Verify(t.Context(), tenant, []byte("leaf"), tag))
	})
}

// A new key of the keyset is a new id in front of the old one, known everywhere
// after a lease, and closing an epoch changes neither.
func TestMACKeysFollowTheKeysetOfTags(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		e := newEnvOn(t, d)
		keys := e.vault.AuditKeys()
		before := macKeysOf(t, keys, tenant)
		old, err := keys.Tag(t.Context(), tenant, []byte("leaf"))
		require.NoError(t, err)
		e.addTagKey(t, tenant)
		require.Equal(t, before, macKeysOf(t, keys, tenant), "the lease is not over")
		e.clock.Move(encryption.DefaultLease)
		after := macKeysOf(t, keys, tenant)
		require.Len(t, after, 2)
		require.Equal(t, before, after[1:], "the old one stays behind the new one")
		require.NotEqual(t, before[0].id, after[0].id)
		require.NotEqual(t, before[0].key, after[0].key)
		fresh := e.another(t)
		require.Equal(t, after, macKeysOf(t, fresh.AuditKeys(), tenant))
		tag, err := fresh.AuditKeys().Tag(t.Context(), tenant, []byte("leaf"))
		require.NoError(t, err)
		require.Equal(t, after[0].id, tagID(tag), "the first makes what is new")
		for _, tag := range [][]byte{old, tag} {
			require.NoError(t, keys.Verify(t.Context(), tenant, []byte("leaf"), tag))
		}

		_, err = fresh.RewrapKeys(t.Context(), keycopy.Rewrap{KEK: "kek-2", Copy: fresh.Copier(t.TempDir()), Destroy: e.kms.destroy})
		require.NoError(t, err)
		e.clock.Move(encryption.DefaultLease)
		require.Equal(t, after, macKeysOf(t, keys, tenant))
		require.Equal(t, after, macKeysOf(t, e.another(t).AuditKeys(), tenant))
		_, err = e.vault.NewKeyVersion(t.Context(), tenant)
		require.NoError(t, err)
		require.Equal(t, after, macKeysOf(t, keys, tenant), "a key version is about persons")
	})
}

// MAC keys of a tenant that was taken away are handed out by nobody for longer than
// the lease, and those of other tenants go on.
func TestMACKeysEndWithTheirTenant(t *testing.T) {
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		e := newEnvOn(t, d)
		require.NoError(t, e.vault.AddTenant(t.Context(), "t2"))
		keys := e.vault.AuditKeys()
		require.NoError(t, keys.Prepare(t.Context(), tenant, "p1"))
		before := macKeysOf(t, keys, tenant)
		e.destroyTenant(t, tenant)
		require.Equal(t, before, macKeysOf(t, keys, tenant), "the lease is not over")
		_, _, err := e.another(t).AuditKeys().MACKeys(t.Context(), tenant, macInfo)
		require.ErrorIs(t, err, encryption.ErrTenant, "who has nothing in memory")
		e.clock.Move(encryption.DefaultLease)
		_, _, err = keys.MACKeys(t.Context(), tenant, macInfo)
		require.ErrorIs(t, err, encryption.ErrTenant)
		require.ErrorIs(t, keys.Prepare(t.Context(), tenant, "p1"), encryption.ErrTenant)
		_, _, err = keys.MACKeys(t.Context(), "never", macInfo)
		require.ErrorIs(t, err, encryption.ErrTenant)
		require.Len(t, macKeysOf(t, keys, "t2"), 1)
	})
}

// After Prepare nothing that a trail does in a transaction asks for a second
// connection, where keys and data stand in one database with a pool of one.
func TestAuditKeysNeedNoConnectionAfterPrepare(t *testing.T) {
	e := newEnv(t, 1)
	keys := e.another(t).AuditKeys()
	e.clock.Move(encryption.DefaultLease)
	require.NoError(t, keys.Prepare(t.Context(), tenant, "p1"))
	e.clock.Move(encryption.DefaultLease/2 - 1)
	require.NoError(t, inTx(t.Context(), e.keysDB, func(*sql.Tx) error {
		ctx, giveUp := context.WithTimeout(t.Context(), time.Minute) // who waits for a connection would wait for ever
		defer giveUp()
		sealed, err := keys.Seal(ctx, tenant, "p1", []byte("x"), nil)
		if err != nil {
			return err
		}
		if _, err := keys.Open(ctx, tenant, "p1", sealed, nil); err != nil {
			return err
		}
		if _, err := keys.Tag(ctx, tenant, nil); err != nil {
			return err
		}
		_, _, err = keys.MACKeys(ctx, tenant, macInfo)
		return err
	}))
}

// Prepare says which persons get no key, by position, as Ensure does, and makes
// those of the others.
func TestAuditKeysPassOnWhoGetsNoKey(t *testing.T) {
	e := newEnv(t, 1)
	keys := e.vault.AuditKeys()
	require.NoError(t, keys.Prepare(t.Context(), tenant, "p1", "p2"))
	_, err := e.vault.Erase(t.Context(), tenant, "p2")
	require.NoError(t, err)
	err = keys.Prepare(t.Context(), tenant, "p1", "p2", "p3")
	require.ErrorIs(t, err, encryption.ErrErased)
	var refused *encryption.PersonsError
	require.ErrorAs(t, err, &refused)
	require.Len(t, refused.Persons, 1)
	require.ErrorIs(t, refused.Persons[1], encryption.ErrErased)
	_, err = keys.Seal(t.Context(), tenant, "p3", []byte("x"), nil)
	require.NoError(t, err)
	require.ErrorIs(t, keys.Prepare(t.Context(), tenant, "ann@b.example"), encryption.ErrID)
	require.ErrorIs(t, keys.Prepare(t.Context(), ""), encryption.ErrTenant)
}

// MAC keys are for the trail alone, and for what a label of it names.
func TestMACKeysAreForTheTrailAlone(t *testing.T) {
	e := newEnv(t, 1)
	keys := e.vault.AuditKeys()
	for name, info := range map[string][]byte{
		"nothing": nil, "no parts": []byte("crmguard/audit/queue-key/v2"), "no more than the beginning": frame.Join("crmguard/audit/"),
		"another package": frame.Join("crmguard/suppression/v1", tenant), "half a part": append(slices.Clone(macInfo), 0, 0, 0, 9, 'x'),
		"the label behind": frame.Join("x", "crmguard/audit/queue-key/v2"),
	} {
		_, _, err := keys.MACKeys(t.Context(), tenant, info)
		require.ErrorIs(t, err, encryption.ErrKeyset, name)
		require.ErrorContains(t, err, "crmguard/audit/", name)
	}
	for _, bad := range []string{"a\x00b", strings.Repeat("t", 256), "\xff"} {
		_, _, err := keys.MACKeys(t.Context(), bad, macInfo)
		require.ErrorIs(t, err, encryption.ErrID)
	}
	_, _, err := keys.MACKeys(t.Context(), "", macInfo)
	require.ErrorIs(t, err, encryption.ErrTenant)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	e.clock.Move(encryption.DefaultLease)
	_, _, err = keys.MACKeys(ended, tenant, macInfo)
	require.ErrorIs(t, err, context.Canceled)
}

// What is published is what happens: each key is HKDF of the bytes that Tink has for
// the key of that id, the one that Tink tags with first.
func TestMACKeysComeFromTinksKeys(t *testing.T) {
	old := readOldTink(t)
	vault, err := encryption.Open(t.Context(), oldInstallation(t, old))
	require.NoError(t, err)
	handle, err := insecurecleartextkeyset.Read(keyset.NewBinaryReader(bytes.NewReader(old.of(t, "log").ClearBinary)))
	require.NoError(t, err)
	require.Equal(t, 2, handle.Len())
	want := make([]macKey, 2)
	for i := range want {
		entry, err := handle.Entry(i)
		require.NoError(t, err)
		made, ok := entry.Key().(*tinkhmac.Key)
		require.True(t, ok)
		bytes := made.KeyBytes()
		key, err := hkdf.Key(sha256.New, bytes.Data(insecuresecretdataaccess.Token{}), nil, string(macInfo), 32)
		require.NoError(t, err)
		want[map[bool]int{true: 0, false: 1}[entry.IsPrimary()]] = macKey{entry.KeyID(), string(key)}
	}
	require.Equal(t, want, macKeysOf(t, vault.AuditKeys(), "t1"))
}
