package auditlog

import (
	"bytes"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/internal/c2sp"
	"github.com/crmguard/crmguard/internal/canon"
	"github.com/crmguard/crmguard/internal/frame"
)

// utf8ID is an id whose bytes are text, so that they can stand in a name.
const utf8ID = "00010203-0405-70c3-a009-0a0b0c0d0e0f"

// forgedDisclosures are made without any key, by who chose what was recorded: a
// value, and the name of a field, that end as another one would be committed to.
// What stands in front of that is moved into the salt.
func forgedDisclosures(t *testing.T) (verifier string, out map[string][]byte) {
	t.Helper()
	key, verifier, err := note.GenerateKey(rand.Reader, "crm.example/audit/0")
	require.NoError(t, err)
	signer, err := note.NewSigner(key)
	require.NoError(t, err)
	id, err := ParseID(utf8ID)
	require.NoError(t, err)
	text := func(s string) frame.Value { return frame.Value{Type: frame.Text, Data: []byte(s)} }
	tail := string(appendCommitted(nil, id, &Field{"email", SideNew, text("the board has approved it")}))
	name := "a"
	nameTail := appendCommitted(nil, id, &Field{name, SideName, text(name)})
	valueTail := appendCommitted(nil, id, &Field{name, SideNew, text("no")})
	long := "a long name " + string(nameTail)
	o := &Opening{Seed: counted(0), Fields: []Field{
		{long, SideOld, frame.Value{Type: frame.Absent}},
		{long, SideNew, text("x" + string(valueTail))},
		{long, SideName, text(long)},
		{"email", SideOld, frame.Value{Type: frame.Absent}},
		{"email", SideNew, text("a text that somebody wrote" + tail)},
	}}
	l := aLeaf(KindEvent)
	l.ID = utf8ID
	l.Changes, _ = o.spread(id, surrogate(1))
	if l.Changes[0].Path > l.Changes[1].Path {
		l.Changes[0], l.Changes[1] = l.Changes[1], l.Changes[0]
	}
	leaf, err := AppendLeaf(nil, &l)
	require.NoError(t, err)
	other := tlog.RecordHash([]byte("another entry"))
	signed, err := note.Sign(&note.Note{Text: c2sp.FormatCheckpoint("crm.example/audit/0", tlog.Tree{N: 2, Hash: tlog.NodeHash(tlog.RecordHash(leaf), other)})}, signer)
	require.NoError(t, err)
	proof := c2sp.FormatProof(0, tlog.RecordProof{other}, signed)
	forge := func(path string, change func(m map[string]any, moved func(member string, f Field, tail []byte))) []byte {
		data, err := Disclose(leaf, proof, o, surrogate(1), path, SideNew)
		require.NoError(t, err)
		_, err = CheckDisclosure(Trust{Key: verifier}, data)
		require.NoError(t, err, "what was recorded")
		var m map[string]any
		require.NoError(t, canon.Unmarshal(data, &m))
		change(m, func(member string, f Field, tail []byte) {
			salt, err := canon.ParseBytes(m[member].(string))
			require.NoError(t, err)
			m[member] = canon.FormatBytes(append(salt, bytes.TrimSuffix(appendCommitted(nil, id, &f), tail)...))
		})
		forged, err := canon.Marshal(m)
		require.NoError(t, err)
		return forged
	}
	return verifier, map[string][]byte{
		"forged-value": forge("email", func(m map[string]any, moved func(string, Field, []byte)) {
			moved("salt", o.Fields[4], []byte(tail))
			m["value"] = canon.FormatBytes([]byte("the board has approved it"))
		}),
		"forged-name": forge(long, func(m map[string]any, moved func(string, Field, []byte)) {
			moved("name", o.Fields[2], nameTail)
			moved("salt", o.Fields[1], valueTail)
			m["path"], m["value"] = name, canon.FormatBytes([]byte("no"))
		}),
	}
}

// A disclosure shows no other value, and no other name, than was recorded, whoever
// chose what was recorded.
func TestASaltTakesNothingOfTheValue(t *testing.T) {
	check := func(verifier string, forged map[string][]byte) {
		require.Len(t, forged, 2)
		for name, data := range forged {
			d, err := CheckDisclosure(Trust{Key: verifier}, data)
			require.ErrorIs(t, err, ErrMalformed, name)
			require.Zero(t, d)
		}
	}
	check(forgedDisclosures(t))
	frozen := make(map[string][]byte)
	key, err := os.ReadFile(filepath.Join(disclosures, "forged.vkey"))
	require.NoError(t, err)
	for _, name := range []string{"forged-value", "forged-name"} {
		frozen[name], err = os.ReadFile(filepath.Join(disclosures, name+".json"))
		require.NoError(t, err)
	}
	check(strings.TrimSpace(string(key)), frozen)
}
