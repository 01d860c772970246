package sealedvalue

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/encryption/internal/keyring"
)

func TestTextForm(t *testing.T) {
	sealed := append([]byte{1, 0xde, 0xad, 0xbe, 0xef}, "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b"...)
	text, err := FormatText(sealed)
	require.NoError(t, err)
	require.Equal(t, "cg1.deadbeef.Ad6tvu8AAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRob", text)
	back, err := ParseText(text)
	require.NoError(t, err)
	require.Equal(t, sealed, back)
	for _, both := range [][]byte{sealed, []byte(text)} {
		keyVersion, err := KeyVersion(both)
		require.NoError(t, err)
		require.Equal(t, uint32(0xdeadbeef), keyVersion)
	}
	for name, bad := range map[string]string{
		"upper case": "cg1.DEADBEEF" + text[12:], "other key version": "cg1.deadbeee" + text[12:], "padding": text + "=", "cut": text[:12],
		"newline": text[:20] + "\n" + text[20:], "no prefix": text[1:], "standard base64": text + "+", "stray bits": "cg1.deadbeef.Ad6tvu9=",
		"key version 0": "cg1.00000000.AQAAAAA", "stream": "cg1.deadbeef.At6tvu8AAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRob", "empty": "",
	} {
		_, err := ParseText(bad)
		require.ErrorIs(t, err, keyring.ErrOpen, name)
	}
	odd, err := FormatText(sealed[:32])
	require.NoError(t, err)
	_, err = ParseText(odd[:len(odd)-1] + "b")
	require.ErrorIs(t, err, keyring.ErrOpen, "stray bits")
	_, err = FormatText([]byte{2, 0, 0, 0, 1})
	require.ErrorIs(t, err, keyring.ErrOpen)
}

// What begins like neither form names no key version, and no stream has a text form.
func TestWhatNamesNoKeyVersion(t *testing.T) {
	for _, bad := range []string{"", "\x01", "\x01\x00\x00\x00\x00", "\x03\x00\x00\x00\x01", "cg1.", "cg1.0000000", "cg1.00000000.AQ", "cg1.0000000g.AQ", "cg1.0000000A.AQ", "cg2.00000001.AQ"} {
		_, err := KeyVersion([]byte(bad))
		require.ErrorIs(t, err, keyring.ErrOpen, "%q", bad)
		_, err = FormatText([]byte(bad))
		require.ErrorIs(t, err, keyring.ErrOpen, "%q", bad)
	}
	keyVersion, err := KeyVersion([]byte{2, 0, 0, 0, 9})
	require.NoError(t, err)
	require.EqualValues(t, 9, keyVersion)
}

// What a database hands out is told apart by how it begins, and is nobody else's
// memory.
func TestWhatADatabaseHandsOut(t *testing.T) {
	raw := append([]byte{1, 0, 0, 0, 7}, make([]byte, 40)...)
	text, err := FormatText(raw)
	require.NoError(t, err)
	for _, src := range []any{raw, text, []byte(text)} {
		cell, isText, err := Stored(src)
		require.NoError(t, err)
		require.Equal(t, raw, cell)
		_, isString := src.(string)
		require.Equal(t, isString || len(src.([]byte)) == len(text), isText)
	}
	cell, _, err := Stored(raw)
	require.NoError(t, err)
	cell[0] = 9
	require.EqualValues(t, 1, raw[0])
	cell, isText, err := Stored(nil)
	require.NoError(t, err)
	require.Nil(t, cell)
	require.False(t, isText)
	for _, src := range []any{"clear", []byte("cg1.x"), int64(1), true} {
		_, _, err := Stored(src)
		require.Error(t, err, "%v", src)
	}
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

func FuzzKeyVersion(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0, 1})
	f.Add([]byte("cg1.deadbeef"))
	f.Fuzz(func(t *testing.T, sealed []byte) {
		keyVersion, err := KeyVersion(sealed)
		if err == nil {
			require.NotZero(t, keyVersion)
		}
	})
}
