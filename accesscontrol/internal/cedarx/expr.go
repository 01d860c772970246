package cedarx

import (
	"strings"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/eval"
)

// Op is the kind of an expression.
type Op uint8

// The kinds. Other stands for everything that has no kind of its own; its
// Name says what it is.
const (
	Other Op = iota
	Literal
	Variable
	And
	Or
	Not
	If
	Eq
	Ne
	Lt
	Le
	Gt
	Ge
	In
	Is
	IsIn
	Contains
	Has
	Access
	Like
)

// Expr is one node of a condition.
type Expr struct {
	// Op is the kind.
	Op Op
	// Args are the operands in the order of evaluation.
	Args []*Expr
	// Name is the variable, the attribute, or how an Other is written.
	Name string
	// Type is the entity type of Is and IsIn.
	Type cedar.EntityType
	// Value is that of a Literal.
	Value cedar.Value
	// Pattern is that of Like: the texts between its wildcards.
	Pattern []string
	// UsesResource and UsesVariable say what the value depends on.
	UsesResource, UsesVariable bool
	depth                      int
	raw                        ast.IsNode
}

// Env is what expressions are evaluated in. Resource may be nil for an
// expression that does not use it.
type Env struct {
	Entities                    cedar.EntityGetter
	Principal, Action, Resource cedar.Value
	Context                     cedar.Record
}

// Eval gives the value of the expression as Cedar defines it.
func (e *Expr) Eval(env Env) (cedar.Value, error) {
	return eval.Eval(e.raw, eval.Env{
		Entities: env.Entities, Principal: env.Principal, Action: env.Action, Resource: env.Resource, Context: env.Context,
	})
}

func expression(node ast.IsNode) *Expr {
	e := &Expr{raw: node}
	e.Op, e.Name, e.Args = kind(node)
	switch n := node.(type) {
	case ast.NodeTypeVariable:
		e.UsesVariable = true
		e.UsesResource = n.Name == "resource"
	case ast.NodeValue:
		e.Value = n.Value
	case ast.NodeTypeIs:
		e.Type = n.EntityType
	case ast.NodeTypeIsIn:
		e.Type = n.EntityType
	case ast.NodeTypeLike:
		e.Pattern = parts(n.Value)
	}
	for _, a := range e.Args {
		e.depth = max(e.depth, 1+a.depth)
		e.UsesResource = e.UsesResource || a.UsesResource
		e.UsesVariable = e.UsesVariable || a.UsesVariable
	}
	return e
}

func kind(node ast.IsNode) (op Op, name string, args []*Expr) {
	two := func(b ast.BinaryNode) []*Expr { return []*Expr{expression(b.Left), expression(b.Right)} }
	one := func(n ast.IsNode) []*Expr { return []*Expr{expression(n)} }
	switch n := node.(type) {
	case ast.NodeValue:
		return Literal, "", nil
	case ast.NodeTypeVariable:
		return Variable, string(n.Name), nil
	case ast.NodeTypeAnd:
		return And, "&&", two(n.BinaryNode)
	case ast.NodeTypeOr:
		return Or, "||", two(n.BinaryNode)
	case ast.NodeTypeNot:
		return Not, "!", one(n.Arg)
	case ast.NodeTypeIfThenElse:
		return If, "if", []*Expr{expression(n.If), expression(n.Then), expression(n.Else)}
	case ast.NodeTypeEquals:
		return Eq, "==", two(n.BinaryNode)
	case ast.NodeTypeNotEquals:
		return Ne, "!=", two(n.BinaryNode)
	case ast.NodeTypeLessThan:
		return Lt, "<", two(n.BinaryNode)
	case ast.NodeTypeLessThanOrEqual:
		return Le, "<=", two(n.BinaryNode)
	case ast.NodeTypeGreaterThan:
		return Gt, ">", two(n.BinaryNode)
	case ast.NodeTypeGreaterThanOrEqual:
		return Ge, ">=", two(n.BinaryNode)
	case ast.NodeTypeIn:
		return In, "in", two(n.BinaryNode)
	case ast.NodeTypeIs:
		return Is, "is", one(n.Left)
	case ast.NodeTypeIsIn:
		return IsIn, "is in", []*Expr{expression(n.Left), expression(n.Entity)}
	case ast.NodeTypeContains:
		return Contains, "contains", two(n.BinaryNode)
	case ast.NodeTypeHas:
		return Has, string(n.Value), one(n.Arg)
	case ast.NodeTypeAccess:
		return Access, string(n.Value), one(n.Arg)
	case ast.NodeTypeLike:
		return Like, "like", one(n.Arg)
	default:
		return otherKind(node)
	}
}

