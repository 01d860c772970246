package c2sp

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/note"
)

// Package note takes several texts for one key, and they are one here.
func TestAKeyHasOneSpelling(t *testing.T) {
	const origin = "crm.example/audit/0"
	var key string
	for !strings.ContainsAny(hashOf(key), "abcdef") {
		var err error
		_, key, err = note.GenerateKey(nil, origin)
		require.NoError(t, err)
	}
	short := strings.TrimPrefix(key, origin+"+")
	hash, code, _ := strings.Cut(short, "+")
	for _, text := range []string{short, strings.ToUpper(hash) + "+" + code, short + "\n", short + "\r\n\n", hash + "+" + code[:7] + "\r" + code[7:]} {
		read, err := ParseKey(origin + "+" + text)
		require.NoError(t, err, "%q", text)
		require.Equal(t, short, read.Short, "%q", text)
		spelt, ok := Spelling(origin, text)
		require.True(t, ok)
		require.Equal(t, short, spelt)
	}
	for _, text := range []string{"", "x", hash, "00000000+" + code, "a+" + short} {
		_, ok := Spelling(origin, text)
		require.False(t, ok, "%q", text)
	}
	_, ok := Spelling("other/0", short)
	require.False(t, ok, "its hash is over the name, too")
	_, err := ParseKeys(key, []string{key + "\n"})
	require.ErrorContains(t, err, "twice")
}

func hashOf(key string) string {
	_, rest, _ := strings.Cut(key, "+")
	hash, _, _ := strings.Cut(rest, "+")
	return hash
}
