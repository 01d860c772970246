package adoption

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/crmguard/crmguard/encryption"
	"github.com/crmguard/crmguard/encryption/sealedvalue"
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
// ReadSealed on this is a fallback, and counted; an erased person's is
// encryption.ErrErased, and once Clear was clean it is ErrInClear. At ReadSealed a
// sealed value that differs from the one in the clear, or stands beside an emptied
// one, is returned and counted as a mismatch, and where one does not open the value
// in the clear stands in for it. At Plain and WriteBoth a row that holds a sealed
// value and none in the clear is ErrStage, and never NULL in silence: most likely it
// was read before the table was moved back.
func OpenAll[R Record](ctx context.Context, a *Adoption, tenant string, rows []R) error {
	at, err := a.at(ctx, tenant)
	if err != nil {
		return err
	}
	p := page{a: a, tenant: tenant, at: at, failed: map[int]error{}}
	for _, row := range rows {
		owner, _, _ := row.AdoptedCells()
		p.owners = append(p.owners, owner)
	}
	for i, row := range rows {
		if err := p.open(ctx, row); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if p.away != nil {
				return p.away // no row opens
			}
			p.failed[i] = err
		}
	}
	p.judgeEmptied(ctx)
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
	at     held
	owners []string
	reader *encryption.Reader // made when the first key is needed
	away   error              // why there is none
	failed map[int]error

	fallbacks, mismatches, emptied, unreadable, otherOwners, inClear int64
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
	c, adopted := p.a.columns[cell.Column]
	stage := p.at.stage
	if adopted && !stage.readsSealed() {
		if cell.Plain == nil && cell.Sealed != nil {
			return nil, fmt.Errorf("%w: %s.%s holds a sealed value and none in the clear, which is what %s reads: read the row again if you have had it for long; otherwise somebody emptied it without the guard, or it was accepted to stay sealed only", ErrStage, p.a.def.Name, cell.Column, stage)
		}
		return cell.Plain, nil
	}
	if adopted && cell.Plain != nil && p.at.cleared() {
		p.inClear++
	}
	if cell.Sealed == nil {
		if !adopted || cell.Plain == nil {
			return nil, nil
		}
		if err := p.standsIn(ctx, c, owner); err != nil {
			return nil, err
		}
		p.fallbacks++
		return cell.Plain, nil
	}
	opened, err := p.opened(ctx, owner, row, cell)
	switch {
	case err == nil:
		switch {
		case !adopted || stage != ReadSealed:
		case cell.Plain == nil:
			p.emptied++
		case *cell.Plain != opened:
			p.mismatches++
		}
		return &opened, nil
	case adopted && stage == ReadSealed && cell.Plain != nil && damaged(err):
		if err := p.standsIn(ctx, c, owner); err != nil {
			return nil, err
		}
		p.unreadable++
		if ofAnother(err, cell.Sealed) {
			p.otherOwners++
		}
		return cell.Plain, nil
	}
	return nil, err
}

// standsIn says whether the clear may stand in for a sealed value: not where its
// owner was erased, and not where Clear has found none left in the clear.
func (p *page) standsIn(ctx context.Context, c column, owner string) error {
	if p.at.cleared() {
		return fmt.Errorf("%w: %s.%s", ErrInClear, p.a.def.Name, c.Name)
	}
	if !p.a.ofOwner(c) {
		return nil
	}
	reader, err := p.keys(ctx)
	if err != nil {
		return err
	}
	erased, err := reader.Erased(ctx, owner)
	if err == nil && erased {
		err = fmt.Errorf("adoption: %s.%s stands in the clear still (ClearErased): %w", p.a.def.Name, c.Name, encryption.ErrErased)
	}
	return err
}

// ofOwner says whether a column is the owner's, and not the tenant's.
func (a *Adoption) ofOwner(c column) bool {
	return c.sealed.Level != encryption.LevelTenant && !a.def.Shared
}

// keys fetches the keys of the page, once.
func (p *page) keys(ctx context.Context) (*encryption.Reader, error) {
	if p.reader == nil && p.away == nil {
		p.reader, p.away = p.a.cfg.Table.PageReader(ctx, p.tenant, p.owners...)
	}
	return p.reader, p.away
}

func (p *page) opened(ctx context.Context, owner, row string, cell Cell) (string, error) {
	reader, err := p.keys(ctx)
	if err != nil {
		return "", err
	}
	if p.a.def.Shared && owner == "" {
		owner = tenantOwner
	}
	return reader.Row(owner, row).Text(ctx, cell.Column, cell.Sealed)
}

// damaged says that an error is about the sealed bytes of one value or about its
// owner, and not that the person was erased or that key store or KEK are away.
func damaged(err error) bool {
	return errors.Is(err, encryption.ErrOpen) || errors.Is(err, encryption.ErrID) || errors.Is(err, encryption.ErrNoKey) || errors.Is(err, encryption.ErrDestroyed)
}

// ofAnother says that a value does not open although it is a sealed one by its
// form: who sealed it named another owner than the row has, or another row, or spelt
// the owner otherwise. Bytes that were changed later look alike.
func ofAnother(err error, sealed []byte) bool {
	if !errors.Is(err, encryption.ErrOpen) && !errors.Is(err, encryption.ErrNoKey) {
		return false
	}
	_, form := sealedvalue.KeyVersion(sealed)
	return form == nil
}

// judgeEmptied takes sealed values that have none in the clear beside them for
// mismatches where nobody should have written so: not while Unseal is to fill the
// clear, and not where a neighbour is at SealedOnly by now.
func (p *page) judgeEmptied(ctx context.Context) {
	if p.emptied == 0 || p.at.filling {
		return
	}
	if now, err := p.a.current(ctx, p.tenant); err == nil && now.revision == p.at.revision {
		p.mismatches += p.emptied
	}
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
		{"encryption.adoption.owners", p.otherOwners, a.counted.otherOwners.Add},
		{"encryption.adoption.inclear", p.inClear, a.counted.inClear.Add},
	} {
		if one.n > 0 {
			one.sum(one.n)
			a.terms.Observe(ctx, one.name, float64(one.n), slog.String("table", a.def.Name))
		}
	}
}
