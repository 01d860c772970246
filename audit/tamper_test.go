package audit_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"path/filepath"
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

// split cuts a bundle into its entries.
func split(t *testing.T, data []byte) (out [][]byte) {
	t.Helper()
	for len(data) > 0 {
		entry, rest, err := c2sp.ReadEntry(data)
		require.NoError(t, err)
		out, data = append(out, entry), rest
	}
	return out
}

func join(t *testing.T, entries [][]byte) (out []byte) {
	t.Helper()
	for _, e := range entries {
		var err error
		out, err = c2sp.AppendEntry(out, e)
		require.NoError(t, err)
	}
	return out
}

const firstBundle, lastBundle = "tile/entries/000", "tile/entries/001.p/45"

func TestTamperedFolder(t *testing.T) {
	b := newBench(t)
	b.fill(300)
	b.run()
	kept := b.checkpoint()
	change := func(name string, with func([]byte) []byte) func(*testing.T, fstest.MapFS) {
		return func(t *testing.T, files fstest.MapFS) {
			t.Helper()
			require.NotNil(t, files[name], name)
			files[name].Data = with(bytes.Clone(files[name].Data))
		}
	}
	for name, c := range map[string]struct {
		damage func(*testing.T, fstest.MapFS)
		want   auditlog.Verdict
	}{
		"entry changed": {change(firstBundle, func(d []byte) []byte { return bytes.Replace(d, []byte("u-1"), []byte("u-2"), 1) }), auditlog.Tampered},
		"entry dropped": {func(t *testing.T, f fstest.MapFS) {
			t.Helper()
			e := split(t, f[firstBundle].Data)
			f[firstBundle].Data = join(t, append(e[:100:100], e[101:]...))
		}, auditlog.Tampered},
		"entry dropped at the end": {func(t *testing.T, f fstest.MapFS) {
			t.Helper()
			e := split(t, f[lastBundle].Data)
			f[lastBundle].Data = join(t, e[:len(e)-1])
		}, auditlog.Tampered},
		"entry inserted": {func(t *testing.T, f fstest.MapFS) {
			t.Helper()
			e := split(t, f[firstBundle].Data)
			f[firstBundle].Data = join(t, append(e, e[0]))
		}, auditlog.Tampered},
		"entries exchanged": {func(t *testing.T, f fstest.MapFS) {
			t.Helper()
			e := split(t, f[firstBundle].Data)
			e[3], e[4] = e[4], e[3]
			f[firstBundle].Data = join(t, e)
		}, auditlog.Tampered},
		"bundles exchanged":            {func(_ *testing.T, f fstest.MapFS) { f[firstBundle], f[lastBundle] = f[lastBundle], f[firstBundle] }, auditlog.Tampered},
		"hash tile changed":            {change("tile/0/000", func(d []byte) []byte { d[40] ^= 1; return d }), auditlog.Tampered},
		"partial hash tile changed":    {change("tile/0/001.p/45", func(d []byte) []byte { d[40] ^= 1; return d }), auditlog.Tampered},
		"upper hash tile changed":      {change("tile/1/000.p/1", func(d []byte) []byte { d[0] ^= 1; return d }), auditlog.Tampered},
		"hash tile longer":             {change("tile/1/000.p/1", func(d []byte) []byte { return append(d, d...) }), auditlog.Tampered},
		"hash tile shorter":            {change("tile/1/000.p/1", func(d []byte) []byte { return d[:31] }), auditlog.Tampered},
		"bytes after the last entry":   {change(lastBundle, func(d []byte) []byte { return append(d, 0, 0) }), auditlog.Tampered},
		"entry and its hash changed":   {entryAndHash, auditlog.Tampered},
		"checkpoint changed":           {change("checkpoint", func(d []byte) []byte { return bytes.Replace(d, []byte("\n301\n"), []byte("\n300\n"), 1) }), auditlog.Tampered},
		"checkpoint of another key":    {otherKey, auditlog.Tampered},
		"checkpoint empty":             {change("checkpoint", func([]byte) []byte { return nil }), auditlog.Incomplete},
		"checkpoint torn":              {change("checkpoint", func(d []byte) []byte { return d[:40] }), auditlog.Incomplete},
		"signature torn":               {change("checkpoint", func(d []byte) []byte { return d[:len(d)-1] }), auditlog.Incomplete},
		"end of the checkpoint NUL":    {change("checkpoint", func(d []byte) []byte { clear(d[50:]); return d }), auditlog.Incomplete},
		"checkpoint NUL":               {change("checkpoint", func(d []byte) []byte { clear(d); return d }), auditlog.Incomplete},
		"no entries, of another root":  {b.signed("crm.example/audit/0\n0\n4Iz7WXCN4u2/lM1iNxjeZJxS+WZU+7p53WZRs3Lou8I=\n"), auditlog.Tampered},
		"signed, and no checkpoint":    {b.signed("hello\n"), auditlog.Tampered},
		"checkpoint missing":           {func(_ *testing.T, f fstest.MapFS) { delete(f, "checkpoint") }, auditlog.Incomplete},
		"bundle missing":               {func(_ *testing.T, f fstest.MapFS) { delete(f, firstBundle) }, auditlog.Incomplete},
		"hash tile missing":            {func(_ *testing.T, f fstest.MapFS) { delete(f, "tile/0/000") }, auditlog.Incomplete},
		"bundle and hash tile missing": {func(_ *testing.T, f fstest.MapFS) { delete(f, "tile/0/000"); delete(f, firstBundle) }, auditlog.Incomplete},
		"nothing there":                {func(_ *testing.T, f fstest.MapFS) { clear(f) }, auditlog.Incomplete},
	} {
		t.Run(name, func(t *testing.T) {
			files := b.sink.FS()
			c.damage(t, files)
			trust := b.trust()
			r, err := auditlog.VerifyLog(t.Context(), files, trust)
			require.NoError(t, err)
			require.Equal(t, c.want, r.Verdict, "%+v", r.Faults)
			require.NotEmpty(t, r.Faults)
			if files["checkpoint"] == nil {
				require.Contains(t, r.Faults[0].What, "not the folder of a log")
			}
			trust.Kept = kept
			r, err = auditlog.VerifyLog(t.Context(), files, trust)
			require.NoError(t, err)
			require.NotEqual(t, auditlog.OK, r.Verdict)
		})
	}
	require.Equal(t, auditlog.OK, b.verifyLog(kept).Verdict, "the control")
}

