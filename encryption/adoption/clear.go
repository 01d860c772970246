package adoption

import (
	"context"
	"errors"
	"fmt"

	"github.com/crmguard/crmguard/encryption"
)

// Clear takes the values in the clear away, at SealedOnly, row by row where the
// sealed value opens to the same one. All others stay and are listed: those that
// differ, those that are in the clear only (Backfill seals them), those of erased
// persons (whose row the application deletes or empties). The value is sealed anew
// with the same statement.
//
// The report is Clean when nothing is left in the clear and the guard Refuse stands,
// so that nothing comes there any more; then a release without the adoption may
// start ([Finished]). The values are gone from the table, and
// nowhere else: see "What dropped values leave behind" in the package comment. A
// foreign key that has come to reference the column is a *NotReadyError, since by its
// rule another table would lose its values; so is a history of the table on MariaDB.
func (a *Adoption) Clear(ctx context.Context, tenant string, options JobOptions) (Report, error) {
	r, err := a.current(ctx, tenant)
	if err != nil {
		return Report{}, err
	}
	if r.stage != SealedOnly || !r.settled {
		return Report{}, fmt.Errorf("%w: %s of tenant %q is at %s, where the clear is still needed: Move to %s, until it returns nil", ErrStage, a.def.Name, tenant, r.stage, SealedOnly)
	}
	if err := a.clearable(ctx, r); err != nil {
		return Report{}, err
	}
	p := &pass{job: "clear", tenant: tenant, at: r, options: options, plan: planClear}
	report, err := a.run(ctx, p)
	if err != nil {
		return report, err
	}
	left, err := p.clearLeft(ctx)
	if err != nil {
		return report, err
	}
	guard, err := a.Guard(ctx)
	if err != nil {
		return report, err
	}
	if left == 0 && guard != Refuse {
		p.kept.Report.reason(fmt.Errorf("adoption: the trigger on the table is %q, and others may write in the clear again: execute what GuardSQL(ctx, Refuse) returns, then Clear", guard))
	}
	return p.end(ctx, left == 0 && guard == Refuse)
}

// clearLeft counts what still stands in the clear.
func (p *pass) clearLeft(ctx context.Context) (int64, error) {
	where, args := "", []any(nil)
	for _, c := range p.cells {
		if where != "" {
			where += " OR "
		}
		where += c.plain.Name + " IS NOT NULL"
	}
	where = "(" + where + ")"
	if p.live.tenant != nil {
		of, more := p.db.Named(*p.live.tenant, p.tenant)
		where, args = of+" AND "+where, more
	}
	return p.count(ctx, where, args)
}

func planClear(ctx context.Context, p *pass, rows []row) ([]plan, error) {
	return p.planRows(ctx, rows, func(k *keys, one *plan, i int) error {
		c, have := p.cells[i], one.row.cells[i]
		switch {
		case have.plain == nil && have.sealed == nil:
			return nil
		case have.plain == nil:
			one.report.Same++
			return nil
		case have.sealed == nil:
			one.report.Refused++
			one.report.list(one.row.id, c.Name, errors.New("adoption: the value stands in the clear only: Backfill seals it"))
			return nil
		}
		value, err := clearText(have.plain)
		if err != nil {
			one.report.Refused++
			one.report.list(one.row.id, c.Name, err)
			return nil
		}
		opened, err := p.opened(ctx, k, c, one.row, have.sealed)
		if err != nil {
			p.owned(one, c, have, err)
			return one.unopened(c, err)
		}
		if opened != value {
			one.report.Differ++
			one.report.list(one.row.id, c.Name, errDiffers)
			return nil
		}
		return p.planBoth(k, one, i, value, nil)
	})
}

