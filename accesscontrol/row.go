package accesscontrol

import (
	"fmt"
	"sync"
	"unicode/utf8"

	"github.com/crmguard/crmguard/accesscontrol/internal/cedarx"
	"github.com/crmguard/crmguard/accesscontrol/internal/sqlcond"
)

// rows are kept between checks, emptied: a check allocates nothing.
var rows = sync.Pool{New: func() any { return new(sqlcond.Row) }}

// give puts a row back without what it held.
func give(row *sqlcond.Row) {
	clear(row.Values)
	for i, elements := range row.Sets {
		clear(elements)
		row.Sets[i] = elements[:0]
	}
	row.Source = nil
	rows.Put(row)
}

// read puts a record into the slots of its type. Whatever does not fit the
// schema is refused: the validation of the policies holds only for records
// that do.
func (t *table) read(r *Resource, row *sqlcond.Row) error {
	if r.Tenant == "" {
		return fmt.Errorf("%w: Resource.Tenant, the record's", ErrTenant)
	}
	if err := checkID("resource", r.Type, "id", r.ID); err != nil {
		return err
	}
	if cap(row.Values) < t.width {
		row.Values = make([]sqlcond.Value, t.width)
	}
	row.Values = row.Values[:t.width]
	row.Values[0] = sqlcond.TextOf(r.ID)
	if t.key.Storage == sqlcond.UUID {
		id, err := t.key.settle(row.Values[0])
		if err != nil {
			return &RequestError{Part: "resource", Name: r.Type, Text: fault(err)}
		}
		row.Values[0] = id
	}
	if err := t.readAttrs(r.Attrs, row); err != nil {
		return err
	}
	for _, col := range t.required {
		if row.Values[col.Slot].Kind == sqlcond.Absent {
			return &RequestError{Part: "resource", Name: col.attr, Text: missing(col)}
		}
	}
	return nil
}

// missing words that a record lacks what every record has.
func missing(col *column) string {
	if col.set != nil {
		return errMissing.Error() + ": bring the elements of the set, an empty list where it has none"
	}
	return errMissing.Error()
}

// read takes the usual Go types without looking twice, and the others as
// [valueOf] does.
func (col *column) read(v any, into *sqlcond.Value) error {
	switch v := v.(type) {
	case nil:
		return nil
	case string:
		if col.Kind == sqlcond.Text && col.Storage == sqlcond.Plain && utf8.ValidString(v) {
			*into = sqlcond.TextOf(v)
			return nil
		}
	case int64:
		if col.Kind == sqlcond.Integer && col.Storage == sqlcond.Plain {
			*into = sqlcond.IntegerOf(v)
			return nil
		}
	case bool:
		if col.Kind == sqlcond.Boolean {
			*into = sqlcond.BooleanOf(v)
			return nil
		}
	}
	switch col.Storage {
	case sqlcond.Instant:
		return readInstant(v, into)
	case sqlcond.Day:
		return readDay(v, into)
	default:
	}
	converted, err := valueOf(col.typ, v)
	if err != nil {
		return err
	}
	*into, err = col.settle(slotOf(converted))
	return err
}

// slotOf is a Cedar value as conditions compare it.
func slotOf(v cedarx.Value) sqlcond.Value {
	switch v := v.(type) {
	case nil:
		return sqlcond.Value{}
	case cedarx.StringValue:
		return sqlcond.TextOf(string(v))
	case cedarx.EntityUID:
		return sqlcond.TextOf(string(v.ID))
	case cedarx.LongValue:
		return sqlcond.IntegerOf(int64(v))
	case cedarx.Boolean:
		return sqlcond.BooleanOf(bool(v))
	default:
		return sqlcond.Value{Kind: sqlcond.Other}
	}
}

// whole is the record as Cedar sees it, which knows one entity of a name.
func (r *residual) whole(record *Resource) (cedarx.Entity, error) {
	entity, err := r.table.entity(record)
	if own, brought := r.entities[entity.UID]; err == nil && brought && !own.Attributes.Equal(entity.Attributes) {
		err = &RequestError{Part: "resource", Name: record.Type, Text: "the record is an entity of the principal, with other attributes"}
	}
	return entity, err
}

// entity is the record without what is sealed.
func (t *table) entity(r *Resource) (cedarx.Entity, error) {
	values := make(map[string]any, len(r.Attrs))
	attrs := make(cedarx.Attributes, len(t.slots))
	for name := range t.slots {
		attrs[name] = t.attrs[name]
		if v, given := r.Attrs[name]; given {
			values[name] = v
		}
	}
	record, name, err := attributesOf(attrs, values)
	if err != nil {
		return cedarx.Entity{}, &RequestError{Part: "resource", Name: name, Text: fault(err)}
	}
	return cedarx.Entity{UID: cedarx.NewEntityUID(t.kind, r.ID), Attributes: record}, nil
}
