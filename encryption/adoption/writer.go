package adoption

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"

	"github.com/crmguard/crmguard/encryption"
)

// Writer makes what the tenant's stage writes, for one owner: at each stage the
// same statement names the column in the clear, the sealed one and its indexes,
// and what the stage does not write is NULL. It is taken before the transaction,
// lasts at least half a lease, and is for one goroutine.
type Writer struct {
	a      *Adoption
	at     held
	sealer *encryption.Writer // nil where the stage seals nothing
}

// Writer returns a writer for an owner as the row has it: a person, r:<uuid>, and
// "" where the table belongs to the tenant. From WriteBoth on it makes the owner's
// key, and refuses whom the vault refuses: encryption.ErrErased, ErrMerged, ErrID.
func (a *Adoption) Writer(ctx context.Context, tenant, owner string) (*Writer, error) {
	at, err := a.at(ctx, tenant)
	if err != nil {
		return nil, err
	}
	w := &Writer{a: a, at: at}
	if !at.stage.writesSealed() && !a.others() {
		return w, nil
	}
	if a.def.Shared && owner == "" {
		owner = tenantOwner
	}
	sealers, err := a.cfg.Table.Writers(ctx, tenant, owner)
	var refused *encryption.PersonsError
	if errors.As(err, &refused) && refused.Persons[0] != nil {
		return nil, refused.Persons[0]
	}
	if err != nil {
		return nil, err
	}
	w.sealer = sealers[0]
	return w, nil
}

// tenantOwner is the owner of what is about nobody.
const tenantOwner = "t:"

// Row returns a writer that is bound to a row: columns of LevelRow need it.
func (w *Writer) Row(id string) (*Writer, error) {
	bound := *w
	if w.sealer != nil {
		var err error
		if bound.sealer, err = w.sealer.Row(id); err != nil {
			return nil, err
		}
	}
	return &bound, nil
}

// Stage is the stage that the writer writes for.
func (w *Writer) Stage() Stage { return w.at.stage }

// usable says whether the lease of the stage still runs.
func (w *Writer) usable() error {
	if w.at.over(w.a.terms.Now()) {
		return ErrLease
	}
	return nil
}

// Plain is the value of the column in the clear: NULL at SealedOnly.
func (w *Writer) Plain(column, value string) Value {
	if _, ok := w.a.columns[column]; !ok {
		return failed(w.a.noColumn(column))
	}
	return Value{func() (driver.Value, error) {
		if err := w.usable(); err != nil {
			return nil, err
		}
		if w.at.stage == SealedOnly {
			return nil, nil
		}
		return value, nil
	}}
}

// Text is the value of the sealed column: NULL at Plain. A column of the table that
// is not adopted is sealed at every stage. For NULL put nil into all the places.
func (w *Writer) Text(column, value string) Value {
	_, adopted := w.a.columns[column]
	if adopted && !w.at.stage.writesSealed() {
		return w.null()
	}
	if w.sealer == nil {
		return failed(w.a.noColumn(column))
	}
	return w.made(w.sealer.Text(column, value))
}

// Int64 is the value of an index column (its SQL name) of up to 63 bits.
func (w *Writer) Int64(index, value string) Value {
	if w.a.indexed(index) && !w.at.stage.writesSealed() {
		return w.null()
	}
	if w.sealer == nil {
		return failed(w.a.noColumn(index))
	}
	return w.made(w.sealer.Int64(index, value))
}

// Index is the value of an index column (its SQL name) of any width.
func (w *Writer) Index(index, value string) Value {
	if w.a.indexed(index) && !w.at.stage.writesSealed() {
		return w.null()
	}
	if w.sealer == nil {
		return failed(w.a.noColumn(index))
	}
	return w.made(w.sealer.Index(index, value))
}

// made checks the lease of the stage when the statement takes the value, not only
// when it was made: both leases run.
func (w *Writer) made(value driver.Valuer) Value {
	return Value{func() (driver.Value, error) {
		if err := w.usable(); err != nil {
			return nil, err
		}
		return value.Value()
	}}
}

func (w *Writer) null() Value {
	return Value{func() (driver.Value, error) { return nil, w.usable() }}
}

// indexed says whether an SQL column is an index of an adopted column.
func (a *Adoption) indexed(sql string) bool {
	for _, c := range a.columns {
		for _, x := range c.indexes {
			if x.Column == sql {
				return true
			}
		}
	}
	return false
}

func (a *Adoption) noColumn(name string) error {
	var indexes []string
	_ = a.each(func(c column) error {
		for _, x := range c.indexes {
			indexes = append(indexes, x.Column)
		}
		return nil
	})
	return fmt.Errorf("%w: %s has nothing adopted of the name %q: Plain, Text and Lookup take a logical column (%s), Int64 and Index the SQL name of an index (%s)",
		ErrDefinition, a.def.Name, name, strings.Join(a.order, ", "), strings.Join(indexes, ", "))
}
