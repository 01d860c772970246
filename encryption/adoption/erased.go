package adoption

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/crmguard/crmguard/encryption/jobs"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// ClearErased takes the values of erased persons out of the table, at each stage:
// what stands in the clear, what is sealed, and the index values. Erase makes sealed
// values unreadable and touches no table; until Clear has been over it, what stands
// in the clear is readable for whoever has the database. Call it after erasures, and
// after a restore of an older database.
//
// A value in the clear whose column is NOT NULL, by itself, a domain or a CHECK, stays,
// counted (Refused) and listed with what to do about it ([NotNullError]); all else of its
// row goes.
//
// The report is Clean when no erased person's value is left. Erased by then means by
// the key store as it was while the rows were read.
func (a *Adoption) ClearErased(ctx context.Context, tenant string, options JobOptions) (Report, error) {
	r, err := a.current(ctx, tenant)
	if err != nil {
		return Report{}, err
	}
	p := &pass{job: "erased", tenant: tenant, at: r, options: options, plan: planErased, empties: true}
	report, err := a.run(ctx, p)
	if err != nil {
		return report, err
	}
	report, err = p.end(ctx, false)
	report.Clean = report.Refused+report.Locked == 0 && !options.DryRun
	return report, err
}

// ClearRows takes the values of one person out of the table, at each stage: what
// stands in the clear, what is sealed, and the index values, also of columns that are
// not adopted. It is SealedTable.ClearRows for a table that is being adopted, has its
// shape, and is the Erase of a Func of package privacy. It is idempotent.
//
// [Adoption.RowsLeft] counts what is left.
//
// Rows that the database refuses to change, or that others hold locked, are an
// *jobs.RefusedError: all others are cleared. Where a column in the clear is NOT NULL,
// as it may be up to ReadSealed, its value stays and a [*NotNullError] is in it: delete
// the row, or drop NOT NULL first.
func (a *Adoption) ClearRows(ctx context.Context, tenant, person string) error {
	var refused *jobs.RefusedError
	if err := a.cfg.Table.ClearRows(a.cfg.DB)(ctx, tenant, person); err != nil && !errors.As(err, &refused) {
		return err
	}
	if a.def.Shared {
		return nil // nothing there is a person's
	}
	for try := 0; ; try++ {
		r, err := a.current(ctx, tenant)
		if err != nil {
			return err
		}
		p := &pass{job: "rows", tenant: tenant, at: r, plan: planErased, person: person, empties: true}
		report, err := a.run(ctx, p)
		switch {
		case errors.Is(err, ErrMoved) && try < batchTries:
			continue
		case err != nil:
			return err
		case report.Refused+report.Locked == 0 && refused == nil:
			return nil
		case report.Refused+report.Locked > 0: // its columns are among those of the table
			refused = &jobs.RefusedError{Count: int(report.Refused + report.Locked)}
			for _, left := range report.Listed {
				why := errors.New(left.Why)
				for _, notNull := range p.stay {
					if notNull != nil && left.Why == notNull.Error() {
						why = notNull
					}
				}
				refused.Rows = append(refused.Rows, jobs.Refused{Table: a.def.Name, Key: left.Row, Column: left.Column, Err: why})
			}
		}
		return refused
	}
}

// RowsLeft counts the rows of a person in which anything stands that ClearRows takes
// away: the Left of a Func of package privacy.
func (a *Adoption) RowsLeft(ctx context.Context, tenant, person string) (int, error) {
	l, err := a.live(ctx, tenant)
	if err != nil || person == "" || a.def.Shared {
		return 0, err
	}
	p := &pass{live: l, tenant: tenant, person: person}
	var some []string
	for _, c := range l.cells {
		if !a.ofOwner(c.column) {
			continue
		}
		for _, column := range append([]sqldb.Column{c.plain, c.stored}, c.values...) {
			some = append(some, column.Name+" IS NOT NULL")
		}
	}
	if len(some) == 0 {
		return 0, nil
	}
	where, args := p.ofPerson()
	where = "(" + where + ") AND (" + strings.Join(some, " OR ") + ")"
	if l.tenant != nil {
		of, more := l.db.Named(*l.tenant, tenant)
		where, args = where+" AND "+of, append(args, more...)
	}
	n, err := l.count(ctx, where, args)
	return int(n), err
}

// ofPerson is the condition that a row belongs to the person that a pass is about.
// A UUID is found in small letters, in capital ones, and as it is named.
func (p *pass) ofPerson() (condition string, args []any) {
	if p.person == "" {
		return "", nil
	}
	spellings := []string{p.person}
	if len(p.person) == uuidLength {
		for _, other := range []string{strings.ToLower(p.person), strings.ToUpper(p.person)} {
			if other != p.person {
				spellings = append(spellings, other)
			}
		}
	}
	var each []string
	for _, spelling := range spellings {
		same, more := p.db.Named(*p.owner, spelling)
		each, args = append(each, "("+same+")"), append(args, more...)
	}
	return strings.Join(each, " OR "), args
}

const uuidLength = 36

// planErased plans that nothing is left of the rows of erased persons, or of the
// one person that the pass is about.
func planErased(ctx context.Context, p *pass, rows []row) ([]plan, error) {
	var owners []string
	for _, r := range rows {
		if p.person == "" && r.owner != "" && r.holdsAny() {
			owners = append(owners, r.owner)
		}
	}
	reader, err := p.cfg.Table.PageReader(ctx, p.tenant, owners...)
	if err != nil {
		return nil, err
	}
	plans := make([]plan, len(rows))
	for i, r := range rows {
		plans[i].row = r
		gone := p.person != ""
		if !gone && r.owner != "" && r.holdsAny() {
			if gone, err = reader.Erased(ctx, r.owner); err != nil {
				return nil, fmt.Errorf("adoption: erased persons of %s: %w", p.def.Name, err)
			}
		}
		for j, c := range p.cells {
			have := r.cells[j]
			switch {
			case !have.holdsAny():
			case !gone || !p.ofOwner(c.column):
				plans[i].report.Same = 1
			case have.plain != nil && p.stay[j] != nil:
				plans[i].report.Refused++
				plans[i].report.list(r.id, c.Name, p.stay[j])
			default:
				plans[i].changes = append(plans[i].changes, c.emptied(have)...)
				plans[i].changes = append(plans[i].changes, change{column: c.plain, old: have.plain})
			}
		}
		plans[i].count()
	}
	return plans, nil
}

// holdsAny says whether anything stands in one of the adopted columns.
func (r row) holdsAny() bool {
	for _, c := range r.cells {
		if c.holdsAny() {
			return true
		}
	}
	return false
}

func (c cell) holdsAny() bool {
	for _, v := range c.values {
		if v != nil {
			return true
		}
	}
	return c.plain != nil || c.sealed != nil
}
