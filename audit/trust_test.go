package audit_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
	"github.com/crmguard/crmguard/audit/internal/c2sp"
	"github.com/crmguard/crmguard/audit/sqltrail"
)

// copyState copies what says how far the log is, as somebody may who reads the
// tables.
func (b *bench) copyState() {
	b.t.Helper()
	b.exec(`CREATE TABLE old_state AS SELECT * FROM crmguard_audit_state`)
	b.exec(`CREATE TABLE old_tiles AS SELECT * FROM crmguard_audit_tiles`)
}

// putBack puts back what copyState copied, and takes away what came since.
func (b *bench) putBack() {
	b.t.Helper()
	b.takeAway(`idx >= (SELECT size FROM old_state)`)
	b.exec(`DELETE FROM crmguard_audit_heads WHERE size > (SELECT size FROM old_state)`)
	b.exec(`DELETE FROM crmguard_audit_state`)
	b.exec(`INSERT INTO crmguard_audit_state SELECT * FROM old_state`)
	b.exec(`DELETE FROM crmguard_audit_tiles`)
	b.exec(`INSERT INTO crmguard_audit_tiles SELECT * FROM old_tiles`)
}

// beside is another process over the same database and folder.
func (b *bench) beside(change func(c *audit.Config)) *audit.Trail {
	b.t.Helper()
	config := b.config
	if change != nil {
		change(&config)
	}
	store, err := sqltrail.Open(b.t.Context(), b.db)
	require.NoError(b.t, err)
	trail, err := audit.Open(b.t.Context(), store, config)
	require.NoError(b.t, err)
	return trail
}

// Somebody has database and folder, and no key. Whatever they set the state row
// to, the service does not begin the log anew without the event that they took.
func TestALogIsNotBegunAnewWithoutAKey(t *testing.T) {
	empty := `size = 0, root = x'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855', beat = 0, beat_size = 0`
	for name, edit := range map[string]string{
		"only what was published": `published = 0`,
		"all of it":               `published = 0, ` + empty,
		"with the tag emptied":    `published = 0, tag = x'', ` + empty,
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.fill(30)
			b.run()
			kept := b.checkpoint()
			b.exec(`UPDATE crmguard_audit_state SET ` + edit)
			if name != "only what was published" {
				b.exec(`DELETE FROM crmguard_audit_tiles`)
				b.takeAway(`idx = 5 OR idx = 30`)
				b.exec(`UPDATE crmguard_audit_events SET idx = NULL`)
			}
			b.sink.Set(nil)
			for range 2 { // a running process, and one that starts
				_, err := b.trail.RunOnce(t.Context())
				require.ErrorIs(t, err, auditlog.ErrTampered)
				require.ErrorIs(t, b.trail.Beat(t.Context()), auditlog.ErrTampered)
				require.ErrorIs(t, b.trail.CatchUp(t.Context()), auditlog.ErrTampered)
				require.Equal(t, audit.HealthAlarm, b.found("audit.log", "").Level)
				b.open()
			}
			require.Empty(t, b.sink.FS(), "nothing is signed")
			require.Equal(t, auditlog.Tampered, b.verifyStore(kept).Verdict)
		})
	}
}

// The first state row is a true one. Whoever copied it and puts it back is found
// by a running process; a process that starts takes it, and no row that had its
// place gets another one. What it publishes is never ok.
func TestTheFirstStatePutBackGivesNoRowAnotherPlace(t *testing.T) {
	b := newBench(t)
	b.copyState()
	b.fill(10)
	b.run()
	kept := b.checkpoint()
	require.Zero(t, b.count(`SELECT COUNT(*) FROM crmguard_audit_events WHERE body IS NOT NULL`))
	b.exec(`DELETE FROM crmguard_audit_events WHERE idx = 10`)
	b.exec(`UPDATE crmguard_audit_events SET idx = NULL`)
	b.putBack()
	b.sink.Set(nil)
	_, err := b.trail.RunOnce(t.Context())
	require.ErrorIs(t, err, audit.ErrLogLost, "it was seen by this process")
	require.Empty(t, b.sink.FS())

	b.open()
	b.record(update("p1", 1))
	r := b.run()
	require.Equal(t, 1, r.Sequenced)
	require.Len(t, r.Refused, 10)
	require.Equal(t, auditlog.Unanchored, b.verifyLog(nil).Verdict)
	require.Equal(t, audit.HealthAlarm, b.found("audit.kept", "").Level)
	require.Equal(t, audit.HealthAlarm, b.found("audit.aside", "").Level)
	require.Equal(t, auditlog.RolledBack, b.verifyLog(kept).Verdict)
}

