package audit_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
)

// Whatever somebody did to a file of the mirror, cut it anywhere or changed any byte, the
// next round goes over it, and what the database has is in it again.
func TestNoDamageStopsTheMirror(t *testing.T) {
	b, mirror := mirrored(t)
	b.record(update("p", 1))
	b.run()
	whole := mirror.FS()
	for _, name := range []string{"openings/000", "people/000"} {
		full := whole[name].Data
		records := full[bytes.IndexByte(full, '\n')+1+8:] // behind the label and the number of the file
		round := func(data []byte) {
			t.Helper()
			files := mirror.FS()
			files[name].Data = data
			mirror.Set(files)
			b.advance(time.Hour)
			b.run()
			require.True(t, contains(mirror.FS()[name].Data, records), "%d of %d bytes", len(data), len(full))
		}
		for n := 0; n < len(full); n += 3 {
			round(full[:n])
		}
		for n := 0; n < len(full); n += 2 {
			changed := append([]byte{}, full...)
			changed[n] ^= 1
			round(changed)
		}
	}
}

// Two processes catch up at once, the one in the middle of the other.
func TestTwoProcessesCatchUp(t *testing.T) {
	b := newBench(t)
	b.fill(10)
	b.run()
	file := b.backup()
	b.fill(10)
	b.run()
	b.restore(file)
	beside := b.beside(func(*audit.Config) {})
	b.beforeCall("read", slices.Max(files(b.sink, "tile/entries/000.p/")), func() { require.NoError(t, beside.CatchUp(t.Context())) })
	require.NoError(t, b.trail.CatchUp(t.Context()))
	b.run()
	require.Equal(t, 1, b.actions("audit.recover"), "told once")
	require.Empty(t, b.verifyStore(b.checkpoint()).Faults)
}

// A restored database knows when the newest beat of the log was.
func TestARestoreKnowsTheBeat(t *testing.T) {
	b := newBench(t)
	b.fill(1)
	b.run()
	file := b.backup()
	b.advance(time.Hour)
	require.NoError(t, b.trail.Beat(t.Context()))
	b.advance(time.Minute)
	b.fill(1)
	b.run()
	want := must(b.trail.Progress(t.Context())).Beat
	b.restore(file)
	require.NotEqual(t, want, must(b.trail.Progress(t.Context())).Beat)
	require.NoError(t, b.trail.CatchUp(t.Context()))
	require.Equal(t, want, must(b.trail.Progress(t.Context())).Beat)
}

// Nobody catches up without one of the files that the mirror had, whichever.
func TestEachFileOfTheMirrorIsMissed(t *testing.T) {
	for _, name := range []string{"openings/000", "people/000"} {
		b, mirror := mirrored(t)
		b.fill(10)
		b.run()
		file := b.backup()
		b.fill(10)
		b.run()
		full, less := mirror.FS(), mirror.FS()
		delete(less, name)
		mirror.Set(less)
		b.restore(file)
		require.ErrorIs(t, b.trail.CatchUp(t.Context()), audit.ErrMirrorLost, name)
		mirror.Set(full)
		require.NoError(t, b.trail.CatchUp(t.Context()))
	}
}

// What the mirror has and the database has lost stays where a rule takes openings of
// another class.
func TestARuleTakesNothingElseFromTheMirror(t *testing.T) {
	b, mirror := mirrored(t)
	b.keeps()
	b.classed("main", "contact.update", "p")
	b.classed("main", "deal.close", "p")
	b.run()
	b.advance(2 * year)
	b.fill(1)
	b.run()
	owner := b.surrogate("p")
	going := b.blob(`SELECT sealed FROM crmguard_audit_openings WHERE idx = 0 AND owner = ?`, owner)
	stays := b.blob(`SELECT sealed FROM crmguard_audit_openings WHERE idx = 1 AND owner = ?`, owner)
	b.exec(`DELETE FROM crmguard_audit_openings WHERE idx = 1`)
	require.NoError(t, only(b.trail.PruneOpenings(t.Context(), "main", "contact.", b.yearAgo())))
	data := mirror.FS()["openings/000"].Data
	require.False(t, contains(data, going))
	require.True(t, contains(data, stays))
}
