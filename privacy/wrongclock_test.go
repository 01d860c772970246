package privacy_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A clock that was behind when the last store answered does not make the lease of
// cached keys end early.
func TestTheLeaseDoesNotBeginBeforeTheErasure(t *testing.T) {
	eachQuick(t, func(t *testing.T, s *system) {
		s.cfg.Lease = time.Hour
		s.reopen()
		p := s.approved(s.contact("ann@a.example"))
		s.keys.broken = true
		s.isPartial(p.ID)
		s.keys.broken = false
		right := s.now
		s.now = right.Add(-2 * time.Hour)
		s.waits(p.ID)
		s.now = right.Add(time.Minute)
		s.waits(p.ID)
		s.now = s.now.Add(time.Hour)
		s.done(p.ID)
	})
}

// A plan is made behind an erasure of its person, also where the clock was behind
// when it was made.
func TestAPlanByAClockThatWasBehind(t *testing.T) {
	eachQuick(t, func(t *testing.T, s *system) {
		ann := s.contact("ann@a.example")
		s.done(s.approved(ann).ID)
		s.exec(`INSERT INTO contacts VALUES (?, ?, 'CH', NULL, NULL, 7, ?)`, newID(), ann, s.now.UnixMicro())
		right := s.now
		s.now = right.Add(-time.Hour)
		p := s.approved(ann)
		s.now = right.Add(time.Minute)
		s.done(p.ID)
		require.Zero(t, s.count(`SELECT COUNT(*) FROM contacts WHERE person = ?`, ann))
	})
}

// Nor does a row that is older than what the ledger says last of its plan.
func TestAnOlderRowDoesNotEndTheLease(t *testing.T) {
	s := quick(t)
	s.cfg.Lease = time.Hour
	s.reopen()
	ann := s.contact("ann@a.example")
	p := s.approved(ann)
	s.waits(p.ID)
	older := s.planRow(p.ID)
	s.now = s.now.Add(30 * time.Minute)
	s.keys.keys[ann], s.keys.broken = seqKey(7), true // a process had it cached
	s.isPartial(p.ID)
	s.keys.broken = false
	s.putPlan(p.ID, older)
	s.now = s.now.Add(31 * time.Minute)
	s.waits(p.ID)
	s.now = s.now.Add(time.Hour)
	s.done(p.ID)
}
