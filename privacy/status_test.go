package privacy_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// found is the one finding of that name and subject.
func (s *system) found(name, subject string) privacy.Finding {
	s.t.Helper()
	findings, err := s.desk.Status(s.t.Context())
	require.NoError(s.t, err)
	var out []privacy.Finding
	for _, f := range findings {
		require.Equal(s.t, f.Level == privacy.HealthOK, f.Remedy == "", "what is not well has a remedy: %v", f)
		if f.Name == name && f.Subject == subject {
			out = append(out, f)
		}
	}
	require.Len(s.t, out, 1, "%s %q", name, subject)
	return out[0]
}

func (s *system) requireLevel(want int, name string) {
	s.t.Helper()
	require.Equal(s.t, want, int(s.found(name, "").Level), "%v", s.found(name, ""))
}

const (
	well   = int(privacy.HealthOK)
	notice = int(privacy.HealthNotice)
	alarm  = int(privacy.HealthAlarm)
)

func TestASoundDeskSaysWhatItLookedAt(t *testing.T) {
	s := newSystem(t)
	s.erase(s.contact("ann@a.example"))
	findings, err := s.desk.Status(t.Context())
	require.NoError(t, err)
	levels := map[string]int{}
	for _, f := range findings {
		levels[f.Name] = int(f.Level)
	}
	require.Equal(t, map[string]int{
		"privacy.gate": well, "privacy.opening": well, "privacy.replay.pending": well, "privacy.replay.undecided": well, "privacy.numbers": well, "privacy.replay.age": well, "privacy.plans.ahead": well, "privacy.ledger": well, "privacy.ledger.anchors": notice, "privacy.clock": well,
		"privacy.plans.running": well, "privacy.plans.partial": well, "privacy.plans.waiting": well, "privacy.plans.forged": well, "privacy.store.durability": well,
	}, levels)
	require.EqualValues(t, 2, s.found("privacy.ledger", "").Value, "begun and done")
	s.anchor, err = s.desk.LedgerHead(t.Context())
	require.NoError(t, err)
	s.requireLevel(well, "privacy.ledger.anchors")
}

func TestARestoredDatabaseIsFoundUntilTheReplay(t *testing.T) {
	s := newSystem(t)
	ann := s.contact("ann@a.example")
	backup := s.snapshot()
	at := s.now
	s.erase(ann)
	s.restore(backup)
	s.requireLevel(alarm, "privacy.gate")
	f := s.found("privacy.gate", "")
	require.EqualValues(t, 2, f.Value)
	require.False(t, f.Since.Before(at))
	_, err := s.desk.Replay(t.Context())
	require.NoError(t, err)
	require.NoError(t, s.desk.Ready(t.Context()))
	s.requireLevel(well, "privacy.gate")
}

func TestAReplayThatDidNotGetThroughIsFound(t *testing.T) {
	s, x := newSystem(t), &searchIndex{holds: map[string]bool{}}
	s.with(x)
	ann := s.contact("ann@a.example")
	backup := s.snapshot()
	s.erase(ann)
	s.restore(backup)
	s.with(x)
	x.holds[ann], x.down = true, true
	_, err := s.desk.Replay(t.Context())
	require.Error(t, err)
	s.requireLevel(alarm, "privacy.replay.pending")
	require.EqualValues(t, 1, s.found("privacy.replay.pending", "").Value)
	x.down = false
	_, err = s.desk.Replay(t.Context())
	require.NoError(t, err)
	s.requireLevel(well, "privacy.replay.pending")
}

func TestALedgerThatIsNotThereIsFound(t *testing.T) {
	s := newSystem(t)
	s.erase(s.contact("ann@a.example"))
	anchor, err := s.desk.LedgerHead(t.Context())
	require.NoError(t, err)
	s.anchor = anchor
	s.requireLevel(well, "privacy.ledger")
	seen := s.now
	require.NoError(t, os.Rename(s.ledgerDir(), s.ledgerDir()+" unmounted"))
	s.requireLevel(alarm, "privacy.ledger")
	s.requireLevel(notice, "privacy.gate")
	require.False(t, s.found("privacy.ledger", "").Since.After(seen), "when it was seen last")
	require.NoError(t, s.desk.Ready(t.Context()), "as the notice says")
	s.now = s.now.Add(48 * time.Hour)
	s.requireLevel(alarm, "privacy.gate")
	require.ErrorIs(t, s.desk.Ready(t.Context()), erasurelog.ErrUnreachable)
	require.NoError(t, os.Rename(s.ledgerDir()+" unmounted", s.ledgerDir()))
	s.requireLevel(well, "privacy.ledger")
	s.requireLevel(well, "privacy.gate")

	whole, err := os.ReadFile(s.ledgerPath())
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(s.ledgerPath(), nil, 0o600))
	s.requireLevel(alarm, "privacy.ledger")
	s.requireLevel(alarm, "privacy.gate")
	require.NoError(t, os.WriteFile(s.ledgerPath(), whole, 0o600))
	s.requireLevel(well, "privacy.ledger")
}

