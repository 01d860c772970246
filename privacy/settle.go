package privacy

import (
	"context"
	"errors"
	"slices"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// settle raises the mark over what has been carried out in this database, and
// stops before the first entry of which that is not so. locked is the mark as
// lockMark has answered it, own are rows that this transaction has just stored.
func (d *Desk) settle(ctx context.Context, tx datastore.Tx, s *erasurelog.State, locked mark, own ...planRow) error {
	m, _, err := d.believed(ctx, locked)
	if err != nil {
		return err
	}
	const lock = " LOCK IN SHARE MODE SKIP LOCKED" // who is about to end another one settles that
	n := m.head.N
	for e := range s.After(n) {
		_, settled, err := d.progress(ctx, tx, s, e, lock, own...)
		if err != nil {
			return err
		}
		if !settled {
			break
		}
		n = e.N
	}
	if h, ok := s.At(n); ok {
		return d.raise(ctx, tx, locked, h, n == s.Head().N)
	}
	return nil
}

// behind reports entries after the mark that this database knows nothing of:
// it was restored, and erasing on would hide that. What it began itself and
// has not finished yet is no such sign: the mark stays before that.
func (d *Desk) behind(ctx context.Context, tx datastore.Tx, s *erasurelog.State, m mark, plan string) error {
	for e := range s.After(m.head.N) {
		if e.Plan == plan {
			continue
		}
		begun, settled, err := d.progress(ctx, tx, s, e, "")
		if err == nil && !begun && !settled { // an older view may say so, and waits for nobody
			begun, settled, err = d.progress(ctx, tx, s, e, " LOCK IN SHARE MODE")
		}
		if err != nil {
			return err
		}
		if !begun && !settled {
			return &GateError{Mark: m.head.N, Head: s.Head().N, Err: ErrBehind}
		}
	}
	return nil
}

// standing reads a plan row that this transaction has not stored itself, with a
// lock where that is MariaDB's: its transactions have an older view otherwise, by
// which what another one has erased would not count.
func (d *Desk) standing(ctx context.Context, q sqldb.Querier, id, lock string, own []planRow) (planRow, error) {
	if i := slices.IndexFunc(own, func(row planRow) bool { return row.id == id }); i >= 0 {
		return own[i], nil
	}
	if d.db.Kind != sqldb.MariaDB && d.db.Kind != sqldb.MySQL {
		lock = ""
	}
	return d.readPlan(ctx, q, id, lock)
}

// progress says whether this database has begun the plan of an entry, and
// whether it is carried out here: an intent where every store has answered that
// nothing is left, or will do it later; a Partial where they have since. What is
// about no erasure, and what was voided, needs nothing. A plan that is done in
// the ledger and not here is neither: its end was lost with a state of the
// database.
func (d *Desk) progress(ctx context.Context, q sqldb.Querier, s *erasurelog.State, e erasurelog.Entry, lock string, own ...planRow) (begun, settled bool, err error) {
	switch e.Op {
	case erasurelog.Intent, erasurelog.Partial, erasurelog.Done:
	default:
		return false, true, nil
	}
	if e.Ignored || s.Status(e.Plan) == erasurelog.Withdrawn {
		return false, true, nil
	}
	row, err := d.standing(ctx, q, e.Plan, lock, own)
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
		f, err := row.factsBody()
		return e.Op != erasurelog.Done, e.Op == erasurelog.Intent || e.Op == erasurelog.Partial && e.N <= f.Left, err
	case stateCertified, stateDone:
		return true, true, nil
	case stateCancelled: // with another plan of the same persons
		return row.erased.Valid, row.erased.Valid, nil
	}
	return false, false, nil
}
