package accesscontrol

import (
	"github.com/crmguard/crmguard/accesscontrol/internal/cedarx"
	"github.com/crmguard/crmguard/accesscontrol/internal/sqlcond"
)

// set is the one of the binding that a part of a condition names, or nil.
func (c *compiler) set(e *cedarx.Expr) *set {
	if e.Op != cedarx.Access || !e.UsesResource || e.Args[0].Op != cedarx.Variable {
		return nil
	}
	if col := c.table.slots[e.Name]; col != nil {
		return col.set
	}
	return nil
}

// setContains is resource.lists.contains(known or an attribute of the record).
func (c *compiler) setContains(e *cedarx.Expr, s *set) (sqlcond.Cond, error) {
	if e.Args[1].UsesResource {
		return c.setIncludes(e, s)
	}
	v, err, isOpen := c.eval(e.Args[1])
	switch {
	case isOpen:
		return open{}, nil
	case err != nil:
		return sqlcond.Failed, nil
	}
	return c.meets(e, s, []cedarx.Value{v})
}

func (c *compiler) setIncludes(e *cedarx.Expr, s *set) (sqlcond.Cond, error) {
	col, err := c.column(e.Args[1])
	switch {
	case err != nil:
		return nil, err
	case col.Via != nil:
		return nil, refuse(e, "a set holds, or does not, an attribute of the record itself; bind a set for the other record's")
	case s.Tree != nil:
		return nil, refuse(e, "the elements of a tree are found from values that are known; bind the set by a closure table")
	case col.typ.Kind != s.element.typ.Kind || col.typ.Entity != s.element.typ.Entity:
		return sqlcond.False, nil
	case col.Storage != s.element.Storage && (!col.textual() || !s.element.textual()):
		return nil, refuse(e, "the column holds "+col.content()+" and the set "+s.element.content())
	case !c.reaches(s):
		return sqlcond.False, nil
	}
	return &sqlcond.Includes{Set: &s.Set, Column: &col.Column}, nil
}

// setCall is what a set of the record is asked beside contains and in.
func (c *compiler) setCall(e *cedarx.Expr) (sqlcond.Cond, error) {
	switch e.Name {
	case "isEmpty":
		if s := c.set(e.Args[0]); s != nil {
			return sqlcond.Not(c.some(s)), nil
		}
	case "containsAny", "containsAll":
		s, known := c.set(e.Args[0]), e.Args[1]
		if s == nil && e.Name == "containsAny" {
			s, known = c.set(e.Args[1]), e.Args[0]
		}
		if s != nil {
			return c.setAgainst(e, s, known)
		}
	}
	return nil, refuse(e, e.Name+" is not translated")
}

// setAgainst compares a set of the record with one that is known.
func (c *compiler) setAgainst(e *cedarx.Expr, s *set, known *cedarx.Expr) (sqlcond.Cond, error) {
	switch {
	case known.UsesResource:
		return nil, refuse(e, "a set of the record is compared with one that is known")
	case e.Name == "containsAll" && s.Tree != nil:
		return nil, refuse(e, "a tree is not asked for all of a set; write contains for each, or bind the set by a closure table")
	}
	v, err, isOpen := c.eval(known)
	if isOpen {
		return open{}, nil
	}
	values, is := v.(cedarx.SetValue)
	if err != nil || !is {
		return sqlcond.Failed, nil
	}
	if e.Name == "containsAny" {
		return c.meets(e, s, values.Slice())
	}
	if values.Len() == 0 {
		return sqlcond.True, nil
	}
	found, err := c.among(e, &s.element, values.Slice())
	among, is := found.(*sqlcond.Among)
	if err != nil || !is || len(among.Values) < values.Len() || !c.reaches(s) {
		return sqlcond.False, err // one of them can be no element
	}
	return &sqlcond.Covers{Set: &s.Set, Among: among}, nil
}

// inSet is known in resource.teams: the known entity or one of its ancestors is
// an element.
func (c *compiler) inSet(e, left *cedarx.Expr, s *set) (sqlcond.Cond, error) {
	v, err, isOpen := c.eval(left)
	if isOpen {
		return open{}, nil
	}
	uid, valid := v.(cedarx.EntityUID)
	if err != nil || !valid {
		return sqlcond.Failed, nil
	}
	return c.meets(e, s, valuesOf(append(closure(layered{c.known, c.static.entities}, uid), uid)))
}

// meets says that one of the values is an element.
func (c *compiler) meets(e *cedarx.Expr, s *set, values []cedarx.Value) (sqlcond.Cond, error) {
	found, err := c.among(e, &s.element, values)
	among, is := found.(*sqlcond.Among)
	if err != nil || !is || !c.reaches(s) {
		return sqlcond.False, err
	}
	return &sqlcond.Meets{Set: &s.Set, Among: among}, nil
}

func (c *compiler) some(s *set) sqlcond.Cond {
	if !c.reaches(s) {
		return sqlcond.False
	}
	return &sqlcond.Some{Set: &s.Set}
}

// reaches says whether the set can hold anything for the tenant who asks. At
// load nobody does.
func (c *compiler) reaches(s *set) bool { return c.env == nil || s.reaches(c.tenant) }