func entryAndHash(t *testing.T, f fstest.MapFS) {
	t.Helper()
	e := split(t, f[firstBundle].Data)
	e[9] = bytes.Replace(e[9], []byte("u-1"), []byte("u-2"), 1)
	f[firstBundle].Data = join(t, e)
	h := tlog.RecordHash(e[9])
	copy(f["tile/0/000"].Data[9*32:], h[:])
}

func otherKey(t *testing.T, f fstest.MapFS) {
	t.Helper()
	skey, _, err := audit.GenerateKey("crm.example/audit", 0)
	require.NoError(t, err)
	signer, err := note.NewSigner(skey)
	require.NoError(t, err)
	text, _, _ := bytes.Cut(f["checkpoint"].Data, []byte("\n\n"))
	f["checkpoint"].Data, err = note.Sign(&note.Note{Text: string(text) + "\n"}, signer)
	require.NoError(t, err)
}

func TestFaultsNameTheEntry(t *testing.T) {
	b := newBench(t)
	b.fill(300)
	b.run()
	files := b.sink.FS()
	e := split(t, files[firstBundle].Data)
	e[77] = bytes.Replace(e[77], []byte("u-1"), []byte("u-2"), 1)
	files[firstBundle].Data = join(t, e)
	r, err := auditlog.VerifyLog(t.Context(), files, b.trust())
	require.NoError(t, err)
	require.Len(t, r.Faults, 1, "one entry was changed, one is named: %+v", r.Faults)
	require.Equal(t, int64(77), r.Faults[0].Index)
	require.Equal(t, firstBundle, r.Faults[0].File)
}

// The newest entries cut off, with the signed checkpoint of that time: only
// the kept checkpoint tells.
func TestCutOffIsFoundByTheKeptCheckpointOnly(t *testing.T) {
	b := newBench(t)
	b.fill(20)
	b.run()
	old := b.sink.FS()
	b.fill(20)
	b.run()
	kept := b.checkpoint()
	b.sink.Set(old)
	require.Equal(t, auditlog.Unanchored, b.verifyLog(nil).Verdict)
	r := b.verifyLog(kept)
	require.Equal(t, auditlog.RolledBack, r.Verdict)
	require.Equal(t, auditlog.OK, r.Log)
	require.Equal(t, int64(41), r.KeptSize)
	require.Equal(t, int64(21), r.Size)

	b.config.Kept = func(ctx) ([]byte, error) { return kept, nil }
	b.open()
	require.ErrorIs(t, b.trail.CatchUp(t.Context()), auditlog.ErrRolledBack)
}

