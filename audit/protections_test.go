package audit_test

import (
	"bytes"
	"context"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/audittest"
	"github.com/crmguard/crmguard/audit/internal/c2sp"
)

// hookKeys does something after rows were read, and before they are looked at.
type hookKeys struct {
	*audittest.Keys
	after func()
}

func (h *hookKeys) MACKeys(ctx context.Context, tenant string, info []byte) ([]uint32, [][]byte, error) {
	if h.after != nil && bytes.Contains(info, []byte("crmguard/audit/surrogate-key/")) {
		h.after()
	}
	return h.Keys.MACKeys(ctx, tenant, info)
}

// What enters the log are the bytes whose tag was checked, whatever becomes of
// the row in between; nothing enters a database that went back in between.
func TestNothingSlipsInAfterTheTagWasChecked(t *testing.T) {
	b := newBench(t)
	b.fill(3)
	b.run()
	hook := &hookKeys{Keys: b.keys}
	b.config.Keys = hook
	b.open()
	id := b.record(update("p1", 1))
	hook.after = func() {
		hook.after = nil
		b.rewrite(id, "u-1", "u-2")
	}
	require.Equal(t, 1, b.run().Sequenced)
	leaves := b.leaves()
	require.Len(t, leaves, 5)
	require.Equal(t, "u-1", leaves[4].Actor)
	require.Equal(t, auditlog.Unanchored, b.verifyStore(nil).Verdict)

	b.fill(1)
	hook.after = func() { b.exec(`UPDATE crmguard_audit_state SET size = 0`) }
	_, err := b.trail.RunOnce(t.Context())
	require.ErrorIs(t, err, auditlog.ErrTampered)
}

func TestABeatIsNeverQueued(t *testing.T) {
	b := newBench(t)
	b.fill(2)
	leaf := `{"at":"2026-11-22T09:00:00.000000Z","heads":{},"id":"019aaaaa-0000-7000-8000-000000000001","kind":"beat","size":2,"v":1}`
	b.wait("019aaaaa-0000-7000-8000-000000000001", b.queueTag("", leaf, ""), leaf, "")
	r := b.run()
	require.Len(t, r.Refused, 1)
	require.Equal(t, "beats are never queued", r.Refused[0].What)
}

// Someone who can seal puts another value into an opening: the commitment tells.
func TestAForgedOpeningIsFound(t *testing.T) {
	b := newBench(t)
	id := b.record(update("p1", 1))
	b.run()
	content, of := b.content("p1"), [16]byte(b.surrogate("p1"))
	sealed := b.blob(`SELECT sealed FROM crmguard_audit_openings WHERE owner = ?`, of[:])
	plain, err := auditlog.OpenBody(&content, [16]byte(key(id)), of, sealed)
	require.NoError(t, err)
	forged := bytes.Replace(plain, []byte("new1@canary.example"), []byte("new2@canary.example"), 1)
	require.NotEqual(t, plain, forged)
	sealed, err = auditlog.SealBody(nil, &content, [16]byte(key(id)), of, forged)
	require.NoError(t, err)
	b.exec(`UPDATE crmguard_audit_openings SET sealed = ? WHERE owner = ?`, sealed, of[:])
	r := b.verifyStore(nil)
	require.Equal(t, auditlog.Tampered, r.Verdict)
	require.Equal(t, int64(1), r.Openings[audit.OpeningAltered])
	past := b.history(audit.About("p1"))[0]
	require.Equal(t, audit.OpeningAltered, past.Changes[0].Verdict)
	require.Nil(t, past.Changes[0].New, "a value that does not match is not shown")
}

// A rewrite of a head that another process rewrote meanwhile is dropped.
func TestResealComparesBeforeItSwaps(t *testing.T) {
	b := newBench(t)
	b.record(audit.Event{Tenant: "main", Actor: "u", Action: "a", Changes: []audit.Change{{Path: "x", New: 1}}})
	other := []byte("\x01\x00\x00\x00\x09 by another process")
	r, err := b.trail.Reseal(t.Context(), func(ctx, string, string, []byte, []byte) ([]byte, error) {
		b.exec(`UPDATE crmguard_audit_surrogates SET head = ?`, other)
		return []byte("\x01\x00\x00\x00\x09 by this one"), nil
	})
	require.NoError(t, err)
	require.Equal(t, audit.ResealReport{Seen: 1, Raced: 1}, r)
	require.Equal(t, other, b.blob(`SELECT head FROM crmguard_audit_surrogates`))
}

