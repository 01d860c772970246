package audit

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit/auditlog"
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
	const dir = "auditlog/testdata/v1"
	key, err := os.ReadFile(filepath.Join(dir, "log.vkey"))
	require.NoError(t, err)
	kept, err := os.ReadFile(filepath.Join(dir, "kept", "checkpoint"))
	require.NoError(t, err)
	trust := auditlog.Trust{Key: strings.TrimSpace(string(key)), Kept: kept}
	r, err := auditlog.VerifyLog(t.Context(), os.DirFS(filepath.Join(dir, "log")), trust)
	require.NoError(t, err)
	require.Equal(t, auditlog.OK, r.Verdict, "%+v", r.Faults)
	require.Equal(t, auditlog.OK, r.Kept)
	require.Equal(t, int64(8), r.Size)
	require.Equal(t, int64(5), r.KeptSize)

	leaves := make(map[string]auditlog.Leaf)
	raws := make(map[string][]byte)
	for e, err := range auditlog.Entries(t.Context(), os.DirFS(filepath.Join(dir, "log"))) {
		require.NoError(t, err)
		leaf, err := auditlog.ParseLeaf(e.Leaf)
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
		for _, owner := range leaf.Owners() {
			plain, ok := e.Openings[owner]
			if !ok {
				erased++
				continue
			}
			o, err := parseOpening([]byte(plain))
			require.NoError(t, err)
			require.NoError(t, o.Matches(&leaf, owner))
			opened++
		}
	}
	require.Equal(t, 9, opened)
	require.Equal(t, 1, erased)

	proof, err := os.ReadFile(filepath.Join(dir, "first.tlog-proof"))
	require.NoError(t, err)
	leaf, err := auditlog.Verify(auditlog.Trust{Key: trust.Key}, raws[in.Events[0].ID], proof)
	require.NoError(t, err)
	require.Equal(t, in.Events[0].ID, leaf.ID)
}
