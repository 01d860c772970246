package auditlog

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/crmguard/crmguard/audit/internal/c2sp"
	"github.com/crmguard/crmguard/internal/canon"
)

func surrogate(n byte) string { return "s:" + canon.FormatBytes(bytes.Repeat([]byte{n}, 16)) }

func digest(n byte) string { return canon.FormatBytes(bytes.Repeat([]byte{n}, 32)) }

const anID = "0196b3a0-1111-7222-8333-444455556666"

// aLeaf is a small leaf of a kind with all that the kind must have.
func aLeaf(kind string) Leaf {
	at := time.Date(2026, 11, 27, 4, 5, 6, 7000, time.UTC)
	l := Leaf{ID: anID, Kind: kind, At: at, Tenant: "main", Actor: "u-1", Action: "contact.update", Outcome: OutcomeOK}
	switch kind {
	case KindEvent:
		l.Object = Object{Kind: "contact", ID: surrogate(1), Person: true}
		l.Persons = []string{surrogate(1), surrogate(2)}
		l.Changes = []LeafChange{
			{Path: "c:" + digest(9), Old: digest(1), New: digest(2), Who: surrogate(1), Odd: "both"},
			{Path: "email", Old: digest(3), New: digest(4), Who: surrogate(1)},
			{Path: "email", Old: digest(5), New: digest(6), Who: surrogate(2)},
			{Path: "stage", Old: digest(7), New: digest(8)},
		}
		l.Reason, l.Request, l.Policy, l.For, l.Prior = "call", "r-1", strings.Repeat("ab", 32), anID, anID
	case KindMerge:
		l.Object = Object{Kind: "person", ID: surrogate(2), Person: true}
		l.Persons = []string{surrogate(1), surrogate(2)}
	case KindCapture:
		l.Actor, l.Action, l.Object = "db/app", "capture.update", Object{Kind: "deal", ID: "7"}
		l.Capture = &LeafCapture{Table: "public.deals", Op: "u", Columns: []string{"größe", "stage"}, Claimed: "u-1"}
	case KindGap:
		l.Actor, l.Action = "crmguard/audit", "contact.read"
		l.Gap = &LeafGap{Count: 3, From: at.Add(-time.Minute), To: at, Why: "failed"}
	case KindBeat:
		l = Leaf{ID: anID, Kind: kind, At: at, Size: 7, Heads: LeafHeads{Ledger: &LeafHead{N: 3, Hash: digest(1)}, Keys: &LeafHead{Hash: ""}, Seals: digest(2)}}
	}
	return l
}

func kinds() []string {
	return []string{KindEvent, KindErase, KindPrune, KindKey, KindRecover, KindMerge, KindCapture, KindGap, KindBeat}
}

// frozenLeaves are all that lie in a frozen log.
func frozenLeaves(t testing.TB) (out [][]byte) {
	t.Helper()
	names, err := filepath.Glob("testdata/v1/log/tile/entries/*")
	require.NoError(t, err)
	more, err := filepath.Glob("testdata/v1/log/tile/entries/*/*")
	require.NoError(t, err)
	for _, name := range append(names, more...) {
		data, err := os.ReadFile(name)
		if err != nil {
			continue // a folder
		}
		for len(data) > 0 {
			var leaf []byte
			leaf, data, err = c2sp.ReadEntry(data)
			require.NoError(t, err)
			out = append(out, leaf)
		}
	}
	require.NotEmpty(t, out)
	return out
}

