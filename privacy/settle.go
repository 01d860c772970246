package privacy

import (
	"context"
	"errors"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// settle raises the mark over what has been carried out in this database, and
// stops before the first entry of which that is not so. The mark is locked.
func (d *Desk) settle(ctx context.Context, tx datastore.Tx, s *erasurelog.State) error {
	m, _, err := d.markIn(ctx, tx)
	if err != nil {
		return err
	}
	n, err := d.settled(ctx, tx, s, m.head.N)
	if err != nil {
		return err
	}
	if h, ok := s.At(n); ok {
		return d.raise(ctx, tx, h, n == s.Head().N)
	}
	return nil
}

// settled is how far, from n on, the entries are carried out in this database.
func (d *Desk) settled(ctx context.Context, q sqldb.Querier, s *erasurelog.State, n int64) (int64, error) {
	for e := range s.After(n) {
		_, settled, err := d.progress(ctx, q, s, e)
		if err != nil || !settled {
			return n, err
		}
		n = e.N
	}
	return n, nil
}

// behind reports entries after the mark that this database knows nothing of:
// it was restored, and erasing on would hide that. What it began itself and
// has not finished yet is no such sign: the mark stays before that.
func (d *Desk) behind(ctx context.Context, q sqldb.Querier, s *erasurelog.State, m mark, plan string) error {
	for e := range s.After(m.head.N) {
		if e.Plan == plan {
			continue
		}
		begun, settled, err := d.progress(ctx, q, s, e)
		if err != nil {
			return err
		}
		if !begun && !settled {
			return &GateError{Mark: m.head.N, Head: s.Head().N, Err: ErrBehind}
		}
	}
	return nil
}

// progress says whether this database has begun the plan of an entry, and
// whether it is carried out here: an intent where every store has answered that
// nothing is left, or will do it later; a Partial where they have since. What is
// about no erasure, and what was voided, needs nothing. A plan that is done in
// the ledger and not here is neither: its end was lost with a state of the
// database.
func (d *Desk) progress(ctx context.Context, q sqldb.Querier, s *erasurelog.State, e erasurelog.Entry) (begun, settled bool, err error) {
	switch e.Op {
	case erasurelog.Intent, erasurelog.Partial, erasurelog.Done:
	default:
		return false, true, nil
	}
	if e.Ignored || s.Status(e.Plan) == erasurelog.Withdrawn {
		return false, true, nil
	}
	row, err := d.loadPlan(ctx, q, e.Plan)
	switch {
	case errors.Is(err, ErrNoPlan), errors.Is(err, ErrPlanForged):
		return false, false, nil
	case err != nil:
		return false, false, err
	}
	switch row.state {
	case stateErased, stateLeft:
		return e.Op != erasurelog.Done, false, nil
	case stateWaiting:
		f, err := row.facts()
		return e.Op != erasurelog.Done, e.Op == erasurelog.Intent || e.Op == erasurelog.Partial && e.N <= f.Left, err
	case stateCertified, stateDone:
		return true, true, nil
	case stateCancelled: // with another plan of the same persons
		return row.erased.Valid, row.erased.Valid, nil
	}
	return false, false, nil
}
