package auditlog

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLeafBytes(t *testing.T) {
	at := time.Date(2026, 11, 22, 9, 30, 0, 1000, time.FixedZone("x", 3600))
	commitment := strings.Repeat("A", 43)
	l := Leaf{
		ID: "019aaaaa-0000-7000-8000-000000000001", Kind: KindEvent, At: at, Tenant: "main", Actor: "u-1", Action: "contact.update", Outcome: OutcomeOK,
		Object: Object{Kind: "contact", ID: "s:AAAAAAAAAAAAAAAAAAAAAA"}, Persons: []string{"s:AAAAAAAAAAAAAAAAAAAAAA"},
		Changes: []LeafChange{{Path: "email", Old: commitment, New: commitment, Who: "s:AAAAAAAAAAAAAAAAAAAAAA"}},
		Reason:  "call<&>\u2028", Request: "r1", Policy: strings.Repeat("0", 64), For: "019aaaaa-0000-7000-8000-000000000002", Prior: "019aaaaa-0000-7000-8000-000000000003",
	}
	data, err := AppendLeaf(nil, &l)
	require.NoError(t, err)
	require.Equal(t, `{"action":"contact.update","actor":"u-1","at":"2026-11-22T08:30:00.000001Z","changes":[{"new":"`+commitment+`","old":"`+commitment+`","path":"email","who":"s:AAAAAAAAAAAAAAAAAAAAAA"}],`+
		`"for":"019aaaaa-0000-7000-8000-000000000002","id":"019aaaaa-0000-7000-8000-000000000001","kind":"event","object":["contact","s:AAAAAAAAAAAAAAAAAAAAAA"],"outcome":"ok","persons":["s:AAAAAAAAAAAAAAAAAAAAAA"],`+
		`"policy":"`+strings.Repeat("0", 64)+`","prior":"019aaaaa-0000-7000-8000-000000000003","reason":"call<&>`+"\u2028"+`","request":"r1","tenant":"main","v":1}`, string(data))
	back, err := ParseLeaf(data)
	require.NoError(t, err)
	l.At, l.Object.Person = l.At.UTC(), true
	require.Equal(t, l, back)

	small := Leaf{ID: l.ID, Kind: KindEvent, At: at, Tenant: "main", Actor: "u", Action: "a", Outcome: OutcomeDenied}
	data, err = AppendLeaf(nil, &small)
	require.NoError(t, err)
	require.Equal(t, `{"action":"a","actor":"u","at":"2026-11-22T08:30:00.000001Z","id":"019aaaaa-0000-7000-8000-000000000001","kind":"event","outcome":"denied","tenant":"main","v":1}`, string(data))
}

func TestBeatBytes(t *testing.T) {
	b := Leaf{ID: "019aaaaa-0000-7000-8000-000000000001", Kind: KindBeat, At: time.Unix(0, 0)}
	data, err := AppendLeaf(nil, &b)
	require.NoError(t, err)
	require.Equal(t, `{"at":"1970-01-01T00:00:00.000000Z","heads":{},"id":"019aaaaa-0000-7000-8000-000000000001","kind":"beat","size":0,"v":1}`, string(data))
	b.Size = 7
	b.Heads = LeafHeads{Ledger: &LeafHead{N: 0, Hash: "AA"}, Keys: &LeafHead{N: 3, Hash: "AQ"}, Seals: "Ag", Snapshots: "Aw"}
	data, err = AppendLeaf(nil, &b)
	require.NoError(t, err)
	require.Equal(t, `{"at":"1970-01-01T00:00:00.000000Z","heads":{"keys":{"hash":"AQ","n":3},"ledger":{"hash":"AA","n":0},"seals":"Ag","snapshots":"Aw"},"id":"019aaaaa-0000-7000-8000-000000000001","kind":"beat","size":7,"v":1}`, string(data))
	back, err := ParseLeaf(data)
	require.NoError(t, err)
	b.At = b.At.UTC()
	require.Equal(t, b, back)
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
	_, err = ParseLeaf(make([]byte, MaxLeaf+1))
	require.ErrorIs(t, err, ErrMalformed)
}
