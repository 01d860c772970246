package accesscontrol

import (
	"slices"
	"strconv"
	"strings"

	"github.com/cedar-policy/cedar-go"

	"github.com/crmguard/crmguard/accesscontrol/internal/cedarx"
)

// compiler turns the conditions of a policy into SQL over the columns of one
// table. Whatever does not depend on the resource is evaluated by Cedar
// itself; only comparisons of columns are written here. Without env those
// parts stay open: that compilation is done at load time and is the proof that
// every later one succeeds.
type compiler struct {
	table *table
	env   *cedarx.Env
	// known are the entities that env can see, listed.
	known cedar.EntityMap
}

// untranslatable says why a policy cannot become SQL. It names attributes,
// never values.
type untranslatable struct{ text string }

func (u *untranslatable) Error() string { return "accesscontrol: " + u.text }

func refuse(e *cedarx.Expr, why string) error {
	return &untranslatable{"cannot become SQL: " + e.String() + ": " + why}
}

// policy compiles the resource scope and the conditions, in order.
func (c *compiler) policy(p *cedarx.Policy) (pred, error) {
	out, err := c.scope(p.Resource)
	if err != nil {
		return nil, err
	}
	for _, condition := range p.Conditions {
		if out == constFalse {
			break
		}
		body, err := c.pred(condition.Body)
		if err != nil {
			return nil, err
		}
		if condition.Unless {
			body = not(body)
		}
		out = and(out, body)
	}
	return out, nil
}

func (c *compiler) scope(s cedarx.Scope) (pred, error) {
	switch s.Kind {
	case cedarx.ScopeAll:
		return constTrue, nil
	case cedarx.ScopeIs:
		return truth(s.Type == c.table.entity), nil
	case cedarx.ScopeEq:
		return c.compare("=", operand{column: c.key()}, operand{known: s.Entities[0]})
	default:
		if s.Kind == cedarx.ScopeIsIn && s.Type != c.table.entity {
			return constFalse, nil
		}
		return nil, &untranslatable{"cannot become SQL: resource in …: records have no parents here; compare an attribute instead"}
	}
}

// key is the column of the id, as a reference to the record itself.
func (c *compiler) key() *column {
	return &column{
		name: c.table.Key, integer: c.table.IntegerKey, required: true,
		typ: cedarx.Type{Kind: cedarx.EntityRef, Entity: c.table.entity},
	}
}

// pred compiles a condition.
func (c *compiler) pred(e *cedarx.Expr) (pred, error) {
	if !e.UsesResource {
		return c.constant(e), nil
	}
	switch e.Op {
	case cedarx.And, cedarx.Or:
		return c.junction(e)
	case cedarx.Not:
		inner, err := c.pred(e.Args[0])
		if err != nil {
			return nil, err
		}
		return not(inner), nil
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
		return boolean{term{column: col}}, nil
	case cedarx.Contains:
		return c.contains(e)
	case cedarx.In:
		return c.in(e, e.Args[0], e.Args[1])
	case cedarx.Is, cedarx.IsIn:
		return c.is(e)
	default:
		return nil, refuse(e, e.Name+" is not translated")
	}
}

// constant evaluates a part that does not depend on the resource. A part that
// depends on nothing at all is known at load time too.
func (c *compiler) constant(e *cedarx.Expr) pred {
	v, err, isOpen := c.eval(e)
	b, isBool := v.(cedar.Boolean)
	switch {
	case isOpen:
		return open{}
	case err != nil || !isBool:
		return constNull
	default:
		return truth(bool(b))
	}
}

//nolint:revive // the third result says that the first two mean nothing yet
func (c *compiler) eval(e *cedarx.Expr) (v cedar.Value, err error, isOpen bool) {
	switch {
	case c.env != nil:
		v, err = e.Eval(*c.env)
	case e.UsesVariable:
		return nil, nil, true
	default:
		v, err = e.Eval(cedarx.Env{Entities: cedar.EntityMap{}})
	}
	return v, err, false
}

func (c *compiler) junction(e *cedarx.Expr) (pred, error) {
	left, err := c.pred(e.Args[0])
	if err != nil {
		return nil, err
	}
	if left == constNull || left == truth(e.Op == cedarx.Or) {
		return left, nil // the right side is not evaluated in Cedar either
	}
	right, err := c.pred(e.Args[1])
	if err != nil {
		return nil, err
	}
	if e.Op == cedarx.And {
		return and(left, right), nil
	}
	return or(left, right), nil
}

func (c *compiler) choice(e *cedarx.Expr) (pred, error) {
	test, err := c.pred(e.Args[0])
	if err != nil {
		return nil, err
	}
	var branches [2]pred
	for i, skipped := range [2]pred{constFalse, constTrue} {
		if test == skipped || test == constNull {
			continue
		}
		if branches[i], err = c.pred(e.Args[1+i]); err != nil {
			return nil, err
		}
	}
	return ifThenElse(test, branches[0], branches[1]), nil
}

func (c *compiler) has(e *cedarx.Expr) (pred, error) {
	if e.Args[0].Op != cedarx.Variable {
		return nil, refuse(e, "only attributes of the record itself are columns")
	}
	_, bound := c.table.columns[e.Name]
	if _, inSchema := c.table.attrs[e.Name]; !inSchema && !bound {
		return constFalse, nil // as Cedar answers
	}
	col, err := c.bound(e)
	if err != nil {
		return nil, err
	}
	return present{col}, nil
}