// Database and folder go back together, to a state that was true, under a process
// that has seen more. It needs no kept checkpoint to find it.
func TestARunningProcessFindsThatItsLogWentBack(t *testing.T) {
	b := newBench(t)
	b.fill(10)
	b.run()
	b.copyState()
	folder := b.sink.FS()
	b.fill(5)
	b.run()
	b.putBack()
	b.sink.Set(folder)
	b.record(update("p1", 1))
	for range 2 {
		_, err := b.trail.RunOnce(t.Context())
		require.ErrorIs(t, err, auditlog.ErrRolledBack)
		require.ErrorIs(t, b.trail.Beat(t.Context()), auditlog.ErrRolledBack)
		require.ErrorIs(t, b.trail.CatchUp(t.Context()), auditlog.ErrRolledBack, "published is published")
	}
	require.Contains(t, b.found("audit.log", "").Remedy, "shorter")
	require.Equal(t, folder, b.sink.FS())
}

// Entries that were not published yet go back alone.
func TestARunningProcessFindsThatItsDatabaseWentBack(t *testing.T) {
	b := newBench(t)
	b.fill(10)
	b.run()
	b.copyState()
	b.sink.Fail = func(op, _ string) error {
		if op == "swap" {
			return errCue
		}
		return nil
	}
	b.fill(5)
	_, err := b.trail.RunOnce(t.Context())
	require.ErrorIs(t, err, errCue, "sequenced, and not published")
	b.sink.Fail = nil
	b.putBack()
	_, err = b.trail.RunOnce(t.Context())
	require.ErrorIs(t, err, auditlog.ErrRolledBack)
	require.ErrorContains(t, err, "has 11 entries and had 16")
	require.NoError(t, b.trail.CatchUp(t.Context()), "the operator says that a replica took its place")
	b.run()
	require.Equal(t, auditlog.OK, b.verifyStore(b.checkpoint()).Verdict)
}

// The state goes back between the look at it and the sequencing.
func TestTheStateIsComparedWhereItMovesOn(t *testing.T) {
	b := newBench(t)
	b.fill(10)
	b.run()
	b.copyState()
	hook := &hookKeys{Keys: b.keys}
	b.config.Keys = hook
	b.open()
	folder := b.sink.FS()
	b.sink.Fail = func(op, _ string) error {
		if op == "swap" {
			return errCue
		}
		return nil
	}
	b.fill(5)
	_, err := b.trail.RunOnce(t.Context())
	require.ErrorIs(t, err, errCue)
	b.sink.Fail = nil
	b.fill(1)
	hook.after = func() { hook.after = nil; b.putBack() }
	_, err = b.trail.RunOnce(t.Context())
	require.ErrorIs(t, err, auditlog.ErrRolledBack)
	require.Equal(t, folder, b.sink.FS())
	require.Equal(t, 1, b.count(`SELECT COUNT(*) FROM crmguard_audit_events WHERE idx IS NULL`), "it stays in the queue")
}

// A process that has not seen the newest entries itself asks the kept checkpoint
// before each signature.
func TestTheKeptCheckpointIsAskedBeforeEachSignature(t *testing.T) {
	b := newBench(t)
	var kept []byte
	asked := 0
	running := b.beside(func(c *audit.Config) {
		c.Kept = func(ctx) ([]byte, error) { asked++; return kept, nil }
	})
	b.fill(10)
	_, err := running.RunOnce(t.Context())
	require.NoError(t, err)
	require.Equal(t, 2, asked, "when it began, and before it signed")
	b.copyState()
	folder := b.sink.FS()
	b.fill(5)
	b.run()
	kept = b.checkpoint()
	b.putBack()
	b.sink.Set(folder)
	b.record(update("p1", 1))
	_, err = running.RunOnce(t.Context())
	require.ErrorIs(t, err, auditlog.ErrRolledBack)
	require.Equal(t, folder, b.sink.FS(), "nothing is signed behind it")
}

