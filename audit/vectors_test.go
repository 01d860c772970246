package audit

import (
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/internal/frame"
)

func counting(n int) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = byte(i)
	}
	return out
}

// The vectors of section 6: seed 00..1f, event id 00..0f, path email, side 1.
func TestCommitmentVectors(t *testing.T) {
	seed, event := counting(32), [16]byte(counting(16))
	require.Equal(t, "244303c20ef2a1290e83ebc6c255829a0d2bc5d3d42a48b0b7faf62c483b25bf", hex.EncodeToString(salt(seed, "email", sideNew)))
	for name, c := range map[string]struct {
		value any
		want  string
	}{
		"text":       {"a@b.example", "fa7faecbb34a54a5b4f063268d4f09c82a32e48bde225133acf9d8fefc6c5081"},
		"absent":     {Absent{}, "6cb7f34920a2a27828661225ff7d8fbc8ddcb3c07be4cbaf0e6f9beffa50955e"},
		"null":       {nil, "d0a6c71ae081485329be76a7e69c6322f8c127ee7bbae28d8a05b5369af475c1"},
		"empty text": {"", "e63920b3b915688ee4eafaca97dbbcb4f2f0f9442fd06c2eff2f25e895f9730d"},
		"integer 0":  {0, "3f3bd894bb55ffd6e7de3dccd2c3971c4069a47139d6fe03c6e74a8f375bc1f5"},
		"text 0":     {"0", "74fc4c9e02a246c7840d59c95801b999a3b9840586eedba8a55607e7c6699cff"},
		"true":       {true, "ba9276e9d98ee1c55ed8290e3f2378a64387f83b85a80d1c96ac81ef45ca408a"},
	} {
		v, err := toValue(c.value)
		require.NoError(t, err, name)
		got := commitment(seed, event, "email", sideNew, v)
		require.Equal(t, c.want, hex.EncodeToString(got[:]), name)
	}
	v := frame.Value{Type: frame.Text, Data: []byte("x")}
	require.NotEqual(t, commitment(seed, event, "email", sideOld, v), commitment(seed, event, "email", sideNew, v))
	require.NotEqual(t, salt(seed, "email", sideOld), salt(seed, "email", sideNew), "one salt opens one side")
}

// What the tag of the state row is over, in the order of section 6.
func TestStateBytes(t *testing.T) {
	s := state{Tree: tlog.Tree{N: 3, Hash: tlog.Hash(counting(32))}, published: 2, beat: 1790000000000001, beatSize: 3, tag: []byte("none of it")}
	require.Equal(t, "0000001763726d67756172642f61756469742f73746174652f76310000001363726d2e6578616d706c652f61756469742f300000000000000003000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f000000000000000200065bfeda25e0010000000000000003",
		hex.EncodeToString(stateData("crm.example/audit/0", s)))
}

func TestLeafBytes(t *testing.T) {
	at := time.Date(2026, 11, 22, 9, 30, 0, 1000, time.FixedZone("x", 3600))
	commitment := strings.Repeat("A", 43)
	l := Leaf{
		ID: "019aaaaa-0000-7000-8000-000000000001", Kind: KindEvent, At: at, Tenant: "main", Actor: "u-1", Action: "contact.update", Outcome: OutcomeOK,
		Object: Object{Kind: "contact", ID: "s:AAAAAAAAAAAAAAAAAAAAAA"}, Persons: []string{"s:AAAAAAAAAAAAAAAAAAAAAA"},
		Changes: []LeafChange{{Path: "email", Old: commitment, New: commitment, Who: "s:AAAAAAAAAAAAAAAAAAAAAA"}},
		Reason:  "call<&>\u2028", Request: "r1", Policy: strings.Repeat("0", 64), For: "019aaaaa-0000-7000-8000-000000000002", Prior: "019aaaaa-0000-7000-8000-000000000003",
	}
	data, err := l.encode()
	require.NoError(t, err)
	require.Equal(t, `{"action":"contact.update","actor":"u-1","at":"2026-11-22T08:30:00.000001Z","changes":[{"new":"`+commitment+`","old":"`+commitment+`","path":"email","who":"s:AAAAAAAAAAAAAAAAAAAAAA"}],`+
		`"for":"019aaaaa-0000-7000-8000-000000000002","id":"019aaaaa-0000-7000-8000-000000000001","kind":"event","object":["contact","s:AAAAAAAAAAAAAAAAAAAAAA"],"outcome":"ok","persons":["s:AAAAAAAAAAAAAAAAAAAAAA"],`+
		`"policy":"`+strings.Repeat("0", 64)+`","prior":"019aaaaa-0000-7000-8000-000000000003","reason":"call<&>`+"\u2028"+`","request":"r1","tenant":"main","v":1}`, string(data))
	back, err := ParseLeaf(data)
	require.NoError(t, err)
	l.At, l.Object.Person = l.At.UTC(), true
	require.Equal(t, l, back)

	small := Leaf{ID: l.ID, Kind: KindEvent, At: at, Tenant: "main", Actor: "u", Action: "a", Outcome: OutcomeDenied}
	data, err = small.encode()
	require.NoError(t, err)
	require.Equal(t, `{"action":"a","actor":"u","at":"2026-11-22T08:30:00.000001Z","id":"019aaaaa-0000-7000-8000-000000000001","kind":"event","outcome":"denied","tenant":"main","v":1}`, string(data))
}

