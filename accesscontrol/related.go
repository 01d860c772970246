package accesscontrol

import (
	"errors"

	"github.com/crmguard/crmguard/accesscontrol/internal/sqlcond"
)

var errNoJoin = errors.New("no policy goes through this attribute to another record, and no column says Join")

// related reads the records that a record refers to, as far as the policies of
// the question read them. Where one is not there, or another tenant's, its
// attributes stay absent, as a join in SQL finds no row.
func (r *residual) related(record *Resource, row *sqlcond.Row) error {
	if len(r.reads) == 0 && len(record.Related) == 0 || !r.mayOwn() || r.table.tenant.tenant(record.Tenant) != r.tenant {
		return nil // another tenant's record is denied without a look at it
	}
	return r.behind(r.table, r.table.joins, record, row)
}

func (r *residual) behind(t *table, joins []*join, record *Resource, row *sqlcond.Row) error {
	for name := range record.Related {
		if t.relations[name] == nil {
			return &RequestError{Part: "resource", Name: name, Text: errNoJoin.Error()}
		}
	}
	for _, j := range joins {
		held := row.Values[j.from.Slot]
		if !r.reads[j] || held.Kind == sqlcond.Absent {
			continue
		}
		other, brought := record.Related[j.attr]
		if !brought {
			return &RequestError{Part: "resource", Name: j.path, Text: "the policies read this record: bring Related[\"" + j.attr + "\"], the zero Resource where there is none"}
		}
		if isZero(other) {
			continue
		}
		if err := r.read(j, held, &other, row); err != nil {
			return err
		}
	}
	return nil
}

// read reads one of them, and those behind it.
func (r *residual) read(j *join, held sqlcond.Value, other *Resource, row *sqlcond.Row) error {
	fail := func(text string) error { return &RequestError{Part: "resource", Name: j.path, Text: text} }
	if other.Type != j.to.Resource {
		return fail("the related record is of another type than " + j.to.Resource)
	}
	if other.Tenant == "" {
		return &RequestError{Part: "resource", Name: j.path, Text: "the related record has no tenant", err: ErrTenant}
	}
	id, err := j.to.key.settle(sqlcond.TextOf(other.ID))
	switch {
	case err != nil:
		return fail(fault(err))
	case id != held:
		return fail("the related record is not the one that the attribute refers to")
	case !j.to.mayOwn(r.tenant) || j.to.tenant.tenant(other.Tenant) != r.tenant:
		return nil
	}
	for name, v := range other.Attrs {
		if col := j.slots[name]; col != nil {
			if err := col.read(v, &row.Values[col.Slot]); err != nil {
				return &RequestError{Part: "resource", Name: j.path + "." + name, Text: fault(err)}
			}
			continue
		}
		if _, field := j.to.fields[name]; !field && j.to.slots[name] == nil {
			return &RequestError{Part: "resource", Name: j.path + "." + name, Text: errUnknown.Error()}
		}
	}
	for name, col := range j.slots {
		if col.required && row.Values[col.Slot].Kind == sqlcond.Absent {
			return &RequestError{Part: "resource", Name: j.path + "." + name, Text: errMissing.Error()}
		}
	}
	return r.behind(j.to, j.joins, other, row)
}