func TestTheKeptCheckpointIsAskedFromTimeToTime(t *testing.T) {
	b := newBench(t)
	asked := 0
	var kept []byte
	b.config.Kept = func(ctx) ([]byte, error) { asked++; return kept, nil }
	b.config.KeptEvery = time.Hour
	b.open()
	b.fill(3)
	b.run()
	kept, asked = b.checkpoint(), 0
	for range 3 {
		b.run()
	}
	require.Zero(t, asked, "nothing is signed")
	b.advance(time.Hour)
	b.run()
	require.Equal(t, 1, asked)
	b.advance(-10 * 365 * 24 * time.Hour)
	b.run()
	require.Equal(t, 2, asked, "a clock that was set back puts it off for ever otherwise")
	other := newBench(t)
	other.config.Signer, other.config.Verifier = b.config.Signer, b.config.Verifier
	other.open()
	other.fill(2)
	other.run()
	kept = other.checkpoint()
	b.advance(time.Hour)
	_, err := b.trail.RunOnce(t.Context())
	require.ErrorIs(t, err, auditlog.ErrForked)
}

// lateSink answers the first reading of the checkpoint as it was, and lets
// something happen before it does.
type lateSink struct {
	audit.Sink
	meanwhile func()
}

func (l *lateSink) ReadFile(ctx context.Context, name string) ([]byte, error) {
	data, err := l.Sink.ReadFile(ctx, name)
	if name == "checkpoint" && l.meanwhile != nil {
		f := l.meanwhile
		l.meanwhile = nil
		f()
	}
	return data, err
}

// What another process does between two readings is no contradiction.
func TestWhatOthersDoMeanwhileIsNoContradiction(t *testing.T) {
	everything := func(b *bench) func() {
		return func() {
			b.record(update("p1", 1))
			b.run()
		}
	}
	t.Run("the first publication", func(t *testing.T) {
		b := newBench(t)
		b.fill(1)
		second := b.beside(func(c *audit.Config) { c.Sink = &lateSink{b.sink, everything(b)} })
		_, err := second.RunOnce(t.Context())
		require.NoError(t, err)
	})
	t.Run("a checkpoint kept after the head was read", func(t *testing.T) {
		b := newBench(t)
		b.fill(1)
		b.run()
		second := b.beside(func(c *audit.Config) {
			c.Kept = func(ctx) ([]byte, error) {
				everything(b)()
				return b.checkpoint(), nil
			}
		})
		_, err := second.RunOnce(t.Context())
		require.NoError(t, err)
	})
	t.Run("a store that answers late", func(t *testing.T) {
		b := newBench(t)
		b.fill(1)
		b.run()
		older := b.checkpoint()
		everything(b)()
		kept := b.checkpoint()
		sink := &staleSink{Sink: b.sink, stale: older, left: 2} // a look reads twice where the database has more
		second := b.beside(func(c *audit.Config) {
			c.Sink = sink
			c.Kept = func(ctx) ([]byte, error) { return kept, nil }
		})
		_, err := second.RunOnce(t.Context())
		require.NoError(t, err)
		require.Zero(t, sink.left, "what it said first contradicts what is kept")
	})
}

// staleSink answers with an older checkpoint at first, as a cache may.
type staleSink struct {
	audit.Sink
	stale []byte
	left  int
}

func (s *staleSink) ReadFile(ctx context.Context, name string) ([]byte, error) {
	if name == "checkpoint" && s.left > 0 {
		s.left--
		return s.stale, nil
	}
	return s.Sink.ReadFile(ctx, name)
}

// CatchUp gives the state row a new tag where the signed log vouches for what it
// says, and nowhere else.
func TestCatchUpTagsOnlyWhatIsPublished(t *testing.T) {
	b := newBench(t)
	b.fill(10)
	b.run()
	require.Positive(t, b.exec(`UPDATE crmguard_audit_state SET tag = x'00', published = 5, beat = 1`))
	_, err := b.trail.RunOnce(t.Context())
	require.ErrorIs(t, err, auditlog.ErrTampered)
	require.NoError(t, b.trail.CatchUp(t.Context()))
	b.fill(1)
	b.run()
	require.Equal(t, auditlog.OK, b.verifyStore(b.checkpoint()).Verdict)

	require.Positive(t, b.exec(`UPDATE crmguard_audit_state SET root = zeroblob(32)`))
	require.ErrorIs(t, b.trail.CatchUp(t.Context()), auditlog.ErrTampered)

	unpublished := newBench(t)
	unpublished.fill(10)
	unpublished.run()
	unpublished.plant("event", "019aaaaa-0000-7000-8000-000000000009", []byte("x"))
	require.ErrorIs(t, unpublished.trail.CatchUp(t.Context()), auditlog.ErrTampered, "nobody vouches for the last entry")
}