// leafSeeds are leaves of each kind, and what is wrong with leaves.
func leafSeeds(t testing.TB) [][]byte {
	t.Helper()
	out := frozenLeaves(t)
	for _, kind := range kinds() {
		l := aLeaf(kind)
		data, err := plainEncode(&l)
		require.NoError(t, err)
		out = append(out, data)
	}
	captured := aLeaf(KindCapture)
	sound, err := plainEncode(&captured)
	require.NoError(t, err)
	for _, op := range []string{"i", "d", "t", "x", "iu", ""} {
		out = append(out, bytes.Replace(sound, []byte(`"op":"u"`), []byte(`"op":"`+op+`"`), 1))
	}
	text := string(out[0])
	for _, wrong := range []string{
		strings.Replace(text, `"v":1`, `"v":2`, 1), strings.Replace(text, `,"v":1`, ``, 1), strings.Replace(text, `"v":1`, `"v":"1"`, 1),
		strings.Replace(text, `"v":1`, `"v":1,"w":{"a":[true,-3]}`, 1), strings.Replace(text, `"kind":"event"`, `"kind":"else"`, 1),
		strings.Replace(text, `"kind":"event"`, `"kind":"beat"`, 1), strings.Replace(text, `"kind"`, `"heads":{},"kind"`, 1), strings.Replace(text, `Z"`, `0Z"`, 1),
		strings.Replace(text, `"persons":[`, `"persons":[],"personz":[`, 1), strings.Replace(text, `"changes":[`, `"changes":[],"changez":[`, 1),
		strings.Replace(text, `"object":[`, `"object":[],"objecu":[`, 1), strings.Replace(text, `"tenant":"`, `"tenant":"\u000a`, 1), strings.Replace(text, `"tenant":"`, `"tenant":"\n`, 1),
		`{"at":"0001-01-01T00:00:00.000000Z","heads":{"keys":{}},"id":"` + anID + `","kind":"beat","object":["x"],"size":0,"v":1}`,
		`{"at":"0001-01-01T00:00:00.000000Z","changes":[{}],"heads":{},"id":"` + anID + `","kind":"beat","persons":["x","x"],"size":-1,"v":1}`,
	} {
		require.NotEqual(t, text, wrong)
		out = append(out, []byte(wrong))
	}
	return out
}

func sameReading(t require.TestingT, data []byte) {
	want, wrong := plainParse(data)
	got, err := ParseLeaf(data)
	if (wrong == nil) != (err == nil) {
		require.Fail(t, "verdicts differ", "%q: in three passes %v, in one %v", data, wrong, err)
	}
	if err != nil {
		require.ErrorIs(t, err, ErrMalformed)
		require.Equal(t, Leaf{}, got)
		return
	}
	require.Equal(t, want, got)
}

func TestALeafIsReadAsInThreePasses(t *testing.T) {
	for _, data := range leafSeeds(t) {
		sameReading(t, data)
	}
}

// Leaves with one byte changed, put in or taken out.
func TestOneByteOfALeafMoreOrLess(t *testing.T) {
	for _, kind := range kinds() {
		l := aLeaf(kind)
		l.Changes = l.Changes[:min(1, len(l.Changes))] // one is enough
		sound, err := AppendLeaf(nil, &l)
		require.NoError(t, err)
		for i := range sound {
			sameReading(t, append(bytes.Clone(sound[:i]), sound[i+1:]...))
			for _, c := range []byte("\x00\"\\,:{}]-0 aZ=\x80\xff") {
				changed := bytes.Clone(sound)
				changed[i] = c
				sameReading(t, changed)
				sameReading(t, append(append(bytes.Clone(sound[:i]), c), sound[i:]...))
			}
		}
	}
}

// What one kind has no other one has, and it has it.
func TestMembersBelongToTheirKind(t *testing.T) {
	for _, kind := range kinds() {
		for _, other := range kinds() {
			l, from := aLeaf(kind), aLeaf(other)
			if from.Capture == nil && from.Gap == nil || kind == other {
				continue
			}
			sound := l
			l.Capture, l.Gap = from.Capture, from.Gap
			_, err := AppendLeaf(nil, &l)
			require.ErrorIs(t, err, ErrMalformed, "a %s with what a %s has", kind, other)
			data, err := plainEncode(&l)
			require.NoError(t, err)
			_, err = ParseLeaf(data)
			require.ErrorIs(t, err, ErrMalformed, "a %s with what a %s has", kind, other)
			sameReading(t, data)
			_, err = AppendLeaf(nil, &sound)
			require.NoError(t, err)
		}
	}
	for _, kind := range []string{KindCapture, KindGap} {
		l := aLeaf(kind)
		l.Capture, l.Gap = nil, nil
		_, err := AppendLeaf(nil, &l)
		require.ErrorIs(t, err, ErrMalformed, kind)
	}
}

