package audit_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/audittest"
)

// stopsAt has the database refuse a statement while something is done, which fails.
func (b *bench) stopsAt(statement string, do func() error) {
	b.t.Helper()
	b.exec(`CREATE TRIGGER stop BEFORE ` + statement + ` BEGIN SELECT RAISE(ABORT, 'stop'); END`)
	require.Error(b.t, do())
	b.exec(`DROP TRIGGER stop`)
}

const (
	theMark     = `UPDATE ON crmguard_audit_state WHEN NEW.pruned > OLD.pruned`
	theOpenings = `DELETE ON crmguard_audit_openings`
)

// holds has each tenant hold what it has.
func (b *bench) holds() {
	b.t.Helper()
	b.config.Hold = func(ctx, string) (time.Time, error) { return b.config.Now().Add(time.Hour), nil }
	b.open()
}

// prunesBehindTheHold takes the word back while the hold lasts, and prunes when it ended:
// years later, because a backup does not know when was signed what it lacked.
func (b *bench) prunesBehindTheHold(to int64) {
	b.t.Helper()
	require.Equal(b.t, "main", b.prune().Held)
	b.run()
	b.sound()
	b.config.Hold = nil
	b.open()
	b.advance(2 * year)
	b.fill(1)
	b.run()
	require.Equal(b.t, to, b.prune().Pruned)
	b.sound()
}

func (b *bench) pruneOpenings() error {
	_, err := b.trail.PruneOpenings(b.t.Context(), "main", "contact.", b.yearAgo())
	return err
}

func (b *bench) openings() int {
	b.t.Helper()
	return b.count(`SELECT COUNT(*) FROM crmguard_audit_openings`)
}

// The log tells of a prune that was not done, and a hold comes: no repair takes the
// word for a leave. The next prune takes it back.
func TestARepairKeepsToAHold(t *testing.T) {
	for name, repair := range map[string]func(b *bench) error{
		"CatchUp": catchUp,
		"CatchUp, of a hold that fails": func(b *bench) error {
			b.config.Hold = func(ctx, string) (time.Time, error) { return time.Time{}, errCue }
			b.open()
			defer b.holds()
			return catchUp(b)
		},
		"CatchUp, of a state row without its tag": func(b *bench) error {
			b.exec(`UPDATE crmguard_audit_state SET tag = x'00'`)
			return catchUp(b)
		},
		"RebuildTiles, of a state row that is gone": func(b *bench) error {
			b.exec(`DELETE FROM crmguard_audit_state`)
			return rebuild(b)
		},
		"CatchUp, of a backup": func(b *bench) error {
			file := b.backup()
			b.fill(1)
			b.run()
			b.restore(file)
			return catchUp(b)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b, _ := oldBench(t, 300, 5)
			b.stopsAt(theMark, func() error { _, err := b.trail.Prune(t.Context(), b.yearAgo()); return err })
			require.Equal(t, 1, b.toldOf(auditlog.KindPrune))
			b.holds()
			require.NoError(t, repair(b))
			b.run()
			require.Zero(t, b.pruned())
			require.Equal(t, 256, b.count(`SELECT COUNT(*) FROM crmguard_audit_entries WHERE idx < 256`))
			b.prunesBehindTheHold(256)
		})
	}
}

// A hold that came when entries had gone already has nothing to keep: a backup of
// before loses them, as the log did.
func TestWhatIsGoneNoHoldBringsBack(t *testing.T) {
	b, _ := oldBench(t, 300, 5)
	file := b.backup()
	b.prune()
	b.fill(1)
	b.run()
	b.holds()
	b.restore(file)
	require.NoError(t, b.trail.CatchUp(t.Context()))
	b.run()
	require.Equal(t, 256, b.pruned())
	b.sound()
}

// oldBackup is a log with a backup of a hundred entries, which lacks as many old ones, and
// of newer ones two years later.
func oldBackup(t *testing.T, lacks, since int) (b *bench, file string) {
	t.Helper()
	b = newBench(t)
	b.config.Mirror = &audittest.Sink{}
	b.keeps()
	b.fill(100)
	b.run()
	file = b.backup()
	b.fill(lacks)
	b.run()
	b.advance(2 * year)
	b.fill(since)
	b.run()
	return b, file
}

