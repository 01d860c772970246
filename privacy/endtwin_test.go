package privacy_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// Somebody who may write the tables names another person in the row of an erasure
// that is not finished: it does not end with that person's, and the gate stays
// shut until a replay has finished it.
func TestAForgedRowDoesNotEndWithAnotherPersonsErasure(t *testing.T) {
	eachQuick(t, func(t *testing.T, s *system) {
		ann, bob := s.contact("ann@a.example"), s.contact("bob@b.example")
		mine, theirs := s.approved(ann), s.approved(bob)
		s.keys.broken = true
		s.isPartial(theirs.ID)
		s.keys.broken = false
		s.ask().f = func(context.Context) error {
			s.exec(`UPDATE crmguard_privacy_plan SET state = 'approved', erased = 1, person = (SELECT person FROM crmguard_privacy_plan WHERE id = ?) WHERE id = ?`, mine.ID, theirs.ID)
			return nil
		}
		_, err := s.desk.Execute(t.Context(), mine.ID)
		left, _ := s.keys.left(t.Context(), "main", bob)
		require.Equal(t, 1, left, "nobody has seen to it")
		require.ErrorIs(t, s.desk.Ready(t.Context()), privacy.ErrBehind, "the row was written by somebody, and is believed")
		require.ErrorIs(t, err, privacy.ErrBehind)
		_, err = s.desk.Replay(t.Context())
		require.NoError(t, err)
		left, _ = s.keys.left(t.Context(), "main", bob)
		require.Zero(t, left)
		require.NoError(t, s.desk.Ready(t.Context()))
		s.done(mine.ID)
	})
}

// An erasure of the same person that begins in another process when this one has
// read back is not done with it: what it is about may have come in between.
func TestATwinThatBeginsBehindTheReadingBack(t *testing.T) {
	eachQuick(t, func(t *testing.T, s *system) {
		ann := s.contact("ann@a.example")
		first, second := s.approved(ann), s.approved(ann)
		other, begun := s.desk, false
		s.cfg.Prepare = func(ctx context.Context, _ string, _ ...string) error {
			if begun || s.state(first.ID) != "erased" {
				return nil
			}
			begun = true // and the process that begins it does not come to its end
			s.keys.keys[ann], s.keys.broken = seqKey(7), true
			o, err := other.Execute(ctx, second.ID)
			require.NoError(t, err)
			require.Equal(t, privacy.Partial, o.State)
			s.keys.broken = false
			return nil
		}
		s.reopen()
		s.done(first.ID)
		require.True(t, begun)
		ledger, err := s.ledger.Read(t.Context())
		require.NoError(t, err)
		require.Equal(t, erasurelog.Finished, ledger.Status(second.ID))
		left, _ := s.keys.left(t.Context(), "main", ann)
		require.Zero(t, left, "done, and a store was not asked")
		require.NoError(t, s.desk.Ready(t.Context()))
	})
}

// Nor does a plan end that was made since.
func TestATwinThatIsPlannedBehindTheReadingBack(t *testing.T) {
	s := quick(t)
	ann := s.contact("ann@a.example")
	first := s.approved(ann)
	var second *privacy.Plan
	other := s.desk
	s.ask().f = func(ctx context.Context) error {
		if second != nil {
			return nil
		}
		s.now = s.now.Add(time.Second)
		var err error
		second, err = other.PlanErasure(ctx, privacy.Request{Tenant: "main", Person: ann, Reason: "r", By: "user/1", Empty: true})
		return err
	}
	s.done(first.ID)
	require.Equal(t, "planned", s.state(second.ID))
}

// Nor does one that is for somebody, too, who was merged into the person since.
func TestAPlanForMoreThanThePersonGoesOn(t *testing.T) {
	s := quick(t)
	s.cfg.Lease = time.Hour
	s.reopen()
	ann, alias := s.contact("ann@a.example"), s.contact("ann@old.example")
	first := s.approved(ann)
	s.waits(first.ID)
	s.cfg.Aliases = func(_ context.Context, _, person string) ([]string, error) {
		if person == ann {
			return []string{alias}, nil
		}
		return nil, nil
	}
	s.reopen()
	second, err := s.desk.PlanErasure(t.Context(), privacy.Request{Tenant: "main", Person: ann, Reason: "r", By: "user/1"})
	require.NoError(t, err)
	require.NoError(t, s.desk.Approve(t.Context(), second.ID, "user/2"))
	s.now = s.now.Add(time.Hour)
	s.done(first.ID)
	require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM contacts WHERE person = ?`, alias))
	s.waits(second.ID)
	require.Zero(t, s.count(`SELECT COUNT(*) FROM contacts WHERE person = ?`, alias))
	s.now = s.now.Add(time.Hour)
	s.done(second.ID)
	require.NoError(t, s.desk.Ready(t.Context()))
}
