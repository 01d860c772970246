package accesscontrol

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/crmguard/crmguard/accesscontrol/internal/cedarx"
	"github.com/crmguard/crmguard/accesscontrol/internal/sqlcond"
)

// MaxJoins is how many records a policy may go through behind the one that is
// asked about: resource.account.region.manager.flag goes through three.
const MaxJoins = 3

// join is a record that another one refers to, and that some policy reads. Its
// attributes stand in the row of the record that is asked about, behind that
// record's own.
type join struct {
	attr string
	// path is how a policy writes it: resource.account.
	path string
	from *column
	to   *table
	// slots are the attributes that policies read, by name, and joins what they
	// go through from here, sorted.
	slots map[string]*column
	joins []*join
	sql   *sqlcond.Join
}

// relations checks the columns that are joins, when all tables are known.
func (b *binder) relations(tables map[string]*table) {
	for _, t := range tables {
		for _, source := range t.Columns {
			if !source.Join {
				continue
			}
			say := func(text string) {
				b.problem("table %s: attribute %s cannot be a join: %s", t.Resource, source.Attr, text)
			}
			col := t.columns[source.Attr]
			to := boundTo(tables, col.typ)
			switch {
			case col.typ.Kind != cedarx.EntityRef:
				say("it does not refer to an entity: its type in the schema is that of the table behind it, with package roles in Model.Attrs")
			case source.Opaque:
				say("it is sealed")
			case to == nil:
				say("no table binds " + string(col.typ.Entity))
			case t.Name == "" || to.Name == "":
				say("both records need an SQL table")
			case col.Storage != to.key.Storage && (!col.textual() || !to.key.textual()):
				say("it holds " + col.content() + " and the key of table " + to.Resource + " " + to.key.content() + ": give both columns one type, and say so with As and KeyAs")
			default:
				t.relations[source.Attr] = to
			}
		}
	}
}

// boundTo is the table of an entity type.
func boundTo(tables map[string]*table, typ cedarx.Type) *table {
	for _, t := range tables {
		if typ.Kind == cedarx.EntityRef && t.kind == typ.Entity {
			return t
		}
	}
	return nil
}

// follow gives a slot to each attribute that a policy reads behind a join.
func (t *table) follow(e *cedarx.Expr) (problems []string) {
	for _, arg := range e.Args {
		problems = append(problems, t.follow(arg)...)
	}
	if e.Op != cedarx.Access && e.Op != cedarx.Has || e.Args[0].Op != cedarx.Access {
		return problems
	}
	j, depth := t.reached(e.Args[0])
	switch {
	case j == nil: // refused where it is compiled
	case depth > MaxJoins:
		problems = append(problems, e.String()+" goes through "+strconv.Itoa(depth)+" records, which is more than "+strconv.Itoa(MaxJoins))
	default:
		j.column(t, e.Name)
	}
	return problems
}

// reached is the join that an expression stands for, made where there is none
// yet, and how many records lie before it; nil is no join.
func (t *table) reached(e *cedarx.Expr) (j *join, depth int) {
	if e.Op != cedarx.Access {
		return nil, 0
	}
	if e.Args[0].Op == cedarx.Variable {
		if e.Args[0].Name != "resource" || t.relations[e.Name] == nil {
			return nil, 0
		}
		return t.join(&t.joins, e, t.slots[e.Name], t.relations[e.Name]), 1
	}
	before, depth := t.reached(e.Args[0])
	if before == nil || before.to.relations[e.Name] == nil {
		return nil, 0
	}
	return t.join(&before.joins, e, before.column(t, e.Name), before.to.relations[e.Name]), depth + 1
}

// join finds the join of an attribute among others, or adds it.
func (t *table) join(among *[]*join, e *cedarx.Expr, from *column, to *table) *join {
	at, known := slices.BinarySearchFunc(*among, e.Name, func(j *join, attr string) int { return cmp.Compare(j.attr, attr) })
	if known {
		return (*among)[at]
	}
	link := &sqlcond.Join{From: &from.Column, Table: to.Name, Owns: to.mayOwn}
	key := to.key.Column
	key.Via = link
	link.Key = &key
	if to.Tenant != "" {
		tenant := to.tenant.Column
		tenant.Via = link
		link.Tenant = &tenant
	}
	j := &join{attr: e.Name, path: e.String(), from: from, to: to, slots: map[string]*column{}, sql: link}
	*among = slices.Insert(*among, at, j)
	return j
}

