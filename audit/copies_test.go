package audit_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/audittest"
	"github.com/crmguard/crmguard/audit/sqltrail"
	"github.com/crmguard/crmguard/audit/tilesink"
)

// copied opens the trail with copies. What is waited for ends by itself, so it is
// waited for as long as it takes; a copy that is to hang has hangs called first.
func (b *bench) copied(copies ...audit.Sink) {
	b.t.Helper()
	b.config.Copies, b.config.Interval = copies, time.Hour
	b.open()
}

// sameLog compares the files of a copy with those of the published log. Partial
// tiles of other sizes may be left of a copy that has failed.
func (b *bench) sameLog(copied fstest.MapFS) {
	b.t.Helper()
	published := b.sink.FS()
	for name, file := range copied {
		data, err := b.trail.Published(b.t.Context(), name)
		require.NoError(b.t, err, name)
		require.True(b.t, bytes.Equal(data, file.Data), name)
	}
	for name := range published {
		if !strings.Contains(name, ".p/") { // which may stand there for a time
			require.Contains(b.t, slices.Collect(maps.Keys(copied)), name)
		}
	}
	report, err := auditlog.VerifyLog(b.t.Context(), copied, auditlog.Trust{Key: b.config.Verifier, Kept: b.checkpoint()})
	require.NoError(b.t, err)
	require.Equal(b.t, auditlog.OK, report.Verdict, "%+v", report.Faults)
}

func readAll(t *testing.T, from fs.FS) fstest.MapFS {
	t.Helper()
	out := fstest.MapFS{}
	require.NoError(t, fs.WalkDir(from, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || name == ".lock" {
			return err
		}
		data, err := fs.ReadFile(from, name)
		out[name] = &fstest.MapFile{Data: data}
		return err
	}))
	return out
}

// Each copy is the published log, at each size, in memory and in a folder; one
// that is added later is filled from the first entry on.
func TestACopyIsThePublishedLog(t *testing.T) {
	b := newBench(t)
	dir := t.TempDir()
	folder, err := tilesink.Open(dir)
	require.NoError(t, err)
	memory, later := &audittest.Sink{}, &audittest.Sink{}
	b.copied(memory, folder)
	size := 1 // the first beat is an entry, too
	for _, until := range []int{2, 255, 256, 257, 600} {
		b.fill(until - size)
		require.EqualValues(t, until, b.run().Published)
		size = until
		require.Equal(t, slices.Sorted(maps.Keys(b.sink.FS())), slices.Sorted(maps.Keys(memory.FS())), "partial tiles go, too")
		b.sameLog(memory.FS())
		require.Equal(t, slices.Sorted(maps.Keys(b.sink.FS())), slices.Sorted(maps.Keys(readAll(t, os.DirFS(dir)))))
		b.sameLog(readAll(t, os.DirFS(dir)))
		for _, name := range []string{"Copies[0]", "Copies[1]"} {
			require.Equal(t, audit.Finding{Name: "audit.copies", Subject: name, Unit: "entries"}, b.found("audit.copies", name))
		}
	}
	b.copied(memory, folder, later)
	require.EqualValues(t, 600, b.found("audit.copies", "Copies[2]").Value)
	b.run()
	b.sameLog(later.FS())
	b.run()
	b.sameLog(later.FS())
}

// A log of more than one tile of the second level: what the edge of the tree
// needs is there, though it does not change with the last entries.
func TestTheEdgeOfALargeLogIsCopied(t *testing.T) {
	b := newBench(t)
	copied := &audittest.Sink{}
	b.copied(copied)
	b.fill(3 * 256)
	require.EqualValues(t, 769, b.run().Published)
	b.fill(1)
	b.run()
	b.sameLog(copied.FS())
	copied.Set(nil)
	b.run()
	b.sameLog(copied.FS())
}

