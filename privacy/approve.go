package privacy

import (
	"context"
	"database/sql"

	"github.com/crmguard/crmguard/internal/canon"
	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// Approve approves a plan as it is stored. by differs from who asked, by more
// than case, width and composition of letters; like Request.By it comes from the session of
// whoever is signed in, in the one spelling that the session knows. An approval
// is good for Config.ApprovalLife; one that has expired is given again, by
// anybody but who asked.
func (d *Desk) Approve(ctx context.Context, planID, by string) error {
	if err := validPrincipal(by); err != nil {
		return err
	}
	row, err := d.loadPlan(ctx, d.db, planID)
	if err != nil {
		return err
	}
	p, err := d.open(row)
	switch {
	case err != nil:
		return err
	case p.State == stateCancelled:
		return ErrCancelled
	case p.State == stateVoid:
		return ErrVoided
	case p.State != statePlanned && !d.expired(p):
		return nil // approved already
	case samePrincipal(by, p.By):
		return ErrSelfApproval
	}
	if err := d.allow(ctx, "privacy.approve", "person/"+p.Person); err != nil {
		return err
	}
	data, err := canon.Marshal(approval{At: stamp(d.now()), By: by})
	if err != nil {
		return mute("encoding the approval", err)
	}
	return d.recorded(ctx, []string{p.Tenant}, func(tx *sql.Tx) error {
		now, err := d.lockPlan(ctx, tx, planID)
		if err != nil {
			return err
		}
		if !now.same(row) {
			return ErrPlanChanged
		}
		now.state, now.approval = stateApproved, data
		if err := d.storePlan(ctx, tx, &now); err != nil {
			return err
		}
		return d.record(ctx, tx, p.Tenant, "privacy.approve", planAttr(p.ID))
	})
}

// expired reports whether the approval of a plan that has not begun is too old.
// One that bears a date to come is, too: the clock was wrong then, or is now.
func (d *Desk) expired(p *Plan) bool {
	life := d.cfg.approvalLife()
	if p.State != stateApproved || life == 0 {
		return false
	}
	age := d.now().Sub(p.Approved)
	return age >= life || age < -life
}

// Cancel withdraws a plan that has not begun and forgets its person. It stands in
// the ledger: whatever row of the plan is put back into the database, or comes
// with a restore, it is not carried out.
func (d *Desk) Cancel(ctx context.Context, planID string) error {
	row, err := d.loadPlan(ctx, d.db, planID)
	if err != nil {
		return err
	}
	p, err := d.open(row)
	if err != nil {
		return err
	}
	if err := d.allow(ctx, "privacy.cancel", "person/"+p.Person); err != nil {
		return err
	}
	ledger, err := d.cfg.Ledger.Anchored(ctx)
	if err != nil {
		return err
	}
	err = d.recorded(ctx, []string{row.tenant}, func(tx *sql.Tx) error {
		locked, err := d.lockMark(ctx, tx)
		if err != nil {
			return err
		}
		row, err := d.lockPlan(ctx, tx, planID)
		switch {
		case err != nil:
			return err
		case row.state == stateCancelled:
			return nil
		case row.state == stateCertified, row.state == stateDone:
			return ErrEnded
		case row.state == stateVoid:
			return ErrVoided
		case row.state != statePlanned && row.state != stateApproved:
			return ErrBegun
		}
		// Whoever writes the intent holds the lock on this row.
		m, _, err := d.believed(ctx, locked)
		if err != nil {
			return err
		}
		s, err := ledger.Append(ctx, m.kept(), func(s *erasurelog.State) (*erasurelog.Entry, error) {
			return d.cancelling(ctx, s, row)
		})
		if err != nil {
			return err
		}
		if err := d.scrub(ctx, tx, planID, stateCancelled); err != nil {
			return err
		}
		if err := d.settle(ctx, tx, s, locked); err != nil {
			return err
		}
		return d.record(ctx, tx, row.tenant, "privacy.cancel", planAttr(planID))
	})
	if err != nil {
		return err
	}
	return d.forget(ctx, planID) // of an execution that was refused
}

// cancelling is the entry that cancels a plan; nil where it stands already.
func (d *Desk) cancelling(ctx context.Context, s *erasurelog.State, row planRow) (*erasurelog.Entry, error) {
	switch s.Status(row.id) {
	case erasurelog.Unknown:
	case erasurelog.Cancelled: // the commit after it failed, or an older row was put back
		return nil, nil
	case erasurelog.Finished:
		return nil, ErrEnded
	case erasurelog.Withdrawn:
		return nil, ErrVoided
	default:
		return nil, ErrBegun
	}
	p, err := d.open(row)
	if err != nil {
		return nil, err
	}
	e := &erasurelog.Entry{Op: erasurelog.Cancel, Plan: row.id}
	w := digesting{ctx: ctx, d: d, tenant: row.tenant, entry: e}
	w.about(p.Person, nil)
	return e, w.err
}
