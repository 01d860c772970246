package accesscontrol

import (
	"slices"
	"strings"

	"github.com/crmguard/crmguard/accesscontrol/internal/cedarx"
	"github.com/crmguard/crmguard/accesscontrol/internal/sqlcond"
)

// operand is a side of a comparison.
type operand struct {
	column *column
	known  cedarx.Value
	failed bool
	isOpen bool
}

func (c *compiler) operand(e *cedarx.Expr) (operand, error) {
	if e.UsesResource {
		col, err := c.column(e)
		return operand{column: col}, err
	}
	v, err, isOpen := c.eval(e)
	return operand{known: v, failed: err != nil, isOpen: isOpen}, nil
}

func (c *compiler) comparison(e *cedarx.Expr) (sqlcond.Cond, error) {
	left, err := c.operand(e.Args[0])
	if err != nil {
		return nil, err
	}
	right, err := c.operand(e.Args[1])
	if err != nil {
		return nil, err
	}
	for _, side := range []operand{left, right} {
		ordered := e.Op != cedarx.Eq && e.Op != cedarx.Ne
		if ordered && side.column != nil && side.column.Kind != sqlcond.Integer {
			return nil, refuse(e, "only integers and times are compared by order")
		}
	}
	out, err := c.compare(orders[e.Op], left, right)
	if err != nil {
		return nil, refuse(e, strings.TrimPrefix(err.Error(), "accesscontrol: "))
	}
	return settled(out, left.column, right.column), nil
}

var orders = map[cedarx.Op]sqlcond.Order{
	cedarx.Eq: sqlcond.Equal, cedarx.Ne: sqlcond.Unequal,
	cedarx.Lt: sqlcond.Less, cedarx.Le: sqlcond.LessOrEqual, cedarx.Gt: sqlcond.Greater, cedarx.Ge: sqlcond.GreaterOrEqual,
}

// compare writes a comparison with at least one column. Values of different
// types are different, which Cedar knows without looking.
func (c *compiler) compare(op sqlcond.Order, left, right operand) (sqlcond.Cond, error) {
	if left.failed || right.failed {
		return sqlcond.Failed, nil
	}
	if left.isOpen || right.isOpen {
		return open{}, nil
	}
	if left.column != nil && right.column != nil {
		a, b := left.column, right.column
		switch {
		case a.typ.Kind != b.typ.Kind || a.typ.Entity != b.typ.Entity:
			return sqlcond.Truth(op == sqlcond.Unequal), nil
		case a.Storage == sqlcond.Day && b.Storage == sqlcond.Day:
		case a.isTime():
			return nil, &untranslatable{"two times of the record are not compared, unless both are dates: a column holds them finer than milliseconds"}
		case a.Kind == sqlcond.Text && a.Storage != b.Storage && (!a.textual() || !b.textual()):
			return nil, &untranslatable{"one column holds " + a.content() + " and the other " + b.content()}
		}
		return &sqlcond.Comparison{Op: op, Left: a.term(), Right: b.term()}, nil
	}
	col, known := left.column, right.known
	if col == nil {
		col, known = right.column, left.known
	}
	bound, fits, err := col.bind(known)
	switch {
	case err != nil:
		return nil, err
	case !fits:
		return sqlcond.Truth(op == sqlcond.Unequal), nil
	case col.isTime() && !within(bound.Number):
		// A time before all that the column may hold, or behind it.
		below := (bound.Number < firstMilli) != (left.column == nil)
		return sqlcond.Truth(op == sqlcond.Unequal || below == (op == sqlcond.Greater || op == sqlcond.GreaterOrEqual) && op != sqlcond.Equal), nil
	case col.Storage == sqlcond.Day && left.column != nil:
		return sqlcond.NewDate(&col.Column, op, bound.Number), nil
	case col.Storage == sqlcond.Day:
		return sqlcond.NewDate(&col.Column, op.Turned(), bound.Number), nil
	case left.column != nil:
		return &sqlcond.Comparison{Op: op, Left: col.term(), Right: sqlcond.Term{Known: bound}}, nil
	default:
		return &sqlcond.Comparison{Op: op, Left: sqlcond.Term{Known: bound}, Right: col.term()}, nil
	}
}

func (col *column) term() sqlcond.Term { return sqlcond.Term{Column: &col.Column} }

// bind turns a Cedar value into one of this column. What does not fit is equal
// to no value of it.
func (col *column) bind(v cedarx.Value) (bound sqlcond.Value, fits bool, err error) {
	switch v := v.(type) {
	case cedarx.StringValue:
		bound, fits = sqlcond.TextOf(string(v)), col.typ.Kind == cedarx.String
	case cedarx.LongValue:
		bound, fits = sqlcond.IntegerOf(int64(v)), col.typ.Kind == cedarx.Long
	case cedarx.Boolean:
		bound, fits = sqlcond.BooleanOf(bool(v)), col.typ.Kind == cedarx.Bool
	case cedarx.EntityUID:
		bound, fits = sqlcond.TextOf(string(v.ID)), col.typ.Kind == cedarx.EntityRef && v.Type == col.typ.Entity
	default:
		ms, isTime := cedarx.Milliseconds(v)
		bound, fits = sqlcond.IntegerOf(ms), isTime && col.isTime()
	}
	fits = fits && col.holds(bound)
	if col.Name != "" && strings.ContainsRune(bound.Text, 0) {
		return sqlcond.Value{}, false, errNUL
	}
	return bound, fits, nil
}

// contains compiles set.contains(resource.attr) for a set that is known.
func (c *compiler) contains(e *cedarx.Expr) (sqlcond.Cond, error) {
	if s := c.set(e.Args[0]); s != nil {
		return c.setContains(e, s)
	}
	if e.Args[0].UsesResource {
		return nil, refuse(e, "a column cannot be searched as a set")
	}
	col, err := c.column(e.Args[1])
	if err != nil {
		return nil, err
	}
	v, err, isOpen := c.eval(e.Args[0])
	if isOpen {
		return open{}, nil
	}
	set, isSet := v.(cedarx.SetValue)
	if err != nil || !isSet {
		return sqlcond.Failed, nil
	}
	return c.among(e, col, set.Slice())
}

// among compiles a look into a set of values: those that the column can hold.
func (c *compiler) among(e *cedarx.Expr, col *column, values []cedarx.Value) (sqlcond.Cond, error) {
	if col.typ.Kind == cedarx.Bool {
		return settled(eitherOf(col, values), col), nil
	}
	var fitting []sqlcond.Value
	for _, v := range values {
		bound, fits, err := col.bind(v)
		if err != nil {
			return nil, refuse(e, strings.TrimPrefix(err.Error(), "accesscontrol: "))
		}
		if fits && col.mayBe(bound) {
			fitting = append(fitting, bound)
		}
	}
	return settled(sqlcond.NewAmong(&col.Column, fitting), col), nil
}

// eitherOf is a look into a set of booleans, of which there are four.
func eitherOf(col *column, values []cedarx.Value) sqlcond.Cond {
	holds := &sqlcond.Holds{Column: &col.Column}
	yes, no := slices.Contains(values, cedarx.Value(cedarx.True)), slices.Contains(values, cedarx.Value(cedarx.False))
	switch {
	case yes && no:
		return sqlcond.True
	case yes:
		return holds
	case no:
		return sqlcond.Not(holds)
	default:
		return sqlcond.False
	}
}