// Unseal fills the column in the clear again from the sealed one, after the move
// back from SealedOnly to ReadSealed and before the one to WriteBoth. What does not
// open, what the database refuses (a UNIQUE column in the clear, for one), and what
// the column does not keep as it is (one that is too short), is counted and listed,
// and stays sealed. The values of a person who was merged into another are put back
// and are in the clear only from then on.
//
// At ReadSealed on the way forward, and once it was Clean, nothing is to be filled: a
// sealed value beside an emptied one is counted (Differ) and listed there, and not
// written back, since somebody emptied it.
//
// The report is Clean when no row is left that is sealed only.
func (a *Adoption) Unseal(ctx context.Context, tenant string, options JobOptions) (Report, error) {
	r, err := a.current(ctx, tenant)
	if err != nil {
		return Report{}, err
	}
	if r.stage != ReadSealed || !r.settled {
		return Report{}, fmt.Errorf("%w: %s of tenant %q is at %s: Unseal fills the clear after the move back to %s, when that has returned nil", ErrStage, a.def.Name, tenant, r.stage, ReadSealed)
	}
	p := &pass{job: unsealJob, tenant: tenant, at: r, options: options, plan: planUnseal}
	if p.filling, err = a.filling(ctx, r); err != nil {
		return Report{}, err
	}
	report, err := a.run(ctx, p)
	if err != nil {
		return report, err
	}
	left, err := p.sided(ctx, tenant, false)
	if err != nil {
		return report, err
	}
	report, err = p.end(ctx, false)
	report.Clean = left == 0 && !options.DryRun
	if err == nil && report.Clean {
		err = a.endFilling(ctx, r)
	}
	return report, err
}

// unsealJob is the one job that writes in the clear.
const unsealJob = "unseal"

func planUnseal(ctx context.Context, p *pass, rows []row) ([]plan, error) {
	return p.planRows(ctx, rows, func(k *keys, one *plan, i int) error {
		c, have := p.cells[i], one.row.cells[i]
		switch {
		case have.plain == nil && have.sealed == nil:
			return nil
		case have.plain != nil:
			one.report.Same++
			return nil
		case !p.filling:
			one.report.Differ++
			one.report.list(one.row.id, c.Name, errEmptied)
			return nil
		}
		opened, err := p.opened(ctx, k, c, one.row, have.sealed)
		if err != nil {
			p.owned(one, c, have, err)
			return one.unopened(c, err)
		}
		return p.planBoth(k, one, i, opened, opened)
	})
}

func (p *pass) planRows(ctx context.Context, rows []row, f func(k *keys, one *plan, i int) error) ([]plan, error) {
	k, err := p.keysOf(ctx, rows)
	if err != nil {
		return nil, err
	}
	plans := make([]plan, len(rows))
	for i, r := range rows {
		plans[i].row = r
		for c := range p.cells {
			if err := f(k, &plans[i], c); err != nil {
				return nil, err
			}
		}
		plans[i].count()
	}
	return plans, nil
}

// unopened counts a value that does not open.
func (one *plan) unopened(c liveColumn, err error) error {
	switch {
	case errors.Is(err, encryption.ErrErased):
		one.report.Erased++
	case aboutOneValue(err):
		one.report.Refused++
	default:
		return err
	}
	one.report.list(one.row.id, c.Name, err)
	return nil
}

// planBoth writes the clear, and with the same statement the value sealed anew: to
// the guard that is no change of somebody who knows nothing of it.
func (p *pass) planBoth(k *keys, one *plan, i int, value string, clear any) error {
	c, have := p.cells[i], one.row.cells[i]
	w, err := p.sealer(k, c, one.row)
	if err == nil && w == nil { // a dry run
		one.changes = append(one.changes, change{column: c.plain, old: have.plain, new: clear})
		return nil
	}
	var changes []change
	var sealed []byte
	if err == nil {
		changes, sealed, err = c.written(w, have, value)
	}
	if errors.Is(err, encryption.ErrMerged) && clear != nil {
		// It opens, and nothing is sealed for who was merged. In the clear it is safe
		// from a Backfill, and sealed by the next one for whom the row belongs to then.
		one.changes = append(append(one.changes, c.emptied(have)...), change{column: c.plain, new: clear})
		return nil
	}
	if err != nil {
		return one.unopened(c, err)
	}
	one.changes = append(append(one.changes, changes...), change{column: c.plain, old: have.plain, new: clear})
	one.sealed = append(one.sealed, sealed)
	return nil
}
