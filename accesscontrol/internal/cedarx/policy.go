// Package cedarx is the only place that touches the unstable half (x/exp) of
// cedar-go: the syntax tree, the schema and its validator, and the evaluation
// of single expressions. It gives them out as small types of its own, so that
// a change upstream stays in this folder.
package cedarx

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// Policy is one parsed policy.
type Policy struct {
	// ID is the text of @id, empty when there is none.
	ID string
	// Position is file:line:column.
	Position string
	// Permit is the effect.
	Permit bool
	// Compiled evaluates it.
	Compiled *cedar.Policy
	// Principal, Action and Resource are the scope.
	Principal, Action, Resource Scope
	// Conditions in the order of the text.
	Conditions []Condition
	raw        *ast.Policy
}

// Condition is a when or an unless.
type Condition struct {
	// Unless turns the body round.
	Unless bool
	// Body is the expression.
	Body *Expr
}

// ScopeKind is the form of a scope.
type ScopeKind uint8

// The forms of a scope.
const (
	ScopeAll  ScopeKind = iota // no constraint
	ScopeEq                    // == Entities[0]
	ScopeIn                    // in one of Entities
	ScopeIs                    // is Type
	ScopeIsIn                  // is Type in Entities[0]
)

// Scope is one of the three constraints in the head of a policy.
type Scope struct {
	// Kind is the form; the other two stand as the form needs them.
	Kind     ScopeKind
	Type     cedar.EntityType
	Entities []cedar.EntityUID
}

// Parse reads policy text.
func Parse(file string, text []byte) ([]*Policy, error) {
	list, err := cedar.NewPolicyListFromBytes(file, text)
	if err != nil {
		return nil, errors.New(strings.ReplaceAll(strings.TrimPrefix(err.Error(), "parser error: "), "<input>", file))
	}
	out := make([]*Policy, 0, len(list))
	for _, compiled := range list {
		out = append(out, convert(compiled))
	}
	return out, nil
}

func convert(compiled *cedar.Policy) *Policy {
	raw := (*ast.Policy)(compiled.AST())
	p := &Policy{
		Permit:    bool(raw.Effect),
		Compiled:  compiled,
		Position:  fmt.Sprintf("%s:%d:%d", raw.Position.Filename, raw.Position.Line, raw.Position.Column),
		Principal: scope(raw.Principal),
		Action:    scope(raw.Action),
		Resource:  scope(raw.Resource),
		raw:       raw,
	}
	for _, a := range raw.Annotations {
		if a.Key == "id" {
			p.ID = string(a.Value)
		}
	}
	for _, c := range raw.Conditions {
		p.Conditions = append(p.Conditions, Condition{Unless: !bool(c.Condition), Body: expression(c.Body)})
	}
	return p
}

func scope(node ast.IsScopeNode) Scope {
	switch s := node.(type) {
	case ast.ScopeTypeEq:
		return Scope{Kind: ScopeEq, Entities: []cedar.EntityUID{s.Entity}}
	case ast.ScopeTypeIn:
		return Scope{Kind: ScopeIn, Entities: []cedar.EntityUID{s.Entity}}
	case ast.ScopeTypeInSet:
		return Scope{Kind: ScopeIn, Entities: s.Entities}
	case ast.ScopeTypeIs:
		return Scope{Kind: ScopeIs, Type: s.Type}
	case ast.ScopeTypeIsIn:
		return Scope{Kind: ScopeIsIn, Type: s.Type, Entities: []cedar.EntityUID{s.Entity}}
	default:
		return Scope{Kind: ScopeAll}
	}
}

// Depth is how deep the conditions are nested.
func (p *Policy) Depth() int {
	deepest := 0
	for _, c := range p.Conditions {
		deepest = max(deepest, c.Body.depth)
	}
	return deepest
}
