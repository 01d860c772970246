package audit_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/auditlog"
)

// found is the one finding of that name and subject.
func (b *bench) found(name, subject string) audit.Finding {
	b.t.Helper()
	findings, err := b.trail.Status(b.t.Context())
	require.NoError(b.t, err)
	var out []audit.Finding
	for _, f := range findings {
		require.Equal(b.t, f.Level == audit.HealthOK, f.Remedy == "", "what is not well has a remedy: %v", f)
		if f.Name == name && f.Subject == subject {
			out = append(out, f)
		}
	}
	require.Len(b.t, out, 1, "%s %q", name, subject)
	return out[0]
}

func (b *bench) requireLevels(want map[string]int) {
	b.t.Helper()
	findings, err := b.trail.Status(b.t.Context())
	require.NoError(b.t, err)
	got := map[string]int{}
	for _, f := range findings {
		if f.Subject == "" {
			got[f.Name] = int(f.Level)
		}
	}
	for name, level := range want {
		require.Contains(b.t, got, name)
		require.Equal(b.t, level, got[name], "%s: %v", name, b.found(name, ""))
	}
}

const (
	well  = int(audit.HealthOK)
	alarm = int(audit.HealthAlarm)
)

func TestASoundTrailSaysWhatItLookedAt(t *testing.T) {
	b := newBench(t)
	b.fill(2)
	b.pass()
	findings, err := b.trail.Status(t.Context())
	require.NoError(t, err)
	names := map[string]int{}
	for _, f := range findings {
		names[f.Name] = int(f.Level)
	}
	require.Equal(t, map[string]int{
		"audit.queue": well, "audit.unpublished": well, "audit.beat.age": well, "audit.log": well, "audit.kept": alarm,
		"audit.run.failing": well, "audit.refused": well, "audit.aside": well, "audit.unmapped": well, "audit.heads": well, "audit.erased": well, "audit.gap": well, "audit.store.durability": well,
		"audit.clock": well,
	}, names)
	require.EqualValues(t, 3, b.found("audit.log", "").Value, "two events and a beat")
}

// pass is a pass of the sequencer that succeeds.
func (b *bench) pass() {
	b.t.Helper()
	_, err := b.trail.RunOnce(b.t.Context())
	require.NoError(b.t, err)
}

func TestAnIdleTrailIsWell(t *testing.T) {
	b := newBench(t)
	b.requireLevels(map[string]int{"audit.queue": well, "audit.unpublished": well, "audit.beat.age": well, "audit.log": well})
	b.fill(1)
	b.pass()
	b.advance(10 * 365 * 24 * time.Hour)
	b.requireLevels(map[string]int{"audit.queue": well, "audit.unpublished": well, "audit.beat.age": well, "audit.log": well})
}

func TestASequencerThatDoesNotRunIsFound(t *testing.T) {
	b := newBench(t)
	b.fill(2)
	since := time.UnixMicro(b.clock.Load())
	b.requireLevels(map[string]int{"audit.queue": well, "audit.beat.age": well})
	require.EqualValues(t, 2, b.found("audit.queue", "").Value)
	b.advance(3 * time.Minute)
	b.requireLevels(map[string]int{"audit.queue": alarm, "audit.beat.age": alarm})
	require.True(t, since.Equal(b.found("audit.queue", "").Since))
	b.pass()
	b.requireLevels(map[string]int{"audit.queue": well, "audit.beat.age": well})
}

// An event of a process whose clock was ten years ahead waits, too.
func TestAnEventFromTheFutureIsLateToo(t *testing.T) {
	b := newBench(t)
	b.advance(10 * 365 * 24 * time.Hour)
	b.fill(1)
	b.advance(-10 * 365 * 24 * time.Hour)
	b.requireLevels(map[string]int{"audit.queue": alarm})
	b.pass()
	b.requireLevels(map[string]int{"audit.queue": well})
}

func TestASinkThatFailsIsFoundUntilItIsBack(t *testing.T) {
	b := newBench(t)
	b.fill(1)
	b.pass()
	b.fill(1)
	full := errors.New("the disk is full")
	b.sink.Fail = func(op, _ string) error {
		if op == "swap" {
			return full
		}
		return nil
	}
	_, err := b.trail.RunOnce(t.Context())
	require.ErrorIs(t, err, full)
	since := time.UnixMicro(b.clock.Load())
	b.requireLevels(map[string]int{"audit.unpublished": well, "audit.run.failing": alarm})
	require.EqualValues(t, 1, b.found("audit.unpublished", "").Value)
	b.advance(2 * time.Minute)
	_, err = b.trail.RunOnce(t.Context())
	require.ErrorIs(t, err, full)
	b.requireLevels(map[string]int{"audit.unpublished": alarm, "audit.run.failing": alarm})
	require.True(t, since.Equal(b.found("audit.unpublished", "").Since))
	require.True(t, since.Equal(b.found("audit.run.failing", "").Since), "since the first that failed")
	b.sink.Fail = func(string, string) error { return full }
	b.requireLevels(map[string]int{"audit.log": alarm})
	b.sink.Fail = nil
	b.pass()
	b.requireLevels(map[string]int{"audit.unpublished": well, "audit.run.failing": well, "audit.log": well})
}

