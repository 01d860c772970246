package auditlog

import (
	"crypto/rand"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/internal/c2sp"
	"github.com/crmguard/crmguard/internal/canon"
	"github.com/crmguard/crmguard/internal/frame"
)

// proven is a log of one entry, as its own signer shows it.
func proven(t *testing.T, leaf []byte) (verifier string, proof []byte) {
	t.Helper()
	key, verifier, err := note.GenerateKey(rand.Reader, "crm.example/audit/0")
	require.NoError(t, err)
	signer, err := note.NewSigner(key)
	require.NoError(t, err)
	signed, err := note.Sign(&note.Note{Text: c2sp.FormatCheckpoint("crm.example/audit/0", tlog.Tree{N: 1, Hash: tlog.RecordHash(leaf)})}, signer)
	require.NoError(t, err)
	return verifier, c2sp.FormatProof(0, nil, signed)
}

// changed is a disclosure with other members.
func changed(t *testing.T, data []byte, change func(d *disclosureJSON)) []byte {
	t.Helper()
	var d disclosureJSON
	require.NoError(t, canon.Unmarshal(data, &d))
	change(&d)
	out, err := canon.Marshal(d)
	require.NoError(t, err)
	return out
}

// Whoever writes a log and chooses what it commits to has one value of a field all
// the same: not a second one that stands in the end of the first, behind a salt that
// reaches up to it.
func TestACommitmentOpensToOneValue(t *testing.T) {
	id, err := ParseID(anID)
	require.NoError(t, err)
	second := Field{Path: "email", Side: SideNew, Value: frame.Value{Type: frame.Text, Data: []byte("second@b.example")}}
	first := appendCommitted([]byte("first "), id, &second)
	o := &Opening{Seed: counted(0), Fields: []Field{
		{"email", SideOld, frame.Value{Type: frame.Absent}}, {"email", SideNew, frame.Value{Type: frame.Bytes, Data: first}},
	}}
	l := aLeaf(KindEvent)
	l.Changes, _ = o.spread(id, surrogate(1))
	leaf, err := AppendLeaf(nil, &l)
	require.NoError(t, err)
	verifier, proof := proven(t, leaf)
	trust := Trust{Key: verifier}
	good, err := Disclose(leaf, proof, o, surrogate(1), "email", SideNew)
	require.NoError(t, err)
	d, err := CheckDisclosure(trust, good)
	require.NoError(t, err)
	require.Equal(t, first, d.Value)

	forged := changed(t, good, func(d *disclosureJSON) {
		salt, err := canon.ParseBytes(d.Salt)
		require.NoError(t, err)
		all := appendCommitted(salt, id, &Field{Path: "email", Side: SideNew, Value: frame.Value{Type: frame.Bytes, Data: first}})
		d.Salt = canon.FormatBytes(all[:len(all)-len(appendCommitted(nil, id, &second))])
		d.Type, d.Value = int(frame.Text), canon.FormatBytes(second.Value.Data)
	})
	_, err = CheckDisclosure(trust, forged)
	require.ErrorIs(t, err, ErrMalformed)
}

// A disclosure has one spelling: no number that is another one in a byte, nothing
// that is longer than any value, no salt of another size.
func TestADisclosureHasOneSpelling(t *testing.T) {
	verifier, out := aDisclosure(t)
	trust := Trust{Key: verifier}
	for name, change := range map[string]func(d *disclosureJSON){
		"a side beyond a byte": func(d *disclosureJSON) { d.Side += 256 },
		"a side of names":      func(d *disclosureJSON) { d.Side = 2 },
		"a side below":         func(d *disclosureJSON) { d.Side = -1 },
		"a type beyond a byte": func(d *disclosureJSON) { d.Type += 256 },
		"a type below":         func(d *disclosureJSON) { d.Type = -1 },
		"a later version":      func(d *disclosureJSON) { d.V = 2 },
		"no path":              func(d *disclosureJSON) { d.Path = "" },
		"a value beyond all":   func(d *disclosureJSON) { d.Value = strings.Repeat("A", maxDisclosure) },
		"no salt":              func(d *disclosureJSON) { d.Salt = "" },
		"a salt that is long":  func(d *disclosureJSON) { d.Salt = canon.FormatBytes(make([]byte, 33)) },
		"a name that is short": func(d *disclosureJSON) { d.Name = canon.FormatBytes(make([]byte, 31)) },
	} {
		for of := range out {
			_, err := CheckDisclosure(trust, changed(t, out[of], change))
			require.ErrorIs(t, err, ErrMalformed, "%s: %s", of, name)
		}
	}
}

// What the leaf calls a stand-in is one, and nothing else is.
func TestAStandInIsWhatTheLeafCallsOne(t *testing.T) {
	id, err := ParseID(anID)
	require.NoError(t, err)
	o := &Opening{Seed: counted(0), Fields: []Field{
		{"email", SideOld, frame.Value{Type: frame.Text, Data: []byte("x")}}, {"email", SideNew, NewStandIn(StandInText, []byte("\xff"))},
	}}
	for _, odd := range []string{"", "old", "new", "both"} {
		l := aLeaf(KindEvent)
		l.Changes, _ = o.spread(id, surrogate(1))
		require.Equal(t, "new", l.Changes[0].Odd)
		right, err := AppendLeaf(nil, &l)
		require.NoError(t, err)
		l.Changes[0].Odd = odd
		leaf, err := AppendLeaf(nil, &l)
		require.NoError(t, err)
		verifier, proof := proven(t, leaf)
		for side, want := range []bool{odd == "" || odd == "new", odd == "new" || odd == "both"} {
			good, err := Disclose(right, proof, o, surrogate(1), "email", byte(side))
			require.NoError(t, err)
			_, err = CheckDisclosure(Trust{Key: verifier}, changed(t, good, func(d *disclosureJSON) { d.Leaf = canon.FormatBytes(leaf) }))
			if want {
				require.NoError(t, err, fmt.Sprint(odd, side))
			} else {
				require.ErrorIs(t, err, ErrTampered, fmt.Sprint(odd, side))
			}
		}
	}
}
