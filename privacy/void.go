package privacy

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"

	"github.com/crmguard/crmguard/privacy/erasurelog"
)

// Voiding withdraws an erasure that has begun and cannot be finished.
type Voiding struct {
	Plan     string
	By       string // the principal who asks
	Approved string // another one, who agrees
	Because  string // a code such as "store-lost", never free text
	Tenant   string // the person's, where a restore took the plan's row away; empty is that of the map
}

// Void is the way out of an erasure that cannot be finished: from now on it
// counts no more, the gate opens without it, and no replay carries it out. What
// the stores have erased stays erased. Two principals answer for it, in the
// ledger and in the trail. A certified erasure is never voided ([ErrEnded]); a
// plan that has not begun is cancelled instead ([ErrNotBegun]). The ledger is
// enough: the database may have lost the plan, or somebody may have written to its
// row, which then stays as it is.
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
	if err := d.allow(ctx, "privacy.void", "plan/"+v.Plan); err != nil {
		return err
	}
	row, unknown, err := planToVoid(d.loadPlan(ctx, d.db, v.Plan))
	if err != nil {
		return err
	}
	if v.Tenant = cmp.Or(v.Tenant, d.cfg.Map.Tenant); unknown == nil {
		v.Tenant = row.tenant
	}
	if err := validID("tenant", v.Tenant); err != nil {
		return err
	}
	ledger, err := d.cfg.Ledger.Anchored(ctx)
	if err != nil {
		return err
	}
	if err := d.recorded(ctx, []string{v.Tenant}, func(tx *sql.Tx) error { return d.void(ctx, tx, ledger, v) }); err != nil {
		return err
	}
	return d.forget(ctx, v.Plan)
}

// planToVoid tells a row that cannot be gone by, because a restore took it away or
// somebody has written to it, from one that cannot be read: the ledger knows the
// erasure, too.
func planToVoid(row planRow, err error) (_ planRow, unknown, failed error) {
	if errors.Is(err, ErrNoPlan) || errors.Is(err, ErrPlanForged) {
		return planRow{}, err, nil
	}
	return row, nil, err
}

func (d *Desk) void(ctx context.Context, tx *sql.Tx, ledger erasurelog.Anchored, v Voiding) error {
	locked, err := d.lockMark(ctx, tx)
	if err != nil {
		return err
	}
	row, unknown, err := planToVoid(d.lockPlan(ctx, tx, v.Plan))
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
	settled := row.state == stateVoid
	s, err := ledger.Append(ctx, m.kept(), func(s *erasurelog.State) (*erasurelog.Entry, error) {
		e, err := d.voiding(ctx, s, v, unknown)
		if entries := s.Plan(v.Plan); err == nil && e == nil && unknown != nil {
			settled = entries[len(entries)-1].N <= m.head.N
		}
		return e, err
	})
	if err != nil || settled {
		return err
	}
	if unknown == nil {
		if err := d.scrub(ctx, tx, v.Plan, stateVoid); err != nil {
			return err
		}
	}
	if err := d.settle(ctx, tx, s, locked); err != nil {
		return err
	}
	return d.recordHead(ctx, tx, s.Head(), v.Tenant, "privacy.void", planAttr(v.Plan), slog.String("reason", v.Because))
}

// voiding is the entry that voids a plan; nil where it stands already. unknown is
// why the database does not know the plan.
func (d *Desk) voiding(ctx context.Context, s *erasurelog.State, v Voiding, unknown error) (*erasurelog.Entry, error) {
	switch s.Status(v.Plan) {
	case erasurelog.Withdrawn:
		return nil, nil
	case erasurelog.Finished:
		return nil, ErrEnded
	case erasurelog.Begun, erasurelog.Left:
	default:
		return nil, cmp.Or(unknown, ErrNotBegun)
	}
	e, _ := follow(s, erasurelog.Void, v.Plan)
	w := digesting{ctx: ctx, d: d, tenant: v.Tenant, entry: e}
	if tenant := w.digest(erasurelog.KindTenant, []byte(v.Tenant)); w.err == nil && tenant != e.Tenant {
		return nil, fmt.Errorf("%w in that tenant: set Voiding.Tenant", ErrNoPlan)
	}
	e.By, e.Approved, e.Because = w.digest(erasurelog.KindPrincipal, []byte(v.By)), w.digest(erasurelog.KindPrincipal, []byte(v.Approved)), v.Because
	return e, w.err
}