func TestWhatAKindMustSay(t *testing.T) {
	for name, c := range map[string]struct {
		kind   string
		change func(l *Leaf)
	}{
		"a column twice":                {KindCapture, func(l *Leaf) { l.Capture.Columns = []string{"a", "a"} }},
		"columns out of order":          {KindCapture, func(l *Leaf) { l.Capture.Columns = []string{"b", "a"} }},
		"a column without a name":       {KindCapture, func(l *Leaf) { l.Capture.Columns = []string{""} }},
		"another op":                    {KindCapture, func(l *Leaf) { l.Capture.Op = "x" }},
		"no table":                      {KindCapture, func(l *Leaf) { l.Capture.Table = "" }},
		"nothing lost":                  {KindGap, func(l *Leaf) { l.Gap.Count = 0 }},
		"an end before the beginning":   {KindGap, func(l *Leaf) { l.Gap.To = l.Gap.From.Add(-time.Microsecond) }},
		"lost for another reason":       {KindGap, func(l *Leaf) { l.Gap.Why = "bored" }},
		"a merge of one":                {KindMerge, func(l *Leaf) { l.Persons = l.Persons[1:] }},
		"a merge into a third":          {KindMerge, func(l *Leaf) { l.Object.ID = surrogate(9) }},
		"a merge of other things":       {KindMerge, func(l *Leaf) { l.Object.Kind = "deal" }},
		"a beat before the first":       {KindBeat, func(l *Leaf) { l.Size = -1 }},
		"a beat with a head that is no": {KindBeat, func(l *Leaf) { l.Heads.Ledger.N = -1 }},
	} {
		l := aLeaf(c.kind)
		c.change(&l)
		_, err := AppendLeaf(nil, &l)
		require.ErrorIs(t, err, ErrMalformed, name)
		data, err := plainEncode(&l)
		require.NoError(t, err, name)
		_, err = ParseLeaf(data)
		require.ErrorIs(t, err, ErrMalformed, name)
		sameReading(t, data)
	}
}

func FuzzLeaf(f *testing.F) {
	for _, data := range leafSeeds(f) {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		sameReading(t, data)
		l, err := ParseLeaf(data)
		if err != nil {
			return
		}
		again, err := AppendLeaf(nil, &l)
		if err != nil {
			return // a member that we do not write, in a leaf that was as large as any
		}
		back, err := ParseLeaf(again)
		require.NoError(t, err)
		require.Equal(t, l, back)
	})
}