// Log, database and checkpoint rewritten together with the real signing key:
// only the kept checkpoint tells.
func TestARewriteWithTheRealKeyIsFoundByTheKeptCheckpointOnly(t *testing.T) {
	b := newBench(t)
	b.fill(20)
	b.run()
	kept := b.checkpoint()

	b.db.Close()
	b.file = filepath.Join(t.TempDir(), "rewritten.db")
	evil := newBench(t)
	evil.config.Signer, evil.config.Verifier = b.config.Signer, b.config.Verifier
	evil.sink = &audittest.Sink{}
	evil.config.Sink = evil.sink
	evil.open()
	evil.fill(25)
	evil.run()

	require.Equal(t, auditlog.Unanchored, evil.verifyLog(nil).Verdict)
	require.Equal(t, auditlog.Unanchored, evil.verifyStore(nil).Verdict)
	r := evil.verifyLog(kept)
	require.Equal(t, auditlog.Forked, r.Verdict)
	require.Equal(t, auditlog.OK, r.Log)
	require.Equal(t, auditlog.Forked, evil.verifyStore(kept).Verdict)
	evil.config.Kept = func(ctx) ([]byte, error) { return kept, nil }
	evil.open()
	require.ErrorIs(t, evil.trail.CatchUp(t.Context()), auditlog.ErrForked)

	same := newBench(t) // a fork of the very same size
	same.config.Signer, same.config.Verifier = b.config.Signer, b.config.Verifier
	same.open()
	ids := same.fill(20)
	same.run()
	require.Equal(t, auditlog.Forked, same.verifyLog(kept).Verdict)
	proof, err := same.trail.Proof(t.Context(), ids[0])
	require.NoError(t, err)
	raw, err := same.trail.Leaf(t.Context(), ids[0])
	require.NoError(t, err)
	trust := b.trust()
	_, err = auditlog.Verify(trust, raw, proof)
	require.NoError(t, err)
	trust.Kept = kept
	_, err = auditlog.Verify(trust, raw, proof)
	require.ErrorIs(t, err, auditlog.ErrForked)
}

