package accesscontrol

import (
	"github.com/crmguard/crmguard/accesscontrol/internal/cedarx"
	"github.com/crmguard/crmguard/accesscontrol/internal/sqlcond"
)

// in compiles `left in right` where one side is a column that refers to an
// entity and the other is known. The hierarchy is the one that the principal
// brings along with that of the config, and the same that a check sees.
func (c *compiler) in(e, left, right *cedarx.Expr) (sqlcond.Cond, error) {
	switch {
	case left.UsesResource && right.UsesResource:
		return nil, refuse(e, "only one side of in can be a column")
	case left.Op == cedarx.Variable && left.UsesResource:
		return nil, refuse(e, "records have no parents here; compare an attribute instead")
	case left.UsesResource:
		return c.columnIn(e, left, right)
	default:
		return c.inColumn(e, left, right)
	}
}

// columnIn is resource.owner in known: the column holds one of the entities of
// its type that are within the known ones.
func (c *compiler) columnIn(e, left, right *cedarx.Expr) (sqlcond.Cond, error) {
	col, err := c.column(left)
	if err != nil {
		return nil, err
	}
	v, err, isOpen := c.eval(right)
	if isOpen {
		return open{}, nil
	}
	targets, valid := entitiesOf(v)
	if err != nil || !valid {
		return sqlcond.Failed, nil
	}
	within := descendants(targets, newHierarchy(c.known), c.static)
	return c.among(e, col, valuesOf(within))
}

// inColumn is known in resource.team: the column holds the known entity or one
// of its ancestors.
func (c *compiler) inColumn(e, left, right *cedarx.Expr) (sqlcond.Cond, error) {
	if s := c.set(right); s != nil {
		return c.inSet(e, left, s)
	}
	col, err := c.column(right)
	if err != nil {
		return nil, err
	}
	v, err, isOpen := c.eval(left)
	if isOpen {
		return open{}, nil
	}
	uid, valid := v.(cedarx.EntityUID)
	if err != nil || !valid {
		return sqlcond.Failed, nil
	}
	return c.among(e, col, valuesOf(append(closure(layered{c.known, c.static.entities}, uid), uid)))
}

// is compiles `… is T` and `… is T in known`. The type of a column is known
// from the schema.
func (c *compiler) is(e *cedarx.Expr) (sqlcond.Cond, error) {
	subject := e.Args[0]
	if !subject.UsesResource {
		return c.isKnown(e, subject)
	}
	col, err := c.column(subject)
	if err != nil {
		return nil, err
	}
	if col.typ.Entity != e.Type || e.Op == cedarx.Is {
		return settled(sqlcond.Truth(col.typ.Entity == e.Type), col), nil
	}
	return c.in(e, subject, e.Args[1])
}

// isKnown is known is T in resource.team.
func (c *compiler) isKnown(e, subject *cedarx.Expr) (sqlcond.Cond, error) {
	v, err, isOpen := c.eval(subject)
	if isOpen {
		return c.in(e, subject, e.Args[1])
	}
	uid, valid := v.(cedarx.EntityUID)
	switch {
	case err != nil || !valid:
		return sqlcond.Failed, nil
	case uid.Type != e.Type:
		return sqlcond.False, nil
	}
	return c.in(e, subject, e.Args[1])
}

func entitiesOf(v cedarx.Value) ([]cedarx.EntityUID, bool) {
	switch v := v.(type) {
	case cedarx.EntityUID:
		return []cedarx.EntityUID{v}, true
	case cedarx.SetValue:
		var out []cedarx.EntityUID
		for item := range v.All() {
			uid, valid := item.(cedarx.EntityUID)
			if !valid {
				return nil, false
			}
			out = append(out, uid)
		}
		return out, true
	default:
		return nil, false
	}
}

func valuesOf(uids []cedarx.EntityUID) []cedarx.Value {
	out := make([]cedarx.Value, 0, len(uids))
	for _, uid := range uids {
		out = append(out, uid)
	}
	return out
}
