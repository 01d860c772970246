package adoption

import (
	"context"
	"errors"
	"log/slog"

	"github.com/crmguard/crmguard/encryption"
)

// Cell is one column of a Record, as it was read in the clear and sealed, and
// where its value goes.
type Cell struct {
	Column string  // logical column
	Plain  *string // the column in the clear; nil is NULL, and where the table has none any more
	Sealed []byte  // the sealed column; nil is NULL
	Text   *string // receives the value; NULL leaves it alone
}

// Record is a row that OpenAll can open; implement it on the pointer.
type Record interface {
	// AdoptedCells returns the owner of the row, its key as encryption.RowText
	// writes it (which only columns of LevelRow need), and its columns.
	AdoptedCells() (owner, row string, cells []Cell)
}

// OpenAll gives every cell of every row the value that the tenant's stage reads,
// with one key query. Rows that do not open are listed in an
// *encryption.RowsError, and their targets stay as they were; all others are open.
//
// A value that stands in the clear only is that value, at each stage. From
// ReadSealed on this is a fallback, and counted. At ReadSealed a sealed value that
// differs from the one in the clear is returned and counted as a mismatch, and
// where one does not open the value in the clear stands in for it; an erased
// person's does not.
func OpenAll[R Record](ctx context.Context, a *Adoption, tenant string, rows []R) error {
	at, err := a.at(ctx, tenant)
	if err != nil {
		return err
	}
	p := page{a: a, tenant: tenant, stage: at.stage, failed: map[int]error{}}
	for _, row := range rows {
		owner, _, _ := row.AdoptedCells()
		p.owners = append(p.owners, owner)
	}
	for i, row := range rows {
		if err := p.open(ctx, row); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if p.reader == nil {
				return err // no row opens
			}
			p.failed[i] = err
		}
	}
	p.observe(ctx)
	if len(p.failed) > 0 {
		return &encryption.RowsError{Rows: p.failed}
	}
	return nil
}

// page is the rows of one call.
type page struct {
	a      *Adoption
	tenant string
	stage  Stage
	owners []string
	reader *encryption.Reader // made when the first sealed value is opened
	failed map[int]error

	fallbacks, mismatches, unreadable int64
}

func (p *page) open(ctx context.Context, row Record) error {
	owner, key, cells := row.AdoptedCells()
	values := make([]*string, len(cells))
	for i, cell := range cells {
		value, err := p.value(ctx, owner, key, cell)
		if err != nil {
			return err
		}
		values[i] = value
	}
	for i, cell := range cells {
		if values[i] != nil && cell.Text != nil {
			*cell.Text = *values[i]
		}
	}
	return nil
}

// value is what the stage reads of a cell; nil is NULL.
func (p *page) value(ctx context.Context, owner, row string, cell Cell) (*string, error) {
	_, adopted := p.a.columns[cell.Column]
	if adopted && !p.stage.readsSealed() {
		return cell.Plain, nil
	}
	if cell.Sealed == nil {
		if adopted && cell.Plain != nil {
			p.fallbacks++
			return cell.Plain, nil
		}
		return nil, nil
	}
	opened, err := p.opened(ctx, owner, row, cell)
	switch {
	case err == nil:
		if adopted && p.stage == ReadSealed && cell.Plain != nil && *cell.Plain != opened {
			p.mismatches++
		}
		return &opened, nil
	case adopted && p.stage == ReadSealed && cell.Plain != nil && damaged(err):
		p.unreadable++
		return cell.Plain, nil
	}
	return nil, err
}

func (p *page) opened(ctx context.Context, owner, row string, cell Cell) (string, error) {
	if p.reader == nil {
		reader, err := p.a.cfg.Table.PageReader(ctx, p.tenant, p.owners...)
		if err != nil {
			return "", err
		}
		p.reader = reader
	}
	if p.a.def.Shared && owner == "" {
		owner = tenantOwner
	}
	return p.reader.Row(owner, row).Text(ctx, cell.Column, cell.Sealed)
}

// damaged says that an error is about the sealed bytes of one value or about its
// owner, and not that the person was erased or that key store or KEK are away.
func damaged(err error) bool {
	return errors.Is(err, encryption.ErrOpen) || errors.Is(err, encryption.ErrID) || errors.Is(err, encryption.ErrNoKey) || errors.Is(err, encryption.ErrDestroyed)
}

func (p *page) observe(ctx context.Context) {
	a := p.a
	for _, one := range []struct {
		name string
		n    int64
		sum  func(int64) int64
	}{
		{"encryption.adoption.fallbacks", p.fallbacks, a.counted.fallbacks.Add},
		{"encryption.adoption.mismatches", p.mismatches, a.counted.mismatches.Add},
		{"encryption.adoption.unreadable", p.unreadable, a.counted.unreadable.Add},
	} {
		if one.n > 0 {
			one.sum(one.n)
			a.terms.Observe(ctx, one.name, float64(one.n), slog.String("table", a.def.Name))
		}
	}
}
