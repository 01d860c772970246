package main

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// writings are copies of a value as they may stand among other bytes.
func writings(t *testing.T, value string) [][]byte {
	t.Helper()
	var out [][]byte
	for _, before := range []string{"", "x", "xy", "xyz", `":"`, "\x00\x01"} {
		for _, behind := range []string{"", "1", "ab", `","`, "\xff\xff\xff"} {
			whole := []byte(before + value + behind)
			quoted, err := json.Marshal(string(whole))
			require.NoError(t, err)
			out = append(out, whole, quoted, []byte(hex.EncodeToString(whole)),
				[]byte(base64.StdEncoding.EncodeToString(whole)), []byte(base64.RawURLEncoding.EncodeToString(whole)))
		}
	}
	return out
}

func searchOf(forms []needle) *needles {
	n := newNeedles()
	for _, f := range forms {
		n.add(f.label, f.bytes)
	}
	return n
}

// The value of one person, cut at a border of base64, may be that of another
// one: such a form is dropped, and the forms that tell stay.
func TestANeedleIsUniqueInTheFormInWhichItIsSearched(t *testing.T) {
	for _, pair := range []struct{ gone, stays string }{
		{"contact00011@post.example", "contact00012@post.example"},
		{"Customer number 00011", "Customer number 00012"},
		{"Customer number 00011", "Customer number 000110"},
		{"Customer number 00011", "Austomer number 00011"},
		{"Customer number 00011", "Sustomer number 00011"}, // the lower half of the first byte is the same
		{"BMain Street 12", "Main Street 12"},
		{"bMain Street 12", "Main Street 12"}, // a quote before it looks like the end of a b
		{"bMain St", "Main St"},
		{"4444444444", "CCCCCCCCCCCC"}, // half a byte further on, in hexadecimal digits
		{"+49 30 1234567890", "4930123456789-0"},
		{"GROSSE STRASSE 12", "Grosse Strasse 12"},
		{"Zoe\u0308 aus Ko\u0308ln", "Zo\u00eb aus K\u00f6ln"},
		{"Anna Maria", "Anna Maria Anna Maria Z"},
	} {
		f := newFilter()
		f.add(0, "v", pair.gone)
		f.drop(0, slices.Values([]string{pair.gone}))
		f.drop(nobody, slices.Values([]string{pair.stays}))
		n := searchOf(f.left(0).forms)
		for _, text := range writings(t, pair.stays) {
			n.scan(text, func(found needle) {
				t.Errorf("%q was found as %q in %q, which is about %q", found.bytes, found.label, text, pair.stays)
			})
		}
	}
}

// Dropping is not blindness: what is one person's alone is found in each form,
// at each alignment, however alike the others are.
func TestWhatTellsAPersonApartIsStillSearched(t *testing.T) {
	f := newFilter()
	f.add(0, "v", "person00011.of.many@post.example")
	f.add(0, "only", "Lighthouse keeper at the northern cape")
	for i := range 100 {
		f.drop(nobody, slices.Values([]string{fmt.Sprintf("person%05d.of.many@post.example", 100+i)}))
	}
	told := f.left(0)
	require.Equal(t, map[string]bool{"v": true, "only": true}, told.labels)
	n := searchOf(told.forms)
	for _, value := range []string{"person00011.of.many@post.example", "Lighthouse keeper at the northern cape"} {
		for _, text := range writings(t, value) {
			found := 0
			n.scan(text, func(needle) { found++ })
			require.NotZero(t, found, "not found in %q", text)
		}
	}
}

// Only what is sure to stand somewhere counts as a value that is searched: a
// value that two fields hold counts once, and one that is written as somebody
// else's may be spelt counts for nothing, though its other spellings stay.
func TestAValueCountsOnceAndAsItWasWritten(t *testing.T) {
	f := newFilter()
	f.add(0, "phone", "+49 30 1234567")
	f.add(0, "mobile_phone", "+49 30 1234567")
	f.add(0, "last_name", "Mu\u0308ller-Lu\u0308denscheidt")
	f.drop(nobody, slices.Values([]string{"M\u00fcller-L\u00fcdenscheidt"}))
	told := f.left(0)
	require.Equal(t, map[string]bool{"phone": true}, told.labels)
	found := 0
	searchOf(told.forms).scan([]byte("mu\u0308ller-lu\u0308denscheidt"), func(needle) { found++ })
	require.NotZero(t, found)
}

// Who is given their data is neither who is forgotten nor who shares a note
// with them: what they were given stays in the folder, and is theirs.
func TestWhoIsGivenTheirDataHasNoneOfWhoIsForgotten(t *testing.T) {
	for n := 2; n <= 7; n++ {
		c := &crm{}
		for range n {
			c.people = append(c.people, &person{})
		}
		for gone := range n {
			c.gone, c.partner = c.people[gone], c.people[(gone+1)%n]
			asks := c.whoAsks()
			require.NotSame(t, c.gone, asks)
			if n > 2 {
				require.NotSame(t, c.partner, asks)
			}
		}
	}
}

// What two candidates share tells neither apart.
func TestCandidatesAreToldApartFromEachOther(t *testing.T) {
	f := newFilter()
	for owner, name := range []string{"Christopher", "Christopher", "Bartholomew"} {
		f.add(owner, "name", name)
	}
	for owner, name := range []string{"Christopher", "Christopher", "Bartholomew"} {
		f.drop(owner, slices.Values([]string{name}))
	}
	require.Empty(t, f.left(0).forms)
	require.Empty(t, f.left(1).forms)
	require.NotEmpty(t, f.left(2).forms)
}

// Random ids hold runs of eight digits, which might be somebody's telephone
// number by chance: such values are not searched.
func TestWhatChanceWritesIsNoNeedle(t *testing.T) {
	require.False(t, tellable("12345678"))
	require.False(t, tellable("deadbeef"))
	require.True(t, tellable("1234567890"))
	require.True(t, tellable("1234 5678"))
	require.True(t, tellable("Montgomery"))
	for range formsOf("20261126") {
		t.Error("eight digits are searched")
	}
}

// What cut characters tell of a value is exactly what decides them: any change
// of it changes them, and no change elsewhere does.
func TestTheCoreOfACutFormIsWhatItTells(t *testing.T) {
	value := []byte("0123456789abcdefghijk")
	for offset := range 3 {
		for length := 8; length <= len(value); length++ {
			encoded, core := base64At(base64.RawStdEncoding, value[:length], offset)
			at := strings.Index(string(value[:length]), string(core))
			require.GreaterOrEqual(t, at, 0)
			require.GreaterOrEqual(t, len(core), length-2)
			for i := range length {
				other := slices.Clone(value[:length])
				other[i] ^= 0xff
				changed, _ := base64At(base64.RawStdEncoding, other, offset)
				if i >= at && i < at+len(core) {
					require.NotEqual(t, encoded, changed, "byte %d of %d at offset %d is told", i, length, offset)
				}
			}
		}
	}
}

// A thief's search is for values that only a leak can write.
func TestOnlyValuesThatChanceDoesNotWriteAreSearchedInRawBytes(t *testing.T) {
	p := &person{values: map[string]string{"phone": "12345678", "mobile_phone": "2025550107", "email": "x@post.example", "city": "Bern"}, texts: []string{"a note about them"}}
	values, tooShort := valuesOf([]*person{p})
	require.Equal(t, 2, tooShort)
	var labels []string
	for _, n := range values.patterns {
		labels = append(labels, n.label)
	}
	require.ElementsMatch(t, []string{"email", freeText}, labels)
}
