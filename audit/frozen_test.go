package audit

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/tlog"
)

// frozen is what lies beside the frozen log: what opens its commitments, and
// the key of its queue tags.
type frozen struct {
	TagKey string `json:"tag_key"` // hex, HMAC-SHA256
	Events []struct {
		ID       string            `json:"id"`
		Tag      string            `json:"tag"`      // hex, without the 5 bytes of the Tink prefix
		Openings map[string]string `json:"openings"` // owner -> plaintext
	} `json:"events"`
}

func TestFrozenLog(t *testing.T) {
	const dir = "testdata/v1"
	key, err := os.ReadFile(filepath.Join(dir, "log.vkey"))
	require.NoError(t, err)
	kept, err := os.ReadFile(filepath.Join(dir, "kept", "checkpoint"))
	require.NoError(t, err)
	trust := Trust{Key: strings.TrimSpace(string(key)), Kept: kept}
	r, err := VerifyLog(t.Context(), os.DirFS(filepath.Join(dir, "log")), trust)
	require.NoError(t, err)
	require.Equal(t, OK, r.Verdict, "%+v", r.Faults)
	require.Equal(t, OK, r.Kept)
	require.Equal(t, int64(8), r.Size)
	require.Equal(t, int64(5), r.KeptSize)

	leaves := make(map[string]Leaf)
	raws := make(map[string][]byte)
	for e, err := range Entries(t.Context(), os.DirFS(filepath.Join(dir, "log"))) {
		require.NoError(t, err)
		leaf, err := ParseLeaf(e.Leaf)
		require.NoError(t, err)
		leaves[leaf.ID], raws[leaf.ID] = leaf, e.Leaf
	}
	data, err := os.ReadFile(filepath.Join(dir, "openings.json"))
	require.NoError(t, err)
	var in frozen
	require.NoError(t, json.Unmarshal(data, &in))
	tagKey, err := hex.DecodeString(in.TagKey)
	require.NoError(t, err)
	opened, erased := 0, 0
	for _, e := range in.Events {
		leaf, ok := leaves[e.ID]
		require.True(t, ok)
		mac := hmac.New(sha256.New, tagKey)
		mac.Write(queueData(leaf.Tenant, raws[e.ID]))
		require.Equal(t, e.Tag, hex.EncodeToString(mac.Sum(nil)), "the queue tag")
		for _, owner := range leaf.owners() {
			plain, ok := e.Openings[owner]
			if !ok {
				erased++
				continue
			}
			o, err := parseOpening([]byte(plain))
			require.NoError(t, err)
			require.NoError(t, o.matches(&leaf, owner))
			opened++
		}
	}
	require.Equal(t, 9, opened)
	require.Equal(t, 1, erased)

	proof, err := os.ReadFile(filepath.Join(dir, "first.tlog-proof"))
	require.NoError(t, err)
	leaf, err := Verify(Trust{Key: trust.Key}, raws[in.Events[0].ID], proof)
	require.NoError(t, err)
	require.Equal(t, in.Events[0].ID, leaf.ID)
}

// The edge that VerifyLog computes roots with, against x/mod's own.
func TestEdgeAgainstTlog(t *testing.T) {
	var (
		e      edge
		hashes []tlog.Hash
	)
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			out[i] = hashes[index]
		}
		return out, nil
	})
	_, ok := e.root()
	require.False(t, ok)
	for n := range int64(700) {
		data := []byte{byte(n), byte(n >> 8)}
		more, err := tlog.StoredHashes(n, data, reader)
		require.NoError(t, err)
		hashes = append(hashes, more...)
		e.push(tlog.RecordHash(data))
		want, err := tlog.TreeHash(n+1, reader)
		require.NoError(t, err)
		got, _ := e.root()
		require.Equal(t, want, got, "%d entries", n+1)
	}
}

func FuzzVerify(f *testing.F) {
	const dir = "testdata/v1"
	key, err := os.ReadFile(filepath.Join(dir, "log.vkey"))
	if err != nil {
		f.Fatal(err)
	}
	proof, err := os.ReadFile(filepath.Join(dir, "first.tlog-proof"))
	if err != nil {
		f.Fatal(err)
	}
	var first []byte
	known := make(map[string]bool)
	for e, err := range Entries(context.Background(), os.DirFS(filepath.Join(dir, "log"))) {
		if err != nil {
			f.Fatal(err)
		}
		if first == nil {
			first = e.Leaf
		}
		known[string(e.Leaf)] = true
	}
	f.Add(first, proof)
	f.Add([]byte("x"), []byte("c2sp.org/tlog-proof@v1\nindex 0\n\n"))
	trust := Trust{Key: strings.TrimSpace(string(key))}
	f.Fuzz(func(t *testing.T, leaf, proof []byte) {
		if _, err := Verify(trust, leaf, proof); err == nil && !known[string(leaf)] {
			t.Fatalf("verified what is not in the log: %q", leaf)
		}
	})
}
