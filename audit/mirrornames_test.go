package audit_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/audittest"
)

// rounds has the mirror gone over several times.
func (b *bench) rounds() {
	b.t.Helper()
	for range 3 {
		b.advance(time.Hour)
		b.run()
	}
}

// largeOne has the mirror hold a large entry about a person, and says under whose name.
func largeOne(t *testing.T, persons ...string) (*bench, *audittest.Sink, []byte) {
	t.Helper()
	b, mirror := mirrored(t)
	b.record(update("a", 1))
	b.record(large(100_000, persons...))
	b.run()
	require.Contains(t, mirror.FS(), "openings/000.p/1")
	return b, mirror, b.surrogate(persons[0])
}

// waits has an erasure done to the database alone.
func waits(b *bench, person string) {
	b.t.Helper()
	worker := b.beside(func(c *audit.Config) { c.Mirror = nil })
	require.ErrorIs(b.t, worker.Erase(b.t.Context(), "main", person), audit.ErrWaiting)
}

// A turn of the mirror between the steps of an erasure, which finds the database without
// the opening, takes no name from the block before the file of the entry has forgotten.
// Nor does one that finds the block gone, and writes it anew.
func TestATurnWithinAnErasureReachesLargeEvents(t *testing.T) {
	for name, lost := range map[string]bool{"a block": false, "none": true} {
		t.Run(name, func(t *testing.T) {
			b, mirror, owner := largeOne(t, "p", "q")
			waits(b, "p")
			if lost {
				files := mirror.FS()
				delete(files, "openings/000")
				mirror.Set(files)
			}
			b.run() // it publishes the erasure, which fills the mirror, and then ends it
			require.NoError(t, b.trail.Erase(t.Context(), "main", "p"))
			require.Zero(t, b.left("p"))
			require.Zero(t, held(mirror.FS(), owner))
		})
	}
}

// The same of openings that go with retention.
func TestATurnWithinAPruneOfOpeningsReachesLargeEvents(t *testing.T) {
	b := newBench(t)
	mirror := &audittest.Sink{}
	b.config.Mirror = mirror
	b.keeps()
	b.record(large(100_000, "p"))
	b.run()
	owner := b.surrogate("p")
	b.advance(2 * year)
	b.fill(5)
	b.run()
	mirror.Fail = func(op, _ string) error {
		if op == "swap" {
			return errors.New("down")
		}
		return nil
	}
	require.Error(t, b.pruneOpenings())
	mirror.Fail = nil
	b.fill(1)
	b.run()
	require.NoError(t, b.pruneOpenings())
	b.rounds()
	files := mirror.FS()
	require.Zero(t, held(fstest.MapFS{"block": files["openings/000"], "entry": files["openings/000.p/0"]}, owner))
}

// An erasure that writes a block anew takes from it no name of somebody whose own erasure
// the mirror has not heard of yet.
func TestAnErasureLeavesTheNamesOfOthers(t *testing.T) {
	b, mirror, p := largeOne(t, "p", "r")
	b.record(large(100_000, "q"))
	b.run()
	q := b.surrogate("q")
	waits(b, "p")
	require.NoError(t, b.trail.Erase(t.Context(), "main", "q"))
	require.Zero(t, held(mirror.FS(), q))
	b.run()
	require.Zero(t, held(mirror.FS(), p))
}

// An erasure reaches the file of an entry whose block is gone or damaged, from its
// beginning on or behind it; and a round one that somebody has put back alone.
func TestAnErasureReachesLargeEventsOfADamagedBlock(t *testing.T) {
	damages := maps.Clone(blockDamages)
	damages["gone, and that of the entry short"] = func(files fstest.MapFS) {
		delete(files, "openings/000")
		shorten(files["openings/000.p/1"])
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			b, mirror, owner := largeOne(t, "p")
			files := mirror.FS()
			damage(files)
			mirror.Set(files)
			require.NoError(t, b.trail.Erase(t.Context(), "main", "p"))
			require.Zero(t, held(mirror.FS(), owner))
		})
	}
	for name, again := range map[string]func(b *bench){
		"a round":            (*bench).rounds,
		"the next erasure":   func(b *bench) { require.NoError(b.t, b.trail.Erase(b.t.Context(), "main", "a")) },
		"a block that is so": func(b *bench) { b.rounds(); b.rounds() },
	} {
		t.Run("put back, "+name, func(t *testing.T) {
			b, mirror, owner := largeOne(t, "p")
			one := mirror.FS()["openings/000.p/1"]
			require.NoError(t, b.trail.Erase(t.Context(), "main", "p"))
			b.rounds() // the name is kept by those that find nothing
			require.NoError(t, mirror.WriteFile(t.Context(), "openings/000.p/1", one.Data))
			again(b)
			require.Zero(t, held(mirror.FS(), owner))
		})
	}
}

func shorten(f *fstest.MapFile) { f.Data = f.Data[:len(f.Data)-3] }

// blockDamages are what may become of the file of a block whose second record is that of
// a large entry.
var blockDamages = map[string]func(files fstest.MapFS){
	"gone":    func(files fstest.MapFS) { delete(files, "openings/000") },
	"short":   func(files fstest.MapFS) { shorten(files["openings/000"]) },
	"damaged": func(files fstest.MapFS) { files["openings/000"].Data = []byte("x") },
	"cut": func(files fstest.MapFS) {
		files["openings/000"].Data = files["openings/000"].Data[:len("crmguard/audit/openings/v1\n")+8+20]
	},
}