func TestAHeadThatDoesNotAnswerLetsNoBeatBe(t *testing.T) {
	b := newBench(t)
	down := errors.New("the ledger is down")
	answer := down
	b.config.Heads.Ledger = func(context.Context) (int64, []byte, error) { return 1, []byte{1}, answer }
	b.open()
	b.fill(1)
	_, err := b.trail.RunOnce(t.Context())
	require.ErrorIs(t, err, audit.ErrHead)
	b.advance(3 * time.Minute)
	b.requireLevels(map[string]int{"audit.beat.age": alarm, "audit.queue": well, "audit.run.failing": alarm})
	answer = nil
	b.pass()
	b.requireLevels(map[string]int{"audit.beat.age": well, "audit.run.failing": well})
}

func TestAPlantedRowIsFoundUntilItIsGone(t *testing.T) {
	b := newBench(t)
	b.rewrite(b.fill(1)[0], "u-1", "u-2")
	_, err := b.trail.RunOnce(t.Context())
	require.NoError(t, err)
	b.requireLevels(map[string]int{"audit.refused": well, "audit.aside": alarm})
	require.EqualValues(t, 1, b.found("audit.aside", "").Value)
	b.pass()
	b.requireLevels(map[string]int{"audit.refused": well, "audit.aside": alarm})
	n, err := b.trail.Dismiss(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, n)
	b.pass()
	b.requireLevels(map[string]int{"audit.refused": well, "audit.aside": well})
}

func TestAnOlderDatabaseIsFoundUntilItHasCaughtUp(t *testing.T) {
	b := newBench(t)
	b.fill(1)
	b.pass()
	older := filepath.Join(t.TempDir(), "older.db")
	b.exec(`VACUUM INTO '` + older + `'`)
	b.advance(2 * time.Minute)
	b.fill(1)
	b.pass()
	require.NoError(t, b.db.Close())
	b.db = openDB(t, older)
	b.open()
	b.requireLevels(map[string]int{"audit.log": alarm})
	require.Contains(t, b.found("audit.log", "").Remedy, "CatchUp")
	require.NoError(t, b.trail.CatchUp(t.Context()))
	b.requireLevels(map[string]int{"audit.log": well})
}

func TestTheKeptCheckpointIsCompared(t *testing.T) {
	b := newBench(t)
	var kept []byte
	var down error
	b.config.Kept = func(context.Context) ([]byte, error) { return kept, down }
	b.open()
	b.requireLevels(map[string]int{"audit.kept": alarm})
	b.fill(1)
	b.pass()
	signed, err := b.trail.Checkpoint(t.Context())
	require.NoError(t, err)
	kept = signed
	b.requireLevels(map[string]int{"audit.kept": well})
	require.EqualValues(t, 2, b.found("audit.kept", "").Value)
	down = errors.New("unreachable")
	b.requireLevels(map[string]int{"audit.kept": alarm})
	down = nil
	kept = []byte("something else")
	b.requireLevels(map[string]int{"audit.kept": alarm})

	// A folder and a database that went back together agree with each other.
	kept = signed
	other := newBench(t)
	other.config = b.config
	other.config.Sink = other.sink
	other.open()
	other.requireLevels(map[string]int{"audit.kept": alarm})
	require.Contains(t, other.found("audit.kept", "").Remedy, "shorter")
	b.requireLevels(map[string]int{"audit.kept": well})
}

func TestATrailWhoseDatabaseLosesCommitsIsFound(t *testing.T) {
	b := newBench(t)
	b.db.SetMaxOpenConns(1)
	b.exec(`PRAGMA synchronous = OFF`)
	require.Equal(t, audit.HealthAlarm, b.found("audit.store.durability", "synchronous").Level)
	b.exec(`PRAGMA synchronous = FULL`)
	require.Equal(t, audit.HealthOK, b.found("audit.store.durability", "").Level)
}

func TestFindingsOfATrailHoldNoPerson(t *testing.T) {
	b := newBench(t)
	const person = "secret@crm.example"
	b.config.Kept = func(context.Context) ([]byte, error) { return nil, errors.New(person) }
	b.config.Interval = time.Second
	b.open()
	b.rewrite(b.record(update(person, 1)), "u-1", "u-2")
	b.sink.Fail = func(string, string) error { return &os.PathError{Op: "write", Path: person, Err: os.ErrPermission} }
	_, err := b.trail.RunOnce(t.Context())
	require.Error(t, err)
	b.advance(time.Hour)
	findings, err := b.trail.Status(t.Context())
	require.NoError(t, err)
	text, err := json.Marshal(findings)
	require.NoError(t, err)
	require.NotContains(t, string(text), "secret")
	require.NotContains(t, string(text), "canary")
}

// Whoever may write indexes, and nothing else, can give a queued event one that the
// log does not have. No pass sees it then; VerifyStore does.
func TestAnEventThatWasParkedBesideTheLogIsFound(t *testing.T) {
	for _, index := range []int64{-1, 1 << 40} {
		b := newBench(t)
		b.fill(3)
		b.run()
		b.fill(1)
		b.exec(`UPDATE crmguard_audit_events SET idx = ? WHERE idx IS NULL`, index)
		b.advance(time.Hour)
		b.run()
		require.Equal(t, auditlog.Tampered, b.verifyStore(nil).Verdict)
	}
}
