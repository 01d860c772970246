package auditlog

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/frame"
)

// What is folded opens to the fields that were folded and to no others: one
// less, one more, another value, another name, another owner, another mark.
func TestAFoldOpensToItsFieldsOnly(t *testing.T) {
	event := [16]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	text := func(s string) frame.Value { return frame.Value{Type: frame.Text, Data: []byte(s)} }
	sound := func() *Opening {
		return &Opening{Seed: counted(0), Fields: []Field{
			{"email", SideOld, text("a")},
			{"email", SideNew, NewStandIn(StandInText, []byte("\xff"))},
			{"shoe size", SideOld, text("c")},
			{"shoe size", SideNew, text("d")},
			{"shoe size", SideName, text("shoe size")},
		}}
	}
	changes, parts := sound().spread(event, "")
	require.Len(t, changes, 2)
	fold := foldChanges(slices.Clone(changes))
	require.Len(t, fold, 1)
	require.Equal(t, "new", fold[0].Odd)
	back, err := sound().Unfold(event, fold[0])
	require.NoError(t, err)
	require.Equal(t, parts, back)
	require.Equal(t, "shoe size", back[1].Path)
	leaf := Leaf{ID: "00010203-0405-0607-0809-0a0b0c0d0e0f", Changes: fold}
	require.NoError(t, sound().Matches(&leaf, Nobody))
	for name, change := range map[string]func(o *Opening, c *LeafChange){
		"a field less": func(o *Opening, _ *LeafChange) { o.Fields = o.Fields[2:] },
		"half a field": func(o *Opening, _ *LeafChange) { o.Fields = append(o.Fields[:1], o.Fields[2:]...) },
		"a field more": func(o *Opening, _ *LeafChange) {
			o.Fields = append(o.Fields, Field{"x", SideOld, text("")}, Field{"x", SideNew, text("")})
		},
		"another value":  func(o *Opening, _ *LeafChange) { o.Fields[3].Value = text("e") },
		"an older value": func(o *Opening, _ *LeafChange) { o.Fields[2].Value = text("e") },
		"another name":   func(o *Opening, _ *LeafChange) { o.Fields[4].Value = text("e") },
		"a shown name":   func(o *Opening, _ *LeafChange) { o.Fields = o.Fields[:4] },
		"another seed":   func(o *Opening, _ *LeafChange) { o.Seed = [32]byte{} },
		"another mark":   func(_ *Opening, c *LeafChange) { c.Odd = "both" },
		"another owner":  func(_ *Opening, c *LeafChange) { c.Old, c.New = c.New, c.Old },
	} {
		o, c := sound(), fold[0]
		change(o, &c)
		_, err := o.Unfold(event, c)
		require.ErrorIs(t, err, ErrTampered, name)
	}
	plain := changes[0]
	plain.Odd = "old"
	_, err = sound().Unfold(event, plain)
	require.ErrorIs(t, err, ErrTampered, "a mark at the wrong side")
}

// The vectors of section 6.
func TestStandInVectors(t *testing.T) {
	for why, want := range map[string][]byte{
		StandInText: {11, 0, 0, 0, 2, 1, 'x'}, StandInInteger: {11, 0, 0, 0, 2, 2, 'x'}, StandInFloat: {11, 0, 0, 0, 2, 3, 'x'}, StandInTime: {11, 0, 0, 0, 2, 4, 'x'},
		StandInForm: {11, 0, 0, 0, 2, 5, 'x'}, StandInNothing: {11, 0, 0, 0, 2, 6, 'x'}, StandInFailed: {11, 0, 0, 0, 2, 7, 'x'},
	} {
		v := NewStandIn(why, []byte("x"))
		require.Equal(t, want, v.Append(nil), why)
		back, err := GoValue(v)
		require.NoError(t, err)
		require.Equal(t, StandIn{Why: why, Kept: []byte("x")}, back)
	}
	later, err := GoValue(frame.Value{Type: TypeStandIn, Data: []byte{200, 'x'}})
	require.NoError(t, err)
	require.Equal(t, []byte("x"), later.(StandIn).Kept)
	for _, bad := range [][]byte{nil, {0}, {0, 'x'}} {
		_, err := GoValue(frame.Value{Type: TypeStandIn, Data: bad})
		require.ErrorIs(t, err, ErrMalformed)
	}
}