// What the backup lacks, and the published log still has, a hold keeps, too: that comes
// back before anybody asks for it. What the log has lost by then does not.
func TestWhatABackupLacksKeepsToAHold(t *testing.T) {
	for name, c := range map[string]struct {
		stop func(b *bench, prune func() error)
		gone int
	}{
		"nothing was done yet": {func(b *bench, prune func() error) { b.stopsAt(theMark, prune) }, 0},
		"one of two bundles had gone": {func(b *bench, prune func() error) {
			b.sink.Fail = func(op, name string) error {
				if op == "remove" && name == "tile/entries/001" {
					return errCue
				}
				return nil
			}
			require.ErrorIs(b.t, prune(), errCue)
			b.sink.Fail = nil
		}, 256},
	} {
		t.Run(name, func(t *testing.T) {
			b, file := oldBackup(t, 500, 5)
			c.stop(b, func() error { _, err := b.trail.Prune(t.Context(), b.yearAgo()); return err })
			b.holds()
			b.restore(file)
			require.NoError(t, b.trail.CatchUp(t.Context()))
			b.run()
			require.Equal(t, c.gone, b.pruned())
			require.Equal(t, 512-c.gone, b.count(`SELECT COUNT(*) FROM crmguard_audit_entries WHERE idx < 512`))
			require.Contains(t, b.sink.FS(), "tile/entries/001")
			b.prunesBehindTheHold(512)
		})
	}
}

// A bundle that the published log has lost by accident has not gone from a level
// database, which has it back.
func TestALostFileOutrunsNoHold(t *testing.T) {
	b, _ := oldBench(t, 300, 5)
	b.stopsAt(theMark, func() error { _, err := b.trail.Prune(t.Context(), b.yearAgo()); return err })
	b.holds()
	files := b.sink.FS()
	delete(files, "tile/entries/000")
	b.sink.Set(files)
	require.NoError(t, b.trail.CatchUp(t.Context()))
	require.Zero(t, b.pruned())
	require.Equal(t, 256, b.count(`SELECT COUNT(*) FROM crmguard_audit_entries WHERE idx < 256`))
	_, err := b.trail.Republish(t.Context())
	require.NoError(t, err)
	b.prunesBehindTheHold(256)
}

// What is sealed stays in a backup whose tenant has a hold since, and goes behind it.
func TestOpeningsOfABackupKeepToAHold(t *testing.T) {
	b, _ := oldBench(t, 10, 5)
	file, n := b.backup(), b.openings()
	require.NoError(t, b.pruneOpenings())
	left := b.openings()
	require.Less(t, left, n)
	b.holds()
	b.restore(file)
	require.NoError(t, b.trail.CatchUp(t.Context()))
	b.run()
	require.Equal(t, n, b.openings())
	require.Equal(t, auditlog.Incomplete, b.verifyStore(b.checkpoint()).Verdict)
	b.config.Hold = nil
	b.open()
	require.NoError(t, b.pruneOpenings())
	require.Equal(t, left, b.openings())
	b.sound()
}

// A rule that somebody has changed in the backup ends no restore: VerifyStore names it.
func TestAChangedRuleEndsNoRestore(t *testing.T) {
	b, _ := oldBench(t, 10, 5)
	require.NoError(t, b.pruneOpenings())
	file := b.backup()
	b.fill(1)
	b.run()
	b.restore(file)
	require.EqualValues(t, 1, b.exec(`UPDATE crmguard_audit_entries SET leaf = CAST(REPLACE(CAST(leaf AS TEXT), 'audit.prune.openings', 'audit.prune.openinga') AS BLOB) WHERE CAST(leaf AS TEXT) LIKE '%audit.prune.openings%'`))
	require.NoError(t, b.trail.CatchUp(t.Context()))
	require.Equal(t, auditlog.Tampered, b.verifyStore(b.checkpoint()).Verdict)
}

