package encryption

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption/internal/blindindex"
	"github.com/crmguard/crmguard/encryption/internal/format"
	"github.com/crmguard/crmguard/encryption/internal/keyring"
	"github.com/crmguard/crmguard/encryption/internal/tinktest"
	"github.com/crmguard/crmguard/internal/frame"
)

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// The vectors of formats.md, General and sections 1, 3, 4, 5 and 8.
func TestVectors(t *testing.T) {
	require.Equal(t, "6055f18668ae6c85afa2a5b70c4329c09cff5cceb19661274bda51af7d3dcc96", sum(format.KeysetAD("t1", keyring.PurposeWrap)))
	require.Equal(t, "28431dace131404bbb3acc7110467ec4dbe692a0487e5c66039bfb933c6d3cce", sum(format.KeysetAD("t1", keyring.PurposeBranch)))

	level3 := format.AppendFieldAD(nil, byte(LevelRow), false, "t1", "contacts", "email", "p1", "r1")
	require.Len(t, level3, 61)
	require.Equal(t, "e9c5e8941c7a99fcbb1127f37ac4d27a205357a6348316cb311bf2ca8799f962", sum(level3))
	level2 := format.AppendFieldAD(nil, byte(LevelOwner), false, "t1", "contacts", "email", "p1", "r1")
	require.Len(t, level2, 59)
	require.Equal(t, "7ee18d1ee7dae646745d7ff6dba4cd18dfdfa2bc94df10e2b28dd6cc4ea6af6d", sum(level2))

	const small = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
	for _, uuid := range []string{small, strings.ToUpper(small), "A0eeBC99" + small[8:]} {
		require.Equal(t, "ad8354a6f4de042ea0e5a5887283fd4b51e150806567fb4350752548be304f81", sum(format.AppendFieldAD(nil, byte(LevelRow), false, "t1", "contacts", "email", uuid, "de/"+uuid)))
		require.Equal(t, "abc7676600bc153dc1af3b0f369a7d398f5bf8bf4c6e6288984e0a27c56ef75e", sum(format.PersonSealAD("opening", "t1", uuid, []byte("ad"))))
	}

	require.Equal(t, "96231f177c28e9657f1cd620a4a40883fccb72085806d768dd6ef3be8a3d0ccc", sum(format.PersonKeyAD("t1", "p1", 0x01020304)))

	streamKey, err := format.Derive(tinktest.Counting(32), frame.Join(format.StreamKeyDomain))
	require.NoError(t, err)
	require.Equal(t, "82d8994b9b78ea1eecefc0e85cd9acfa376a75f31685e84b9e8995004f63f1d7", hex.EncodeToString(streamKey))

	key, err := blindindex.Key(tinktest.Counting(32), "t1", "contacts", "email_index", 1, string(EmailV1), 32)
	require.NoError(t, err)
	require.Equal(t, int64(748043624), *blindindex.New(key, 32).Value("a@b.example").Narrow)
	key, err = blindindex.Key(tinktest.Counting(32), "t1", "contacts", "email_index", 2, string(Email), 128)
	require.NoError(t, err)
	require.Equal(t, "071b57aca5a4b5ac17a80bfed49fa2a8", hex.EncodeToString([]byte(*blindindex.New(key, 128).Value("a@b.example").Wide)))
}

func TestIDs(t *testing.T) {
	owner, err := NewRecordOwner()
	require.NoError(t, err)
	require.NoError(t, keyring.CheckRecordOwner(owner))
	require.NoError(t, keyring.CheckOwner(owner))
	require.NoError(t, keyring.CheckOwner("t:"))
	for _, bad := range []string{"", "t:", "r:1", "x:y", owner, "a\x00b", "\xff", string(make([]byte, 256))} {
		require.ErrorIs(t, keyring.CheckPerson(bad), ErrID, "%q", bad)
	}
	for _, bad := range []string{"t:x", "r:", "r:x", "r:" + "0190A0A0-0000-7000-8000-000000000000", "z:1"} {
		require.ErrorIs(t, keyring.CheckOwner(bad), ErrID, "%q", bad)
	}
	require.ErrorIs(t, keyring.CheckTenant(""), ErrTenant)
}