func TestTamperedDatabase(t *testing.T) {
	for name, c := range map[string]struct {
		damage string
		stops  bool // the sequencer itself must refuse to go on
	}{
		"entry changed":         {`UPDATE crmguard_audit_entries SET leaf = CAST(replace(CAST(leaf AS TEXT), 'u-1', 'u-2') AS BLOB) WHERE idx = 3`, false},
		"entry dropped":         {`DELETE FROM crmguard_audit_entries WHERE idx = 3`, false},
		"newest dropped":        {`DELETE FROM crmguard_audit_entries WHERE idx = (SELECT MAX(idx) FROM crmguard_audit_entries)`, false},
		"entries exchanged":     {`UPDATE crmguard_audit_entries SET idx = CASE idx WHEN 3 THEN -4 WHEN 4 THEN -3 END WHERE idx IN (3, 4); UPDATE crmguard_audit_entries SET idx = -idx WHERE idx < 0`, false},
		"index beyond":          {`UPDATE crmguard_audit_entries SET idx = 1000 WHERE idx = 3`, false},
		"row beyond the log":    {`INSERT INTO crmguard_audit_entries VALUES (1000, zeroblob(16), x'00', 1, 1)`, false},
		"id of an entry":        {`UPDATE crmguard_audit_entries SET id = zeroblob(16) WHERE idx = 3`, false},
		"id of a beat":          {`UPDATE crmguard_audit_entries SET id = zeroblob(16) WHERE idx = 10`, false},
		"time of an entry":      {`UPDATE crmguard_audit_entries SET at = at + 1 WHERE idx = 3`, false},
		"event dropped":         {`DELETE FROM crmguard_audit_events WHERE idx = 3`, false},
		"event elsewhere":       {`UPDATE crmguard_audit_events SET idx = 1000 WHERE idx = 3`, false},
		"event without a place": {`UPDATE crmguard_audit_events SET idx = -1 WHERE idx = 3`, false},
		"event of no entry":     {`INSERT INTO crmguard_audit_events (id, log, retry, idx) VALUES (zeroblob(16), 1, x'', 3)`, false},
		"body put back":         {`UPDATE crmguard_audit_events SET body = x'01' WHERE idx = 3`, false},
		"another log's":         {`UPDATE crmguard_audit_events SET log = 2 WHERE idx = 3`, false},
		"log renamed":           {`UPDATE crmguard_audit_log SET name = 'another/0'`, false},
		"object changed":        {`UPDATE crmguard_audit_found SET object_k = object_k + 1 WHERE idx = 3`, false},
		"tenant changed":        {`UPDATE crmguard_audit_found SET tenant_k = tenant_k + 1 WHERE idx = 3`, false},
		"actor changed":         {`UPDATE crmguard_audit_found SET actor_k = actor_k + 1 WHERE idx = 3`, false},
		"action changed":        {`UPDATE crmguard_audit_found SET action_k = action_k + 1 WHERE idx = 3`, false},
		"outcome changed":       {`UPDATE crmguard_audit_found SET outcome_k = 1 WHERE idx = 3`, false},
		"found at another time": {`UPDATE crmguard_audit_found SET at = at + 1 WHERE idx = 3`, false},
		"found no more":         {`DELETE FROM crmguard_audit_found WHERE idx = 3`, false},
		"person dropped":        {`DELETE FROM crmguard_audit_persons WHERE idx = 3`, false},
		"person changed":        {`UPDATE crmguard_audit_persons SET k = k + 1 WHERE idx = 3`, false},
		"person added":          {`INSERT INTO crmguard_audit_persons VALUES (3, 1, 1)`, false},
		"person of no entry":    {`INSERT INTO crmguard_audit_persons VALUES (1000, 1, 1)`, false},
		"surrogate marked":      {`UPDATE crmguard_audit_surrogates SET state = 1 WHERE person = 'p1'`, false},
		"surrogate's number":    {`UPDATE crmguard_audit_surrogates SET k = k + 1 WHERE person = 'p1'`, false},
		"surrogate renamed":     {`UPDATE crmguard_audit_surrogates SET person = 'p9' WHERE person = 'p1'`, false},
		"surrogate merged":      {`UPDATE crmguard_audit_surrogates SET into_surrogate = zeroblob(16) WHERE person = 'p1'`, false},
		"head changed":          {`UPDATE crmguard_audit_heads SET at = at + 1`, false},
		"head's note changed":   {`UPDATE crmguard_audit_heads SET note = x'00'`, false},
		"tile changed":          {`UPDATE crmguard_audit_tiles SET data = zeroblob(length(data))`, true},
		"tile dropped":          {`DELETE FROM crmguard_audit_tiles`, true},
		"root changed":          {`UPDATE crmguard_audit_state SET root = zeroblob(32)`, true},
		"state row dropped":     {`DELETE FROM crmguard_audit_state`, true},
		"size set back to 0":    {`UPDATE crmguard_audit_state SET size = 0`, true},
		"size set forward":      {`UPDATE crmguard_audit_state SET size = size + 1`, true},
		"size without end":      {`UPDATE crmguard_audit_state SET size = 9223372036854775807`, true},
		"found set forward":     {`UPDATE crmguard_audit_state SET found = found + 1`, true},
		"drained set forward":   {`UPDATE crmguard_audit_state SET drained = drained + 1`, true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.fill(10)
			b.run()
			for s := range bytes.SplitSeq([]byte(c.damage), []byte("; ")) {
				require.Positive(t, b.exec(string(s)))
			}
			r := b.verifyStore(nil)
			require.NotEqual(t, auditlog.OK, r.Verdict)
			require.Equal(t, auditlog.OK, r.Log.Log, "the folder is untouched")
			require.NotEmpty(t, r.Faults)
			if c.stops {
				before := b.sink.FS()
				b.exec(`INSERT INTO contacts (id, email) VALUES ('c', 'x')`)
				_, err := b.trail.RunOnce(t.Context())
				require.Error(t, err)
				require.Equal(t, before, b.sink.FS(), "nothing is signed over it")
			}
		})
	}
}

