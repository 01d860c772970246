package audit

import (
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/internal/frame"
)

func counting(n int) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = byte(i)
	}
	return out
}

// What the tag of the state row is over, in the order of section 6.
func TestStateBytes(t *testing.T) {
	s := state{Tree: tlog.Tree{N: 3, Hash: tlog.Hash(counting(32))}, published: 2, beat: 1790000000000001, beatSize: 3, tag: []byte("none of it")}
	require.Equal(t, "0000001763726d67756172642f61756469742f73746174652f76310000001363726d2e6578616d706c652f61756469742f300000000000000003000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f000000000000000200065bfeda25e0010000000000000003",
		hex.EncodeToString(stateData("crm.example/audit/0", s)))
}

func TestOpeningBytes(t *testing.T) {
	o := &auditlog.Opening{Seed: [32]byte(counting(32)), Fields: []auditlog.Field{
		{Path: "stage", Side: auditlog.SideNew, Value: frame.Value{Type: frame.Null}},
		{Path: "email", Side: auditlog.SideNew, Value: frame.Value{Type: frame.Text, Data: []byte("a@b.example")}},
		{Path: "email", Side: auditlog.SideOld, Value: frame.Value{Type: frame.Absent}},
	}}
	data, err := encodeOpening(o)
	require.NoError(t, err)
	require.Len(t, data, 256)
	text := `{"fields":[["email",0,0,""],["email",1,2,"YUBiLmV4YW1wbGU"],["stage",1,1,""]],"seed":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8","v":1}`
	require.Equal(t, text, strings.TrimRight(string(data), " "))
	back, err := parseOpening(data)
	require.NoError(t, err)
	require.Equal(t, o.Seed, back.Seed)
	require.Len(t, back.Fields, 3)
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
		back, err := auditlog.GoValue(value)
		require.NoError(t, err)
		require.Equal(t, v, back)
	}
	for _, v := range []any{struct{}{}, "\xff", Decimal("1,5"), Decimal(""), Date("x"), JSON("{"), frame.Value{Type: 99}} {
		_, err := toValue(v)
		require.ErrorIs(t, err, frame.ErrValue)
	}
	for _, v := range []frame.Value{{Type: frame.Null, Data: []byte{1}}, {Type: frame.Boolean, Data: []byte{2}}, {Type: frame.Integer}, {Type: 11, Data: make([]byte, 8)}} {
		_, err := auditlog.GoValue(v)
		require.ErrorIs(t, err, auditlog.ErrMalformed)
	}
}

func FuzzParseOpening(f *testing.F) {
	o := &auditlog.Opening{Seed: [32]byte(counting(32)), Fields: []auditlog.Field{{Path: "email", Side: auditlog.SideNew, Value: frame.Value{Type: frame.Text, Data: []byte("a@b.example")}}}}
	data, err := encodeOpening(o)
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
		again, err := encodeOpening(o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseOpening(again); err != nil {
			t.Fatalf("an opening that parses does not parse again: %v", err)
		}
		for _, f := range o.Fields {
			_, _ = auditlog.GoValue(f.Value)
		}
	})
}