// A beat bears no tag of its own; what it says of the other stores is vouched for
// by the tag of the state row.
func TestABeatThatNobodySequencedIsNotSigned(t *testing.T) {
	b := newBench(t)
	b.fill(3)
	b.run()
	signed := b.checkpoint()
	const id = "019aaaaa-0000-7000-8000-000000000001"
	b.plant("beat", id, []byte(`{"at":"2026-11-22T09:00:00.000000Z","heads":{"seals":"AQ"},"id":"`+id+`","kind":"beat","size":4,"v":1}`))
	b.advance(time.Hour)
	for range 2 {
		_, err := b.trail.RunOnce(t.Context())
		require.ErrorIs(t, err, auditlog.ErrTampered)
		b.open()
	}
	require.Equal(t, signed, b.checkpoint())
	require.Equal(t, auditlog.Tampered, b.verifyStore(nil).Verdict)
}

// While the key of the tags does not answer, nobody is blamed for it.
func TestAStateWithoutItsKeyIsNoForgery(t *testing.T) {
	b := newBench(t)
	b.fill(3)
	b.run()
	down := errors.New("the keys are away")
	b.config.Keys = deafTag{b.keys, &down}
	b.open()
	for _, call := range []func(context.Context) error{
		func(ctx context.Context) error { _, err := b.trail.RunOnce(ctx); return err },
		b.trail.Beat, b.trail.CatchUp,
		func(ctx context.Context) error { _, err := b.trail.VerifyStore(ctx, nil); return err },
	} {
		err := call(t.Context())
		require.ErrorIs(t, err, down)
		require.NotErrorIs(t, err, auditlog.ErrTampered)
	}
	require.Equal(t, audit.HealthAlarm, b.found("audit.log", "").Level)
}

// Who damages the state row cannot hold up an erasure.
func TestADamagedStateHoldsUpNoErasure(t *testing.T) {
	b := newBench(t)
	b.fill(3)
	b.run()
	b.exec(`UPDATE crmguard_audit_state SET root = x'00'`)
	require.NoError(t, b.trail.Erase(t.Context(), "main", "p1"))
	require.Zero(t, b.count(`SELECT COUNT(*) FROM crmguard_audit_surrogates WHERE person = 'p1'`))
}

// A kept checkpoint of no entries vouches for none.
func TestAnEmptyKeptCheckpointAnchorsNothing(t *testing.T) {
	b := newBench(t)
	root, err := tlog.TreeHash(0, nil)
	require.NoError(t, err)
	kept, err := note.Sign(&note.Note{Text: c2sp.FormatCheckpoint("crm.example/audit/0", tlog.Tree{Hash: root})}, b.config.Signer)
	require.NoError(t, err)
	b.fill(1)
	b.run()
	r := b.verifyLog(kept)
	require.Equal(t, []auditlog.Verdict{auditlog.Unanchored, auditlog.OK, auditlog.Unanchored}, []auditlog.Verdict{r.Verdict, r.Log, r.Kept})
	b.config.Kept = func(ctx) ([]byte, error) { return kept, nil }
	b.open()
	b.requireLevels(map[string]int{"audit.kept": alarm})
	kept = b.checkpoint()
	b.requireLevels(map[string]int{"audit.kept": well})
	require.Equal(t, auditlog.OK, b.verifyStore(nil).Verdict, "the configured one is taken")
}

// The tag of a row that has its place is of no use to anybody, also where CatchUp
// gave it the place.
func TestCatchUpEmptiesTags(t *testing.T) {
	b := newBench(t)
	b.fill(3)
	file := b.backup()
	b.run()
	b.restore(file)
	require.Equal(t, 3, b.count(`SELECT COUNT(*) FROM crmguard_audit_events WHERE body IS NOT NULL`))
	require.NoError(t, b.trail.CatchUp(t.Context()))
	require.Zero(t, b.count(`SELECT COUNT(*) FROM crmguard_audit_events WHERE body IS NOT NULL AND idx IS NOT NULL`))
	id := b.record(update("p1", 1))
	err := b.in(func(tx *sql.Tx) error {
		e := update("p1", 1)
		e.ID = id
		return only(b.trail.Record(t.Context(), tx, e))
	})
	require.NoError(t, err, "a retry is told by its own tag")
}
