package audit_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
)

// An outsider sees one value of one event and that it is the one in the log, and
// nothing else of it.
func TestOneValueIsDisclosed(t *testing.T) {
	eachAsker(t, func(t *testing.T, a *asker) {
		e := audit.Event{
			Tenant: "main", Actor: "u-1", Action: "contact.update", Object: audit.PersonRef("contact", "p1"), Persons: []string{"p3"},
			Changes: []audit.Change{
				{Path: "email", Who: "p1", Old: nil, New: "canary1@shop.example"},
				{Path: "email", Who: "p2", Old: "canary2@shop.example", New: "canary3@shop.example"},
				{Path: "hobby", Who: "p1", Old: audit.Absent{}, New: "canary4"}, // whose name is not in the log
				{Path: "stage", Old: 17, New: "bad\xff"},
			},
		}
		id := a.tell(e)
		_, err := a.trail.Disclose(t.Context(), id, "email", "p1", auditlog.SideNew)
		require.ErrorIs(t, err, audit.ErrNotPublished)
		a.run()
		trust := auditlog.Trust{Key: a.trail.Verifier()}
		for _, c := range e.Changes {
			for side, want := range []any{c.Old, c.New} {
				data, err := a.trail.Disclose(t.Context(), id, c.Path, c.Who, byte(side))
				require.NoError(t, err)
				d, err := auditlog.CheckDisclosure(trust, data)
				require.NoError(t, err)
				if odd, ok := d.Value.(auditlog.StandIn); ok {
					require.Equal(t, "bad\xff", string(odd.Kept))
				} else {
					require.EqualValues(t, want, d.Value)
				}
				require.Equal(t, id, d.Leaf.ID)
				require.Equal(t, c.Path, d.Path)
				require.Equal(t, byte(side), d.Side)
				require.Equal(t, c.Who == "", d.Who == "")
				require.LessOrEqual(t, strings.Count(string(data), "canary"), 1)
			}
		}
		for _, bad := range []struct {
			path, who string
			side      byte
			err       error
		}{
			{"phone", "p1", 1, audit.ErrInvalid},
			{"hobby", "p2", 1, audit.ErrInvalid},
			{"email", "", 1, audit.ErrInvalid},
			{"email", "p1", 2, audit.ErrInvalid},
			{"hobby", "p1", 2, audit.ErrInvalid},
			{"email", "p3", 1, audit.ErrClosed},
			{"email", "stranger", 1, audit.ErrClosed},
		} {
			_, err := a.trail.Disclose(t.Context(), id, bad.path, bad.who, bad.side)
			require.ErrorIs(t, err, bad.err, "%+v", bad)
		}
		_, err = a.trail.Disclose(t.Context(), "nothing", "email", "p1", 1)
		require.ErrorIs(t, err, audit.ErrNotFound)

		before, err := a.trail.Disclose(t.Context(), id, "email", "p1", auditlog.SideNew)
		require.NoError(t, err)
		require.NoError(t, a.trail.Erase(t.Context(), "main", "p1"))
		a.run()
		_, err = a.trail.Disclose(t.Context(), id, "email", "p1", auditlog.SideNew)
		require.ErrorIs(t, err, audit.ErrClosed)
		_, err = a.trail.Disclose(t.Context(), id, "email", "p2", auditlog.SideNew)
		require.NoError(t, err)
		_, err = auditlog.CheckDisclosure(trust, before)
		require.NoError(t, err, "what was shown holds for ever")
	})
}