// A copy that is down, whatever it does not do, holds up nothing and is told of;
// when it is asked again and answers, it is filled by itself and not told of any
// more.
func TestACopyThatWasDownIsFilledByItself(t *testing.T) {
	for _, op := range []string{"read", "write", "swap", "remove"} {
		t.Run(op, func(t *testing.T) {
			b := newBench(t)
			down := true
			copied, well := &audittest.Sink{}, &audittest.Sink{}
			copied.Fail = func(what, _ string) error {
				if down && what == op {
					return errors.New("canary@canary.example")
				}
				return nil
			}
			b.copied(copied, well)
			for round := range 3 {
				b.fill(200)
				r := b.run()
				require.Equal(t, r.Size, r.Published, "the log goes on")
				b.sameLog(well.FS())
				b.requireLevels(map[string]int{"audit.run.failing": int(audit.HealthOK), "audit.log": int(audit.HealthOK)})
				f := b.found("audit.copies", "Copies[0]")
				if op == "remove" && round == 0 {
					continue // there was nothing to remove
				}
				require.Equal(t, audit.HealthAlarm, f.Level)
				require.NotContains(t, f.Remedy, "canary")
				require.Contains(t, f.Remedy, "filled by itself")
				if op != "remove" {
					require.EqualValues(t, r.Published, f.Value, "how far it is behind")
				}
				require.Equal(t, audit.HealthOK, b.found("audit.copies", "Copies[1]").Level)
				b.advance(time.Minute)
			}
			down = false
			r := b.run()
			require.Zero(t, r.Sequenced)
			f := b.found("audit.copies", "Copies[0]")
			require.Equal(t, audit.Finding{Name: "audit.copies", Subject: "Copies[0]", Unit: "entries"}, f)
			b.sameLog(copied.FS())
		})
	}
}

// At whichever file a copy fails it is filled by the next pass, though the log has
// grown, and what it has of full tiles is not written again.
func TestACopyGoesOnWhereItFailed(t *testing.T) {
	b := newBench(t)
	b.fill(3*256 + 10)
	b.run()
	for at := 1; ; at++ {
		n, failed, written := 0, false, map[string]int{}
		copied := &audittest.Sink{}
		copied.Fail = func(op, name string) error {
			if op != "write" {
				return nil
			}
			if n++; n == at {
				failed = true
				return errCue
			}
			written[name]++
			return nil
		}
		b.copied(copied)
		b.run()
		if !failed {
			b.sameLog(copied.FS())
			require.Greater(t, at, 8)
			return
		}
		require.NotContains(t, copied.FS(), "checkpoint")
		b.fill(1)
		b.run()
		b.sameLog(copied.FS())
		again := 0
		for name, times := range written {
			if !strings.Contains(name, ".p/") && !strings.HasPrefix(name, "tile/1/") {
				again += times - 1
			}
		}
		require.LessOrEqual(t, again, 1, "a tile whose bundle failed, at file %d", at)
	}
}

// Somebody empties a copy that is half full, before it has a checkpoint: it is
// filled from the first entry on.
func TestACopyThatIsEmptiedIsFilledAgain(t *testing.T) {
	b := newBench(t)
	down := true
	copied := &audittest.Sink{}
	copied.Fail = func(op, _ string) error {
		if down && op == "swap" {
			return errCue
		}
		return nil
	}
	b.copied(copied)
	b.fill(600)
	b.run()
	require.NotEmpty(t, copied.FS())
	copied.Set(nil)
	down = false
	b.run()
	b.sameLog(copied.FS())
	copied.Set(nil)
	b.run()
	b.sameLog(copied.FS())
}

// A copy that has more than the published log, or something else, is told of and
// left as it is: it may be the one that is true.
func TestACopyIsNeverWrittenOver(t *testing.T) {
	const n = 300
	other := func(b *bench) fstest.MapFS { // another history of this log
		o := newBench(b.t)
		o.config.Signer, o.config.Verifier, o.config.Keys = b.config.Signer, b.config.Verifier, b.config.Keys
		o.open()
		o.fill(n)
		o.run()
		return o.sink.FS()
	}
	for name, c := range map[string]struct {
		files  func(b *bench) fstest.MapFS
		remedy string
	}{
		"more entries": {func(b *bench) fstest.MapFS {
			old, files := b.backup(), b.sink.FS()
			b.fill(n)
			b.run()
			more := b.sink.FS()
			b.restore(old)
			b.sink.Set(files)
			return more
		}, "does not have"},
		"another history of as many": {other, "two histories"},
		"another history of fewer":   {func(b *bench) fstest.MapFS { files := other(b); b.fill(n); b.run(); return files }, "two histories"},
		"another log":                {func(b *bench) fstest.MapFS { o := newBench(b.t); o.fill(3); o.run(); return o.sink.FS() }, "another key"},
		"a checkpoint that is torn": {func(b *bench) fstest.MapFS {
			f := b.sink.FS()
			f["checkpoint"].Data = f["checkpoint"].Data[:40]
			return f
		}, "ends too early"},
		"a checkpoint that is empty":  {func(b *bench) fstest.MapFS { f := b.sink.FS(); f["checkpoint"].Data = nil; return f }, "ends too early"},
		"a checkpoint that is forged": {func(b *bench) fstest.MapFS { f := b.sink.FS(); f["checkpoint"].Data[30] ^= 1; return f }, "was changed"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.fill(n)
			b.run()
			copied := &audittest.Sink{}
			there := c.files(b)
			copied.Set(there)
			there = copied.FS()
			b.copied(copied)
			for range 2 {
				r := b.run()
				require.Equal(t, r.Size, r.Published, "the log goes on")
				f := b.found("audit.copies", "Copies[0]")
				require.Equal(t, audit.HealthAlarm, f.Level)
				require.Contains(t, f.Remedy, c.remedy)
				require.Equal(t, there, copied.FS())
				b.fill(3)
			}
		})
	}
}