// One leaf has one spelling: what could be left out, or stands there twice, is
// refused, in each of its members.
func TestALeafHasOneSpelling(t *testing.T) {
	for _, kind := range kinds() {
		l := aLeaf(kind)
		sound, err := AppendLeaf(nil, &l)
		require.NoError(t, err)
		back, err := ParseLeaf(sound)
		require.NoError(t, err)
		again, err := AppendLeaf(nil, &back)
		require.NoError(t, err)
		require.Equal(t, string(sound), string(again))
	}
	base := `{"action":"a","actor":"u","at":"2026-11-22T08:30:00.000001Z",%s"id":"` + anID + `","kind":"%s",%s"outcome":"ok",%s"tenant":"main","v":1}`
	change := func(members string) string { return `"changes":[{"new":"` + digest(1) + `",` + members + `}],` }
	whole := change(`"old":"` + digest(1) + `","path":"x"`)
	gap := `"gap":{"count":1,"from":"2026-11-22T08:30:00.000001Z","to":"2026-11-22T08:30:00.000001Z","why":"%s"},`
	for _, s := range []struct {
		front, kind, middle, end string
		sound                    bool
	}{
		{sound: true},
		{front: whole, sound: true},
		{front: strings.Replace(whole, "}]", `},{"new":"`+digest(1)+`","old":"`+digest(1)+`","path":"x"}]`, 1)},
		{front: strings.Replace(whole, "}]", `},{"new":"`+digest(1)+`","old":"`+digest(1)+`","path":"x","who":"`+surrogate(1)+`"}]`, 1), sound: true},
		{front: change(`"odd":"","old":"` + digest(1) + `","path":"x"`)},
		{front: change(`"old":"` + digest(1) + `","path":"x","who":""`)},
		{front: `"changes":[],`},
		{front: `"for":"",`},
		{middle: `"object":["",""],`},
		{middle: `"object":[],`},
		{middle: `"object":["x",""],`, sound: true},
		{end: `"persons":[],`},
		{end: `"policy":"",`},
		{end: `"prior":"",`},
		{end: `"reason":"",`},
		{end: `"request":"",`},
		{front: `"cap":{"op":"u","table":"t"},`, kind: KindCapture, sound: true},
		{front: `"cap":{"claimed":"","op":"u","table":"t"},`, kind: KindCapture},
		{front: `"cap":{"cols":[],"op":"u","table":"t"},`, kind: KindCapture},
		{front: fmt.Sprintf(gap, "failed"), kind: KindGap, sound: true},
		{front: fmt.Sprintf(gap, ""), kind: KindGap},
	} {
		text := fmt.Sprintf(base, s.front, cmp.Or(s.kind, KindEvent), s.middle, s.end)
		_, err := ParseLeaf([]byte(text))
		if s.sound {
			require.NoError(t, err, text)
		} else {
			require.ErrorIs(t, err, ErrMalformed, text)
		}
		sameReading(t, []byte(text))
	}
	beat := `{"at":"2026-11-22T08:30:00.000001Z","heads":{%s},"id":"` + anID + `","kind":"beat","size":0,"v":1}`
	for heads, sound := range map[string]bool{
		``: true, `"keys":{"hash":"","n":0}`: true, `"keys":{}`: false, `"keys":{"n":0}`: false, `"keys":{"hash":""}`: false,
		`"ledger":{"hash":""}`: false, `"seals":""`: false, `"snapshots":""`: false,
	} {
		_, err := ParseLeaf(fmt.Appendf(nil, beat, heads))
		require.Equal(t, sound, err == nil, heads)
		sameReading(t, fmt.Appendf(nil, beat, heads))
	}
}

func TestFrozenLeavesAreWrittenAsTheyStand(t *testing.T) {
	for _, data := range frozenLeaves(t) {
		l, err := ParseLeaf(data)
		require.NoError(t, err)
		again, err := AppendLeaf([]byte("before"), &l)
		require.NoError(t, err)
		require.Equal(t, "before"+string(data), string(again))
	}
}

// drawLeaf is any leaf: mostly sound, and wrong in one place often enough.
func drawLeaf(t *rapid.T) Leaf {
	l := aLeaf(rapid.SampledFrom(kinds()).Draw(t, "kind"))
	text := rapid.OneOf(rapid.SampledFrom([]string{"", "x", `"`, "\\", "\n", "é😀", "\u2028", "\xff", "s:", surrogate(3)}), rapid.String())
	for _, to := range []*string{&l.Action, &l.Actor, &l.Tenant, &l.Outcome, &l.Reason, &l.Request, &l.Policy, &l.For, &l.Prior, &l.ID, &l.Object.Kind, &l.Object.ID} {
		if rapid.IntRange(0, 9).Draw(t, "changed") == 0 {
			*to = text.Draw(t, "text")
		}
	}
	l.At = time.UnixMicro(rapid.Int64Range(-70_000_000_000_000_000, 270_000_000_000_000_000).Draw(t, "at")).UTC()
	if c := l.Capture; c != nil {
		c.Table, c.Claimed, c.Op = text.Draw(t, "table"), text.Draw(t, "claimed"), rapid.SampledFrom([]string{"i", "u", "d", "", "iu"}).Draw(t, "op")
		c.Columns = rapid.SliceOfN(text, 0, 3).Draw(t, "columns")
	}
	if g := l.Gap; g != nil {
		g.Count, g.Why = rapid.Int64Range(-1, 1<<53).Draw(t, "count"), rapid.SampledFrom([]string{"failed", "suppressed", ""}).Draw(t, "why")
		g.From = g.To.Add(time.Duration(rapid.Int64Range(-5, 1).Draw(t, "from")) * time.Second)
	}
	if l.Kind == KindBeat {
		l.Size, l.Heads.Seals = rapid.Int64Range(-1, 1<<53).Draw(t, "size"), text.Draw(t, "seals")
	}
	if n := len(l.Changes); n > 0 {
		c := &l.Changes[rapid.IntRange(0, n-1).Draw(t, "change")]
		c.Path, c.Odd = text.Draw(t, "path"), rapid.SampledFrom([]string{"", "old", "new", "both", "odd"}).Draw(t, "odd")
		c.Who = rapid.SampledFrom([]string{"", surrogate(1), "s:x"}).Draw(t, "who")
	}
	return l
}

