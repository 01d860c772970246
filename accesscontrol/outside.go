package accesscontrol

import (
	"context"
	"errors"
)

// Outside is an answer as somebody may learn it who must not learn whether a
// record exists that they may not see. The zero value is no answer, and no yes.
type Outside uint8

// The answers, with the status of HTTP that says the same.
const (
	// Unanswered: the question could not be answered (503).
	Unanswered Outside = iota
	// Missing: there is no such record, or none that this principal may see
	// (404).
	Missing
	// Refused: the record may be seen, and this may not be done to it (403).
	Refused
	// Permitted: go on (200).
	Permitted
)

// Outside is the reason as an outsider may see it. That a record is another
// tenant's says that its id exists: it reads as one that no permit is about.
// That a record is forbidden says that it exists, too: where that must not be
// known, show what [Actor.Outside] answers, and no reason.
func (r Reason) Outside() Reason {
	if r == OtherTenant {
		return NotPermitted
	}
	return r
}

// Outside is [Actor.Check] for whoever answers an outsider. A no is Refused
// where the principal may see the record, by the Read action of its [Table], and
// where the action is its Create, for then there is none yet; it is Missing
// everywhere else, as it is for a table without a Read action. Show a record
// that does not exist as Missing, too.
//
// The error is for the log: nil for Permitted, a [*Denied] for Missing and
// Refused. A record of another tenant is Missing before anything of it is
// looked at, so that not even a fault in it tells that it is there.
func (a *Actor) Outside(ctx context.Context, action string, record Resource) (Outside, error) {
	s, err := a.enter(ctx)
	if err != nil {
		return Unanswered, err
	}
	t, err := s.set.bound(record.Type)
	if err != nil {
		return Unanswered, err
	}
	creates := t.Create != "" && action == t.Create
	if record.Tenant != "" && t.tenant.tenant(record.Tenant) != s.facts.tenant && !creates {
		if _, err := s.residual(asked{action, record.Type}); err != nil {
			return Unanswered, err
		}
		s.set.observeCheck(ctx, action, record.Type, OtherTenant)
		return Missing, &Denied{Action: action, Resource: record.Type, Decision: Decision{Reason: OtherTenant, PolicySet: s.set.hash}}
	}
	denied := s.check(ctx, action, &record)
	switch {
	case denied == nil:
		return Permitted, nil
	case !errors.Is(denied, ErrDenied):
		return Unanswered, denied
	case creates:
		return Refused, denied
	case t.Read == "" || action == t.Read:
		return Missing, denied
	}
	seen, err := s.judge(t.Read, &record)
	switch {
	case err != nil:
		return Unanswered, err
	case seen.Allowed:
		return Refused, denied
	default:
		return Missing, denied
	}
}