func TestBeatBytes(t *testing.T) {
	b := Leaf{ID: "019aaaaa-0000-7000-8000-000000000001", Kind: KindBeat, At: time.Unix(0, 0)}
	data, err := b.encode()
	require.NoError(t, err)
	require.Equal(t, `{"at":"1970-01-01T00:00:00.000000Z","heads":{},"id":"019aaaaa-0000-7000-8000-000000000001","kind":"beat","size":0,"v":1}`, string(data))
	b.Size = 7
	b.Heads = LeafHeads{Ledger: &LeafHead{N: 0, Hash: "AA"}, Keys: &LeafHead{N: 3, Hash: "AQ"}, Seals: "Ag", Snapshots: "Aw"}
	data, err = b.encode()
	require.NoError(t, err)
	require.Equal(t, `{"at":"1970-01-01T00:00:00.000000Z","heads":{"keys":{"hash":"AQ","n":3},"ledger":{"hash":"AA","n":0},"seals":"Ag","snapshots":"Aw"},"id":"019aaaaa-0000-7000-8000-000000000001","kind":"beat","size":7,"v":1}`, string(data))
	back, err := ParseLeaf(data)
	require.NoError(t, err)
	b.At = b.At.UTC()
	require.Equal(t, b, back)
}

func TestOpeningBytes(t *testing.T) {
	o := &opening{seed: counting(32), fields: []opened{
		{"stage", sideNew, frame.Value{Type: frame.Null}},
		{"email", sideNew, frame.Value{Type: frame.Text, Data: []byte("a@b.example")}},
		{"email", sideOld, frame.Value{Type: frame.Absent}},
	}}
	data, err := o.encode()
	require.NoError(t, err)
	require.Len(t, data, 256)
	text := `{"fields":[["email",0,0,""],["email",1,2,"YUBiLmV4YW1wbGU"],["stage",1,1,""]],"seed":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8","v":1}`
	require.Equal(t, text, strings.TrimRight(string(data), " "))
	back, err := parseOpening(data)
	require.NoError(t, err)
	require.Equal(t, o.seed, back.seed)
	require.Len(t, back.fields, 3)
	require.Equal(t, "0000001363726d67756172642f6f70656e696e672f763100000010000102030405060708090a0b0c0d0e0f", hex.EncodeToString(openingAD([16]byte(counting(16)))))
}

func TestQueueAndRetryInput(t *testing.T) {
	require.Equal(t, "\x00\x00\x00\x17crmguard/audit/queue/v1\x00\x00\x00\x02t1leaf", string(queueData("t1", []byte("leaf"))))
	d := &draft{
		event: Event{
			ID: "019aaaaa-0000-7000-8000-000000000001", Tenant: "t1", Actor: "u", Action: "a", Outcome: "ok", Object: PersonRef("contact", "p1"), Persons: []string{"p2"},
			Changes: []Change{{Path: "email", Who: "p1"}},
		},
		values: [][2]frame.Value{{{Type: frame.Absent}, {Type: frame.Text, Data: []byte("x")}}},
	}
	given, err := d.canonical()
	require.NoError(t, err)
	require.Equal(t, `{"action":"a","actor":"u","changes":[{"new":[2,"eA"],"old":[0,""],"path":"email","who":"p1"}],"id":"019aaaaa-0000-7000-8000-000000000001","object":["contact","p1","person"],"outcome":"ok","persons":["p1","p2"],"tenant":"t1","v":1}`, string(given))
	require.Equal(t, "\x00\x00\x00\x17crmguard/audit/retry/v1\x00\x00\x00\x02t1{}", string(retryData("t1", []byte("{}"))))
}

