package privacy_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/privacy"
	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// asked is a store that calls f when it is to erase, and says what is left.
type asked struct {
	f    func(ctx context.Context) error
	left int
}

func (a *asked) store() datastore.Store {
	return datastore.Func{
		Name: "asked", Class: datastore.Deleted,
		Erase:     func(ctx context.Context, _, _ string) error { return a.f(ctx) },
		Remaining: func(context.Context, string, string) (int, error) { return a.left, nil },
	}.Store()
}

func (s *system) ask() *asked {
	a := &asked{f: func(context.Context) error { return nil }}
	s.cfg.Stores = append(s.cfg.Stores, a.store())
	s.reopen()
	return a
}

// endsBetween executes a plan in a process that ends between the commit of the
// database and the other stores, and starts the next one.
func (s *system) endsBetween(plan string) {
	s.t.Helper()
	ctx, kill := context.WithCancel(s.t.Context())
	defer kill()
	cfg := s.cfg
	s.cfg.Stores = []datastore.Store{(&asked{f: func(context.Context) error { kill(); return ctx.Err() }}).store()}
	s.reopen()
	_, err := s.desk.Execute(ctx, plan)
	require.ErrorIs(s.t, err, context.Canceled)
	s.open()
	cfg.Ledger = s.ledger
	s.cfg = cfg
	s.reopen()
}

// A process ends between the commit of the database and the other stores: they
// still answer for the person, and the gate says so, until somebody finishes it,
// whichever way.
func TestAGateIsShutUntilEveryStoreWasAsked(t *testing.T) {
	for way, finish := range map[string]func(s *system, plan, person string){
		"executed": func(s *system, plan, _ string) { s.waits(plan) },
		"replayed": func(s *system, _, _ string) {
			_, err := s.desk.Replay(s.t.Context())
			require.NoError(s.t, err)
		},
		"carried out by a pass": func(s *system, _, _ string) {
			_, err := s.desk.RunOnce(s.t.Context())
			require.NoError(s.t, err)
		},
		"voided": func(s *system, plan, _ string) {
			require.NoError(s.t, s.desk.Void(s.t.Context(), privacy.Voiding{Plan: plan, By: "user/1", Approved: "user/2", Because: "store-lost"}))
		},
		"held, and replayed": func(s *system, plan, person string) {
			_, err := s.desk.Hold(s.t.Context(), privacy.LegalHold{Tenant: "main", Person: person, Because: "litigation", By: "user/3"})
			require.NoError(s.t, err)
			o, err := s.desk.Execute(s.t.Context(), plan)
			require.NoError(s.t, err)
			require.Equal(s.t, privacy.Held, o.State)
			require.ErrorIs(s.t, s.desk.Ready(s.t.Context()), privacy.ErrBehind)
			_, err = s.desk.Replay(s.t.Context())
			require.NoError(s.t, err)
		},
	} {
		t.Run(way, func(t *testing.T) {
			s := newSystem(t)
			ann, bob := s.contact("ann@a.example"), s.contact("bob@b.example")
			p := s.approved(ann)
			s.endsBetween(p.ID)
			require.Zero(t, s.count(`SELECT COUNT(*) FROM contacts WHERE person = ?`, ann), "committed")
			require.NotNil(t, s.keys.keys[ann])
			for range 2 {
				require.ErrorIs(t, s.desk.Ready(t.Context()), privacy.ErrBehind)
				s.requireLevel(alarm, "privacy.gate")
			}
			other := s.approved(bob)
			s.waits(other.ID) // others are erased meanwhile
			require.ErrorIs(t, s.desk.Ready(t.Context()), privacy.ErrBehind)
			finish(s, p.ID, ann)
			require.NoError(t, s.desk.Ready(t.Context()))
			require.Equal(t, way == "voided" || way == "held, and replayed", s.keys.keys[ann] != nil)
		})
	}
}

// While another process asks the other stores, the gate is shut; where they have
// answered it is open, whether they have done it, or will, and through the lease.
func TestTheGateFollowsTheStoresOfATwin(t *testing.T) {
	eachSystem(t, func(t *testing.T, s *system) {
		a := s.ask()
		twin := s.desk
		var gate error // as a store's call sees it
		inside := func(ctx context.Context) error { gate = twin.Ready(ctx); return nil }
		a.f = inside
		p := s.approved(s.contact("ann@a.example"))
		s.waits(p.ID)
		require.ErrorIs(t, gate, privacy.ErrBehind)
		require.NoError(t, twin.Ready(t.Context()), "the lease")
		require.Equal(t, "waiting", s.state(p.ID))
		s.now = s.now.Add(6 * time.Second)
		s.done(p.ID)
		require.NoError(t, gate)

		later := s.approved(s.contact("bob@b.example"))
		a.f = func(ctx context.Context) error { return errors.Join(inside(ctx), datastore.ErrLater) }
		for range 2 { // the second finds what it had been told, and says no more
			s.waits(later.ID)
			require.ErrorIs(t, gate, privacy.ErrBehind)
			require.NoError(t, twin.Ready(t.Context()), "it is under way")
			a.f = func(context.Context) error { return datastore.ErrLater }
		}
		a.f = func(context.Context) error { return errBlown }
		s.isPartial(later.ID)
		require.ErrorIs(t, twin.Ready(t.Context()), privacy.ErrBehind)
		a.f = func(context.Context) error { return datastore.ErrLater }
		s.waits(later.ID)
		require.NoError(t, twin.Ready(t.Context()), "it answers again")
		a.f = func(context.Context) error { return nil }
		s.waits(later.ID)
		s.now = s.now.Add(6 * time.Second)
		s.done(later.ID)
		require.NoError(t, twin.Ready(t.Context()))
	})
}