// CatchUp is stopped when all entries are back, and called again: what went with
// retention is gone all the same.
func TestACatchUpThatIsStoppedPrunesAgain(t *testing.T) {
	for name, prune := range map[string]func(b *bench) error{
		"entries":  func(b *bench) error { _, err := b.trail.Prune(b.t.Context(), b.yearAgo()); return err },
		"openings": func(b *bench) error { return b.pruneOpenings() },
	} {
		t.Run(name, func(t *testing.T) {
			b, _ := oldBench(t, 300, 5)
			file := b.backup()
			require.NoError(t, prune(b))
			b.fill(1)
			b.run()
			n, pruned := b.openings(), b.pruned()
			b.restore(file)
			c, cancel := context.WithCancel(t.Context())
			stopped := b.beside(func(config *audit.Config) {
				config.Observe = func(_ context.Context, name string, _ float64, _ ...slog.Attr) {
					if name == "audit.caught_up" {
						cancel()
					}
				}
			})
			require.ErrorIs(t, stopped.CatchUp(c), context.Canceled)
			require.NoError(t, b.trail.CatchUp(t.Context()))
			b.run()
			require.Equal(t, n, b.openings())
			require.Equal(t, pruned, b.pruned())
			b.sound()
		})
	}
}

// retain has openings and entries go, and says how many openings are left.
func (b *bench) retain() int {
	b.t.Helper()
	require.NoError(b.t, b.pruneOpenings())
	b.prune()
	b.fill(1)
	b.run()
	return b.openings()
}

// What a sink cannot forget keeps no entry from coming back, and is said.
func TestASinkThatKeepsWhatWentStopsNoRestore(t *testing.T) {
	b, _ := oldBench(t, 600, 5)
	file := b.backup()
	n := b.retain()
	b.restore(file)
	b.sink.Fail = func(op, _ string) error {
		if op == "remove" {
			return errCue
		}
		return nil
	}
	require.ErrorIs(t, b.trail.CatchUp(t.Context()), errCue)
	b.sink.Fail = nil
	b.run()
	require.Equal(t, n, b.openings())
	require.Equal(t, 512, b.pruned())
	b.sound()
}

// The backup is put back under a process that has seen more.
func TestARunningProcessPrunesABackupAgain(t *testing.T) {
	b, _ := oldBench(t, 600, 5)
	b.stopsAt(theOpenings, b.pruneOpenings)
	file := b.backup()
	n := b.retain()
	b.putInPlace(file)
	_, err := b.trail.RunOnce(t.Context())
	require.ErrorIs(t, err, audit.ErrBehind)
	require.NoError(t, b.trail.CatchUp(t.Context()))
	b.run()
	require.Equal(t, n, b.openings())
	require.Equal(t, 512, b.pruned())
	b.sound()
}

// A backup that was made while openings went, between the word and the deed, and one
// with rows that waited and have gone since.
func TestABackupOfAnyMomentLosesOpeningsAgain(t *testing.T) {
	for name, moment := range map[string]func(b *bench) string{
		"told": func(b *bench) string {
			b.fill(1)
			b.run()
			b.stopsAt(theOpenings, b.pruneOpenings)
			require.Equal(b.t, 1, b.toldOf(auditlog.KindPrune))
			b.fill(300) // so that the word stands in a bundle that CatchUp does not read
			b.run()
			return b.backup()
		},
		"waiting": func(b *bench) string {
			b.advance(-2 * year)
			b.fill(9)
			file := b.backup()
			b.run()
			b.advance(2 * year)
			return file
		},
	} {
		for mirrors, back := range map[string]bool{"": false, " and the mirror": true} {
			t.Run(name+mirrors, func(t *testing.T) {
				b := newBench(t)
				b.config.Mirror = &audittest.Sink{}
				b.keeps()
				b.fill(10)
				b.run()
				b.advance(2 * year)
				file := moment(b)
				mirror := b.config.Mirror.(*audittest.Sink)
				b.fill(1)
				b.run()
				whole := mirror.FS()
				require.NoError(t, b.pruneOpenings())
				n := b.openings()
				if back {
					mirror.Set(whole)
				}
				b.restore(file)
				r, err := b.trail.CatchUpReport(t.Context())
				require.NoError(t, err)
				require.Zero(t, r.Lost, "what went with retention is not lost")
				b.run()
				require.Equal(t, n, b.openings())
				b.sound()
			})
		}
	}
}
