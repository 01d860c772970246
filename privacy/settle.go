package privacy

import (
	"context"
	"database/sql"
	"errors"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy/datastore"
	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// settle raises the mark over the entries of plans that have been carried out
// in this database, and stops before the first of one that has not. plan is
// the one whose stores have just erased. The mark is locked.
func (d *Desk) settle(ctx context.Context, tx datastore.Tx, s *erasurelog.State, plan string) error {
	var n int64
	if err := sqldb.One(ctx, tx, []any{&n}, `SELECT n FROM crmguard_privacy_mark WHERE id = 1`); err != nil {
		return mute("reading the high-water mark", err)
	}
	n = max(n, 0)
	for e := range s.After(n) {
		if e.Plan != plan {
			_, settled, err := d.progress(ctx, tx, e)
			if err != nil {
				return err
			}
			if !settled {
				break
			}
		}
		n = e.N
	}
	if h, ok := s.At(n); ok {
		return d.raise(ctx, tx, h, n == s.Head().N)
	}
	return nil
}

// catchUp settles again where the ledger has grown since it was read: an
// erasure that began later and has ended already found this one unfinished. The
// ledger is not read inside the transaction, because its keys and anchors may
// want a connection.
func (x *execution) catchUp(ctx context.Context) error {
	for {
		m, _, err := x.d.loadMark(ctx)
		if err != nil {
			return err
		}
		s, err := x.d.cfg.Ledger.Read(ctx, m.kept()...)
		if err != nil || s.Head().N <= x.ledger.Head().N {
			return err
		}
		x.ledger = s
		err = x.d.inTx(ctx, func(tx *sql.Tx) error {
			if err := x.d.lockMark(ctx, tx); err != nil {
				return err
			}
			return x.d.settle(ctx, tx, s, x.plan.ID)
		})
		if err != nil {
			return err
		}
	}
}

// behind reports entries after the mark that this database knows nothing of:
// it was restored, and erasing on would hide that. What it began itself and
// has not finished yet is no such sign: the mark stays before that.
func (d *Desk) behind(ctx context.Context, s *erasurelog.State, m mark, plan string) error {
	for e := range s.After(m.head.N) {
		if e.Plan == plan {
			continue
		}
		begun, settled, err := d.progress(ctx, d.db, e)
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
// whether every store has erased. It has done neither with a plan that is done
// in the ledger while it runs here.
func (d *Desk) progress(ctx context.Context, q sqldb.Querier, e erasurelog.Entry) (begun, settled bool, err error) {
	var state string
	var erased sql.NullInt64
	err = sqldb.One(ctx, q, []any{&state, &erased}, d.db.Bind(`SELECT state, erased FROM crmguard_privacy_plan WHERE id = ?`), e.Plan)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return false, false, nil
	case err != nil:
		return false, false, mute("reading the plan", err)
	case state == stateRunning:
		return e.Op != erasurelog.Done, e.Op != erasurelog.Done && erased.Valid, nil
	}
	return false, state == stateDone || erased.Valid, nil
}

// setErased notes when every store had erased, or that it is not so.
func (d *Desk) setErased(ctx context.Context, tx datastore.Tx, id string, at sql.NullInt64) error {
	_, err := d.exec(ctx, tx, "storing the plan's state", `UPDATE crmguard_privacy_plan SET erased = ? WHERE id = ?`, at, id)
	return err
}
