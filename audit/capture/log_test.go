package capture_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/capture"
)

// entry writes a leaf as the log has it.
func entry(l capture.Leaf) auditlog.Leaf {
	out := auditlog.Leaf{
		ID: l.ID, Kind: capture.LeafKind, At: l.At, Tenant: l.Tenant, Actor: l.Actor, Action: l.Action, Outcome: capture.Outcome,
		Object:  auditlog.Object{Kind: l.Object.Kind, ID: l.Object.ID, Person: l.Persons != nil},
		Capture: &auditlog.LeafCapture{Table: l.Table, Op: l.Op, Columns: l.Cols, Claimed: l.Claimed},
	}
	out.Persons = l.Persons
	return out
}

func TestTheLeafOfACapturedRowStandsInTheLog(t *testing.T) {
	require.Equal(t, auditlog.KindCapture, capture.LeafKind)
	require.Equal(t, auditlog.OutcomeOK, capture.Outcome)
	person := update()
	person.Kind, person.Key = "contact", "7"
	nameless := update()
	nameless.Key, nameless.Who, nameless.Claimed = "", "", ""
	inserted := update()
	inserted.Op, inserted.Cols = "i", nil
	truncated := inserted
	truncated.Op, truncated.Key = "t", ""
	for _, c := range []struct {
		row  capture.Row
		text string
	}{
		{update(), `{"action":"capture.update","actor":"db/crm_app","at":"2026-01-01T00:00:00.000000Z","cap":{"claimed":"user/7","cols":["amount","stage"],"op":"u","table":"public.deals"},"id":"3b171282-47f6-8bf9-8d48-2d3247776327","kind":"capture","object":["deal","17"],"outcome":"ok","tenant":"main","v":1}`},
		{person, `{"action":"capture.update","actor":"db/crm_app","at":"2026-01-01T00:00:00.000000Z","cap":{"claimed":"user/7","cols":["amount","stage"],"op":"u","table":"public.deals"},"id":"3b171282-47f6-8bf9-8d48-2d3247776327","kind":"capture","object":["contact","s:AAECAwQFBgcICQoLDA0ODw"],"outcome":"ok","persons":["s:AAECAwQFBgcICQoLDA0ODw"],"tenant":"main","v":1}`},
		{nameless, `{"action":"capture.update","actor":"db/-","at":"2026-01-01T00:00:00.000000Z","cap":{"cols":["amount","stage"],"op":"u","table":"public.deals"},"id":"3b171282-47f6-8bf9-8d48-2d3247776327","kind":"capture","outcome":"ok","tenant":"main","v":1}`},
		{inserted, `{"action":"capture.insert","actor":"db/crm_app","at":"2026-01-01T00:00:00.000000Z","cap":{"claimed":"user/7","op":"i","table":"public.deals"},"id":"3b171282-47f6-8bf9-8d48-2d3247776327","kind":"capture","object":["deal","17"],"outcome":"ok","tenant":"main","v":1}`},
		{truncated, `{"action":"capture.truncate","actor":"db/crm_app","at":"2026-01-01T00:00:00.000000Z","cap":{"claimed":"user/7","op":"t","table":"public.deals"},"id":"3b171282-47f6-8bf9-8d48-2d3247776327","kind":"capture","outcome":"ok","tenant":"main","v":1}`},
	} {
		l, err := filing().Leaf(c.row)
		require.NoError(t, err)
		want := entry(l)
		data, err := auditlog.AppendLeaf(nil, &want)
		require.NoError(t, err)
		require.Equal(t, c.text, string(data))
		got, err := auditlog.ParseLeaf(data)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

// Whatever a row holds, its leaf is no longer than a leaf may be.
func TestNoLeafIsTooLong(t *testing.T) {
	const control = "\x01" // the longest in JSON: six bytes of one
	for columns := 1; columns <= 1600; columns += 41 {
		r := update()
		r.Table, r.Kind = strings.Repeat(control, 63)+"."+strings.Repeat(control, 63), strings.Repeat("k", 100)
		r.Tenant, r.Key, r.Claimed, r.Who = strings.Repeat(control, 255), strings.Repeat(control, 255), strings.Repeat(control, 255), strings.Repeat(control, 63)
		r.Cols = nil
		for i := range columns {
			r.Cols = append(r.Cols, fmt.Sprintf("%s%04d", strings.Repeat(control, 59), i))
		}
		l, err := filing().Leaf(r)
		require.NoError(t, err)
		want := entry(l)
		data, err := auditlog.AppendLeaf(nil, &want)
		require.NoError(t, err)
		require.LessOrEqual(t, len(data), 65535)
		require.Equal(t, len(data) < 16<<10 && columns > 160, len(l.Left) == 1, "the names are left out where they are too many, and only there")
	}
}

// From the statement to the log, through each driver.
func TestWhatTheDatabaseCapturedStandsInTheLog(t *testing.T) {
	each(t, func(b *bench) {
		b.exec(contactsTable)
		b.pack(contacts())
		session := b.conn()
		execOn(b, session, `SET crmguard.actor = 'user/7'`, `INSERT INTO contacts (id, name) OVERRIDING SYSTEM VALUE VALUES (7, 'canary')`, `UPDATE contacts SET name = 'canary-2', email = 'x'`, `DELETE FROM contacts`)
		f := filing()
		seen := map[string]bool{}
		for _, r := range b.rows() {
			l, err := f.Leaf(r)
			require.NoError(b, err)
			require.Empty(b, l.Left)
			require.False(b, seen[l.ID])
			seen[l.ID] = true
			want := entry(l)
			data, err := auditlog.AppendLeaf(nil, &want)
			require.NoError(b, err)
			require.NotContains(b, string(data), "canary")
			require.Contains(b, string(data), `"object":["contact","s:AAECAwQFBgcICQoLDA0ODw"]`)
			require.Contains(b, string(data), `"claimed":"user/7"`)
			got, err := auditlog.ParseLeaf(data)
			require.NoError(b, err)
			require.Equal(b, r.At.UnixMicro(), got.At.UnixMicro())
			within(b.T, got.At)
			again, err := f.Leaf(r)
			require.NoError(b, err)
			require.Equal(b, l, again)
		}
		require.Len(b, seen, 3)
	})
}