// column finds the column of resource.attr and makes sure that its values can
// be compared.
func (c *compiler) column(e *cedarx.Expr) (*column, error) {
	if e.Op == cedarx.Variable {
		return c.key(), nil
	}
	if e.Op != cedarx.Access || e.Args[0].Op != cedarx.Variable {
		why := "only attributes of the record itself are columns"
		if e.Op == cedarx.Other {
			why = e.Name + " is not translated"
		}
		return nil, refuse(e, why)
	}
	col, err := c.bound(e)
	if err != nil {
		return nil, err
	}
	switch col.typ.Kind {
	case cedarx.String, cedarx.Long, cedarx.Bool, cedarx.EntityRef:
		return col, nil
	default:
		return nil, refuse(e, "its type is not one that a column can hold")
	}
}

// bound finds the column of an attribute, whatever its type.
func (c *compiler) bound(e *cedarx.Expr) (*column, error) {
	col, known := c.table.columns[e.Name]
	switch {
	case !known:
		return nil, refuse(e, "attribute "+e.Name+" has no column in the binding")
	case col.opaque:
		return nil, refuse(e, "attribute "+e.Name+" is sealed, so it cannot be compared")
	case col.typ.Kind == 0:
		return nil, refuse(e, "attribute "+e.Name+" is not in the schema")
	}
	return &col, nil
}

// operand is a side of a comparison.
type operand struct {
	column *column
	known  cedar.Value
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

func (c *compiler) comparison(e *cedarx.Expr) (pred, error) {
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
		if ordered && side.column != nil && side.column.typ.Kind != cedarx.Long {
			return nil, refuse(e, "only integers are compared by order")
		}
	}
	out, err := c.compare(sqlOperators[e.Op], left, right)
	if err != nil {
		return nil, refuse(e, strings.TrimPrefix(err.Error(), "accesscontrol: "))
	}
	return out, nil
}

var sqlOperators = map[cedarx.Op]string{
	cedarx.Eq: "=", cedarx.Ne: "<>", cedarx.Lt: "<", cedarx.Le: "<=", cedarx.Gt: ">", cedarx.Ge: ">=",
}

// compare writes a comparison with at least one column. Values of different
// types are different, which Cedar knows without looking.
func (c *compiler) compare(op string, left, right operand) (pred, error) {
	if left.failed || right.failed {
		return constNull, nil
	}
	if left.isOpen || right.isOpen {
		return open{}, nil
	}
	if left.column != nil && right.column != nil {
		a, b := left.column, right.column
		switch {
		case a.typ.Kind != b.typ.Kind || a.typ.Entity != b.typ.Entity:
			return truth(op == "<>"), nil
		case a.integer != b.integer:
			return nil, &untranslatable{"one column holds integers and the other text"}
		}
		return comparison{op, term{column: a}, term{column: b}}, nil
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
		return truth(op == "<>"), nil
	case left.column != nil:
		return comparison{op, term{column: col}, term{bound: bound}}, nil
	default:
		return comparison{op, term{bound: bound}, term{column: col}}, nil
	}
}

// bind turns a Cedar value into what the driver takes for this column. Not
// comparable means that no value of the column can equal it.
func (col *column) bind(v cedar.Value) (bound any, fits bool, err error) {
	switch v := v.(type) {
	case cedar.String:
		bound, fits = string(v), col.typ.Kind == cedarx.String
	case cedar.Long:
		bound, fits = int64(v), col.typ.Kind == cedarx.Long
	case cedar.Boolean:
		bound, fits = bool(v), col.typ.Kind == cedarx.Bool
	case cedar.EntityUID:
		bound, fits = string(v.ID), col.typ.Kind == cedarx.EntityRef && v.Type == col.typ.Entity
		if fits && col.integer {
			n, err := strconv.ParseInt(string(v.ID), 10, 64)
			return n, err == nil && strconv.FormatInt(n, 10) == string(v.ID), nil
		}
	}
	if s, isText := bound.(string); isText && strings.ContainsRune(s, 0) {
		return nil, false, &untranslatable{"a text holds NUL, which databases compare differently"}
	}
	return bound, fits, nil
}

// contains compiles set.contains(resource.attr) for a set that is known.
func (c *compiler) contains(e *cedarx.Expr) (pred, error) {
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
	set, isSet := v.(cedar.Set)
	if err != nil || !isSet {
		return constNull, nil
	}
	return c.among(e, col, set.Slice())
}

// among writes column IN (…) for the values that the column can hold, in a
// stable order.
func (c *compiler) among(e *cedarx.Expr, col *column, values []cedar.Value) (pred, error) {
	if col.typ.Kind == cedarx.Bool {
		return nil, refuse(e, "a yes or no is compared with ==, not looked up in a set")
	}
	out := among{column: col}
	slices.SortFunc(values, func(a, b cedar.Value) int {
		return strings.Compare(string(a.MarshalCedar()), string(b.MarshalCedar()))
	})
	for _, v := range values {
		bound, fits, err := col.bind(v)
		if err != nil {
			return nil, refuse(e, strings.TrimPrefix(err.Error(), "accesscontrol: "))
		}
		if fits {
			out.values = append(out.values, bound)
		}
	}
	if len(out.values) == 0 {
		return constFalse, nil
	}
	return out, nil
}