// What lies whole in the file of an entry comes back with a restore, whatever became of
// the file of its block.
func TestADamagedBlockLosesNoLargeEvent(t *testing.T) {
	for name, damage := range blockDamages {
		t.Run(name, func(t *testing.T) {
			b, mirror := mirrored(t)
			file := b.backup() // which knows of no file that is to be there
			b.record(update("a", 1))
			b.record(large(100_000, "p"))
			b.run()
			files := mirror.FS()
			damage(files)
			mirror.Set(files)
			b.restore(file)
			_, err := b.trail.CatchUpReport(t.Context())
			require.NoError(t, err)
			b.run()
			past := b.history(audit.About("p"))
			require.Len(t, past, 1)
			require.Equal(t, audit.OpeningOK, past[0].Changes[0].Verdict)
		})
	}
}

// Files of entries go with that of their block, whoever pruned, and also where that of the
// block has gone before.
func TestRoundsForgetFilesOfEntries(t *testing.T) {
	for name, gone := range map[string]bool{"with the block": false, "without it": true} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			mirror := &audittest.Sink{}
			b.config.Mirror = mirror
			b.keeps()
			b.record(large(100_000, "p"))
			b.fill(300)
			b.run()
			b.advance(2 * year)
			b.fill(5)
			b.run()
			require.Contains(t, mirror.FS(), "openings/000.p/0")
			_, err := b.beside(func(c *audit.Config) { c.Mirror = nil }).Prune(t.Context(), b.yearAgo())
			require.NoError(t, err)
			if gone {
				require.NoError(t, mirror.RemoveAll(t.Context(), "openings/000"))
			}
			b.rounds()
			for name := range mirror.FS() {
				require.False(t, strings.HasPrefix(name, "openings/000"), name)
			}
		})
	}
}

// An entry that stands in the file of its block stays there, however large it is: at no
// moment the mirror is without it.
func TestALargeEntryOfABlockStaysThere(t *testing.T) {
	b, mirror, owner := largeOne(t, "p")
	files := mirror.FS()
	inline := files["openings/000.p/1"].Data[len("crmguard/audit/openings/v1\n")+8:]
	block := files["openings/000"]
	name := append(append(bytes.Clone(inline[:12]), owner...), 0, 0, 0, 0)
	block.Data = append(bytes.TrimSuffix(block.Data, name), inline...)
	delete(files, "openings/000.p/1")
	mirror.Set(files)
	mirror.Fail = func(op, name string) error {
		if op == "swap" && strings.Contains(name, ".p/") {
			return io.ErrClosedPipe
		}
		return nil
	}
	b.record(update("a", 2))
	b.run()
	require.Contains(t, string(mirror.FS()["openings/000"].Data), string(inline))
	require.NoError(t, b.trail.Erase(t.Context(), "main", "p"))
	require.Zero(t, held(mirror.FS(), owner))
}

// halfMirrored has an entry of two persons in the mirror, of which the opening of one is in
// the database alone, and says under whose name.
func halfMirrored(b *bench, folder *audittest.Sink) []byte {
	b.t.Helper()
	b.record(update("a", 1))
	b.record(large(100_000, "p", "q"))
	b.fill(300) // the block is full
	b.run()
	owner := b.surrogate("p")
	var sealed []byte
	require.NoError(b.t, b.db.QueryRow(`SELECT sealed FROM crmguard_audit_openings WHERE owner = ?`, owner).Scan(&sealed))
	b.exec(`DELETE FROM crmguard_audit_openings WHERE owner = ?`, owner)
	require.NoError(b.t, folder.RemoveAll(b.t.Context(), "openings"))
	b.rounds()
	require.Contains(b.t, folder.FS(), "openings/000.p/1")
	require.Zero(b.t, held(fstest.MapFS{"": folder.FS()["openings/000.p/1"]}, owner))
	b.exec(`INSERT INTO crmguard_audit_openings (idx, owner, sealed) VALUES (1, ?, ?)`, owner, sealed)
	b.advance(time.Hour)
	return owner
}

// Whom the block does not name in an entry yet comes into the file of the entry behind the
// name, also where it has others.
func TestANameComesBeforeWhatItNames(t *testing.T) {
	b, mirror := mirrored(t)
	owner := halfMirrored(b, mirror)
	mirror.Fail = func(op, name string) error {
		if op == "swap" && name == "openings/000" {
			return io.ErrClosedPipe
		}
		return nil
	}
	b.run()
	mirror.Fail = nil
	waits(b, "p")
	require.NoError(t, b.trail.Erase(t.Context(), "main", "p"))
	require.Zero(t, held(mirror.FS(), owner))
}

// A write of the file of an entry that is under way while a turn takes the name of what
// it brings from the block arrives at another file.
func TestANameGoesBehindWritesThatAreUnderWay(t *testing.T) {
	b := newBench(t)
	folder := &audittest.Sink{}
	reached, goOn, done := make(chan string, 1), make(chan struct{}), make(chan struct{})
	var stopping atomic.Bool
	b.mirroredIn(&stopSink{place: folder, at: func(op, name string) {
		if op == "before swap" && name == "openings/000.p/1" && stopping.CompareAndSwap(true, false) {
			reached <- name
			<-goOn
		}
	}})
	owner := halfMirrored(b, folder)
	other := b.impatient(b.sink)
	other.mirroredIn(folder)
	stopping.Store(true)
	go func() {
		defer close(done)
		if _, err := b.trail.RunOnce(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}()
	<-reached
	waits(other, "p")
	other.run()
	require.Zero(t, holding(folder, owner))
	close(goOn)
	<-done
	require.Zero(t, holding(folder, owner))
}
