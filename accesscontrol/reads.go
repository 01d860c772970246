package accesscontrol

import (
	"slices"

	"github.com/crmguard/crmguard/accesscontrol/internal/cedarx"
)

// A policy sees the record through resource, and the records behind it through
// columns that are joins, and no other way. Account::"a1".flag
// and principal.home.flag read another record of a bound type, which nobody can
// promise to bring along at each call: a forbid that asks whether it has an
// attribute would not forbid. Such policies are refused.

// otherRecords lists what a policy reads of records that are not asked about.
func (s *snapshot) otherRecords(p *cedarx.Policy) (problems []Problem) {
	for _, action := range s.schema.Actions {
		if !inScope(p.Action, action.UID, action.Ancestors) {
			continue
		}
		action.Resources = slices.DeleteFunc(slices.Clone(action.Resources), func(kind cedarx.EntityType) bool { return !mayBeOf(p.Resource, kind) })
		r := reader{snapshot: s, policy: p, action: action}
		for _, c := range p.Conditions {
			r.walk(c.Body)
		}
		problems = append(problems, r.problems...)
	}
	return problems
}

// mayBeOf says whether a scope lets records of a type through.
func mayBeOf(s cedarx.Scope, kind cedarx.EntityType) bool {
	switch s.Kind {
	case cedarx.ScopeEq:
		return s.Entities[0].Type == kind
	case cedarx.ScopeIs, cedarx.ScopeIsIn:
		return s.Type == kind
	default:
		return true
	}
}

// reader follows the types of a policy's expressions under one action.
type reader struct {
	*snapshot
	policy   *cedarx.Policy
	action   cedarx.Action
	problems []Problem
}

func (r *reader) walk(e *cedarx.Expr) {
	for _, arg := range e.Args {
		r.walk(arg)
	}
	if !readsAttribute(e) || e.Args[0].Op == cedarx.Variable || e.Op != cedarx.Other && r.joined(e.Args[0]) {
		return
	}
	for _, t := range r.types(e.Args[0]) {
		if t.Kind == cedarx.EntityRef && r.isBound(t.Entity) {
			r.problems = append(r.problems, Problem{
				Policy: r.policy.ID, Position: r.policy.Position,
				Text: e.String() + " reads another " + string(t.Entity) + " than the one that is asked about, which nobody brings along; set Join on the column of the record that refers to it, or give the principal or the context an attribute that says it",
			})
		}
	}
}

// joined says whether an expression is a record that each record which may be
// asked about leads to, by columns that are joins.
func (r *reader) joined(e *cedarx.Expr) bool {
	var names []string
	for ; e.Op == cedarx.Access; e = e.Args[0] {
		names = append(names, e.Name)
	}
	if e.Op != cedarx.Variable || e.Name != "resource" {
		return false
	}
	slices.Reverse(names)
	for _, kind := range r.action.Resources {
		t := boundTo(r.tables, cedarx.Type{Kind: cedarx.EntityRef, Entity: kind})
		for _, name := range names {
			attr, known := r.schema.Entities[kind][name]
			if !known || attr.Type.Kind != cedarx.EntityRef {
				break // of this type it is none, and the validator lets no policy read it
			}
			if t == nil || t.relations[name] == nil {
				return false
			}
			t, kind = t.relations[name], attr.Type.Entity
		}
	}
	return true
}

func readsAttribute(e *cedarx.Expr) bool {
	return e.Op == cedarx.Access || e.Op == cedarx.Has || e.Op == cedarx.Other && (e.Name == "hasTag" || e.Name == "getTag")
}

func (r *reader) isBound(kind cedarx.EntityType) bool {
	for _, t := range r.tables {
		if t.kind == kind {
			return true
		}
	}
	return false
}

// types are those that an expression may have: too many rather than too few.
func (r *reader) types(e *cedarx.Expr) (out []cedarx.Type) {
	switch {
	case e.Op == cedarx.Literal:
		if uid, is := e.Value.(cedarx.EntityUID); is {
			out = append(out, cedarx.Type{Kind: cedarx.EntityRef, Entity: uid.Type})
		}
	case e.Op == cedarx.Variable && (e.Name == "principal" || e.Name == "resource"):
		kinds := r.action.Principals
		if e.Name == "resource" {
			kinds = r.action.Resources
		}
		for _, kind := range kinds {
			out = append(out, cedarx.Type{Kind: cedarx.EntityRef, Entity: kind})
		}
	case e.Op == cedarx.Variable && e.Name == "context":
		out = append(out, cedarx.Type{Kind: cedarx.RecordOf, Fields: r.action.Context})
	case e.Op == cedarx.Access:
		written := writesRecord(e.Args[0])
		for _, of := range r.types(e.Args[0]) {
			out = append(out, r.attribute(of, e.Name, written)...)
		}
	case e.Op == cedarx.Other && e.Name == "getTag":
		for _, of := range r.types(e.Args[0]) {
			out = append(out, r.schema.Tags[of.Entity])
		}
	default:
		for _, arg := range e.Args {
			out = append(out, r.types(arg)...)
		}
	}
	return out
}

// attribute gives the types of an attribute. Where a record is written in the
// policy, of may be one of its parts as well.
func (r *reader) attribute(of cedarx.Type, name string, written bool) (out []cedarx.Type) {
	attrs := of.Fields
	if of.Kind == cedarx.EntityRef {
		attrs = r.schema.Entities[of.Entity]
	}
	if attr, known := attrs[name]; known {
		out = append(out, attr.Type)
	}
	if written {
		out = append(out, of)
	}
	return out
}

// writesRecord says whether a part is a record that the policy writes itself.
func writesRecord(e *cedarx.Expr) bool {
	return e.Op == cedarx.Other && e.Name == "{}" || slices.ContainsFunc(e.Args, writesRecord)
}

// contextRead collects the names of context that policies read: each name that
// stands behind anything that holds context, so too many rather than too few.
func contextRead(policies []*cedarx.Policy) map[string]bool {
	out := map[string]bool{}
	var walk func(e *cedarx.Expr) (holds bool)
	walk = func(e *cedarx.Expr) bool {
		holds := e.Op == cedarx.Variable && e.Name == "context"
		for _, arg := range e.Args {
			holds = walk(arg) || holds
		}
		if holds && (e.Op == cedarx.Access || e.Op == cedarx.Has) {
			out[e.Name] = true
		}
		return holds
	}
	for _, p := range policies {
		for _, c := range p.Conditions {
			walk(c.Body)
		}
	}
	return out
}