// Between sequencing and publishing the database is the only copy: a change
// there is never published.
func TestTamperedBeforePublishing(t *testing.T) {
	for name, damage := range map[string]string{
		"changed": `UPDATE crmguard_audit_entries SET leaf = CAST(replace(CAST(leaf AS TEXT), 'u-1', 'u-2') AS BLOB) WHERE idx = 15`,
		"dropped": `DELETE FROM crmguard_audit_entries WHERE idx = 15`,
		"newest":  `DELETE FROM crmguard_audit_entries WHERE idx = 20`,
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.fill(10)
			b.run()
			b.sink.Fail = func(op, name string) error {
				if op == "swap" {
					return fs.ErrPermission
				}
				return nil
			}
			b.fill(10)
			_, err := b.trail.RunOnce(t.Context())
			require.ErrorIs(t, err, fs.ErrPermission)
			require.Equal(t, auditlog.Unanchored, b.verifyStore(nil).Verdict)
			b.sink.Fail = nil
			require.Positive(t, b.exec(damage))
			require.Equal(t, auditlog.Tampered, b.verifyStore(nil).Verdict)
			_, err = b.trail.RunOnce(t.Context())
			require.ErrorIs(t, err, auditlog.ErrTampered)
			require.Len(t, b.leaves(), 11, "the published log is as it was")
		})
	}
}

func TestADatabaseAdministratorAtTheQueue(t *testing.T) {
	b := newBench(t)
	b.fill(3)
	b.run()
	good := b.fill(2)
	b.rewrite(good[0], "u-1", "u-2")
	forged := `{"action":"export","actor":"u-9","at":"2026-11-22T09:00:00.000000Z","id":"019aaaaa-0000-7000-8000-000000000009","kind":"event","outcome":"ok","tenant":"main","v":1}`
	b.wait("019aaaaa-0000-7000-8000-000000000009", b.queueTag("t2", forged, ""), forged, "") // under a key of another tenant
	// a leaf with its true tag, under another id: the same event twice
	true2 := b.waits(good[1])
	b.wait("019aaaaa-0000-7000-8000-000000000008", true2.Tag, string(true2.Leaf), string(true2.Sealed))
	// a true row with the openings of another one
	moved := b.fill(2)
	one, other := b.waits(moved[0]), b.waits(moved[1])
	one.Sealed = other.Sealed
	body, err := auditlog.AppendRowBody(nil, one)
	require.NoError(t, err)
	b.exec(`UPDATE crmguard_audit_events SET body = ? WHERE id = ?`, body, key(moved[0]))

	require.Equal(t, int64(4), b.verifyStore(nil).Refused)
	r := b.run()
	require.Len(t, r.Refused, 4, "%+v", r.Refused)
	require.Equal(t, 4, r.Aside, "they stand in nobody's way any more")
	require.Empty(t, b.run().Refused)
	require.Equal(t, audit.HealthAlarm, b.found("audit.aside", "").Level, "and are not forgotten")
	n, err := b.trail.Readmit(t.Context())
	require.NoError(t, err)
	require.Equal(t, 4, n)
	require.Len(t, b.run().Refused, 4, "looked at once more")
	var ids []string
	for _, leaf := range b.leaves() {
		ids = append(ids, leaf.ID)
		require.NotEqual(t, "u-2", leaf.Actor)
		require.NotEqual(t, "u-9", leaf.Actor)
	}
	require.Contains(t, ids, good[1], "the good one behind it went in")
	require.NotContains(t, ids, good[0])
	require.NotContains(t, ids, moved[0])
	require.Equal(t, auditlog.Unanchored, b.verifyStore(nil).Verdict)
}

// Whoever may write the tables can put a row at the end of the tree and compute
// tree and root anew. The service signs none of it without the tag.
func TestAnEntryThatNobodySequencedIsNotSigned(t *testing.T) {
	for _, kind := range []string{"event", "erase", "beat"} {
		b := newBench(t)
		b.fill(3)
		b.run()
		signed := b.checkpoint()
		forged := `{"action":"export","actor":"u-9","at":"2026-11-22T09:00:00.000000Z","id":"019aaaaa-0000-7000-8000-000000000009","kind":"event","outcome":"ok","tenant":"main","v":1}`
		b.plant(kind, "019aaaaa-0000-7000-8000-000000000009", []byte(forged))
		for range 2 {
			_, err := b.trail.RunOnce(t.Context())
			require.ErrorIs(t, err, auditlog.ErrTampered, kind)
			require.ErrorIs(t, b.trail.Beat(t.Context()), auditlog.ErrTampered)
		}
		require.Equal(t, signed, b.checkpoint())
		for _, leaf := range b.leaves() {
			require.NotEqual(t, "u-9", leaf.Actor)
		}
		require.Equal(t, auditlog.Tampered, b.verifyStore(nil).Verdict)
	}
}

