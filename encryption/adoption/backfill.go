package adoption

import (
	"context"
	"errors"
	"fmt"

	"github.com/crmguard/crmguard/encryption"
)

// Backfill seals what stands in the clear, in pages of the table's key. What is
// sealed already is opened and compared, always: at WriteBoth and ReadSealed the
// clear is what counts, and a sealed value that says something else, or does not
// open, is sealed anew. At SealedOnly only values that stand in the clear alone are
// sealed.
//
// A row is changed only where its owner, both values and the index values are as
// they were read, byte for byte, so writers of any release may go on. A killed or
// failed job goes on from where it was. Rows that cannot be sealed stop nothing:
// they are counted, listed, and are read in the clear.
//
// The report is Clean when the move to ReadSealed has nothing against it: the stage
// has settled, one guard stood from the beginning to the end or OldReleaseGone was
// stated before, and
// no sealed value is left that says something else than the clear. Rows that stand
// in the clear only are no obstacle there. At ReadSealed and SealedOnly it is Clean
// when there is none of them, either. Why it is not Clean is listed. At ReadSealed a sealed value beside an emptied
// one is listed, and not Clean, except while Unseal is still to fill the clear; and
// once Clear was clean, values that come into the clear are listed and not sealed.
// Owners counts values that were sealed for another owner than the row's: they are
// sealed anew, and the program that writes them is to be looked at. The move to SealedOnly wants such a pass at
// ReadSealed, where rows in the clear only may be accepted by number.
func (a *Adoption) Backfill(ctx context.Context, tenant string, options JobOptions) (Report, error) {
	r, err := a.current(ctx, tenant)
	if err != nil {
		return Report{}, err
	}
	if !r.stage.writesSealed() {
		return Report{}, fmt.Errorf("%w: %s of tenant %q is at %s, where what is sealed would be outdated at once: Move to %s first", ErrStage, a.def.Name, tenant, r.stage, WriteBoth)
	}
	p := &pass{job: "backfill", tenant: tenant, at: r, options: options, plan: planBackfill}
	accepted, err := a.readJob(ctx, tenant, acceptedJob)
	if err != nil {
		return Report{}, err
	}
	p.accepted = accepted.revision == r.revision
	if p.filling, err = a.filling(ctx, r); err != nil {
		return Report{}, err
	}
	report, err := a.run(ctx, p)
	if err != nil {
		return report, err
	}
	clean := report.Differ == 0 && report.Locked == 0
	if !p.kept.Eligible && r.stage != SealedOnly {
		p.kept.Report.reason(errUnguarded)
	}
	if r.stage == WriteBoth {
		return p.endSealing(ctx, clean && p.kept.Eligible)
	}
	unsealed, err := p.sided(ctx, tenant, true)
	if err != nil {
		return report, err
	}
	if r.stage == ReadSealed {
		report, err = p.endSealing(ctx, clean && p.kept.Eligible)
	} else {
		report, err = p.end(ctx, false) // what is recorded belongs to Clear there
	}
	report.Clean = clean && unsealed == 0 && !options.DryRun
	if unsealed > 0 {
		report.reason(fmt.Errorf("adoption: %d rows stand in the clear only: those that are listed, and those that came while the pass went on, of a release that does not seal: call Backfill again", unsealed))
	}
	return report, err
}

// errUnguarded is why nothing that a pass has found holds.
var errUnguarded = errors.New("adoption: the stage had not settled, or one trigger (Reset) did not stand from the beginning of the pass to its end and OldReleaseGone was not stated: somebody may have written in the clear behind the pass; call Move, or execute what GuardSQL(ctx, Reset) returns, then Backfill (Again)")

// endSealing ends a pass at WriteBoth or ReadSealed.
func (p *pass) endSealing(ctx context.Context, clean bool) (Report, error) {
	if clean && !p.options.DryRun {
		still, err := p.stillGuarded(ctx, p.kept.Guard)
		if err != nil {
			return p.kept.Report, err
		}
		mark := jobRow{job: guardJob, revision: p.at.revision, counts: p.kept.Guard, began: p.began, updated: p.terms.Now()}
		if err := p.saveJob(ctx, p.tenant, mark); err != nil {
			return p.kept.Report, err
		}
		if clean = still; !still {
			p.kept.Report.reason(errUnguarded)
		}
	}
	return p.end(ctx, clean)
}

func planBackfill(ctx context.Context, p *pass, rows []row) ([]plan, error) {
	k, err := p.keysOf(ctx, rows)
	if err != nil {
		return nil, err
	}
	plans := make([]plan, len(rows))
	for i, r := range rows {
		plans[i].row = r
		for c := range p.cells {
			if err := p.planCell(ctx, k, &plans[i], c); err != nil {
				return nil, err
			}
		}
		plans[i].count()
	}
	return plans, nil
}

// count says what a row counts for, once all its columns are planned.
func (one *plan) count() {
	for _, c := range one.changes {
		if !c.keep {
			one.report.Changed = 1
		}
	}
	if one.report.Changed == 0 {
		one.changes = nil
	}
	r := &one.report
	r.Refused, r.Erased, r.Differ, r.Owners = min(r.Refused, 1), min(r.Erased, 1), min(r.Differ, 1), min(r.Owners, 1)
	if r.Changed+r.Refused+r.Erased+r.Differ+r.Same == 0 {
		r.Empty = 1
	}
	if r.Changed+r.Refused+r.Erased+r.Differ > 0 {
		r.Same = 0
	}
	r.Same = min(r.Same, 1)
}

