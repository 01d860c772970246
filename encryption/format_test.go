package encryption

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/frame"
)

func counting(n int) []byte {
	key := make([]byte, n)
	for i := range key {
		key[i] = byte(i)
	}
	return key
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// The vectors of formats.md, General and sections 1, 3, 4, 5 and 8.
func TestVectors(t *testing.T) {
	require.Equal(t, "6055f18668ae6c85afa2a5b70c4329c09cff5cceb19661274bda51af7d3dcc96", sum(keysetAD("t1", purposeWrap)))
	require.Equal(t, "28431dace131404bbb3acc7110467ec4dbe692a0487e5c66039bfb933c6d3cce", sum(keysetAD("t1", purposeBranch)))

	level3 := appendFieldAD(nil, LevelRow, false, "t1", "contacts", "email", "p1", "r1")
	require.Len(t, level3, 61)
	require.Equal(t, "e9c5e8941c7a99fcbb1127f37ac4d27a205357a6348316cb311bf2ca8799f962", sum(level3))
	level2 := appendFieldAD(nil, LevelOwner, false, "t1", "contacts", "email", "p1", "r1")
	require.Len(t, level2, 59)
	require.Equal(t, "7ee18d1ee7dae646745d7ff6dba4cd18dfdfa2bc94df10e2b28dd6cc4ea6af6d", sum(level2))

	require.Equal(t, "96231f177c28e9657f1cd620a4a40883fccb72085806d768dd6ef3be8a3d0ccc", sum(personKeyAD("t1", "p1", 0x01020304)))

	streamKey, err := derive(counting(32), frame.Join(streamKeyDomain))
	require.NoError(t, err)
	require.Equal(t, "82d8994b9b78ea1eecefc0e85cd9acfa376a75f31685e84b9e8995004f63f1d7", hex.EncodeToString(streamKey))

	key, err := indexKey(counting(32), "t1", "contacts", "email_index", 1, EmailV1, 32)
	require.NoError(t, err)
	n, ok := newIndexMAC(key, 32).value("a@b.example").Int64()
	require.True(t, ok)
	require.Equal(t, int64(748043624), n)
	key, err = indexKey(counting(32), "t1", "contacts", "email_index", 2, Email, 128)
	require.NoError(t, err)
	require.Equal(t, "071b57aca5a4b5ac17a80bfed49fa2a8", hex.EncodeToString(newIndexMAC(key, 128).value("a@b.example").Bytes()))

	ledger, err := digest(counting(32), frame.Join("crmguard/ledger/digest/v1"), frame.Join("crmguard/ledger/v1", "person", "t1", "p1"))
	require.NoError(t, err)
	require.Equal(t, "619ffcbbd503b050676d1c8b4ebce9b8bbb798c8cfc3728f5ce6104f43677d46", hex.EncodeToString(ledger))
}

func TestAssociatedDataNeverMeets(t *testing.T) {
	seen := map[string]string{}
	add := func(name string, ad []byte) {
		require.NotContains(t, seen, string(ad), "%s has the associated data of %s", name, seen[string(ad)])
		seen[string(ad)] = name
	}
	add("ab,c", appendFieldAD(nil, LevelRow, false, "t1", "ab", "c", "p1", "r1"))
	add("a,bc", appendFieldAD(nil, LevelRow, false, "t1", "a", "bc", "p1", "r1"))
	add("level 2", appendFieldAD(nil, LevelOwner, false, "t1", "a", "bc", "p1", ""))
	add("level 3, empty row", appendFieldAD(nil, LevelRow, false, "t1", "a", "bc", "p1", ""))
	add("padded", appendFieldAD(nil, LevelOwner, true, "t1", "a", "bc", "p1", ""))
	add("level 1", appendFieldAD(nil, LevelTenant, false, "t1", "a", "bc", "t:", ""))
	add("level 2, empty owner", appendFieldAD(nil, LevelOwner, false, "t1", "a", "bc", "", ""))
	add("stream", streamAD("t1", "a", "bc", "p1", "r1"))
	add("person seal", personSealAD("a", "t1", "p1", []byte("bc")))
	add("person seal, moved", personSealAD("at", "1", "p1", []byte("bc")))
	add("keyset", keysetAD("t1", "wrap"))
	add("installation keyset", keysetAD("", "wrap"))
	add("person key", personKeyAD("t1", "p1", 1))
}

func TestTextForm(t *testing.T) {
	sealed := append([]byte{1, 0xde, 0xad, 0xbe, 0xef}, counting(28)...)
	text, err := FormatText(sealed)
	require.NoError(t, err)
	require.Equal(t, "cg1.deadbeef.Ad6tvu8AAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRob", text)
	back, err := ParseText(text)
	require.NoError(t, err)
	require.Equal(t, sealed, back)
	for _, both := range [][]byte{sealed, []byte(text)} {
		keyVersion, err := KeyVersionOf(both)
		require.NoError(t, err)
		require.Equal(t, uint32(0xdeadbeef), keyVersion)
	}
	for name, bad := range map[string]string{
		"upper case": "cg1.DEADBEEF" + text[12:], "other key version": "cg1.deadbeee" + text[12:], "padding": text + "=", "cut": text[:12],
		"newline": text[:20] + "\n" + text[20:], "no prefix": text[1:], "standard base64": text + "+", "stray bits": "cg1.deadbeef.Ad6tvu9=",
		"key version 0": "cg1.00000000.AQAAAAA", "stream": "cg1.deadbeef.At6tvu8AAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRob", "empty": "",
	} {
		_, err := ParseText(bad)
		require.ErrorIs(t, err, ErrOpen, name)
	}
	odd, err := FormatText(sealed[:32])
	require.NoError(t, err)
	_, err = ParseText(odd[:len(odd)-1] + "b")
	require.ErrorIs(t, err, ErrOpen, "stray bits")
	_, err = FormatText([]byte{2, 0, 0, 0, 1})
	require.ErrorIs(t, err, ErrOpen)
}

func TestPadding(t *testing.T) {
	for n := range 300 {
		value := bytes.Repeat([]byte{0x80}, n)
		for _, bucket := range []int{1, 16, 64, Padme} {
			padded := pad(nil, value, bucket)
			require.Greater(t, len(padded), n)
			if bucket > 0 {
				require.Zero(t, len(padded)%bucket)
			} else {
				require.LessOrEqual(t, float64(len(padded)), 1.13*float64(n+1))
			}
			back, err := unpad(padded)
			require.NoError(t, err)
			require.Equal(t, value, append([]byte{}, back...))
		}
	}
	require.Equal(t, []int{1, 2, 10, 10, 104, 1024}, []int{padme(1), padme(2), padme(9), padme(10), padme(101), padme(1000)})
	for _, bad := range [][]byte{nil, {0}, {1}, {0x80, 1}} {
		_, err := unpad(bad)
		require.Error(t, err)
	}
}

func TestIDs(t *testing.T) {
	owner, err := NewRecordOwner()
	require.NoError(t, err)
	require.NoError(t, checkRecordOwner(owner))
	require.NoError(t, checkOwner(owner))
	require.NoError(t, checkOwner("t:"))
	for _, bad := range []string{"", "t:", "r:1", "x:y", owner, "a\x00b", "\xff", string(make([]byte, 256))} {
		require.ErrorIs(t, checkPerson(bad), ErrID, "%q", bad)
	}
	for _, bad := range []string{"t:x", "r:", "r:x", "r:" + "0190A0A0-0000-7000-8000-000000000000", "z:1"} {
		require.ErrorIs(t, checkOwner(bad), ErrID, "%q", bad)
	}
	require.ErrorIs(t, checkTenant(""), ErrTenant)
}

func FuzzParseText(f *testing.F) {
	f.Add("cg1.deadbeef.Ad6tvu8AAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRob")
	f.Add("cg1.")
	f.Fuzz(func(t *testing.T, text string) {
		sealed, err := ParseText(text)
		if err != nil {
			return
		}
		again, err := FormatText(sealed)
		require.NoError(t, err)
		require.Equal(t, text, again)
	})
}

func FuzzUnpad(f *testing.F) {
	f.Add([]byte("x\x80\x00"))
	f.Fuzz(func(t *testing.T, padded []byte) {
		value, err := unpad(padded)
		if err == nil {
			require.Less(t, len(value), len(padded))
		}
	})
}

func FuzzKeyVersionOf(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0, 1})
	f.Add([]byte("cg1.deadbeef"))
	f.Fuzz(func(t *testing.T, sealed []byte) {
		keyVersion, err := KeyVersionOf(sealed)
		if err == nil {
			require.NotZero(t, keyVersion)
		}
	})
}
