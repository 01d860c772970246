package audit_test

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/tilesink"
)

// allocated is what fn takes from the heap, in bytes.
func allocated(fn func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	fn()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// Whoever makes a value of a table as long as the database takes does not take the
// memory of the processes that read it, and what they read is not what was written.
func TestNoColumnTakesMoreMemoryThanItCanHave(t *testing.T) {
	const fat, few = 64 << 20, 48 << 20
	for name, edit := range map[string]string{
		"a tile":              `UPDATE crmguard_audit_tiles SET data = CAST(data || zeroblob(?) AS BLOB)`,
		"the tag of a state":  `UPDATE crmguard_audit_state SET tag = CAST(tag || zeroblob(?) AS BLOB)`,
		"the root of a state": `UPDATE crmguard_audit_state SET root = CAST(root || zeroblob(?) AS BLOB)`,
		"a leaf":              `UPDATE crmguard_audit_entries SET leaf = CAST(leaf || zeroblob(?) AS BLOB) WHERE idx = 1`,
		"an entry's id":       `UPDATE crmguard_audit_entries SET id = CAST(id || zeroblob(?) AS BLOB) WHERE idx = 1`,
		"an opening":          `UPDATE crmguard_audit_openings SET sealed = CAST(sealed || zeroblob(?) AS BLOB) WHERE idx = 1`,
		"a head":              `UPDATE crmguard_audit_surrogates SET head = CAST(head || zeroblob(?) AS BLOB) WHERE n = 1`,
		"a surrogate's tag":   `UPDATE crmguard_audit_surrogates SET tag = CAST(tag || zeroblob(?) AS BLOB) WHERE n = 1`,
		"a signed head":       `UPDATE crmguard_audit_heads SET note = CAST(note || zeroblob(?) AS BLOB)`,
		"the tag of one":      `UPDATE crmguard_audit_heads SET tag = CAST(tag || zeroblob(?) AS BLOB)`,
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.fill(5)
			b.run()
			kept := b.checkpoint()
			require.Equal(t, auditlog.OK, b.verifyStore(kept).Verdict)
			b.fill(1)
			most, size := uint64(few), fat
			if name == "an opening" { // of which 16 MiB are one, and are read again in parts
				most, size = 4*few, 2*fat
			}
			_, err := b.db.ExecContext(t.Context(), edit, size)
			require.NoError(t, err)
			var r audit.StoreReport
			require.Less(t, allocated(func() { r = b.verifyStore(kept) }), most, "VerifyStore")
			require.Equal(t, auditlog.Tampered, r.Verdict)
			require.NotEmpty(t, r.Faults)
			require.Less(t, allocated(func() { _, _ = b.trail.RunOnce(t.Context()) }), most, "RunOnce")
			require.Less(t, allocated(func() { _, _ = b.trail.Status(t.Context()) }), most, "Status")
		})
	}
}

// A tile with something behind it is not the tile, to the byte; whoever looks is
// told, and can have it made anew.
func TestWhatStandsBehindATileIsTold(t *testing.T) {
	for _, extra := range []int{1, 3000, 9000} {
		b := newBench(t)
		b.fill(5)
		b.run()
		kept := b.checkpoint()
		b.config.Kept = func(ctx) ([]byte, error) { return kept, nil }
		b.open()
		_, err := b.db.ExecContext(t.Context(), `UPDATE crmguard_audit_tiles SET data = CAST(data || zeroblob(?) AS BLOB) WHERE level = 0 AND n = 0`, extra)
		require.NoError(t, err)
		require.Equal(t, auditlog.Tampered, b.verifyStore(kept).Verdict, "%d bytes", extra)
		_, err = b.trail.RebuildTiles(t.Context())
		require.NoError(t, err)
		b.run()
		kept = b.checkpoint()
		require.Equal(t, auditlog.OK, b.verifyStore(kept).Verdict, "%d bytes", extra)
	}
}

// The openings of many entries are read in parts, and all are judged; so are those of
// which one is longer than all of an event can be.
func TestOpeningsAreReadInParts(t *testing.T) {
	b := newBench(t)
	b.fill(6)
	b.run()
	before := b.verifyStore(b.checkpoint())
	fat := int64(b.count(`SELECT COUNT(*) FROM crmguard_audit_openings WHERE idx IN (1, 2, 4)`))
	require.Positive(t, fat)
	_, err := b.db.ExecContext(t.Context(), `UPDATE crmguard_audit_openings SET sealed = CAST(sealed || zeroblob(?) AS BLOB) WHERE idx IN (1, 2, 4)`, 6<<20)
	require.NoError(t, err)
	r := b.verifyStore(b.checkpoint())
	require.Equal(t, auditlog.Tampered, r.Verdict)
	require.Equal(t, fat, r.Openings[audit.OpeningAltered])
	require.Equal(t, before.Openings[audit.OpeningOK]-fat, r.Openings[audit.OpeningOK], "the others are sound")
}

// A row that waits and is longer than any can be is set aside as any other that is
// none, and holds nothing up.
func TestARowThatIsTooLongIsSetAside(t *testing.T) {
	b := newBench(t)
	b.fill(3)
	_, err := b.db.ExecContext(t.Context(), `UPDATE crmguard_audit_events SET body = CAST(body || zeroblob(?) AS BLOB) WHERE seq = (SELECT MIN(seq) FROM crmguard_audit_events WHERE idx IS NULL)`, 40<<20)
	require.NoError(t, err)
	r := b.run()
	require.Equal(t, 2, r.Sequenced)
	require.Len(t, r.Refused, 1)
}

// Whoever may write the folder and makes its checkpoint a file of holes takes
// nobody's memory either, and Republish puts it right.
func TestACheckpointOfHolesIsReplaced(t *testing.T) {
	dir := t.TempDir()
	sink, err := tilesink.Open(dir)
	require.NoError(t, err)
	b := newBench(t)
	b.config.Sink = sink
	b.open()
	b.fill(3)
	b.run()
	kept := b.checkpoint()
	b.config.Kept = func(ctx) ([]byte, error) { return kept, nil }
	b.open()
	b.fill(1)
	require.NoError(t, os.Truncate(filepath.Join(dir, "checkpoint"), 1<<33))
	tiles, err := filepath.Glob(filepath.Join(dir, "tile", "0", "000.p", "*"))
	require.NoError(t, err)
	require.NotEmpty(t, tiles)
	for _, name := range tiles {
		require.NoError(t, os.Truncate(name, 1<<33))
	}
	const most = 48 << 20
	require.Less(t, allocated(func() { _, err = b.trail.RunOnce(t.Context()) }), uint64(most))
	require.Error(t, err)
	require.Less(t, allocated(func() { _, err = b.trail.Status(t.Context()) }), uint64(most))
	require.NoError(t, err)
	require.Less(t, allocated(func() { require.NotEqual(t, auditlog.OK, b.verifyStore(kept).Verdict) }), uint64(most))
	require.Less(t, allocated(func() { _, err = b.trail.Republish(t.Context()) }), uint64(most))
	require.NoError(t, err)
	b.run()
	report, err := auditlog.VerifyLog(t.Context(), sink.FS(), auditlog.Trust{Key: b.config.Verifier, Kept: kept})
	require.NoError(t, err)
	require.Equal(t, auditlog.OK, report.Verdict, "%+v", report.Faults)
}
