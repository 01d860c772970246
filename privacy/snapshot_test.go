package privacy_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// waits executes once and expects that nothing is left.
func (s *system) waits(plan string) {
	o, err := s.desk.Execute(s.t.Context(), plan)
	require.NoError(s.t, err)
	require.Equal(s.t, privacy.Waiting, o.State, "%+v", o.Stores)
}

// isPartial executes once and expects that something is left.
func (s *system) isPartial(plan string) {
	o, err := s.desk.Execute(s.t.Context(), plan)
	require.NoError(s.t, err)
	require.Equal(s.t, privacy.Partial, o.State)
}

// behind expects a shut gate, and a replay that opens it.
func (s *system) behind() {
	require.ErrorIs(s.t, s.desk.Ready(s.t.Context()), privacy.ErrBehind, "the gate would serve whom the ledger names")
	_, err := s.desk.Replay(s.t.Context())
	require.NoError(s.t, err)
	require.NoError(s.t, s.desk.Ready(s.t.Context()))
}

// A backup runs when it runs. One from before the transaction that erases is
// behind the ledger; one from after it has nothing of the person, and the
// erasure goes on from there.
func TestASnapshotTakenWhileErasing(t *testing.T) {
	eachSystem(t, func(t *testing.T, s *system) {
		ann := s.contact("ann@a.example")
		p := s.approved(ann)
		backup, before := "", s.snapshot()
		s.cfg.Stores = append([]datastore.Store{datastore.Func{Name: "first", Class: datastore.Deleted, Erase: func(context.Context, string, string) error {
			if backup == "" {
				backup = s.snapshot()
			}
			return nil
		}}.Store()}, s.cfg.Stores...)
		s.reopen()
		s.waits(p.ID) // no done yet: the ledger says no more than at the snapshot
		require.Equal(t, []string{"intent"}, ops(t, s))
		require.NoError(t, s.desk.Ready(t.Context()), "the live database is not behind")

		s.restore(backup)
		require.Equal(t, 0, s.count(`SELECT COUNT(*) FROM contacts WHERE person = ?`, ann), "the database had erased")
		require.ErrorIs(t, s.desk.Ready(t.Context()), privacy.ErrBehind, "the other stores had not been asked")
		s.waits(p.ID)
		require.NoError(t, s.desk.Ready(t.Context()))
		s.now = s.now.Add(time.Minute)
		o, err := s.desk.Execute(t.Context(), p.ID)
		require.NoError(t, err)
		require.Equal(t, privacy.Done, o.State)
		require.Nil(t, s.keys.keys[ann])

		s.restore(before)
		require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM contacts WHERE person = ?`, ann), "the backup brought the person back")
		s.behind()
		require.Equal(t, 0, s.count(`SELECT COUNT(*) FROM contacts WHERE person = ?`, ann))
	})
}

// What was left is erased later without another entry in the ledger.
func TestASnapshotTakenWhilePartialIsBehindTheLedger(t *testing.T) {
	eachSystem(t, func(t *testing.T, s *system) {
		ann := s.contact("ann@a.example")
		p := s.approved(ann)
		database := s.cfg.Database
		s.cfg.Database = lazy{database}
		s.reopen()
		s.isPartial(p.ID)
		backup := s.snapshot()
		s.cfg.Database = database
		s.reopen()
		s.waits(p.ID)
		require.Equal(t, []string{"intent", "partial"}, ops(t, s))
		require.NoError(t, s.desk.Ready(t.Context()))

		s.restore(backup)
		require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM contacts WHERE person = ?`, ann))
		s.behind()
		require.Equal(t, 0, s.count(`SELECT COUNT(*) FROM contacts WHERE person = ?`, ann))
		s.waits(p.ID)
		s.now = s.now.Add(time.Minute)
		o, err := s.desk.Execute(t.Context(), p.ID)
		require.NoError(t, err)
		require.Equal(t, privacy.Done, o.State)
		require.NoError(t, s.desk.Ready(t.Context()))
	})
}