// A copy that had everything is ahead where database and folder were put back
// together, which without a kept checkpoint nothing else tells.
func TestACopyTellsOfARewind(t *testing.T) {
	b := newBench(t)
	copied := &audittest.Sink{}
	b.copied(copied)
	b.fill(10)
	b.run()
	old, files := b.backup(), b.sink.FS()
	b.fill(10)
	b.run()
	whole := copied.FS()
	b.restore(old)
	b.sink.Set(files)
	b.open()
	require.EqualValues(t, -10, b.found("audit.copies", "Copies[0]").Value, "so many ahead")
	require.Contains(t, b.found("audit.copies", "Copies[0]").Remedy, "does not have", "before any pass")
	b.run()
	require.Contains(t, b.found("audit.copies", "Copies[0]").Remedy, "does not have")
	b.fill(50)
	b.run()
	require.Contains(t, b.found("audit.copies", "Copies[0]").Remedy, "two histories", "and when it has as many again")
	require.Equal(t, whole, copied.FS())
}

// brokenCopy breaks a rule of the sink's.
type brokenCopy struct {
	audittest.Sink
	fault string
}

func (s *brokenCopy) SwapFile(ctx context.Context, name string, old, data []byte) error {
	switch s.fault {
	case "does not compare":
		return s.WriteFile(ctx, name, data)
	case "says nothing":
		return nil
	case "says something else":
		return errCue
	case "is always another one":
		return audit.ErrChanged
	case "writes and fails":
		return errors.Join(errCue, s.Sink.SwapFile(ctx, name, old, data))
	}
	return s.Sink.SwapFile(ctx, name, old, data)
}

func (s *brokenCopy) ReadFile(ctx context.Context, name string) ([]byte, error) {
	if s.fault == "reads nothing and does not say so" {
		return nil, nil
	}
	return s.Sink.ReadFile(ctx, name)
}

// Whatever rule a copy breaks, the log and the other copies do not see it.
func TestABrokenCopyBreaksNothingElse(t *testing.T) {
	for fault, works := range map[string]bool{
		"does not compare": true, "says nothing": false, "says something else": false, "is always another one": false,
		"writes and fails": true, "reads nothing and does not say so": false,
	} {
		t.Run(fault, func(t *testing.T) {
			b := newBench(t)
			broken, well := &brokenCopy{fault: fault}, &audittest.Sink{}
			b.copied(broken, well)
			for range 3 {
				b.fill(100)
				r := b.run()
				require.Equal(t, r.Size, r.Published)
				b.sameLog(well.FS())
				b.run() // once more for what failed after it was done
				b.advance(20 * time.Hour)
				require.Equal(t, works, b.found("audit.copies", "Copies[0]").Level == audit.HealthOK)
				require.Equal(t, audit.HealthOK, b.found("audit.copies", "Copies[1]").Level)
				require.Equal(t, audit.HealthOK, b.found("audit.run.failing", "").Level)
			}
			if works {
				b.sameLog(broken.FS())
			}
			require.Equal(t, auditlog.OK, b.verifyLog(b.checkpoint()).Verdict)
		})
	}
}

func TestACopyThatIsNone(t *testing.T) {
	b := newBench(t)
	b.config.Copies = []audit.Sink{&audittest.Sink{}, nil}
	store, err := sqltrail.Open(t.Context(), b.db)
	require.NoError(t, err)
	_, err = audit.Open(t.Context(), store, b.config)
	require.ErrorIs(t, err, audit.ErrInvalid)
	require.ErrorContains(t, err, "Copies[1]")
	// One that is the published folder itself is full at once, and stays so.
	b.copied(b.sink)
	b.fill(300)
	b.run()
	require.Equal(t, audit.HealthOK, b.found("audit.copies", "Copies[0]").Level)
}