// Where the database is all there is, no moment has the gate shut.
func TestWithoutOtherStoresTheGateIsNeverShut(t *testing.T) {
	s := newSystem(t)
	s.cfg.Stores = nil
	s.reopen()
	p := s.approved(s.contact("ann@a.example"))
	ctx, kill := context.WithCancel(t.Context())
	defer kill()
	s.cfg.Database = committed{s.cfg.Database, kill}
	s.reopen()
	_, err := s.desk.Execute(ctx, p.ID)
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, s.desk.Ready(t.Context()))
}

// uncommitted is a database whose commit fails.
type uncommitted struct{ datastore.Transactional }

func (u uncommitted) EraseIn(ctx context.Context, scopes []datastore.Scope, last func(context.Context, datastore.Tx, []datastore.Row) error) error {
	return u.Transactional.EraseIn(ctx, scopes, func(ctx context.Context, tx datastore.Tx, found []datastore.Row) error {
		return errors.Join(last(ctx, tx, found), errBlown)
	})
}

// committed ends the process behind the commit.
type committed struct {
	datastore.Transactional
	kill func()
}

func (c committed) EraseIn(ctx context.Context, scopes []datastore.Scope, last func(context.Context, datastore.Tx, []datastore.Row) error) error {
	defer c.kill()
	return c.Transactional.EraseIn(ctx, scopes, last)
}

func (c committed) Remaining(ctx context.Context, _ datastore.Scope, _ []datastore.Row) (int, error) {
	return 0, ctx.Err()
}

// While a store was not asked, an unreachable ledger opens nothing; once it was,
// the grace is there again without anybody's looking.
func TestNoGraceWhileAStoreWasNotAsked(t *testing.T) {
	eachSystem(t, func(t *testing.T, s *system) {
		require.NoError(t, s.desk.Ready(t.Context()))
		a := s.ask()
		require.NoError(t, s.desk.Ready(t.Context()))
		p := s.approved(s.contact("ann@a.example"))
		var gate error
		a.f = func(ctx context.Context) error {
			if err := os.Rename(s.ledgerDir(), s.ledgerDir()+".away"); err != nil {
				return err
			}
			gate = s.desk.Ready(ctx)
			return errors.Join(errBlown, os.Rename(s.ledgerDir()+".away", s.ledgerDir()))
		}
		s.isPartial(p.ID)
		require.ErrorIs(t, gate, erasurelog.ErrUnreachable)
		back := s.hideLedger()
		require.ErrorIs(t, s.desk.Ready(t.Context()), erasurelog.ErrUnreachable)
		back()
		a.f = func(context.Context) error { return nil }
		s.waits(p.ID)
		defer s.hideLedger()()
		g, err := s.desk.Gate(t.Context())
		require.NoError(t, err)
		require.NotEmpty(t, g.Warning)
	})
}

// An older genuine row, from before a store went down, does not say that the
// store has answered.
func TestAnOlderRowDoesNotAnswerForAStore(t *testing.T) {
	s := newSystem(t)
	a := s.ask()
	p := s.approved(s.contact("ann@a.example"))
	s.waits(p.ID)
	older := s.planRow(p.ID)
	a.f = func(context.Context) error { return errBlown }
	s.isPartial(p.ID)
	s.putPlan(p.ID, older)
	_, err := s.desk.Hold(t.Context(), privacy.LegalHold{Tenant: "main", Person: s.contact("bob@b.example"), Because: "litigation", By: "user/3"})
	require.NoError(t, err) // and with it the mark passes what is settled
	require.ErrorIs(t, s.desk.Ready(t.Context()), privacy.ErrBehind)
}

const planRowColumns = `state, intent, body, approval, erased, outcome, certificate, mac, changed`

// planRow is what whoever may write the plan table can take away and put back.
func (s *system) planRow(plan string) []any {
	row := make([]any, 9)
	into := make([]any, 9)
	for i := range row {
		into[i] = &row[i]
	}
	require.NoError(s.t, s.db.QueryRowContext(s.t.Context(), s.on.Bind(`SELECT `+planRowColumns+` FROM crmguard_privacy_plan WHERE id = ?`), plan).Scan(into...))
	return row
}

func (s *system) putPlan(plan string, row []any) {
	s.exec(`UPDATE crmguard_privacy_plan SET state = ?, intent = ?, body = ?, approval = ?, erased = ?, outcome = ?, certificate = ?, mac = ?, changed = ? WHERE id = ?`, append(row, plan)...)
}
