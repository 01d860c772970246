package roles

import (
	"context"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/internal/ids"
)

// Scope is for which unit, team or territory a role is held. The zero value is
// for roles that look at none of them.
type Scope struct{ kind, id string }

// InUnit is one unit. Whether those below it count, the role says.
func InUnit(id string) Scope { return Scope{UnitKind, id} }

// InTeam is one team.
func InTeam(id string) Scope { return Scope{TeamKind, id} }

// InTerritory is one territory with all below.
func InTerritory(id string) Scope { return Scope{TerritoryKind, id} }

// Everywhere is every unit, team and territory of the tenant.
func Everywhere() Scope { return Scope{kind: "*"} }

// String is the form in which scopes are stored: "", "*", "unit/ID", "team/ID"
// or "territory/ID". It holds an id of the application.
func (s Scope) String() string {
	if s.kind == "" || s.kind == "*" {
		return s.kind
	}
	return strings.ToLower(s.kind) + "/" + s.id
}

// ParseScope reads what [Scope.String] writes.
func ParseScope(text string) (Scope, error) {
	if text == "" || text == "*" {
		return Scope{kind: text}, nil
	}
	prefix, id, _ := strings.Cut(text, "/")
	for _, kind := range []string{UnitKind, TeamKind, TerritoryKind} {
		if prefix == strings.ToLower(kind) {
			return Scope{kind, id}, request(ids.Check("scope", id))
		}
	}
	return Scope{}, &RequestError{Text: `a scope is "", "*", "unit/ID", "team/ID" or "territory/ID"`}
}

func (s Scope) check() error {
	_, err := ParseScope(s.String())
	return err
}

// Grant is a role that somebody holds.
type Grant struct {
	Role  string
	Scope Scope
}

// Principal is who holds these roles of the model, for Check, Filter, For and
// Allower of package accesscontrol, where assignments come from elsewhere than
// a [Store]: a token, a directory, a test. A role that the model has not, or a
// scope that does not fit it, is a [*RefusedError].
func (s *Set) Principal(ctx context.Context, tenant, id string, grants ...Grant) (accesscontrol.Principal, error) {
	held := make([]heldRole, 0, len(grants))
	for _, g := range grants {
		includes, known := s.closure[g.Role]
		if !known {
			return accesscontrol.Principal{}, refused(UnknownRole, g.Role, "the model has no such role")
		}
		if err := s.fits(g.Role, includes, g.Scope); err != nil {
			return accesscontrol.Principal{}, err
		}
		held = append(held, heldRole{includes, g.Scope})
	}
	return s.principal(ctx, tenant, id, held)
}

// fits refuses a scope that a role does not look at, and the want of one that it
// does.
func (s *Set) fits(role string, includes []string, scope Scope) error {
	if err := scope.check(); err != nil {
		return err
	}
	kinds := s.kinds(includes)
	list := strings.ToLower(strings.Join(kinds, ", "))
	switch {
	case scope == Scope{} && len(kinds) > 0:
		return refused(WrongScope, role, "the role is held for a "+list+": name one, or Everywhere")
	case scope != Scope{} && len(kinds) == 0:
		return refused(WrongScope, role, "the role looks at no unit, team or territory: leave the scope empty")
	case scope.kind == "*" || scope == Scope{} || slices.Contains(kinds, scope.kind):
		return nil
	}
	return refused(WrongScope, role, "the role is held for a "+list+" or Everywhere, and looks at nothing else")
}

// heldRole is a role with all that come with it.
type heldRole struct {
	includes []string
	scope    Scope
}

// principal gives each role of the model that one holds as a parent, the scopes
// as attributes, and what stands below as entities. A scope of a kind that a
// role does not look at gives that role's other rules alone.
func (s *Set) principal(ctx context.Context, tenant, id string, held []heldRole) (accesscontrol.Principal, error) {
	p := accesscontrol.Principal{Tenant: tenant, Type: UserKind, ID: id, Attrs: map[string]any{}}
	below := belowThings{ask: s.model.Below, tenant: tenant, parents: map[accesscontrol.Ref][]accesscontrol.Ref{}}
	for _, h := range held {
		for _, role := range h.includes {
			if _, known := s.model.Roles[role]; !known {
				continue
			}
			p.Parents = addRef(p.Parents, accesscontrol.Ref{Type: roleKind, ID: role})
			switch {
			case h.scope.kind == "*":
				p.Parents = addRef(p.Parents, accesscontrol.Ref{Type: roleKind, ID: role + everywhereSuffix})
			case slices.Contains(s.kinds([]string{role}), h.scope.kind):
				attr := scopeAttr(role, h.scope.kind)
				refs, _ := p.Attrs[attr].([]accesscontrol.Ref)
				p.Attrs[attr] = addRef(refs, accesscontrol.Ref{Type: h.scope.kind, ID: h.scope.id})
			}
		}
		if h.scope.id != "" && s.looksBelow(h.includes, h.scope.kind) {
			if err := below.of(ctx, accesscontrol.Ref{Type: h.scope.kind, ID: h.scope.id}); err != nil {
				return accesscontrol.Principal{}, err
			}
		}
		if s.looksBelow(h.includes, UserKind) {
			if err := below.of(ctx, accesscontrol.Ref{Type: UserKind, ID: id}); err != nil {
				return accesscontrol.Principal{}, err
			}
		}
	}
	for _, ref := range below.order {
		p.Entities = append(p.Entities, accesscontrol.Entity{Type: ref.Type, ID: ref.ID, Parents: below.parents[ref]})
	}
	return p, nil
}

func addRef(refs []accesscontrol.Ref, ref accesscontrol.Ref) []accesscontrol.Ref {
	if slices.Contains(refs, ref) {
		return refs
	}
	return append(refs, ref)
}

// belowThings collects what stands below units, territories and managers.
type belowThings struct {
	ask     func(ctx context.Context, tenant, kind, id string) ([]string, error)
	tenant  string
	order   []accesscontrol.Ref
	parents map[accesscontrol.Ref][]accesscontrol.Ref
	asked   []accesscontrol.Ref
}

func (b *belowThings) of(ctx context.Context, above accesscontrol.Ref) error {
	if slices.Contains(b.asked, above) {
		return nil
	}
	b.asked = append(b.asked, above)
	list, err := b.ask(ctx, b.tenant, above.Type, above.ID)
	if err != nil {
		return err
	}
	for _, id := range list {
		ref := accesscontrol.Ref{Type: above.Type, ID: id}
		if ref == above { // a tree that counts itself
			continue
		}
		if b.parents[ref] == nil {
			b.order = append(b.order, ref)
		}
		b.parents[ref] = append(b.parents[ref], above)
	}
	return nil
}
