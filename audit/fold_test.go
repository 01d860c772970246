package audit

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/internal/frame"
)

// What is folded opens to the fields that were folded and to no others: one
// less, one more, another value, another name, another owner, another mark.
func TestAFoldOpensToItsFieldsOnly(t *testing.T) {
	event := [16]byte(counting(16))
	text := func(s string) frame.Value { return frame.Value{Type: frame.Text, Data: []byte(s)} }
	sound := func() *opening {
		return &opening{seed: counting(32), fields: []opened{
			{"email", sideOld, text("a")},
			{"email", sideNew, newStandIn(StandInText, []byte("\xff"))},
			{"shoe size", sideOld, text("c")},
			{"shoe size", sideNew, text("d")},
			{"shoe size", sideOther, text("shoe size")},
		}}
	}
	changes, parts := sound().spread(event, "")
	require.Len(t, changes, 2)
	fold := foldChanges(slices.Clone(changes))
	require.Len(t, fold, 1)
	require.Equal(t, "new", fold[0].Odd)
	back, err := sound().unfold(event, fold[0])
	require.NoError(t, err)
	require.Equal(t, parts, back)
	require.Equal(t, "shoe size", back[1].path)
	leaf := Leaf{ID: "00010203-0405-0607-0809-0a0b0c0d0e0f", Changes: fold}
	require.NoError(t, sound().matches(&leaf, nobody))
	for name, change := range map[string]func(o *opening, c *LeafChange){
		"a field less": func(o *opening, _ *LeafChange) { o.fields = o.fields[2:] },
		"half a field": func(o *opening, _ *LeafChange) { o.fields = append(o.fields[:1], o.fields[2:]...) },
		"a field more": func(o *opening, _ *LeafChange) {
			o.fields = append(o.fields, opened{"x", sideOld, text("")}, opened{"x", sideNew, text("")})
		},
		"another value":  func(o *opening, _ *LeafChange) { o.fields[3].value = text("e") },
		"an older value": func(o *opening, _ *LeafChange) { o.fields[2].value = text("e") },
		"another name":   func(o *opening, _ *LeafChange) { o.fields[4].value = text("e") },
		"a shown name":   func(o *opening, _ *LeafChange) { o.fields = o.fields[:4] },
		"another seed":   func(o *opening, _ *LeafChange) { o.seed = make([]byte, 32) },
		"another mark":   func(_ *opening, c *LeafChange) { c.Odd = "both" },
		"another owner":  func(_ *opening, c *LeafChange) { c.Old, c.New = c.New, c.Old },
	} {
		o, c := sound(), fold[0]
		change(o, &c)
		_, err := o.unfold(event, c)
		require.ErrorIs(t, err, ErrTampered, name)
	}
	plain := changes[0]
	plain.Odd = "old"
	_, err = sound().unfold(event, plain)
	require.ErrorIs(t, err, ErrTampered, "a mark at the wrong side")
}

// The vectors of section 6.
func TestStandInVectors(t *testing.T) {
	for why, want := range map[string][]byte{
		StandInText: {11, 0, 0, 0, 2, 1, 'x'}, StandInInteger: {11, 0, 0, 0, 2, 2, 'x'}, StandInFloat: {11, 0, 0, 0, 2, 3, 'x'}, StandInTime: {11, 0, 0, 0, 2, 4, 'x'},
		StandInForm: {11, 0, 0, 0, 2, 5, 'x'}, StandInNothing: {11, 0, 0, 0, 2, 6, 'x'}, StandInFailed: {11, 0, 0, 0, 2, 7, 'x'},
	} {
		v := newStandIn(why, []byte("x"))
		require.Equal(t, want, v.Append(nil), why)
		back, err := fromValue(v)
		require.NoError(t, err)
		require.Equal(t, StandIn{Why: why, Kept: []byte("x")}, back)
	}
	later, err := fromValue(frame.Value{Type: standIn, Data: []byte{200, 'x'}})
	require.NoError(t, err)
	require.Equal(t, []byte("x"), later.(StandIn).Kept)
	for _, bad := range [][]byte{nil, {0}, {0, 'x'}} {
		_, err := fromValue(frame.Value{Type: standIn, Data: bad})
		require.ErrorIs(t, err, ErrMalformed)
	}
}
