package accesscontrol

import (
	"context"
	"strings"

	"github.com/crmguard/crmguard/accesscontrol/internal/sqlcond"
)

// Columns is a select list in which the database itself hides and masks, row by
// row, what [Actor.Redact] hides and masks: one entry for each declared field,
// under the name of the field, in the order of the binding; id and tenant are no
// fields. A hidden field is NULL. It is a value: it stays as it was made when
// the policy set is reloaded.
//
// It belongs to the rows that [Columns.Where] selects, and hides nothing in
// others but the fields of groups:
//
//	columns, values := list.Postgres("c", 1)
//	condition, more := list.Where().Postgres("c", 1+len(values))
//	rows, err := db.QueryContext(ctx, "SELECT c.id, "+columns+" FROM contacts AS c WHERE "+condition, append(values, more...)...)
//
// A field with a [Mask] is a text wherever the database has to choose one type:
// on PostgreSQL the column is cast, numbers and times too, and a char(n) loses
// the blanks behind it. A sealed column is not cast, and its mask is *** whichever
// it is: open it after the query where [Columns.WithVisibility] says that it is
// readable.
type Columns struct {
	rows       Where
	list       []shown
	visibility bool
}

// shown is one field of the list.
type shown struct {
	name    string
	column  *sqlcond.Column
	mask    sqlcond.Mask
	masks   bool // the column has a mask
	sealed  bool
	grouped bool
	// read says where the field is readable, and show where its mask is shown.
	read, show extent
}

const visibilitySuffix = "_visibility"

// extent is where something holds: in no row, in those of a filter, or in all.
type extent struct {
	always bool
	where  Where
}

func (e extent) never() bool { return !e.always && e.where.Nothing() }

// Columns is [Actor.Columns] for one question.
func (p *Policy) Columns(ctx context.Context, principal Principal, record string) (Columns, error) {
	s, err := p.once(ctx, &principal)
	if err != nil {
		return Columns{}, err
	}
	return s.columns(ctx, record)
}

// Columns gives the select list of a table for this principal, to stand beside
// the filter of the Read action.
func (a *Actor) Columns(ctx context.Context, record string) (Columns, error) {
	s, err := a.enter(ctx)
	if err != nil {
		return Columns{}, err
	}
	return s.columns(ctx, record)
}

func (s *standing) columns(ctx context.Context, record string) (Columns, error) {
	t, err := s.set.readable(record)
	if err != nil {
		return Columns{}, err
	}
	out := Columns{}
	if out.rows, err = s.filter(ctx, t.Read, record); err != nil {
		return Columns{}, err
	}
	if len(t.Columns) == 0 {
		return Columns{}, &RequestError{Part: "resource", Name: record, Text: "the binding declares no column"}
	}
	for _, source := range t.Columns {
		if !identifier.MatchString(source.Attr) {
			return Columns{}, &RequestError{Part: "resource", Name: source.Attr, Text: "the name of a field in a select list is a plain SQL identifier"}
		}
		if field, is := strings.CutSuffix(source.Attr, visibilitySuffix); is && len(t.fields[field]) > 0 {
			return Columns{}, &RequestError{Part: "resource", Name: source.Attr, Text: "a field of a select list is called as the visibility of another one"}
		}
		c, known := t.slots[source.Attr]
		if !known {
			field := t.columns[source.Attr]
			c = &field
		}
		one := shown{name: source.Attr, column: &c.Column, mask: sqlMasks[source.Mask], masks: source.Mask != "", sealed: source.Opaque, grouped: len(t.fields[source.Attr]) > 0}
		if one.read, err = s.extent(out.rows, record, t.fields[source.Attr]); err != nil {
			return Columns{}, err
		}
		if one.masks && !one.read.always {
			if one.show, err = s.extent(out.rows, record, t.beside[source.Attr].masked); err != nil {
				return Columns{}, err
			}
		}
		out.list = append(out.list, one)
	}
	if out.values() > MaxValues {
		return Columns{}, ErrTooLarge
	}
	return out, nil
}