// otherKind covers what has no counterpart in a filter. The operands are
// kept, so that it is known whether the value depends on the resource.
func otherKind(node ast.IsNode) (op Op, name string, args []*Expr) {
	list := func(nodes ...ast.IsNode) []*Expr {
		out := make([]*Expr, 0, len(nodes))
		for _, n := range nodes {
			out = append(out, expression(n))
		}
		return out
	}
	switch n := node.(type) {
	case ast.NodeTypeAdd:
		return Other, "+", list(n.Left, n.Right)
	case ast.NodeTypeSub:
		return Other, "-", list(n.Left, n.Right)
	case ast.NodeTypeMult:
		return Other, "*", list(n.Left, n.Right)
	case ast.NodeTypeNegate:
		return Other, "-", list(n.Arg)
	case ast.NodeTypeContainsAll:
		return Other, "containsAll", list(n.Left, n.Right)
	case ast.NodeTypeContainsAny:
		return Other, "containsAny", list(n.Left, n.Right)
	case ast.NodeTypeIsEmpty:
		return Other, "isEmpty", list(n.Arg)
	case ast.NodeTypeHasTag:
		return Other, "hasTag", list(n.Left, n.Right)
	case ast.NodeTypeGetTag:
		return Other, "getTag", list(n.Left, n.Right)
	case ast.NodeTypeExtensionCall:
		return Other, string(n.Name), list(n.Args...)
	case ast.NodeTypeSet:
		return Other, "[]", list(n.Elements...)
	case ast.NodeTypeRecord:
		for _, el := range n.Elements {
			args = append(args, expression(el.Value))
		}
		return Other, "{}", args
	default:
		// Unknown to this version: assume that it depends on everything, so
		// that it is refused where the resource may not be looked at.
		return Other, "unknown expression", []*Expr{{Op: Variable, Name: "resource", UsesResource: true, UsesVariable: true, raw: ast.NodeTypeVariable{Name: "resource"}}}
	}
}

// String is the expression with every literal as `…`, for reasons that may be
// read by someone who must not see the values.
func (e *Expr) String() string {
	switch e.Op {
	case Literal:
		return "…"
	case Variable:
		return e.Name
	case And, Or, Eq, Ne, Lt, Le, Gt, Ge, In:
		return e.operand(0) + " " + e.Name + " " + e.operand(1)
	case Not:
		return "!" + e.operand(0)
	case If:
		return "if " + e.operand(0) + " then " + e.operand(1) + " else " + e.operand(2)
	case Is:
		return e.operand(0) + " is " + string(e.Type)
	case IsIn:
		return e.operand(0) + " is " + string(e.Type) + " in " + e.operand(1)
	case Contains:
		return e.operand(0) + ".contains(" + e.Args[1].String() + ")"
	case Has:
		return e.operand(0) + " has " + e.Name
	case Access:
		return e.operand(0) + "." + e.Name
	case Like:
		return e.operand(0) + " like …"
	default:
		return e.call()
	}
}

// call words everything that has no form of its own.
func (e *Expr) call() string {
	parts := make([]string, 0, len(e.Args))
	for _, a := range e.Args {
		parts = append(parts, a.String())
	}
	if e.Name == "[]" && !e.UsesVariable {
		return "[…]"
	}
	return e.Name + "(" + strings.Join(parts, ", ") + ")"
}

// operand puts parentheses where an operand is itself an operation.
func (e *Expr) operand(i int) string {
	arg := e.Args[i]
	switch arg.Op {
	case Literal, Variable, Access, Contains, Other, Not:
		return arg.String()
	case And, Or:
		if arg.Op == e.Op {
			return arg.String()
		}
	default:
		if arg.Op != If && (e.Op == And || e.Op == Or) {
			return arg.String()
		}
	}
	return "(" + arg.String() + ")"
}
