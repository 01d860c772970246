package auditlog

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/canon"
	"github.com/crmguard/crmguard/internal/frame"
)

// The vectors of formats.md, section 6.
func TestCommitmentVectors(t *testing.T) {
	var event [16]byte
	for i := range event {
		event[i] = byte(i)
	}
	opening := Opening{Seed: counted(0)}
	commits := opening.Committer(event)
	require.Equal(t, "244303c20ef2a1290e83ebc6c255829a0d2bc5d3d42a48b0b7faf62c483b25bf", hex.EncodeToString(commits.salt(&Field{Path: "email", Side: SideNew}).Sum(nil)))
	for want, v := range map[string]any{
		"fa7faecbb34a54a5b4f063268d4f09c82a32e48bde225133acf9d8fefc6c5081": "a@b.example",
		"6cb7f34920a2a27828661225ff7d8fbc8ddcb3c07be4cbaf0e6f9beffa50955e": frame.Value{},
		"d0a6c71ae081485329be76a7e69c6322f8c127ee7bbae28d8a05b5369af475c1": nil,
		"e63920b3b915688ee4eafaca97dbbcb4f2f0f9442fd06c2eff2f25e895f9730d": "",
		"3f3bd894bb55ffd6e7de3dccd2c3971c4069a47139d6fe03c6e74a8f375bc1f5": 0,
		"74fc4c9e02a246c7840d59c95801b999a3b9840586eedba8a55607e7c6699cff": "0",
		"ba9276e9d98ee1c55ed8290e3f2378a64387f83b85a80d1c96ac81ef45ca408a": true,
	} {
		value, err := frame.Of(v)
		require.NoError(t, err)
		c := commits.commitment(&Field{"email", SideNew, value})
		require.Equal(t, want, hex.EncodeToString(c[:]), "%v", v)
	}
}

// committed is a leaf that commits to an opening.
func committed(t testing.TB, o *Opening, who string) Leaf {
	t.Helper()
	l := aLeaf(KindEvent)
	id, err := ParseID(l.ID)
	require.NoError(t, err)
	_ = body(t, o) // sorts
	l.Changes, _ = o.spread(id, who)
	if who != "" {
		l.Persons = []string{who}
	}
	return l
}

func TestAnOpeningMatchesWhatWasCommittedTo(t *testing.T) {
	for _, who := range []string{"", surrogate(1)} {
		o := anOpening()
		l := committed(t, o, who)
		require.Len(t, l.Changes, 2)
		owner := l.Changes[0].Owner()
		require.Equal(t, []string{owner}, l.Owners())
		require.NoError(t, o.Matches(&l, owner))
		id, err := ParseID(l.ID)
		require.NoError(t, err)
		parts, err := o.Unfold(id, l.Changes[0])
		require.NoError(t, err)
		require.Equal(t, "a name of no column", parts[0].Path)

		for i := range o.Fields {
			wrong := anOpening()
			_ = body(t, wrong)
			wrong.Fields[i].Value = frame.Value{Type: frame.Text, Data: []byte("something else")}
			require.ErrorIs(t, wrong.Matches(&l, owner), ErrTampered, "another value of field %d", i)
			wrong.Fields = append(wrong.Fields[:i], wrong.Fields[i+1:]...)
			require.ErrorIs(t, wrong.Matches(&l, owner), ErrTampered, "without field %d", i)
		}
		wrong := anOpening()
		wrong.Seed[0]++
		require.ErrorIs(t, wrong.Matches(&l, owner), ErrTampered, "another seed")
		l.Changes[0].Odd = ""
		require.ErrorIs(t, o.Matches(&l, owner), ErrTampered, "the leaf is silent about a stand-in")
	}
}

func TestFoldedChangesCommitToAllFields(t *testing.T) {
	o := &Opening{Seed: counted(3)}
	for i := range 400 {
		path := fmt.Sprintf("field %03d", i)
		o.Fields = append(o.Fields, Field{path, SideOld, frame.Value{}}, Field{path, SideNew, frame.Value{Type: frame.Text, Data: []byte("x")}})
	}
	l := committed(t, o, surrogate(1))
	l.Changes = append(l.Changes, LeafChange{Path: "field", Old: digest(1), New: digest(2)})
	_, err := AppendLeaf(nil, &l)
	require.Error(t, err)
	require.NoError(t, l.Fold())
	require.Len(t, l.Changes, 2)
	require.Equal(t, Folded, l.Changes[0].Path)
	require.Equal(t, []string{Nobody, surrogate(1)}, l.Owners())
	_, err = AppendLeaf(nil, &l)
	require.NoError(t, err)
	require.NoError(t, o.Matches(&l, surrogate(1)))
	o.Fields[1].Value.Data = []byte("y")
	require.ErrorIs(t, o.Matches(&l, surrogate(1)), ErrTampered)

	few := aLeaf(KindEvent)
	require.NoError(t, few.Fold())
	require.Len(t, few.Changes, 4, "what fits stays as it is")
}

// The fold looks at what the changes take in the leaf, to the byte.
func TestFoldingBeginsWhereTheLeafIsHalfFull(t *testing.T) {
	size := func(l *Leaf) int {
		data, err := canon.Marshal(l.Changes)
		require.NoError(t, err)
		return len(data)
	}
	l := Leaf{}
	for range mayFold {
		l.Changes = append(l.Changes, LeafChange{Path: "p", Old: digest(1), New: digest(2)})
	}
	l.Changes[mayFold-1].Path = "p" + string(bytes.Repeat([]byte("x"), MaxLeaf/2-1-size(&l)))
	require.Equal(t, MaxLeaf/2-1, size(&l))
	require.NoError(t, l.Fold())
	require.Len(t, l.Changes, mayFold)
	l.Changes[mayFold-1].Path += "x"
	require.NoError(t, l.Fold())
	require.Len(t, l.Changes, 1)
}