// Whoever changes any byte of a disclosure is found; so is who takes the salt of
// one field for another one, or an entry of another event.
func TestADisclosureCannotBeChanged(t *testing.T) {
	b := newBench(t)
	ids := b.fill(2)
	folded := audit.Event{Tenant: "main", Actor: "u-1", Action: "contact.update", Object: audit.PersonRef("contact", "p1")}
	for n := range 900 {
		folded.Changes = append(folded.Changes, audit.Change{Path: fmt.Sprintf("field %d", n), Who: "p1", Old: n, New: fmt.Sprint(n)})
	}
	ids = append(ids, b.record(folded))
	b.run()
	disclose := func(id, path, who string, side byte) []byte {
		data, err := b.trail.Disclose(t.Context(), id, path, who, side)
		require.NoError(t, err)
		return data
	}
	good := disclose(ids[0], "email", "p0", auditlog.SideNew)
	for i := range good {
		for _, bit := range []byte{1, 2, 16} {
			bad := append([]byte{}, good...)
			bad[i] ^= bit
			_, err := auditlog.CheckDisclosure(b.trust(), bad)
			require.Error(t, err, "byte %d: %s", i, bad[max(0, i-20):min(len(bad), i+20)])
		}
	}
	many := disclose(ids[2], "field 17", "p1", auditlog.SideNew)
	d, err := auditlog.CheckDisclosure(b.trust(), many)
	require.NoError(t, err)
	require.Equal(t, "17", d.Value)
	require.Equal(t, "field 17", d.Path)

	parts := func(data []byte) (out map[string]any) {
		require.NoError(t, json.Unmarshal(data, &out))
		return out
	}
	other := parts(disclose(ids[0], "email", "p0", auditlog.SideOld))
	second := parts(disclose(ids[1], "email", "p1", auditlog.SideNew))
	for name, change := range map[string]func(m map[string]any){
		"value of the other side":  func(m map[string]any) { m["value"] = other["value"] },
		"the other side":           func(m map[string]any) { m["side"] = 0 },
		"salt of the other side":   func(m map[string]any) { m["salt"] = other["salt"] },
		"leaf of another event":    func(m map[string]any) { m["leaf"] = second["leaf"] },
		"entry of another event":   func(m map[string]any) { m["leaf"], m["proof"] = second["leaf"], second["proof"] },
		"another type":             func(m map[string]any) { m["type"] = 4 },
		"another field":            func(m map[string]any) { m["path"] = "stage" },
		"another person":           func(m map[string]any) { m["who"] = second["who"] },
		"nobody":                   func(m map[string]any) { delete(m, "who") },
		"a member that is not one": func(m map[string]any) { m["x"] = 1 },
		"a later version":          func(m map[string]any) { m["v"] = 2 },
		"a fold that is none":      func(m map[string]any) { m["fold"] = parts(many)["fold"] },
		"a name that stands there": func(m map[string]any) { m["name"] = other["salt"] },
	} {
		m := parts(good)
		change(m)
		data, err := json.Marshal(m)
		require.NoError(t, err)
		_, err = auditlog.CheckDisclosure(b.trust(), data)
		require.Error(t, err, name)
	}
	for name, change := range map[string]func(fold []any) []any{
		"one field less": func(fold []any) []any { return fold[1:] },
		"none":           func([]any) []any { return []any{} },
		"another order":  func(fold []any) []any { fold[0], fold[1] = fold[1], fold[0]; return fold },
	} {
		m := parts(many)
		m["fold"] = change(m["fold"].([]any))
		data, err := json.Marshal(m)
		require.NoError(t, err)
		_, err = auditlog.CheckDisclosure(b.trust(), data)
		require.Error(t, err, name)
	}
	_, verifier, err := audit.GenerateKey("crm.example/audit", 0)
	require.NoError(t, err)
	_, err = auditlog.CheckDisclosure(auditlog.Trust{Key: verifier}, good)
	require.ErrorIs(t, err, auditlog.ErrNotSigned)
}

// Event is what a row that bears an event's id is asked for.
func TestEventByItsID(t *testing.T) {
	eachAsker(t, func(t *testing.T, a *asker) {
		e := audit.Event{
			Tenant: "main", Actor: "u-1", Action: "contact.update", Object: audit.PersonRef("contact", "p1"),
			Changes: []audit.Change{{Path: "email", Who: "p1", New: "a@canary.example"}, {Path: "stage", New: "won"}},
		}
		id, second := a.tell(e), a.tell(e)
		for n, index := range []int64{-1, 0} {
			entry, err := a.trail.Event(t.Context(), id)
			require.NoError(t, err)
			require.Equal(t, index, entry.Index)
			require.Equal(t, may, entry.At)
			require.Equal(t, "a@canary.example", entry.Changes[0].New)
			require.Equal(t, "won", entry.Changes[1].New)
			require.Equal(t, "p1", entry.Persons[entry.Leaf.Object.ID])
			next, err := a.trail.Find(t.Context(), audit.Filter{Tenant: "main"}, audit.Page{Before: entry.Cursor})
			require.NoError(t, err)
			require.LessOrEqual(t, len(next.Entries), 1, n)
			a.run()
		}
		_, err := a.trail.Event(t.Context(), "019aaaaa-0000-7000-8000-000000000001")
		require.ErrorIs(t, err, audit.ErrNotFound)
		_, err = a.trail.Event(t.Context(), "p1")
		require.ErrorIs(t, err, audit.ErrNotFound)

		// A stub that leads to another event's entry.
		a.exec(`UPDATE crmguard_audit_events SET idx = 0 WHERE id = ?`, key(second))
		_, err = a.trail.Event(t.Context(), second)
		require.ErrorIs(t, err, auditlog.ErrTampered)
		_, err = a.trail.Leaf(t.Context(), second)
		require.ErrorIs(t, err, auditlog.ErrTampered)
		_, err = a.trail.Proof(t.Context(), second)
		require.ErrorIs(t, err, auditlog.ErrTampered)

		var asked []string
		a.config.Allow = func(_ ctx, action, resource string) error { asked = append(asked, action, resource); return errNo }
		a.from("u-7")
		_, err = a.trail.Event(t.Context(), id)
		require.ErrorIs(t, err, errNo)
		_, err = a.trail.Disclose(t.Context(), id, "email", "p1", auditlog.SideNew)
		require.ErrorIs(t, err, errNo)
		require.Equal(t, []string{"audit.read", "contact/p1", "audit.disclose", "contact/p1"}, asked)
		a.config.From = func(ctx) audit.Caller { return audit.Caller{Tenant: "other", Actor: "u-7"} }
		a.open()
		_, err = a.trail.Event(t.Context(), id)
		require.ErrorIs(t, err, audit.ErrNotFound, "another tenant's")
	})
}

