package audit_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit/auditlog"
)

// Nothing goes that the tree does not prove, and nobody without the keys moves the
// mark, makes entries older or tells of retention.
func TestNobodyWithoutAKeyPrunes(t *testing.T) {
	for name, c := range map[string]struct {
		do func(b *bench)
	}{
		"rows deleted": {func(b *bench) { b.takeAway(`idx < 256`) }},
		"rows and files deleted": {func(b *bench) {
			b.exec(`DELETE FROM crmguard_audit_entries WHERE idx < 256`)
			b.exec(`DELETE FROM crmguard_audit_found WHERE idx < 256`)
			b.exec(`DELETE FROM crmguard_audit_persons WHERE idx < 256`)
			b.exec(`DELETE FROM crmguard_audit_openings WHERE idx < 256`)
			b.lose("tile/entries/000")
		}},
		"the mark moved":        {func(b *bench) { b.exec(`UPDATE crmguard_audit_state SET pruned = 256`) }},
		"an entry changed":      {func(b *bench) { b.rewriteEntry(5, "u-1", "u-2") }},
		"entries made older":    {func(b *bench) { b.exec(`UPDATE crmguard_audit_entries SET filed = 1, at = 1`) }},
		"signatures made older": {func(b *bench) { b.exec(`UPDATE crmguard_audit_heads SET at = 1`) }},
		"a word about retention put in": {func(b *bench) {
			b.rewriteEntry(620, `"kind":"event"`, `"kind":"prune"`)
			b.exec(`UPDATE crmguard_audit_entries SET leaf = CAST(REPLACE(REPLACE(CAST(leaf AS TEXT), 'contact.update', 'audit.prune'), '"object":["contact"', '"object":["entries"') AS BLOB) WHERE idx = 620`)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			b, _ := oldBench(t, 300, 330)
			c.do(b)
			r, err := b.trail.Prune(t.Context(), b.yearAgo())
			switch name {
			case "entries made older":
				require.NoError(t, err)
				require.Equal(t, int64(256), r.Pruned, "what is old")
			case "signatures made older":
				require.NoError(t, err)
				require.Zero(t, r.Pruned)
			default:
				require.Error(t, err)
			}
			if r.Pruned == 0 {
				require.Zero(t, b.toldOf(auditlog.KindPrune))
			}
			require.Equal(t, auditlog.Tampered, b.verifyStore(b.checkpoint()).Verdict)
		})
	}
}

// toldOf counts the entries of a kind that the published log has.
func (b *bench) toldOf(kind string) (n int) {
	b.t.Helper()
	for e, err := range auditlog.Entries(b.t.Context(), b.sink.FS()) {
		require.NoError(b.t, err)
		leaf, err := auditlog.ParseLeaf(e.Leaf)
		require.NoError(b.t, err)
		if leaf.Kind == kind {
			n++
		}
	}
	return n
}

// lose takes a file away.
func (b *bench) lose(names ...string) {
	b.t.Helper()
	all := b.sink.FS()
	for _, name := range names {
		require.Contains(b.t, all, name)
		delete(all, name)
	}
	b.sink.Set(all)
}

// After a prune somebody without a key brings back, moves or takes away what there
// is about pruned entries.
func TestWhatIsDoneToAPrunedLogIsFound(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(b *bench, before map[string][]byte)
		want auditlog.Verdict
	}{
		"a stub deleted": {func(b *bench, _ map[string][]byte) { b.exec(`DELETE FROM crmguard_audit_events WHERE idx = 7`) }, auditlog.Tampered},
		"a stub moved":   {func(b *bench, _ map[string][]byte) { b.exec(`UPDATE crmguard_audit_events SET idx = 8 WHERE idx = 7`) }, auditlog.Tampered},
		"a stub with a body": {func(b *bench, _ map[string][]byte) {
			b.exec(`UPDATE crmguard_audit_events SET body = x'01' WHERE idx = 7`)
		}, auditlog.Tampered},
		"more deleted than was told": {func(b *bench, _ map[string][]byte) { b.exec(`DELETE FROM crmguard_audit_entries WHERE idx = 256`) }, auditlog.Tampered},
		"the mark moved back":        {func(b *bench, _ map[string][]byte) { b.exec(`UPDATE crmguard_audit_state SET pruned = 0`) }, auditlog.Tampered},
		"the mark moved on":          {func(b *bench, _ map[string][]byte) { b.exec(`UPDATE crmguard_audit_state SET pruned = 512`) }, auditlog.Tampered},
		"one more bundle taken away": {func(b *bench, _ map[string][]byte) { b.lose("tile/entries/001") }, auditlog.Incomplete},
		"a hash of pruned entries": {func(b *bench, _ map[string][]byte) {
			b.exec(`UPDATE crmguard_audit_tiles SET data = zeroblob(8192) WHERE level = 0 AND n = 0`)
		}, auditlog.Tampered},
		"a pruned row back": {func(b *bench, _ map[string][]byte) {
			b.exec(`INSERT INTO crmguard_audit_entries SELECT 3, id, leaf, at, filed FROM crmguard_audit_entries WHERE idx = 300`)
		}, auditlog.Incomplete},
		"a row before all": {func(b *bench, _ map[string][]byte) {
			b.exec(`INSERT INTO crmguard_audit_entries SELECT -3, id, leaf, at, filed FROM crmguard_audit_entries WHERE idx = 300`)
		}, auditlog.Tampered},
		"what is found of pruned ones": {func(b *bench, _ map[string][]byte) { b.exec(`INSERT INTO crmguard_audit_persons VALUES (3, 1, 1)`) }, auditlog.Incomplete},
		"a pruned bundle back": {func(b *bench, before map[string][]byte) {
			require.NoError(b.t, b.sink.WriteFile(b.t.Context(), "tile/entries/000", before["tile/entries/000"]))
		}, auditlog.Incomplete},
	} {
		t.Run(name, func(t *testing.T) {
			b, _ := oldBench(t, 300, 330)
			before := make(map[string][]byte)
			for name, f := range b.sink.FS() {
				before[name] = f.Data
			}
			b.prune()
			b.sound()
			c.do(b, before)
			report := b.verifyStore(b.checkpoint())
			require.Equal(t, c.want, report.Verdict, "%+v", report.Faults)
			if c.want == auditlog.Incomplete && name != "one more bundle taken away" {
				b.prune()
				b.sound()
			}
		})
	}
}

// A row that waited before its event was filed is put back, where its stub was: the
// event would stand in the log twice, and VerifyStore says so.
func TestAnOldRowOfAPrunedEventIsPutBack(t *testing.T) {
	b := newBench(t)
	b.keeps()
	ids := b.fill(300)
	b.exec(`CREATE TABLE thief AS SELECT * FROM crmguard_audit_events WHERE seq = 5`)
	b.run()
	b.advance(2 * year)
	b.fill(3)
	b.run()
	b.prune()
	_, err := b.db.ExecContext(t.Context(), `INSERT INTO crmguard_audit_events SELECT * FROM thief`)
	require.Error(t, err, "the id is taken")
	b.exec(`DELETE FROM crmguard_audit_events WHERE seq = 5`)
	b.exec(`INSERT INTO crmguard_audit_events SELECT * FROM thief`)
	b.open()
	b.run()
	require.Equal(t, auditlog.Tampered, b.verifyStore(b.checkpoint()).Verdict)
	require.NotEmpty(t, ids)
}
