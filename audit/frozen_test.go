package audit

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit/auditlog"
)

// frozen is what lies beside the frozen log: the secret of its keys, the rows of
// its events as they waited, and the heads of the persons who were not erased.
type frozen struct {
	Secret string `json:"secret"` // hex, of KeysFrom
	Name   string `json:"name"`
	Events []struct {
		ID    string `json:"id"`
		Body  string `json:"body"`  // hex, the column
		Retry string `json:"retry"` // hex
	} `json:"events"`
	Heads []struct {
		Person    string `json:"person"` // "" for nobody
		Surrogate string `json:"surrogate"`
		Head      string `json:"head"` // hex, sealed
		Tag       string `json:"tag"`  // hex, of a live row
	} `json:"heads"`
}

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	data, err := hex.DecodeString(text)
	require.NoError(t, err)
	return data
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

	raws := make(map[string][]byte)
	for e, err := range auditlog.Entries(t.Context(), os.DirFS(filepath.Join(dir, "log"))) {
		require.NoError(t, err)
		leaf, err := auditlog.ParseLeaf(e.Leaf)
		require.NoError(t, err)
		raws[leaf.ID] = e.Leaf
	}
	data, err := os.ReadFile(filepath.Join(dir, "rows.json"))
	require.NoError(t, err)
	var in frozen
	require.NoError(t, json.Unmarshal(data, &in))
	keys, err := KeysFrom(unhex(t, in.Secret))
	require.NoError(t, err)
	trail := &Trail{config: Config{Name: in.Name, Keys: keys}}
	contents := trail.frozenContents(t, &in)
	opened, erased := 0, 0
	queue, err := trail.macKeys(t.Context(), "main", queueKeyLabel)
	require.NoError(t, err)
	for _, e := range in.Events {
		row, err := auditlog.ParseRowBody(unhex(t, e.Body))
		require.NoError(t, err)
		require.Equal(t, string(raws[e.ID]), string(row.Leaf))
		require.Equal(t, tagRight, checkQueueTag(queue, in.Name, "main", row.Sealed, row.Leaf, row.Tag))
		for i := range row.Sealed {
			other := append([]byte{}, row.Sealed...)
			other[i] ^= 1
			require.Equal(t, tagWrong, checkQueueTag(queue, in.Name, "main", other, row.Leaf, row.Tag))
		}
		require.Equal(t, tagWrong, checkQueueTag(queue, in.Name, "other", row.Sealed, row.Leaf, row.Tag))
		require.Equal(t, tagWrong, checkQueueTag(queue, "other.example/audit", "main", row.Sealed, row.Leaf, row.Tag))
		leaf, err := auditlog.ParseLeaf(row.Leaf)
		require.NoError(t, err)
		id, err := auditlog.ParseID(e.ID)
		require.NoError(t, err)
		frames, err := auditlog.ParseFrames(row.Sealed)
		require.NoError(t, err)
		for _, f := range frames {
			content, ok := contents[f.Owner]
			if !ok {
				erased++
				continue
			}
			plain, err := auditlog.OpenBody(&content, id, f.Owner, f.Body)
			require.NoError(t, err)
			o, err := auditlog.ParseBody(plain)
			require.NoError(t, err)
			owner := surrogateText(f.Owner)
			if f.Owner == ([16]byte{}) {
				owner = auditlog.Nobody
			}
			require.NoError(t, o.Matches(&leaf, owner))
			opened++
		}
	}
	require.Equal(t, 9, opened)
	require.Equal(t, 1, erased)
	trail.frozenRetry(t, in.Events[0].ID, in.Events[0].Retry)

	proof, err := os.ReadFile(filepath.Join(dir, "first.tlog-proof"))
	require.NoError(t, err)
	leaf, err := auditlog.Verify(auditlog.Trust{Key: trust.Key}, raws[in.Events[0].ID], proof)
	require.NoError(t, err)
	require.Equal(t, in.Events[0].ID, leaf.ID)
}

// frozenContents opens the heads: the content keys by surrogate.
func (t *Trail) frozenContents(tb testing.TB, in *frozen) map[[16]byte][32]byte {
	tb.Helper()
	contents := make(map[[16]byte][32]byte)
	keys, err := t.macKeys(tb.Context(), "main", surrogateKeyLabel)
	require.NoError(tb, err)
	for _, h := range in.Heads {
		surrogate := [16]byte(unhex(tb, h.Surrogate))
		head, err := t.openHead(tb.Context(), "main", h.Person, surrogate, unhex(tb, h.Head))
		require.NoError(tb, err)
		contents[surrogate] = head.Content
		require.Equal(tb, tagRight, checkSurrogateTag(keys, "main", surrogate, surrogateLive, nil, h.Person, unhex(tb, h.Tag)))
		require.Equal(tb, tagWrong, checkSurrogateTag(keys, "main", surrogate, surrogateErased, nil, "", unhex(tb, h.Tag)))
	}
	return contents
}

// frozenRetry makes the retry tag of the first event, from what was recorded.
func (t *Trail) frozenRetry(tb testing.TB, id, want string) {
	tb.Helper()
	_, retry, err := t.saleKeys(tb.Context(), "main")
	require.NoError(tb, err)
	r := &recording{event: Event{
		ID: id, Tenant: "main", Actor: "u-1", Action: "contact.update", Outcome: OutcomeOK, Object: PersonRef("contact", "p1"),
		Changes: []Change{{Path: "stage", Old: "lead", New: "customer"}, {Path: "email", Who: "p1", Old: "old1@canary.example", New: "new1@canary.example"}},
	}}
	r.given = given{event: &r.event, persons: people(r.event)}
	require.NoError(tb, t.encode(r))
	require.NoError(tb, r.name())
	require.Equal(tb, want, hex.EncodeToString(retry.sum(nil, r.given.append(nil), nil)))
}