// What can be read back is written, byte for byte as reflection writes it, and
// nothing else is.
func TestWhatIsWrittenCanBeRead(t *testing.T) {
	written := 0
	rapid.Check(t, func(t *rapid.T) {
		l := drawLeaf(t)
		want, wrong := plainEncode(&l)
		readable := wrong == nil
		if readable {
			_, err := plainParse(want)
			readable = err == nil
		}
		got, err := AppendLeaf(nil, &l)
		require.Equal(t, readable, err == nil, "%v %v %q", wrong, err, want)
		if err != nil {
			require.Empty(t, got)
			return
		}
		written++
		require.Equal(t, string(want), string(got))
		_, err = ParseLeaf(got)
		require.NoError(t, err)
	})
	require.NotZero(t, written)
}

func TestALeafThatIsTooLargeIsNotWritten(t *testing.T) {
	l := aLeaf(KindEvent)
	l.Changes = nil
	for i := range 800 {
		l.Changes = append(l.Changes, LeafChange{Path: fmt.Sprintf("%04d", i), Old: digest(1), New: digest(2)})
	}
	kept := []byte("kept")
	got, err := AppendLeaf(kept, &l)
	require.ErrorIs(t, err, ErrTooLarge)
	require.Equal(t, kept, got)
	_, err = ParseLeaf(make([]byte, MaxLeaf+1))
	require.ErrorIs(t, err, ErrMalformed)
}

func TestIDsAreLowerCaseUUIDs(t *testing.T) {
	id, err := ParseID("000102030-405-0607-0809-0a0b0c0d0e0f")
	require.ErrorIs(t, err, ErrMalformed, "%x", id)
	id, err = ParseID("00010203-0405-0607-0809-0a0b0c0d0e0f")
	require.NoError(t, err)
	require.Equal(t, [16]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, id)
	for _, wrong := range []string{"", "00010203-0405-0607-0809-0A0B0C0D0E0F", "{00010203-0405-0607-0809-0a0b0c0d0e0f}", "000102030405060708090a0b0c0d0e0f", "00010203-0405-0607-0809-0a0b0c0d0e0g", "00010203-0405-0607-0809-0a0b0c0d0e-f"} {
		_, err := ParseID(wrong)
		require.ErrorIs(t, err, ErrMalformed, wrong)
	}
}

func TestReadingAndWritingLeavesTakesLittle(t *testing.T) {
	l := aLeaf(KindEvent)
	data, err := AppendLeaf(nil, &l)
	require.NoError(t, err)
	buffer := make([]byte, 0, len(data))
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if _, err := AppendLeaf(buffer, &l); err != nil {
			t.Error(err)
		}
	}), "allocations of the appender")
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() {
		if _, err := ParseLeaf(data); err != nil {
			t.Error(err)
		}
	}), 12.0, "allocations of the scanner")
}

func BenchmarkParseLeaf(b *testing.B) {
	for _, changes := range []int{1, 4} {
		l := aLeaf(KindEvent)
		l.Changes = l.Changes[:changes]
		data, err := AppendLeaf(nil, &l)
		require.NoError(b, err)
		b.Run("one pass", func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				_, _ = ParseLeaf(data)
			}
		})
		b.Run("three passes", func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				_, _ = plainParse(data)
			}
		})
	}
}

func BenchmarkAppendLeaf(b *testing.B) {
	l := aLeaf(KindEvent)
	var buffer []byte
	b.ReportAllocs()
	for b.Loop() {
		buffer, _ = AppendLeaf(buffer[:0], &l)
	}
}
