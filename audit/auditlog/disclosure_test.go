package auditlog

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/internal/c2sp"
	"github.com/crmguard/crmguard/internal/frame"
)

const disclosures = "testdata/v1/disclosures"

// aDisclosure is a log of two entries, and what is disclosed of the first one: a
// value under its own name, one under a name that is not in the log, one about
// nobody, and one of an event of very many fields.
func aDisclosure(t *testing.T) (verifier string, out map[string][]byte) {
	t.Helper()
	key, verifier, err := note.GenerateKey(rand.Reader, "crm.example/audit/0")
	require.NoError(t, err)
	signer, err := note.NewSigner(key)
	require.NoError(t, err)
	out = make(map[string][]byte)
	id, err := ParseID(anID)
	require.NoError(t, err)
	make1 := func(fields int) (leaf []byte, o, nobody *Opening) {
		l := aLeaf(KindEvent)
		o, nobody = anOpening(), &Opening{Seed: counted(9), Fields: []Field{
			{"stage", SideOld, frame.Value{Type: frame.Absent}}, {"stage", SideNew, frame.Value{Type: frame.Boolean, Data: []byte{1}}},
		}}
		for n := range fields {
			path := fmt.Sprintf("field%d", n)
			o.Fields = append(o.Fields, Field{path, SideOld, frame.Value{Type: frame.Null}}, Field{path, SideNew, frame.Value{Type: frame.Text, Data: []byte(path)}})
		}
		sorted, err := ParseBody(body(t, o))
		require.NoError(t, err)
		of, _ := sorted.spread(id, surrogate(1))
		none, _ := nobody.spread(id, "")
		l.Changes = append(of, none...)
		slices.SortStableFunc(l.Changes, func(a, b LeafChange) int { return strings.Compare(a.Path, b.Path) })
		require.NoError(t, l.Fold())
		leaf, err = AppendLeaf(nil, &l)
		require.NoError(t, err)
		return leaf, sorted, nobody
	}
	prove := func(leaf []byte) []byte {
		other := tlog.RecordHash([]byte("another entry"))
		root := tlog.NodeHash(tlog.RecordHash(leaf), other)
		signed, err := note.Sign(&note.Note{Text: c2sp.FormatCheckpoint("crm.example/audit/0", tlog.Tree{N: 2, Hash: root})}, signer)
		require.NoError(t, err)
		return c2sp.FormatProof(0, tlog.RecordProof{other}, signed)
	}
	leaf, o, nobody := make1(0)
	many, folded, _ := make1(600)
	for name, d := range map[string]struct {
		leaf        []byte
		o           *Opening
		owner, path string
		side        byte
	}{
		"plain":  {leaf, o, surrogate(1), "email", SideNew},
		"null":   {leaf, o, surrogate(1), "email", SideOld},
		"named":  {leaf, o, surrogate(1), "a name of no column", SideNew},
		"nobody": {leaf, nobody, Nobody, "stage", SideNew},
		"folded": {many, folded, surrogate(1), "field17", SideNew},
	} {
		out[name], err = Disclose(d.leaf, prove(d.leaf), d.o, d.owner, d.path, d.side)
		require.NoError(t, err)
	}
	return verifier, out
}

var disclosed = map[string]any{
	"plain": "a@b.example", "null": nil, "named": StandIn{StandInText, []byte("\xff")}, "nobody": true, "folded": "field17",
}

// The frozen disclosures hold, and none of them does with one bit turned.
func TestFrozenDisclosures(t *testing.T) {
	key, err := os.ReadFile(filepath.Join(disclosures, "log.vkey"))
	require.NoError(t, err)
	trust := Trust{Key: strings.TrimSpace(string(key))}
	for name, want := range disclosed {
		data, err := os.ReadFile(filepath.Join(disclosures, name+".json"))
		require.NoError(t, err)
		d, err := CheckDisclosure(trust, data)
		require.NoError(t, err, name)
		require.Equal(t, want, d.Value)
		require.Equal(t, anID, d.Leaf.ID)
		for i := 0; i < len(data); i += 1 + len(data)/2000 {
			bad := slices.Clone(data)
			bad[i] ^= 1
			_, err := CheckDisclosure(trust, bad)
			require.Error(t, err, "%s, byte %d", name, i)
		}
	}
}

// A disclosure holds the salt of its own value and no seed, nor anything else that
// its owner's opening holds.
func TestADisclosureHoldsNoMore(t *testing.T) {
	verifier, out := aDisclosure(t)
	for name, data := range out {
		d, err := CheckDisclosure(Trust{Key: verifier}, data)
		require.NoError(t, err)
		require.Equal(t, disclosed[name], d.Value)
		var m map[string]any
		require.NoError(t, json.Unmarshal(data, &m))
		for _, seed := range [][32]byte{counted(0), counted(9)} {
			require.NotContains(t, string(data), fmt.Sprintf("%x", seed))
			require.NotContains(t, m, "seed")
		}
		require.Equal(t, name == "named", m["name"] != nil)
		require.Equal(t, name == "folded", m["fold"] != nil)
		_, err = CheckDisclosure(Trust{Key: verifier}, data[:len(data)-1])
		require.ErrorIs(t, err, ErrMalformed)
		_, err = CheckDisclosure(Trust{}, data)
		require.ErrorIs(t, err, ErrInvalid)
	}
	_, err := CheckDisclosure(Trust{Key: verifier}, make([]byte, maxDisclosure+1))
	require.ErrorIs(t, err, ErrMalformed)
	l := aLeaf(KindEvent)
	leaf, err := AppendLeaf(nil, &l)
	require.NoError(t, err)
	_, err = Disclose(leaf, nil, anOpening(), surrogate(1), "email", SideNew)
	require.ErrorIs(t, err, ErrTampered, "an opening of another event")
	_, err = Disclose(leaf[1:], nil, anOpening(), surrogate(1), "email", SideNew)
	require.ErrorIs(t, err, ErrMalformed)
}

// Whatever bytes are handed in, they are refused or say what somebody has made. (A
// proof may carry more signatures than the one that counts.)
func FuzzCheckDisclosure(f *testing.F) {
	key, err := os.ReadFile(filepath.Join(disclosures, "log.vkey"))
	require.NoError(f, err)
	trust := Trust{Key: strings.TrimSpace(string(key))}
	good := make(map[string]bool)
	said := func(d *Disclosure) string { return fmt.Sprint(d.Leaf, d.Who, d.Path, d.Side, d.Value) }
	for name := range disclosed {
		data, err := os.ReadFile(filepath.Join(disclosures, name+".json"))
		require.NoError(f, err)
		d, err := CheckDisclosure(trust, data)
		require.NoError(f, err)
		good[said(&d)] = true
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if d, err := CheckDisclosure(trust, data); err == nil && !good[said(&d)] {
			t.Fatalf("nobody made it: %q", data)
		}
	})
}
