package accesscontrol

import (
	"errors"
	"slices"

	"github.com/crmguard/crmguard/accesscontrol/internal/cedarx"
	"github.com/crmguard/crmguard/accesscontrol/internal/sqlcond"
)

// compiler turns the conditions of a policy into one condition over the
// attributes of a record type. Whatever does not depend on the record is
// evaluated by Cedar itself; only comparisons of attributes are left. Without
// env those parts stay open: that compilation is done at load time and is the
// proof that every later one succeeds.
//
// Where the records have no table, a part that has no form of its own is left
// to Cedar, record by record.
type compiler struct {
	table  *table
	env    *cedarx.Env
	tenant string
	// known, static and actions are the entities that env can see, listed.
	known, actions cedarx.EntityMap
	static         hierarchy
	// foreigners counts the parts that are left to Cedar.
	foreigners int
	// reads are the joins that are looked at.
	reads map[*join]bool
}

// untranslatable says why a policy cannot become SQL. It names attributes,
// never values.
type untranslatable struct{ text string }

func (u *untranslatable) Error() string { return "accesscontrol: " + u.text }

var errNUL = &untranslatable{"a text holds NUL, which databases compare differently"}

// holdsNUL says whether a policy writes a text that no database compares as
// Cedar does.
func holdsNUL(p *cedarx.Policy) bool {
	var writes func(e *cedarx.Expr) bool
	writes = func(e *cedarx.Expr) bool {
		return e.Op == cedarx.Literal && !plain(e.Value) || slices.ContainsFunc(e.Args, writes)
	}
	return slices.ContainsFunc(p.Conditions, func(c cedarx.Condition) bool { return writes(c.Body) })
}

func refuse(e *cedarx.Expr, why string) error {
	return &untranslatable{"cannot become SQL: " + e.String() + ": " + why}
}

// policy compiles the resource scope and the conditions, in order.
func (c *compiler) policy(p *cedarx.Policy) (sqlcond.Cond, error) {
	out, err := c.scope(p.Resource)
	if err != nil {
		return nil, err
	}
	for _, condition := range p.Conditions {
		if out == sqlcond.False {
			break
		}
		body, err := c.pred(condition.Body)
		if err != nil {
			return nil, err
		}
		if condition.Unless {
			body = sqlcond.Not(body)
		}
		out = sqlcond.And(out, body)
	}
	return out, nil
}

func (c *compiler) scope(s cedarx.Scope) (sqlcond.Cond, error) {
	switch s.Kind {
	case cedarx.ScopeAll:
		return sqlcond.True, nil
	case cedarx.ScopeIs:
		return sqlcond.Truth(s.Type == c.table.kind), nil
	case cedarx.ScopeEq:
		return c.compare(sqlcond.Equal, operand{column: c.table.key}, operand{known: s.Entities[0]})
	default:
		if s.Kind == cedarx.ScopeIsIn && s.Type != c.table.kind {
			return sqlcond.False, nil
		}
		if c.table.Name == "" {
			return c.asking(func(record cedarx.Entity) sqlcond.Outcome {
				return sqlcond.Truth(inScope(s, record.UID, record.Parents.Slice()))
			}), nil
		}
		return nil, &untranslatable{"cannot become SQL: resource in …: records have no parents here; compare an attribute instead"}
	}
}

// pred compiles a condition.
func (c *compiler) pred(e *cedarx.Expr) (sqlcond.Cond, error) {
	if !e.UsesResource {
		return c.constant(e), nil
	}
	out, err := c.form(e)
	if refused := (*untranslatable)(nil); c.table.Name == "" && errors.As(err, &refused) {
		return c.foreign(e), nil
	}
	return out, err
}

// form compiles what looks at the record.
func (c *compiler) form(e *cedarx.Expr) (sqlcond.Cond, error) {
	switch e.Op {
	case cedarx.And, cedarx.Or:
		return c.junction(e)
	case cedarx.Not:
		inner, err := c.pred(e.Args[0])
		if err != nil {
			return nil, err
		}
		return sqlcond.Not(inner), nil
	case cedarx.If:
		return c.choice(e)
	case cedarx.Eq, cedarx.Ne, cedarx.Lt, cedarx.Le, cedarx.Gt, cedarx.Ge:
		return c.comparison(e)
	case cedarx.Has:
		return c.has(e)
	case cedarx.Access:
		col, err := c.column(e)
		if err != nil {
			return nil, err
		}
		return &sqlcond.Holds{Column: &col.Column}, nil
	case cedarx.Contains:
		return c.contains(e)
	case cedarx.In:
		return c.in(e, e.Args[0], e.Args[1])
	case cedarx.Is, cedarx.IsIn:
		return c.is(e)
	case cedarx.Like:
		return c.like(e)
	default:
		return c.setCall(e)
	}
}

// foreign leaves a part to Cedar, which sees the record as an entity.
func (c *compiler) foreign(e *cedarx.Expr) sqlcond.Cond {
	return c.asking(func(record cedarx.Entity) sqlcond.Outcome {
		env := *c.env
		env.Resource = record.UID
		env.Entities = layered{{record.UID: record}, c.known, c.static.entities, c.actions}
		return outcomeOf(e.Eval(env))
	})
}