// While the key of the tags does not answer nothing is published, and nobody is
// blamed for it.
func TestAKeyThatDoesNotAnswerIsNoForgery(t *testing.T) {
	b := newBench(t)
	b.fill(3)
	broken := errors.New("the disk is full")
	b.sink.Fail = func(op, _ string) error {
		if op == "swap" {
			return broken
		}
		return nil
	}
	_, err := b.trail.RunOnce(t.Context())
	require.ErrorIs(t, err, broken, "sequenced, and not published")
	b.sink.Fail = nil
	down := errors.New("the keys are away")
	b.config.Keys = deafTag{b.keys, &down}
	b.open()
	_, err = b.trail.RunOnce(t.Context())
	require.ErrorIs(t, err, down)
	require.NotErrorIs(t, err, auditlog.ErrTampered)
	down = nil
	b.run()
	require.Equal(t, auditlog.Unanchored, b.verifyStore(nil).Verdict)
}

// deafTag is a key of tags that fails while there is an error.
type deafTag struct {
	*audittest.Keys
	err *error
}

func (d deafTag) Tag(ctx context.Context, tenant string, data []byte) ([]byte, error) {
	if *d.err != nil {
		return nil, *d.err
	}
	return d.Keys.Tag(ctx, tenant, data)
}

func (d deafTag) Verify(ctx context.Context, tenant string, data, tag []byte) error {
	if *d.err != nil {
		return *d.err
	}
	return d.Keys.Verify(ctx, tenant, data, tag)
}

// plant puts a leaf behind the last entry of a log of less than 256, as somebody
// would who has the tables and no key.
func (b *bench) plant(kind, id string, leaf []byte) {
	b.t.Helper()
	var hashes []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) (out []tlog.Hash, err error) {
		for _, i := range indexes {
			out = append(out, hashes[i])
		}
		return out, nil
	})
	tile := b.blob(`SELECT data FROM crmguard_audit_tiles WHERE level = 0 AND n = 0`)
	size := int64(len(tile) / tlog.HashSize)
	last := tlog.RecordHash(leaf)
	tile = append(tile, last[:]...)
	for n := range size + 1 {
		more, err := tlog.StoredHashesForRecordHash(n, tlog.Hash(tile[n*tlog.HashSize:(n+1)*tlog.HashSize]), reader)
		require.NoError(b.t, err)
		hashes = append(hashes, more...)
	}
	root, err := tlog.TreeHash(size+1, reader)
	require.NoError(b.t, err)
	b.exec(`INSERT INTO crmguard_audit_events (id, log, retry, idx) VALUES (?, 1, x'', ?)`, key(id), size)
	b.exec(`INSERT INTO crmguard_audit_entries (idx, id, leaf, at, filed) VALUES (?, ?, ?, 1, 1)`, size, key(id), leaf)
	b.exec(`UPDATE crmguard_audit_tiles SET data = ? WHERE level = 0 AND n = 0`, tile)
	b.exec(`UPDATE crmguard_audit_state SET size = ?, root = ? WHERE id = 1`, size+1, root[:])
}

func (b *bench) blob(query string, args ...any) (out []byte) {
	b.t.Helper()
	require.NoError(b.t, b.db.QueryRowContext(b.t.Context(), query, args...).Scan(&out))
	return out
}

func TestAnInterruptedVerificationIsIncomplete(t *testing.T) {
	b := newBench(t)
	b.fill(10)
	b.run()
	done, cancel := contextCanceled(t)
	cancel()
	r, err := auditlog.VerifyLog(done, b.sink.FS(), b.trust())
	require.Error(t, err)
	require.Equal(t, auditlog.Incomplete, r.Verdict)
	_, err = auditlog.VerifyLog(t.Context(), b.sink.FS(), auditlog.Trust{Key: "x"})
	require.ErrorIs(t, err, auditlog.ErrInvalid)
	_, err = auditlog.VerifyLog(t.Context(), b.sink.FS(), auditlog.Trust{Key: b.config.Verifier, Kept: []byte("x")})
	require.ErrorIs(t, err, auditlog.ErrInvalid)
}
