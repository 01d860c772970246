package privacy_test

import (
	"context"
	"errors"
	"iter"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// A store was down in a replay, after the database had forgotten by what it finds
// the person. Whatever it goes by, keys or addresses, the next replay brings it,
// and tells where something is left.
func TestAStoreIsAskedAgainByWhateverItGoes(t *testing.T) {
	for _, by := range []string{"keys", "addresses", "both"} {
		l, x := subscribed(t)
		l.add(1, "lead-one", longAgo)
		l.backup()
		x.holds["1@lead.example"], x.holds["2@lead.example"] = true, true
		l.erases("lead-one")
		l.restore()
		x.holds["1@lead.example"], x.down = true, true
		_, err := l.desk.Replay(t.Context())
		require.Error(t, err)
		require.Zero(t, l.count(`SELECT COUNT(*) FROM leads`))
		l.reopen() // another process
		x.down, x.blind, x.deaf = false, by == "keys", by == "addresses"
		if by == "both" { // it neither finds nor erases, and what it holds is there by its key
			x.blind, x.deaf = true, true
			_, err = l.desk.Replay(t.Context())
			require.ErrorIs(t, err, privacy.ErrReplayLeft)
			require.ErrorIs(t, l.desk.Ready(t.Context()), privacy.ErrBehind)
			x.blind, x.deaf = false, false
		}
		_, err = l.desk.Replay(t.Context())
		require.NoError(t, err, by)
		require.Equal(t, map[string]bool{"2@lead.example": true}, x.holds, by)
		require.NoError(t, l.desk.Ready(t.Context()), by)
		require.Zero(t, l.notes("replay-"))
		require.Equal(t, 1, l.count(`SELECT COUNT(*) FROM events WHERE action = 'privacy.replay'`), "the trail knows of the one that got through")
	}
}

// A store whose search fails does not keep the others from erasing, and a dry run
// says that it did not answer.
func TestAStoreWhoseSearchFailsHoldsUpNoOtherInAReplay(t *testing.T) {
	l, x := subscribed(t)
	l.add(1, "lead-one", longAgo)
	l.backup()
	l.erases("lead-one")
	l.restore()
	x.holds["1@lead.example"], x.mute = true, true
	r, err := l.desk.ReplayPlan(t.Context())
	require.Error(t, err)
	require.Equal(t, 1, r.Back)
	_, err = l.desk.Replay(t.Context())
	require.Error(t, err)
	require.Zero(t, l.count(`SELECT COUNT(*) FROM leads`))
	require.ErrorIs(t, l.desk.Ready(t.Context()), privacy.ErrBehind)
	x.mute = false
	_, err = l.desk.Replay(t.Context())
	require.NoError(t, err)
	require.Empty(t, x.holds)
	require.Equal(t, 2, l.count(`SELECT COUNT(*) FROM events WHERE action = 'privacy.ledger' OR action = 'privacy.replay'`), "the one of the erasure, and the replay that got through")
}

// An id that only the application knows to be the person's, and that no store
// lists, is looked for where the person is found.
func TestAReplayAsksForAliasesThatNoStoreLists(t *testing.T) {
	s, x := quick(t), &searchIndex{holds: map[string]bool{}}
	ann, old := s.contact("ann@a.example"), newID()
	setUp := func() {
		s.cfg.Delay, s.cfg.Lease = privacy.None, privacy.None
		s.cfg.Aliases = func(_ context.Context, _, person string) ([]string, error) {
			if person == ann {
				return []string{old}, nil
			}
			return nil, nil
		}
		s.with(x)
		x.holds[ann], x.holds[old] = true, true
	}
	setUp()
	backup := s.snapshot()
	s.done(s.approved(ann).ID)
	require.Empty(t, x.holds)
	s.restore(backup)
	setUp()
	r, err := s.desk.Replay(t.Context())
	require.NoError(t, err)
	require.Empty(t, x.holds)
	require.Equal(t, 1, r.Erased, "they are one person")
}

// Rows of the plan table that somebody has written keep another plan of the person
// from no certificate, and end no replay: nobody can execute them.
func TestForgedPlansEndNoReplay(t *testing.T) {
	s := quick(t)
	ann := s.contact("ann@a.example")
	for _, forge := range []string{`mac = x'00'`, `body = x'7b7d'`} {
		p := s.approved(ann)
		s.exec(`UPDATE crmguard_privacy_plan SET `+forge+` WHERE id = ?`, p.ID)
	}
	plan := s.approved(ann)
	backup := s.snapshot()
	s.done(plan.ID)
	s.restore(backup)
	_, err := s.desk.Replay(t.Context())
	require.NoError(t, err)
	require.NoError(t, s.desk.Ready(t.Context()))
	require.Zero(t, s.count(`SELECT COUNT(*) FROM contacts`))
}

// While rows wait for a decision, and while a store is down, no grace opens the
// gate of a process that has seen the ledger before.
func TestNoGraceAfterAReplayThatLeftSomething(t *testing.T) {
	for _, undated := range []bool{true, false} {
		l, x := subscribed(t)
		l.add(1, "lead-one", longAgo)
		l.exec(`INSERT INTO signups VALUES (1, '1@lead.example', ?)`, longAgo)
		l.erases("lead-one")
		require.NoError(t, l.desk.Ready(t.Context()), "it has seen the ledger")
		created := longAgo
		if undated {
			created = 1 // no date
		}
		l.add(1, "lead-one", int64(created))
		x.holds["1@lead.example"], x.down = true, !undated
		_, err := l.desk.Replay(t.Context())
		require.Error(t, err)
		require.NoError(t, os.Rename(l.ledgerDir(), l.ledgerDir()+".away"))
		require.Error(t, l.desk.Ready(t.Context()), "undated: %t", undated)
		require.NoError(t, os.Rename(l.ledgerDir()+".away", l.ledgerDir()))
	}
}

// What an erasure under way has noted leads a replay to a person whom no store
// lists, and of whose plan the restored database knows nothing.
func TestAReplayGoesByTheNotesOfErasuresUnderWay(t *testing.T) {
	l, x := subscribed(t)
	l.backup()
	before := l.snapshot()
	l.add(1, "lead-one", longAgo)
	x.holds["1@lead.example"], x.down = true, true
	p := l.approved("lead-one")
	o, err := l.desk.Execute(t.Context(), p.ID)
	require.NoError(t, err)
	require.Equal(t, privacy.Partial, o.State)
	cfg := l.cfg
	l.system.restore(before)
	l.openWith(cfg.Map)
	cfg.DB, cfg.Ledger, cfg.Database = l.db, l.ledger, l.cfg.Database
	l.cfg = cfg
	l.reopen()
	x.down = false
	_, err = l.desk.Replay(t.Context())
	require.NoError(t, err)
	require.Empty(t, x.holds)
}

// A list of persons that ends with its context is none that was read to its end.
func TestAListOfPersonsThatIsCutShort(t *testing.T) {
	s := quick(t)
	ann := s.contact("ann@a.example")
	backup := s.snapshot()
	s.done(s.approved(ann).ID)
	s.restore(backup)
	ctx, cancel := context.WithCancel(t.Context())
	s.cfg.Stores = append(s.cfg.Stores, datastore.Func{
		Name: "list", Class: datastore.Deleted,
		Erase:     func(context.Context, string, string) error { return nil },
		Remaining: func(context.Context, string, string) (int, error) { return 0, nil },
		People: func(ctx context.Context) iter.Seq2[datastore.Person, error] {
			return func(yield func(datastore.Person, error) bool) {
				cancel()
				for yield(datastore.Person{Tenant: "main", ID: newID()}, nil) && ctx.Err() == nil { // without an end of its own
				}
			}
		},
	}.Store())
	s.reopen()
	_, err := s.desk.Replay(ctx)
	require.True(t, errors.Is(err, context.Canceled), "%v", err)
	require.Equal(t, 1, s.count(`SELECT COUNT(*) FROM contacts`))
}

// A store that nobody can read back erases everyone again of whom the database has
// anything at all: what the law keeps.
func TestAReplayErasesWhereNobodyCanCount(t *testing.T) {
	s := quick(t)
	erased := map[string]int{}
	s.cfg.Stores = append(s.cfg.Stores, datastore.Func{
		Name: "cache", Class: datastore.Deleted,
		Erase: func(_ context.Context, _, person string) error { erased[person]++; return nil },
	}.Store())
	s.reopen()
	ann, bob := s.contact("ann@a.example"), s.contact("bob@b.example")
	s.invoice(ann, s.now)
	s.invoice(bob, s.now)
	s.done(s.approved(ann).ID)
	_, err := s.desk.Replay(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[string]int{ann: 2}, erased)
}
