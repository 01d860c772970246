package accesscontrol

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/crmguard/crmguard/accesscontrol/internal/sqlcond"
)

// Actor is a principal bound to a [Policy]: what the policies say is worked
// out once for each action and record type, and every answer after that looks
// at the record alone. Take one with [Policy.For] where a request begins, and
// leave it when the request ends. It is safe for concurrent use.
//
// A reload of the policy holds from the next call on. What the principal was
// when [Policy.For] took it, their groups and attributes, holds for
// [Config.Hold] at most; then every call answers [ErrStale]. One that
// [Policy.Follow] took reads the principal anew instead.
type Actor struct {
	policy  *Policy
	given   Principal
	age     age
	state   atomic.Pointer[standing]
	follows *follower // nil: the principal stays what it was
}

// standing is what one policy set leaves of a principal.
type standing struct {
	set       *snapshot
	facts     *facts
	residuals atomic.Pointer[residuals]
}

// asked is a question without its record.
type asked struct{ action, record string }

// For binds a principal. A principal that does not fit the schema is a
// [*RequestError].
func (p *Policy) For(principal Principal) (*Actor, error) {
	a := &Actor{policy: p}
	a.age.begin()
	if err := a.bind(principal); err != nil {
		return nil, err
	}
	return a, nil
}

// bind takes a principal, who is read again when the policy set is replaced.
func (a *Actor) bind(principal Principal) error {
	a.given = handedIn(principal)
	_, err := a.standing()
	return err
}

// standing is the principal under the policy set in force.
func (a *Actor) standing() (*standing, error) {
	set, err := a.policy.snapshot()
	if err != nil {
		return nil, err
	}
	if now := a.state.Load(); now != nil && now.set == set {
		return now, nil
	}
	fresh, err := a.policy.memo.standing(set, &a.given)
	if err == nil {
		a.state.Store(fresh)
	}
	return fresh, err
}

// once is the principal of a single question.
func (p *Policy) once(ctx context.Context, principal *Principal) (*standing, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	set, err := p.snapshot()
	if err != nil {
		return nil, err
	}
	return p.memo.standing(set, principal)
}

// enter is the beginning of each call: all of it works on one set.
func (a *Actor) enter(ctx context.Context) (*standing, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if a.follows != nil {
		return a.follows.enter(ctx, time.Now())
	}
	return a.held()
}

// held is what the principal was, while that may be held.
func (a *Actor) held() (*standing, error) {
	state, err := a.standing()
	if err != nil {
		return nil, err
	}
	hold := state.set.config.Hold
	if hold == 0 {
		hold = DefaultHold
	}
	if !a.age.within(hold) {
		return nil, ErrStale
	}
	return state, nil
}

// DefaultHold is [Config.Hold] where that is zero.
const DefaultHold = time.Minute

// residual is kept, since what it depends on cannot change. There are as many
// as there are actions times records that they apply to.
func (s *standing) residual(key asked) (*residual, error) {
	if r := s.residuals.Load().find(key); r != nil {
		return r, nil
	}
	q, err := s.set.question(s.facts, key.action, key.record)
	if err != nil {
		return nil, err
	}
	return s.keep(key, q)
}

// keep works a residual out.
func (s *standing) keep(key asked, q *question) (*residual, error) {
	r, err := s.set.residual(q)
	if err != nil {
		return nil, err
	}
	r.asked = key
	for {
		kept := s.residuals.Load()
		if s.residuals.CompareAndSwap(kept, kept.with(key, r)) {
			return r, nil
		}
	}
}

// Check answers nil for yes and an error otherwise: for no, one in which
// [errors.As] finds a [*Denied], or another one when the question could not be
// answered, which is a no too. It leaves out which permit came nearest;
// [Actor.Decide] has that.
func (a *Actor) Check(ctx context.Context, action string, record Resource) error {
	state, err := a.enter(ctx)
	if err != nil {
		return err
	}
	return state.check(ctx, action, &record)
}

func (s *standing) check(ctx context.Context, action string, record *Resource) error {
	r, row, err := s.on(action, record)
	if err != nil {
		return err
	}
	defer give(row)
	reason, failed := r.answer(row, record.Tenant)
	s.set.observeCheck(ctx, action, record.Type, reason)
	if reason == "" {
		return nil
	}
	return r.denied(row, reason, failed, s.set.hash)
}

// Decide answers with the determining policies, and with the permit that came
// nearest where none applied. The error is about the question; a denial is
// none.
func (a *Actor) Decide(ctx context.Context, action string, record Resource) (Decision, error) {
	s, err := a.enter(ctx)
	if err != nil {
		return Decision{}, err
	}
	return s.decide(ctx, action, &record)
}

func (s *standing) decide(ctx context.Context, action string, record *Resource) (Decision, error) {
	d, err := s.judge(action, record)
	if err == nil {
		s.set.observeCheck(ctx, action, record.Type, d.Reason)
	}
	return d, err
}

// judge decides without a measurement: whoever only wants to know what would be
// answered is no check.
func (s *standing) judge(action string, record *Resource) (Decision, error) {
	r, row, err := s.on(action, record)
	if err != nil {
		return Decision{}, err
	}
	defer give(row)
	return s.set.decision(r, row, record.Tenant), nil
}

func (s *snapshot) decision(r *residual, row *sqlcond.Row, tenant string) Decision {
	reason, failed := r.answer(row, tenant)
	d := r.explain(row, reason, failed, s.hash)
	if d.Reason == NotPermitted {
		d.Nearest = s.nearest(r.question, row)
	}
	return d
}

// on reads a record into a row for a question; give puts it back.
func (s *standing) on(action string, record *Resource) (*residual, *sqlcond.Row, error) {
	r, err := s.residual(asked{action, record.Type})
	if err != nil {
		return nil, nil, err
	}
	row, _ := rows.Get().(*sqlcond.Row)
	if err := r.table.read(record, row); err != nil {
		give(row)
		return nil, nil, err
	}
	if err = r.related(record, row); err == nil && r.foreign {
		row.Source, err = r.whole(record)
	}
	if err != nil {
		give(row)
		return nil, nil, err
	}
	return r, row, nil
}