func TestValuesComeBack(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	for _, v := range []any{Absent{}, nil, "x", "", int64(-7), true, false, []byte{1}, at, 1.5, JSON(`{"a":1}`), Decimal("1.50"), Date("2026-01-02")} {
		value, err := toValue(v)
		require.NoError(t, err)
		back, err := fromValue(value)
		require.NoError(t, err)
		require.Equal(t, v, back)
	}
	for _, v := range []any{struct{}{}, "\xff", Decimal("1,5"), Decimal(""), Date("x"), JSON("{"), frame.Value{Type: 99}} {
		_, err := toValue(v)
		require.ErrorIs(t, err, frame.ErrValue)
	}
	for _, v := range []frame.Value{{Type: frame.Null, Data: []byte{1}}, {Type: frame.Boolean, Data: []byte{2}}, {Type: frame.Integer}, {Type: 11, Data: make([]byte, 8)}} {
		_, err := fromValue(v)
		require.ErrorIs(t, err, ErrMalformed)
	}
}

func TestBadLeavesAreRefused(t *testing.T) {
	good := `{"action":"a","actor":"u","at":"2026-11-22T08:30:00.000001Z","id":"019aaaaa-0000-7000-8000-000000000001","kind":"event","outcome":"ok","tenant":"main","v":1}`
	_, err := ParseLeaf([]byte(good))
	require.NoError(t, err)
	unknown := strings.Replace(good, `"v":1`, `"v":1,"zz":"later"`, 1)
	_, err = ParseLeaf([]byte(unknown))
	require.NoError(t, err, "unknown members are kept")
	for _, change := range [][2]string{
		{`"v":1`, `"v":2`},
		{`"v":1`, `"v": 1`},
		{`"outcome":"ok"`, `"outcome":"fine"`},
		{`"actor":"u",`, ``},
		{`"tenant":"main"`, `"tenant":""`},
		{`"kind":"event"`, `"kind":"other"`},
		{`"kind":"event"`, `"kind":"beat"`},
		{`00.000001Z`, `00.00001Z`},
		{`00.000001Z`, `00.000001+00:00`},
		{`019aaaaa`, `019AAAAA`},
		{`"outcome"`, `"object":["a"],"outcome"`},
		{`"outcome"`, `"object":["a","b","c"],"outcome"`},
		{`"tenant"`, `"persons":["p1"],"tenant"`},
		{`"tenant"`, `"persons":["s:AAAAAAAAAAAAAAAAAAAAAA","s:AAAAAAAAAAAAAAAAAAAAAA"],"tenant"`},
		{`"id"`, `"changes":[{"new":"x","old":"y","path":"z"}],"id"`},
		{`"id"`, `"heads":{},"id"`},
		{`"tenant"`, `"size":0,"tenant"`},
		{`"action":"a"`, `"action":"a","action":"a"`},
	} {
		bad := strings.Replace(good, change[0], change[1], 1)
		require.NotEqual(t, good, bad)
		_, err := ParseLeaf([]byte(bad))
		require.ErrorIs(t, err, ErrMalformed, bad)
	}
	_, err = ParseLeaf(make([]byte, maxLeaf+1))
	require.ErrorIs(t, err, ErrMalformed)
}

func FuzzParseLeaf(f *testing.F) {
	f.Add([]byte(`{"action":"a","actor":"u","at":"2026-11-22T08:30:00.000001Z","id":"019aaaaa-0000-7000-8000-000000000001","kind":"event","outcome":"ok","tenant":"main","v":1}`))
	f.Add([]byte(`{"at":"1970-01-01T00:00:00.000000Z","heads":{"keys":{"hash":"AQ","n":3}},"id":"019aaaaa-0000-7000-8000-000000000001","kind":"beat","size":0,"v":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := ParseLeaf(data)
		if err != nil {
			return
		}
		again, err := l.encode()
		if err != nil {
			t.Fatalf("a leaf that parses does not encode: %v", err)
		}
		back, err := ParseLeaf(again)
		if err != nil || back.ID != l.ID || len(back.Changes) != len(l.Changes) {
			t.Fatalf("%q became %q: %v", data, again, err)
		}
	})
}

func FuzzParseOpening(f *testing.F) {
	o := &opening{seed: counting(32), fields: []opened{{"email", sideNew, frame.Value{Type: frame.Text, Data: []byte("a@b.example")}}}}
	data, err := o.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(append([]byte(`{"fields":[],"seed":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8","v":1}`), make([]byte, 180)...))
	f.Fuzz(func(t *testing.T, data []byte) {
		o, err := parseOpening(data)
		if err != nil {
			return
		}
		again, err := o.encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseOpening(again); err != nil {
			t.Fatalf("an opening that parses does not parse again: %v", err)
		}
		for _, f := range o.fields {
			_, _ = fromValue(f.value)
		}
	})
}