// The mark had passed the first partial already when something came back.
func TestASnapshotTakenWhilePartialAgainIsBehindTheLedger(t *testing.T) {
	s := newSystem(t)
	ann := s.contact("ann@a.example")
	p := s.approved(ann)
	s.keys.broken = true
	s.isPartial(p.ID)
	s.keys.broken = false
	s.waits(p.ID)
	s.exec(`INSERT INTO contacts VALUES (?, ?, 'CH', NULL, x'00', 7, ?)`, newID(), ann, s.now.Add(-time.Hour).UnixMicro())
	database := s.cfg.Database
	s.cfg.Database = lazy{database}
	s.reopen()
	s.now = s.now.Add(time.Minute)
	s.isPartial(p.ID)
	s.isPartial(p.ID)
	require.Equal(t, []string{"intent", "partial", "partial"}, ops(t, s), "said anew, once")
	backup := s.snapshot()
	s.cfg.Database = database
	s.reopen()
	s.now = s.now.Add(time.Hour)
	o, err := s.desk.Execute(t.Context(), p.ID)
	require.NoError(t, err)
	require.Equal(t, privacy.Waiting, o.State)
	require.Equal(t, s.now.Add(5*time.Second), o.Until, "the lease begins when nothing is left, not when that was so before")

	s.restore(backup)
	require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM contacts WHERE person = ?`, ann))
	s.behind()
}

// One erasure that cannot be finished does not keep others from theirs; but
// their entries do not hide it either.
func TestOthersAreErasedWhileOneIsPartial(t *testing.T) {
	eachSystem(t, func(t *testing.T, s *system) {
		ann, bob := s.contact("ann@a.example"), s.contact("bob@b.example")
		p := s.approved(ann)
		s.cfg.Stores = append(s.cfg.Stores, datastore.Func{Name: "archive", Class: datastore.Deleted, Erase: func(_ context.Context, _, person string) error {
			if person == ann {
				return errBlown
			}
			return nil
		}}.Store())
		s.reopen()
		archive := s.cfg.Stores[1]
		s.isPartial(p.ID)
		s.erase(bob)
		require.Equal(t, []string{"intent", "partial", "intent", "done"}, ops(t, s))
		require.ErrorIs(t, s.desk.Ready(t.Context()), privacy.ErrBehind, "an erasure of the ledger is not carried out here")
		backup := s.snapshot()

		s.cfg.Stores = s.cfg.Stores[:1] // the archive is given up
		s.reopen()
		s.waits(p.ID)
		require.NoError(t, s.desk.Ready(t.Context()), "every erasure is carried out")
		s.now = s.now.Add(time.Minute)
		o, err := s.desk.Execute(t.Context(), p.ID)
		require.NoError(t, err)
		require.Equal(t, privacy.Done, o.State)
		require.NoError(t, s.desk.Ready(t.Context()))

		s.restore(backup)
		s.cfg.Stores = append(s.cfg.Stores, archive)
		s.reopen()
		require.ErrorIs(t, s.desk.Ready(t.Context()), privacy.ErrBehind)
		carl := s.contact("carl@c.example")
		other := s.approved(carl)
		_, err = s.desk.Execute(t.Context(), other.ID)
		require.ErrorIs(t, err, privacy.ErrBehind, "done in the ledger and running here is a restored database")
		require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM contacts WHERE person = ?`, carl))
	})
}

// A plan that is running for more persons than the one that was erased
// meanwhile stays: the ledger names them all.
func TestARunningPlanOfMorePersonsOutlivesTheErasureOfOne(t *testing.T) {
	s := newSystem(t)
	ann, merged := s.contact("ann@a.example"), s.contact("ann.old@a.example")
	s.cfg.Aliases = func(context.Context, string, string) ([]string, error) { return []string{ann, merged}, nil }
	s.reopen()
	both := s.approved(ann)
	s.keys.broken = true
	s.isPartial(both.ID)
	s.keys.broken = false
	s.cfg.Aliases = nil
	s.reopen()
	s.erase(ann)
	require.Equal(t, "left", s.state(both.ID))
	s.waits(both.ID)
	s.now = s.now.Add(time.Minute)
	_, err := s.desk.Execute(t.Context(), both.ID)
	require.NoError(t, err)
	require.Equal(t, "done", s.state(both.ID))
	require.Nil(t, s.keys.keys[merged])
	require.NoError(t, s.desk.Ready(t.Context()))
}

// A twin of the plan that is done has nothing left to do.
func TestAPartialTwinEndsWithTheErasure(t *testing.T) {
	s := newSystem(t)
	ann := s.contact("ann@a.example")
	twin := s.approved(ann)
	s.keys.broken = true
	s.isPartial(twin.ID)
	s.keys.broken = false
	s.erase(ann)
	require.Equal(t, "cancelled", s.state(twin.ID))
	require.NoError(t, s.desk.Ready(t.Context()))
	s.erase(s.contact("bob@b.example"))
	require.NoError(t, s.desk.Ready(t.Context()))
}