// planCell plans one column of a row.
func (p *pass) planCell(ctx context.Context, k *keys, one *plan, i int) error {
	c, have := p.cells[i], one.row.cells[i]
	if have.plain == nil {
		if have.sealed != nil && p.accepted && p.at.stage == WriteBoth {
			one.report.Refused++
			one.report.list(one.row.id, c.Name, errAccepted)
		} else if have.sealed != nil && p.at.stage == WriteBoth { // taken away in the clear, by who knows nothing of it
			one.stale = true
			one.changes = append(append(one.changes, c.emptied(have)...), change{column: c.plain, keep: true})
		} else if have.sealed != nil && p.at.stage == ReadSealed && !p.filling {
			one.report.Differ++
			one.report.list(one.row.id, c.Name, errEmptied)
		} else if have.sealed != nil {
			one.report.Same++
		}
		return nil
	}
	if p.at.cleared() && have.sealed == nil {
		one.report.Refused++
		one.report.list(one.row.id, c.Name, ErrInClear)
		return nil
	}
	value, err := clearText(have.plain)
	if err != nil {
		one.report.refuse(plan{row: one.row, stale: have.sealed != nil}, c.Name, err)
		return nil
	}
	why := error(nil) // what is wrong with what is sealed
	if have.sealed != nil {
		opened, err := p.opened(ctx, k, c, one.row, have.sealed)
		switch {
		case errors.Is(err, encryption.ErrErased):
			one.report.Erased++
			one.report.list(one.row.id, c.Name, err)
			return nil
		case err != nil && !aboutOneValue(err):
			return err
		case err == nil && opened == value:
			return p.planIndex(k, one, i, value)
		}
		p.owned(one, c, have, err)
		if p.at.stage == SealedOnly {
			one.report.Differ++
			one.report.list(one.row.id, c.Name, errDiffers)
			return nil
		}
		why = errDiffers
	}
	one.stale = one.stale || why != nil
	return p.planSeal(k, one, i, value)
}

// errAccepted is about a row that a move back left sealed only.
var errAccepted = errors.New("adoption: the value is sealed only, and was accepted to be so when the table was moved back: it is kept, and read again from read-sealed on")

// errEmptied is about a row whose clear somebody emptied while no guard stood.
var errEmptied = errors.New("adoption: the clear is empty and a sealed value stands beside it, which is still read: somebody emptied it and knows nothing of the sealed column; where that was meant, empty sealed and index columns too, otherwise write the value once more")

// errOwners is about a row that a Writer sealed for somebody else.
var errOwners = errors.New("adoption: the sealed value is whole and does not open for the owner of the row: a Writer named another owner or spelt it otherwise, or its key is lost; look which program writes it, since where nothing is in the clear it is lost")

// owned counts a row that was sealed for another owner than its own. At WriteBoth,
// where the clear is read, nobody else would notice.
func (p *pass) owned(one *plan, c liveColumn, have cell, err error) {
	var sealed []byte
	switch v := have.sealed.(type) {
	case []byte:
		sealed = v
	case string:
		sealed = []byte(v)
	}
	if err != nil && ofAnother(err, sealed) {
		one.report.Owners++
		one.report.list(one.row.id, c.Name, errOwners)
	}
}

var errDiffers = errors.New("adoption: the sealed value is not the one in the clear")

// planIndex mends the index values of a value that is sealed as it should be.
func (p *pass) planIndex(k *keys, one *plan, i int, value string) error {
	c, have := p.cells[i], one.row.cells[i]
	w, err := p.sealer(k, c, one.row)
	if err != nil || w == nil { // merged, for one: it opens, and stays
		one.report.Same++
		return nil //nolint:nilerr // nothing is to be sealed
	}
	same, err := c.indexedAs(w, have, value)
	if err != nil {
		return err
	}
	if same {
		one.report.Same++
		return nil
	}
	return p.planSeal(k, one, i, value)
}

// planSeal seals a value anew. Where nothing seals it, an outdated value is taken
// away, so that readers fall back to the clear.
func (p *pass) planSeal(k *keys, one *plan, i int, value string) error {
	c, have := p.cells[i], one.row.cells[i]
	w, err := p.sealer(k, c, one.row)
	if err == nil && w == nil { // a dry run
		one.changes = append(one.changes, change{column: c.stored, old: have.sealed})
		return nil
	}
	var changes []change
	var sealed []byte
	if err == nil {
		changes, sealed, err = c.written(w, have, value)
	}
	compared := change{column: c.plain, old: have.plain, keep: true}
	switch {
	case err == nil:
		one.changes = append(append(one.changes, changes...), compared)
		one.sealed = append(one.sealed, sealed)
	case errors.Is(err, encryption.ErrErased):
		one.report.Erased++
		one.report.list(one.row.id, c.Name, err)
	case aboutOneValue(err):
		one.report.Refused++
		one.report.list(one.row.id, c.Name, err)
		if have.sealed != nil {
			one.changes = append(append(one.changes, c.emptied(have)...), compared)
		}
	default:
		return err
	}
	return nil
}
