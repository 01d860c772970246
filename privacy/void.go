package privacy

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"

	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// Voiding withdraws an erasure that has begun and cannot be finished.
type Voiding struct {
	Plan     string
	By       string // the principal who asks
	Approved string // another one, who agrees
	Because  string // a code such as "store-lost", never free text
}

// Void is the way out of an erasure that cannot be finished: from now on it
// counts no more, the gate opens without it, and no replay carries it out. What
// the stores have erased stays erased. Two principals answer for it, in the
// ledger and in the trail. A certified erasure is never voided ([ErrEnded]); a
// plan that has not begun is cancelled instead ([ErrNotBegun]).
func (d *Desk) Void(ctx context.Context, v Voiding) error {
	if err := errors.Join(validPrincipal(v.By), validPrincipal(v.Approved)); err != nil {
		return err
	}
	switch {
	case samePrincipal(v.By, v.Approved):
		return ErrSelfApproval
	case !reasonCode.MatchString(v.Because):
		return ErrReason
	}
	row, err := d.loadPlan(ctx, d.db, v.Plan)
	if err != nil {
		return err
	}
	if err := d.allow(ctx, "privacy.void", v.Plan); err != nil {
		return err
	}
	ledger, err := d.cfg.Ledger.Anchored(ctx)
	if err != nil {
		return err
	}
	err = d.recorded(ctx, []string{row.tenant}, func(tx *sql.Tx) error { return d.void(ctx, tx, ledger, v) })
	if err != nil {
		return err
	}
	return d.forget(ctx, v.Plan)
}

func (d *Desk) void(ctx context.Context, tx *sql.Tx, ledger erasurelog.Anchored, v Voiding) error {
	locked, err := d.lockMark(ctx, tx)
	if err != nil {
		return err
	}
	row, err := d.lockPlan(ctx, tx, v.Plan)
	switch {
	case err != nil:
		return err
	case row.state == stateCertified, row.state == stateDone:
		return ErrEnded
	}
	m, _, err := d.believed(ctx, locked)
	if err != nil {
		return err
	}
	s, err := ledger.Append(ctx, m.kept(), func(s *erasurelog.State) (*erasurelog.Entry, error) {
		switch s.Status(v.Plan) {
		case erasurelog.Withdrawn:
			return nil, nil
		case erasurelog.Finished:
			return nil, ErrEnded
		default:
		}
		e, begun := follow(s, erasurelog.Void, v.Plan)
		if !begun {
			return nil, ErrNotBegun
		}
		w := digesting{ctx: ctx, d: d, tenant: row.tenant, entry: e}
		e.By, e.Approved, e.Because = w.digest(erasurelog.KindPrincipal, []byte(v.By)), w.digest(erasurelog.KindPrincipal, []byte(v.Approved)), v.Because
		return e, w.err
	})
	if err != nil {
		return err
	}
	if row.state == stateVoid {
		return nil
	}
	if err := d.scrub(ctx, tx, v.Plan, stateVoid); err != nil {
		return err
	}
	if err := d.settle(ctx, tx, s, locked); err != nil {
		return err
	}
	return d.recordHead(ctx, tx, s.Head(), row.tenant, "privacy.void", planAttr(v.Plan), slog.String("reason", v.Because))
}