// signedLog publishes entries by hand, under a root of the caller's choice.
func signedLog(t *testing.T, b *bench, spoil bool, leaves ...string) fstest.MapFS {
	t.Helper()
	var hashes []tlog.Hash
	var bundle, tile []byte
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			out[i] = hashes[index]
		}
		return out, nil
	})
	for i, leaf := range leaves {
		more, err := tlog.StoredHashes(int64(i), []byte(leaf), reader)
		require.NoError(t, err)
		hashes = append(hashes, more...)
		tile = append(tile, more[0][:]...)
		bundle, err = c2sp.AppendEntry(bundle, []byte(leaf))
		require.NoError(t, err)
	}
	n := int64(len(leaves))
	root, err := tlog.TreeHash(n, reader)
	require.NoError(t, err)
	if spoil {
		root[0] ^= 1
	}
	text := c2sp.FormatCheckpoint("crm.example/audit/0", tlog.Tree{N: n, Hash: root})
	signed, err := note.Sign(&note.Note{Text: text}, b.config.Signer)
	require.NoError(t, err)
	return fstest.MapFS{
		"checkpoint": {Data: signed},
		c2sp.TilePath(c2sp.Tile(0, 0, len(leaves))):  {Data: tile},
		c2sp.TilePath(c2sp.Tile(-1, 0, len(leaves))): {Data: bundle},
	}
}

// Whoever holds the key can sign anything; what the entries say must still fit.
func TestASignedLogMustStillMakeSense(t *testing.T) {
	b := newBench(t)
	event := `{"action":"a","actor":"u","at":"2026-11-22T08:30:00.000001Z","id":"019aaaaa-0000-7000-8000-000000000001","kind":"event","outcome":"ok","tenant":"main","v":1}`
	beat := func(size string) string {
		return `{"at":"2026-11-22T09:00:00.000000Z","heads":{},"id":"019aaaaa-0000-7000-8000-000000000002","kind":"beat","size":` + size + `,"v":1}`
	}
	for name, c := range map[string]struct {
		files fstest.MapFS
		want  auditlog.Verdict
	}{
		"control":    {signedLog(t, b, false, event, beat("1")), auditlog.Unanchored},
		"root":       {signedLog(t, b, true, event, beat("1")), auditlog.Tampered},
		"beat":       {signedLog(t, b, false, event, beat("7")), auditlog.Tampered},
		"no leaf":    {signedLog(t, b, false, event, "hello"), auditlog.Tampered},
		"empty leaf": {signedLog(t, b, false, event, ""), auditlog.Tampered},
	} {
		r, err := auditlog.VerifyLog(t.Context(), c.files, b.trust())
		require.NoError(t, err)
		require.Equal(t, c.want, r.Verdict, "%s: %+v", name, r.Faults)
	}
}

func TestWhatAnErasureCovers(t *testing.T) {
	b := newBench(t)
	first := b.record(update("p1", 1))
	surrogate := b.surrogate("p1")
	b.run()
	require.Positive(t, b.count(`SELECT COUNT(*) FROM crmguard_audit_events WHERE LENGTH(retry) > 0`))
	b.exec(`CREATE TABLE before AS SELECT * FROM crmguard_audit_surrogates`)
	back := `UPDATE crmguard_audit_surrogates SET (person, head, state, tag) = (SELECT person, head, state, tag FROM before WHERE person = 'p1') WHERE surrogate = ?`
	require.NoError(t, b.trail.Erase(t.Context(), "main", "p1"))
	require.Zero(t, b.count(`SELECT COUNT(*) FROM crmguard_audit_events WHERE id = ? AND LENGTH(retry) > 0`, key(first)), "a retry tag is made of the values")
	b.run()
	require.Equal(t, auditlog.Unanchored, b.verifyStore(nil).Verdict)

	// A restored row of the surrogate, even without any opening.
	require.Positive(t, b.exec(back, surrogate))
	require.Equal(t, auditlog.Tampered, b.verifyStore(nil).Verdict, "an opening is gone, and its surrogate is not: not an erasure")
	quiet := newBench(t) // a person whose events have no values
	quiet.record(audit.Event{Tenant: "main", Actor: "u", Action: "contact.read", Persons: []string{"p1"}})
	surrogate = quiet.surrogate("p1")
	quiet.exec(`CREATE TABLE before AS SELECT * FROM crmguard_audit_surrogates`)
	require.NoError(t, quiet.trail.Erase(t.Context(), "main", "p1"))
	quiet.run()
	require.Equal(t, auditlog.Unanchored, quiet.verifyStore(nil).Verdict)
	require.Positive(t, quiet.exec(back, surrogate))
	require.Equal(t, auditlog.RolledBack, quiet.verifyStore(nil).Verdict)

	// An erasure does not cover what came after it: the person has another surrogate.
	again := newBench(t)
	again.record(update("p1", 1))
	again.run()
	require.NoError(t, again.trail.Erase(t.Context(), "main", "p1"))
	again.record(update("p1", 2))
	again.run()
	surrogate = again.surrogate("p1")
	require.Equal(t, auditlog.Unanchored, again.verifyStore(nil).Verdict)
	again.exec(`DELETE FROM crmguard_audit_openings WHERE owner = ?`, surrogate)
	again.exec(`DELETE FROM crmguard_audit_surrogates WHERE surrogate = ?`, surrogate)
	r := again.verifyStore(nil)
	require.Equal(t, auditlog.Tampered, r.Verdict)
	require.Equal(t, int64(1), r.Openings[audit.OpeningMissing])
	require.Equal(t, int64(1), r.Openings[audit.OpeningErased])
}