// extent is where all of the actions are permitted, among the rows of a filter.
func (s *standing) extent(of Where, record string, actions []string) (extent, error) {
	if of.Nothing() {
		return extent{}, nil
	}
	more, never, err := s.beyond([]*residual{of.left}, record, actions)
	switch {
	case err != nil || never:
		return extent{}, err
	case len(more) == 0:
		return extent{always: true}, nil
	default:
		return extent{where: Where{left: more[0], also: more[1:]}}, nil
	}
}

// values counts what the list compares with, and its filter: both stand in one
// statement.
func (c Columns) values() int {
	n := c.rows.values()
	for _, one := range c.list {
		n += one.read.where.values() + one.show.where.values()
	}
	return n
}

// Where is the filter of the Read action that the list belongs to, of the same
// policy set.
func (c Columns) Where() Where { return c.rows }

// WithVisibility is the list with one more column behind each field of a group,
// such as email_visibility behind email: 0, 1 or 2 for [Hidden], [Masked] and
// [Readable], which tells a field that is hidden from one that is NULL. Whether a
// field may be changed, it does not say.
func (c Columns) WithVisibility() Columns {
	c.visibility = true
	return c
}

// Postgres gives the list with placeholders from $first on, for a table known
// as alias in the statement.
func (c Columns) Postgres(alias string, first int) (sql string, args []any) {
	return c.render(sqlcond.Postgres(alias, first))
}

// SQLite gives the list with ? placeholders for SQLite.
func (c Columns) SQLite(alias string) (sql string, args []any) {
	return c.render(sqlcond.New(sqlcond.SQLite, alias))
}

// MySQL gives the list with ? placeholders for MySQL and MariaDB.
func (c Columns) MySQL(alias string) (sql string, args []any) {
	return c.render(sqlcond.New(sqlcond.MySQL, alias))
}

// Gorm gives the list for GORM on PostgreSQL, as [Where.Gorm] does, for
// db.Select(sql, args...).
func (c Columns) Gorm(alias string) (sql string, args []any) {
	return c.render(sqlcond.New(sqlcond.PostgreSQL, alias))
}

func (c Columns) render(out *sqlcond.Writer) (string, []any) {
	for i, one := range c.list {
		if i > 0 {
			out.Raw(", ")
		}
		one.write(out)
		out.As(one.name)
		if c.visibility && one.grouped {
			out.Raw(", ")
			one.writeVisibility(out)
			out.As(one.name + visibilitySuffix)
		}
	}
	return out.Result()
}

// write writes a field as
// `CASE WHEN c.x IS NULL THEN NULL WHEN read THEN c.x WHEN show THEN mask END`.
func (s shown) write(out *sqlcond.Writer) {
	switch {
	case s.read.always:
		s.value(out)
		return
	case s.read.never() && s.show.never():
		out.Raw("NULL")
		return
	}
	out.Raw("CASE")
	if !s.show.never() {
		out.Raw(" WHEN ")
		out.Absent(s.column)
		out.Raw(" THEN NULL")
	}
	s.read.when(out, func() { s.value(out) })
	s.show.when(out, func() {
		if s.sealed { // the database does not see what is under it
			out.Mask(s.column, sqlcond.MaskAll)
			return
		}
		out.Mask(s.column, s.mask)
	})
	out.Raw(" END")
}

// when writes a branch of a CASE.
func (e extent) when(out *sqlcond.Writer, then func()) {
	switch {
	case e.always:
		out.Raw(" ELSE ")
	case e.where.Nothing():
		return
	default:
		out.Raw(" WHEN ")
		e.where.write(out)
		out.Raw(" THEN ")
	}
	then()
}

func (s shown) value(out *sqlcond.Writer) {
	if s.masks && !s.sealed {
		out.Text(s.column)
		return
	}
	out.Column(s.column)
}

func (s shown) writeVisibility(out *sqlcond.Writer) {
	switch {
	case s.read.always:
		out.Raw("2")
		return
	case s.read.never() && s.show.never():
		out.Raw("0")
		return
	case s.read.never() && s.show.always:
		out.Raw("1")
		return
	}
	out.Raw("CASE")
	s.read.when(out, func() { out.Raw("2") })
	s.show.when(out, func() { out.Raw("1") })
	if !s.show.always {
		out.Raw(" ELSE 0")
	}
	out.Raw(" END")
}