// column is an attribute behind the join, with a slot in the row of t; nil is
// one that no column holds.
func (j *join) column(t *table, attr string) *column {
	if col := j.slots[attr]; col != nil {
		return col
	}
	own := j.to.slots[attr]
	if own == nil {
		return nil
	}
	col := *own
	col.Slot, col.Via = t.width, j.sql
	t.width++
	j.slots[attr] = &col
	return &col
}

// joined finds the join that an expression stands for, and notes that the
// condition reads it.
func (c *compiler) joined(e *cedarx.Expr) (*join, error) {
	why := "only attributes of the record itself are columns, and of records that a column with Join refers to"
	if e.Op == cedarx.Other {
		why = e.Name + " is not translated"
	}
	if e.Op != cedarx.Access {
		return nil, refuse(e, why)
	}
	among := c.table.joins
	if e.Args[0].Op != cedarx.Variable {
		before, err := c.joined(e.Args[0])
		if err != nil {
			return nil, err
		}
		among = before.joins
	}
	for _, j := range among {
		if j.attr == e.Name {
			if c.reads == nil {
				c.reads = map[*join]bool{}
			}
			c.reads[j] = true
			return j, nil
		}
	}
	return nil, refuse(e, why)
}

// behind finds the column of an attribute of another record.
func (c *compiler) behind(e *cedarx.Expr) (*column, error) {
	j, err := c.joined(e.Args[0])
	if err != nil {
		return nil, err
	}
	col := j.slots[e.Name]
	switch {
	case j.to.columns[e.Name].opaque:
		return nil, refuse(e, "attribute "+e.Name+" is sealed, so it cannot be compared")
	case col == nil:
		return nil, refuse(e, "attribute "+e.Name+" is not in the schema")
	case col.Name == "":
		return nil, refuse(e, "attribute "+e.Name+" has no column in the binding of "+j.to.Resource)
	}
	return col, nil
}

// hasBehind compiles resource.account has attr.
func (c *compiler) hasBehind(e *cedarx.Expr) (sqlcond.Cond, error) {
	j, err := c.joined(e.Args[0])
	if err != nil {
		return nil, err
	}
	_, bound := j.to.columns[e.Name]
	if _, inSchema := j.to.attrs[e.Name]; !inSchema && !bound {
		return sqlcond.If(&sqlcond.Present{Column: &j.from.Column}, sqlcond.False, sqlcond.Failed), nil // as Cedar answers
	}
	col, err := c.behind(e)
	if err != nil {
		return nil, err
	}
	return &sqlcond.Present{Column: &col.Column}, nil
}

// settled is a condition about columns. One that is known without looking has
// failed nevertheless where a record that it looks at is not there.
func settled(out sqlcond.Cond, columns ...*column) sqlcond.Cond {
	for _, col := range columns {
		if _, known := out.(sqlcond.Outcome); known && out != sqlcond.Failed && col != nil && col.Via != nil {
			out = sqlcond.If(&sqlcond.Present{Column: &col.Column}, out, sqlcond.Failed)
		}
	}
	return out
}

// join makes the joins that policies go through.
func (s *snapshot) join(policies []*cedarx.Policy) (problems []Problem) {
	for _, p := range policies {
		for _, t := range s.tables {
			if len(t.relations) == 0 || !s.concerns(p, t) {
				continue
			}
			for _, c := range p.Conditions {
				for _, text := range t.follow(c.Body) {
					problems = append(problems, Problem{Policy: p.ID, Position: p.Position, Text: text})
				}
			}
			if permits, forbids := length(p); max(permits, forbids) > maxLength {
				problems = append(problems, Problem{Policy: p.ID, Position: p.Position, Text: "its condition about other records becomes too long as SQL: write the parts that may fail, those about other records, behind the others, or split it into more policies"})
			}
		}
	}
	return problems
}