// The bytes of an event and their proof are no way around the tenant.
func TestTheBytesOfAnEventStayInItsTenant(t *testing.T) {
	b := newBench(t)
	id, mine := b.record(update("p1", 1)), "other"
	b.config.From = func(ctx) audit.Caller { return audit.Caller{Tenant: mine, Actor: "u-7"} }
	b.open()
	for range 2 { // while it waits, and when it has its place
		_, err := b.trail.Leaf(t.Context(), id)
		require.ErrorIs(t, err, audit.ErrNotFound)
		_, err = b.trail.Proof(t.Context(), id)
		require.ErrorIs(t, err, audit.ErrNotFound)
		b.run()
	}
	mine = "main"
	leaf, err := b.trail.Leaf(t.Context(), id)
	require.NoError(t, err)
	proof, err := b.trail.Proof(t.Context(), id)
	require.NoError(t, err)
	_, err = auditlog.Verify(b.trust(), leaf, proof)
	require.NoError(t, err)
}

// What is shown to an outsider, and what is exported, the log tells of.
func TestDisclosuresAndExportsAreEvents(t *testing.T) {
	a := newAsker(t, openDB(t, t.TempDir()+"/crm.db"))
	id := a.tell(audit.Event{Tenant: "main", Actor: "u-1", Action: "contact.update", Object: audit.PersonRef("contact", "p1"), Changes: []audit.Change{{Path: "email", Who: "p1", New: "a@canary.example"}}})
	a.run()
	a.from("u-7")
	a.advance(time.Second)
	_, err := a.trail.Disclose(t.Context(), id, "email", "p1", auditlog.SideNew)
	require.NoError(t, err)
	told := a.find(audit.Filter{Tenant: "main", Person: "p1", Action: "audit.disclose", Actor: "u-7"}, audit.Page{}).Entries
	require.Len(t, told, 1)
	require.Equal(t, id, told[0].Leaf.For)
	a.exec(`ALTER TABLE crmguard_audit_log RENAME TO elsewhere`)
	data, err := a.trail.Disclose(t.Context(), id, "email", "p1", auditlog.SideNew)
	require.Error(t, err)
	require.Nil(t, data, "what cannot be recorded is not shown")
	var text strings.Builder
	_, err = a.trail.Export(t.Context(), &text, audit.Filter{})
	require.Error(t, err)
	require.Empty(t, text.String())
	a.exec(`ALTER TABLE elsewhere RENAME TO crmguard_audit_log`)
	out, err := a.trail.Export(t.Context(), &text, audit.Filter{})
	require.NoError(t, err)
	begun := a.find(audit.Filter{Tenant: "main", Action: "audit.export"}, audit.Page{}).Entries
	require.Len(t, begun, 1)
	ended := a.find(audit.Filter{Tenant: "main", Action: "audit.exported"}, audit.Page{}).Entries
	require.Len(t, ended, 1)
	require.Equal(t, begun[0].Leaf.ID, ended[0].Leaf.For)
	require.Equal(t, out.Entries, ended[0].Changes[0].New)
}
