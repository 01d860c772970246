package accesscontrol

import (
	"context"

	"github.com/crmguard/crmguard/accesscontrol/internal/sqlcond"
)

// Order is a field that a list is sorted by.
type Order struct {
	// Field is the attribute of a [Column], with a type in the schema.
	Field string
	// Desc turns it round: the largest comes first.
	Desc bool
	// Shown leaves out the rows that do not show the field to this principal, as
	// [Actor.FilterUsing] does. Without it a field that some row may hide is
	// refused: its place in the list would tell.
	Shown bool
}

// Page is a part of a list: an order, and where in it the part begins. It is a
// value. The rows behind one row are asked for, rather than an offset: no row
// that stays is skipped or shown twice because others come and go meanwhile.
// One whose own place changes is found where it stands then.
//
// The order is the same on every database: texts by their bytes, NULL before
// any value, false before true, and the key behind all else. MySQL and MariaDB
// order texts by their first 1,000 bytes.
type Page struct {
	table *table
	sorts []sqlcond.Sort
	// names are the fields, each behind + or -.
	names []string
	// slots are where the values stand, the key's last.
	slots []*column
	at    []sqlcond.Value
	// only are the rows that show the fields, where some may not.
	only extent
}

// maxOrders is how many fields a list may be sorted by.
const maxOrders = 8

// Page gives a part of a list of resources, sorted by declared fields: the first
// one where after is empty, or what stands behind the row of [Page.Cursor]. It
// is joined with the condition of [Actor.Filter] and a LIMIT:
//
//	where, args := filter.Postgres("c", 1)
//	behind, order, more := page.Postgres("c", 1+len(args))
//	db.Query("SELECT … FROM contacts c WHERE "+where+" AND "+behind+" ORDER BY "+order+" LIMIT 50", append(args, more...)...)
//
// A field that [Actor.CheckUse] refuses is refused here, unless its [Order] says
// Shown. A cursor that was not made for this order is [ErrCursor].
func (a *Actor) Page(ctx context.Context, resource string, by []Order, after string) (Page, error) {
	s, err := a.enter(ctx)
	if err != nil {
		return Page{}, err
	}
	t, known := s.set.tables[resource]
	switch {
	case !known:
		return Page{}, &RequestError{Part: "resource", Name: resource, Text: "no table binds it"}
	case t.Name == "":
		return Page{}, &RequestError{Part: "resource", Name: resource, Text: "the binding names no SQL table"}
	case len(by) > maxOrders:
		return Page{}, &RequestError{Part: "order", Name: resource, Text: "a list is sorted by 8 fields at most"}
	}
	p := Page{table: t}
	for _, o := range by {
		if err := p.add(o); err != nil {
			return Page{}, err
		}
	}
	p.slots = append(p.slots, t.key)
	p.sorts = append(p.sorts, sqlcond.Sort{Column: &t.key.Column})
	if err := s.mayOrder(&p, resource, by); err != nil {
		return Page{}, err
	}
	if after != "" {
		p.at, err = p.position(after)
	}
	return p, err
}

// mayOrder refuses an order by what some row hides, or leaves such rows out. A
// table without a Read action shows no fields: nobody hides one there.
func (s *standing) mayOrder(p *Page, resource string, by []Order) error {
	p.only.always = true
	if p.table.Read == "" || len(by) == 0 {
		return nil
	}
	var anywhere, narrowing []string
	for _, o := range by {
		if o.Shown {
			narrowing = append(narrowing, p.table.fields[o.Field]...)
		} else {
			anywhere = append(anywhere, o.Field)
		}
	}
	if err := s.checkUse(resource, anywhere); err != nil || len(narrowing) == 0 {
		return err
	}
	read, err := s.selecting(p.table.Read, resource)
	if err != nil {
		return err
	}
	rows := Where{left: read}
	if read.nothing {
		rows = Where{}
	}
	p.only, err = s.extent(rows, resource, narrowing)
	return err
}

// add takes a field into the order.
func (p *Page) add(o Order) error {
	col, typed := p.table.slots[o.Field]
	_, declared := p.table.columns[o.Field]
	refuse := func(why string) error { return &RequestError{Part: "order", Name: o.Field, Text: why} }
	switch {
	case !declared:
		return refuse("no column of the binding is this field")
	case p.table.columns[o.Field].opaque:
		return refuse("the column is sealed, so it has no order")
	case !typed, col.Kind == sqlcond.Other:
		return refuse("the schema gives it no type that has an order; name it there, with package roles in Model.Attrs, as String, Long, Bool, datetime or an entity")
	}
	for _, name := range p.names {
		if name[1:] == o.Field {
			return refuse("a list is sorted by it twice")
		}
	}
	p.names = append(p.names, map[bool]string{false: "+", true: "-"}[o.Desc]+o.Field)
	p.slots = append(p.slots, col)
	p.sorts = append(p.sorts, sqlcond.Sort{Column: &col.Column, Desc: o.Desc, Nullable: !col.required})
	return nil
}

// Postgres gives the condition of the rows that stand in this part and behind
// it, with placeholders from $first on, and what stands behind ORDER BY.
func (p Page) Postgres(alias string, first int) (behind, order string, args []any) {
	return p.render(sqlcond.Postgres(alias, first), sqlcond.Postgres(alias, first))
}

// SQLite is [Page.Postgres] with ? placeholders for SQLite.
func (p Page) SQLite(alias string) (behind, order string, args []any) {
	return p.render(sqlcond.New(sqlcond.SQLite, alias), sqlcond.New(sqlcond.SQLite, alias))
}

// MySQL is [Page.Postgres] with ? placeholders for MySQL and MariaDB.
func (p Page) MySQL(alias string) (behind, order string, args []any) {
	return p.render(sqlcond.New(sqlcond.MySQL, alias), sqlcond.New(sqlcond.MySQL, alias))
}

// Gorm is [Page.Postgres] as [Where.Gorm] gives a condition.
func (p Page) Gorm(alias string) (behind, order string, args []any) {
	return p.render(sqlcond.New(sqlcond.PostgreSQL, alias), sqlcond.New(sqlcond.PostgreSQL, alias))
}

func (p Page) render(condition, order *sqlcond.Writer) (string, string, []any) {
	switch {
	case p.table == nil: // the zero value is no page
		return "(1 = 0)", "1", nil
	case p.at == nil:
		condition.Raw("(1 = 1)")
	default:
		condition.Behind(p.sorts, p.at)
	}
	if !p.only.always {
		condition.Raw(" AND ")
		p.only.where.write(condition)
	}
	order.OrderBy(p.sorts)
	behind, args := condition.Result()
	by, _ := order.Result()
	return behind, by, args
}
