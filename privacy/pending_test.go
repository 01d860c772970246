package privacy_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// searchIndex is a store without a list of people, that can be down.
type searchIndex struct {
	holds map[string]bool
	down  bool
}

func (x *searchIndex) store() datastore.Store {
	return datastore.Func{
		Name: "index", Class: datastore.Deleted,
		Erase: func(_ context.Context, _, person string) error {
			if x.down {
				return errors.New("down")
			}
			delete(x.holds, person)
			return nil
		},
		Remaining: func(_ context.Context, _, person string) (int, error) {
			if x.holds[person] {
				return 1, nil
			}
			return 0, nil
		},
	}.Store()
}

func (s *system) with(x *searchIndex) {
	s.cfg.Stores = append(s.cfg.Stores, x.store())
	s.reopen()
}

// A store that was down in a replay is asked again by the next, although the
// others have nothing of the person any more, and the gate waits for it: in
// this process, in the next, and where the database never looked behind.
func TestAStoreThatWasDownInAReplayIsAskedAgain(t *testing.T) {
	for _, tables := range []bool{false, true} {
		for _, last := range []bool{false, true} {
			s, x := newSystem(t), &searchIndex{holds: map[string]bool{}}
			s.with(x)
			ann, bob := s.contact("ann@a.example"), s.contact("bob@b.example")
			x.holds[ann], x.holds[bob] = true, true
			backup := s.snapshot()
			s.erase(ann)
			if tables { // some tables only are restored: the mark stays
				s.exec(`ATTACH ? AS old`, backup)
				s.exec(`INSERT OR IGNORE INTO main.contacts SELECT * FROM old.contacts`)
				s.exec(`DETACH old`)
			} else {
				s.restore(backup)
				s.with(x)
			}
			if last { // the stores in the other order
				s.cfg.Stores[0], s.cfg.Stores[2] = s.cfg.Stores[2], s.cfg.Stores[0]
				s.reopen()
			}
			x.holds[ann], x.down = true, true
			for range 2 {
				_, err := s.desk.Replay(t.Context())
				require.Error(t, err)
				require.ErrorIs(t, s.desk.Current(t.Context()), privacy.ErrBehind)
				require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM contacts`), "the database has erased")
				s.open() // a new process
				s.with(x)
				require.ErrorIs(t, s.desk.Current(t.Context()), privacy.ErrBehind)
			}
			var gate *privacy.GateError
			require.ErrorAs(t, s.desk.Current(t.Context()), &gate)
			require.Equal(t, 1, gate.Pending)
			require.NotContains(t, gate.Error(), ann)
			x.down = false
			_, err := s.desk.Replay(t.Context())
			require.NoError(t, err)
			require.Equal(t, map[string]bool{bob: true}, x.holds)
			require.NoError(t, s.desk.Current(t.Context()))
			require.Equal(t, 0, s.count(`SELECT COUNT(*) FROM crmguard_privacy_pending`), "nobody's id stays")
		}
	}
}

// A store that was down while an erasure was executed keeps the gate shut in
// the next process, too, whether a replay or the execution is tried next.
func TestAStoreThatWasDownInAnExecutionIsAskedAgain(t *testing.T) {
	s, x := newSystem(t), &searchIndex{holds: map[string]bool{}, down: true}
	s.with(x)
	ann := s.contact("ann@a.example")
	x.holds[ann] = true
	plan := s.approved(ann)
	o, err := s.desk.Execute(t.Context(), plan.ID)
	require.NoError(t, err)
	require.Equal(t, privacy.Partial, o.State)
	require.Equal(t, 0, s.count(`SELECT COUNT(*) FROM contacts`), "the database has erased")
	s.open() // a new process
	s.with(x)
	require.ErrorIs(t, s.desk.Current(t.Context()), privacy.ErrBehind)
	_, err = s.desk.Replay(t.Context())
	require.Error(t, err)
	require.ErrorIs(t, s.desk.Current(t.Context()), privacy.ErrBehind)
	x.down = false
	_, err = s.desk.Replay(t.Context())
	require.NoError(t, err)
	require.Empty(t, x.holds)
	require.NoError(t, s.desk.Current(t.Context()))
	o, err = s.desk.Execute(t.Context(), plan.ID)
	require.NoError(t, err)
	require.Equal(t, privacy.Waiting, o.State, "the plan is not forgotten: it is certified")
}

// Nightly replays with nothing to do leave nothing pending while a store is
// down: nobody has come back, and the next start is not refused.
func TestAReplayWithNothingToDoLeavesNothingPending(t *testing.T) {
	s, x := newSystem(t), &searchIndex{holds: map[string]bool{}}
	s.with(x)
	ann := s.contact("ann@a.example")
	s.invoice(ann, s.now.AddDate(-1, 0, 0)) // kept, so that ann is still listed
	s.erase(ann)
	x.down = true
	_, err := s.desk.Replay(t.Context())
	require.Error(t, err)
	require.NoError(t, s.desk.Current(t.Context()))
}