// asking is a part that looks at the whole record.
func (c *compiler) asking(ask func(record cedarx.Entity) sqlcond.Outcome) sqlcond.Cond {
	c.foreigners++
	if c.env == nil {
		return open{}
	}
	return &sqlcond.Foreign{Ask: func(row *sqlcond.Row) sqlcond.Outcome {
		record, whole := row.Source.(cedarx.Entity)
		if !whole {
			return sqlcond.Failed
		}
		return ask(record)
	}}
}

// outcomeOf is what the result of an evaluation means for a condition.
func outcomeOf(v cedarx.Value, err error) sqlcond.Outcome {
	b, isBool := v.(cedarx.Boolean)
	if err != nil || !isBool {
		return sqlcond.Failed
	}
	return sqlcond.Truth(bool(b))
}

// open is a part that depends on principal or context while these are not
// known, or that is left to Cedar: it stands only in compilations that are
// never asked.
type open struct{ sqlcond.Outcome }

// constant evaluates a part that does not depend on the resource. A part that
// depends on nothing at all is known at load time too.
func (c *compiler) constant(e *cedarx.Expr) sqlcond.Cond {
	v, err, isOpen := c.eval(e)
	if isOpen {
		return open{}
	}
	return outcomeOf(v, err)
}

//nolint:revive // the third result says that the first two mean nothing yet
func (c *compiler) eval(e *cedarx.Expr) (v cedarx.Value, err error, isOpen bool) {
	switch {
	case c.env != nil:
		v, err = e.Eval(*c.env)
	case e.UsesVariable:
		return nil, nil, true
	default:
		v, err = e.Eval(cedarx.Env{Entities: cedarx.EntityMap{}})
	}
	return v, err, false
}

func (c *compiler) junction(e *cedarx.Expr) (sqlcond.Cond, error) {
	left, err := c.pred(e.Args[0])
	if err != nil {
		return nil, err
	}
	if left == sqlcond.Failed || left == sqlcond.Truth(e.Op == cedarx.Or) {
		return left, nil // the right side is not evaluated in Cedar either
	}
	right, err := c.pred(e.Args[1])
	if err != nil {
		return nil, err
	}
	if e.Op == cedarx.And {
		return sqlcond.And(left, right), nil
	}
	return sqlcond.Or(left, right), nil
}

func (c *compiler) choice(e *cedarx.Expr) (sqlcond.Cond, error) {
	test, err := c.pred(e.Args[0])
	if err != nil {
		return nil, err
	}
	var branches [2]sqlcond.Cond
	for i, skipped := range [2]sqlcond.Cond{sqlcond.False, sqlcond.True} {
		if test == skipped || test == sqlcond.Failed {
			continue
		}
		if branches[i], err = c.pred(e.Args[1+i]); err != nil {
			return nil, err
		}
	}
	return sqlcond.If(test, branches[0], branches[1]), nil
}

func (c *compiler) has(e *cedarx.Expr) (sqlcond.Cond, error) {
	if e.Args[0].Op != cedarx.Variable {
		return c.hasBehind(e)
	}
	if col := c.table.slots[e.Name]; col != nil && col.set != nil {
		return sqlcond.True, nil
	}
	_, bound := c.table.columns[e.Name]
	if _, inSchema := c.table.attrs[e.Name]; !inSchema && !bound {
		return sqlcond.False, nil // as Cedar answers
	}
	col, err := c.bound(e)
	if err != nil {
		return nil, err
	}
	return &sqlcond.Present{Column: &col.Column}, nil
}

// column finds the column of resource.attr and makes sure that its values can
// be compared.
func (c *compiler) column(e *cedarx.Expr) (*column, error) {
	if e.Op == cedarx.Variable {
		return c.table.key, nil
	}
	if e.Op != cedarx.Access {
		_, err := c.joined(e)
		return nil, err
	}
	col, err := c.bound(e)
	if err != nil {
		return nil, err
	}
	switch col.typ.Kind {
	case cedarx.String, cedarx.Long, cedarx.Bool, cedarx.EntityRef:
		return col, nil
	default:
		if col.Kind == sqlcond.Integer { // a Timestamp
			return col, nil
		}
		return nil, refuse(e, "its type is not one that a column can hold"+col.otherwise())
	}
}

// bound finds the column of an attribute, whatever its type.
func (c *compiler) bound(e *cedarx.Expr) (*column, error) {
	if e.Args[0].Op != cedarx.Variable {
		return c.behind(e)
	}
	col, known := c.table.slots[e.Name]
	switch {
	case c.table.columns[e.Name].opaque:
		return nil, refuse(e, "attribute "+e.Name+" is sealed, so it cannot be compared")
	case !known:
		return nil, refuse(e, "attribute "+e.Name+" is not in the schema")
	case col.set != nil:
		return nil, refuse(e, "attribute "+e.Name+" is a set of other rows: ask it with contains, containsAny, containsAll, isEmpty, or in")
	case c.table.Name != "" && col.Name == "":
		return nil, refuse(e, "attribute "+e.Name+" has no column in the binding")
	}
	return col, nil
}