func TestAnAnchorThatDoesNotAnswerIsFound(t *testing.T) {
	s := newSystem(t)
	down := errors.New("ann@a.example is no host")
	ledger, err := erasurelog.Open(erasurelog.Config{
		Medium: erasurelog.Folder(s.ledgerDir()), Digests: digestsOf(s.roots...),
		Anchors: []erasurelog.Anchor{{Name: "kept elsewhere", Head: func(context.Context) ([]byte, error) { return s.anchor, down }}},
	})
	require.NoError(t, err)
	s.cfg.Ledger = ledger
	s.reopen()
	s.requireLevel(alarm, "privacy.ledger.anchors")
	down = nil
	s.requireLevel(notice, "privacy.ledger.anchors")
}

func TestPlansThatWaitForSomebodyAreFound(t *testing.T) {
	s := newSystem(t)
	ann := s.contact("ann@a.example")
	since := s.now
	p, err := s.desk.PlanErasure(t.Context(), privacy.Request{Tenant: "main", Person: ann, Reason: "r", By: "user/1"})
	require.NoError(t, err)
	s.requireLevel(well, "privacy.plans.waiting")
	s.now = s.now.Add(25 * time.Hour)
	s.requireLevel(notice, "privacy.plans.waiting")
	require.True(t, since.Equal(s.found("privacy.plans.waiting", "").Since))
	require.NoError(t, s.desk.Approve(t.Context(), p.ID, "user/2"))
	s.now = s.now.Add(25 * time.Hour)
	s.requireLevel(notice, "privacy.plans.waiting")
	outcome, err := s.desk.Execute(t.Context(), p.ID)
	require.NoError(t, err)
	require.Equal(t, privacy.Waiting, outcome.State)
	s.requireLevel(well, "privacy.plans.waiting")
	s.requireLevel(notice, "privacy.plans.running")
	s.now = outcome.Until
	_, err = s.desk.Execute(t.Context(), p.ID)
	require.NoError(t, err)
	s.requireLevel(well, "privacy.plans.running")
}

func TestAnErasureThatLeftSomethingIsFound(t *testing.T) {
	s := newSystem(t)
	ann := s.contact("ann@a.example")
	s.keys.seal(t, ann, "x")
	p := s.approved(ann)
	s.keys.broken = true
	outcome, err := s.desk.Execute(t.Context(), p.ID)
	require.NoError(t, err)
	require.Equal(t, privacy.Partial, outcome.State)
	s.requireLevel(alarm, "privacy.plans.partial")
	require.EqualValues(t, 1, s.found("privacy.plans.partial", "").Value)
	s.keys.broken = false
	outcome, err = s.desk.Execute(t.Context(), p.ID)
	require.NoError(t, err)
	s.now = outcome.Until
	outcome, err = s.desk.Execute(t.Context(), p.ID)
	require.NoError(t, err)
	require.Equal(t, privacy.Done, outcome.State)
	s.requireLevel(well, "privacy.plans.partial")
}

func TestAClockBehindTheLedgerIsFound(t *testing.T) {
	s := newSystem(t)
	s.erase(s.contact("ann@a.example"))
	s.now = s.now.Add(-time.Hour)
	s.requireLevel(alarm, "privacy.clock")
	require.Positive(t, s.found("privacy.clock", "").Value)
	s.now = s.now.Add(time.Hour)
	s.requireLevel(well, "privacy.clock")
}

func TestADeskWhoseDatabaseLosesCommitsIsFound(t *testing.T) {
	s := newSystem(t)
	s.exec(`PRAGMA synchronous = NORMAL`)
	require.Equal(t, privacy.HealthAlarm, s.found("privacy.store.durability", "synchronous").Level)
	s.exec(`PRAGMA synchronous = FULL`)
	s.requireLevel(well, "privacy.store.durability")
}

func TestFindingsOfADeskHoldNoPerson(t *testing.T) {
	s, x := newSystem(t), &searchIndex{holds: map[string]bool{}}
	s.with(x)
	const person = "secret-person"
	s.contactOf(person, "c1", "secret@crm.example")
	backup := s.snapshot()
	s.erase(person)
	s.restore(backup)
	s.with(x)
	x.holds[person], x.down = true, true
	_, err := s.desk.Replay(t.Context())
	require.Error(t, err)
	_, err = s.desk.PlanErasure(t.Context(), privacy.Request{Tenant: "main", Person: person, Reason: "r", By: "user/secret", Empty: true})
	require.NoError(t, err)
	s.now = s.now.Add(48 * time.Hour)
	s.requireLevel(alarm, "privacy.replay.pending")
	findings, err := s.desk.Status(t.Context())
	require.NoError(t, err)
	text, err := json.Marshal(findings)
	require.NoError(t, err)
	require.NotContains(t, string(text), "secret")
}
