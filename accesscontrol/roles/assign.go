package roles

import (
	"context"
	"crypto/rand"
	"slices"

	"github.com/crmguard/crmguard/internal/ids"
)

// Assign gives a role. Nobody gives what they do not have: By must hold the role
// at this moment, with MayGive, itself or with a role that it comes with, for the
// same scope or one above it, and for at least as long. Nor does anybody get two
// roles that exclude each other. A [*RefusedError] says which rule forbids it.
func (s *Store) Assign(ctx context.Context, a Assignment) error {
	r, err := newRow(a)
	if err != nil {
		return err
	}
	if err := ids.CheckGiven("By", a.By); err != nil {
		return request(err)
	}
	below, err := s.belowGiver(ctx, a.Tenant, a.By, a.Scope)
	if err != nil {
		return err
	}
	return s.change(ctx, a.Tenant, func(c *changing) error {
		source, err := c.covering(ctx, a.By, r, below)
		if err != nil {
			return err
		}
		if source == nil {
			return refused(NotTheirs, a.Role, "who gives a role holds it with MayGive, for that scope or one above, and for at least as long; ask somebody who does")
		}
		r.source = source.id
		return c.give(ctx, r)
	})
}

// Bootstrap gives a role in the name of the operator of the application, who
// holds none: the first administrator of a tenant, by a command on the server.
// Whoever can reach this call can become anybody: no handler of requests does.
// a.By stays empty. Given a second time, it is a [RefusedError] with the rule
// [Held]: to a program that calls it at each start that says that all is done.
func (s *Store) Bootstrap(ctx context.Context, a Assignment) error {
	if a.By != "" {
		return &RequestError{Text: "Bootstrap is for the operator: leave By empty, or call Assign"}
	}
	a.By = Operator
	r, err := newRow(a)
	if err != nil {
		return err
	}
	return s.change(ctx, a.Tenant, func(c *changing) error { return c.give(ctx, r) })
}

// give stores what By may give, unless another rule forbids it.
func (c *changing) give(ctx context.Context, r *row) error {
	includes, known := c.lineage(r.Role)
	if !known {
		return refused(UnknownRole, r.Role, "neither the model nor the tenant has it: see Model.Roles and Store.Define")
	}
	if err := c.set.fits(r.Role, includes, r.Scope); err != nil {
		return err
	}
	held, _, err := c.rows(ctx, c.tx, c.tenant, `principal = ?`, r.Principal)
	if err != nil {
		return err
	}
	all := slices.Clone(includes)
	for i := range held {
		old := &held[i]
		switch {
		case old.until <= c.now: // over for ever
			if old.Role != r.Role || old.Scope != r.Scope || old.By != r.By {
				continue
			}
			if _, err := c.remove(ctx, old); err != nil {
				return err
			}
			continue
		case old.Role == r.Role && old.Scope == r.Scope && old.By == r.By:
			return refused(Held, r.Role, "the same giver has given it for the same scope, and it stands: where that was wanted, all is done; for another time or MayGive, revoke it first")
		}
		more, _ := c.lineage(old.Role)
		all = append(all, more...)
	}
	if a, b, both := c.set.conflict(all); both {
		e := refused(Excluded, a, "it excludes role "+b+", which the principal would hold, too, perhaps at another time or by another role: revoke the one or the other")
		e.Other = b
		return e
	}
	r.id = rand.Text()
	return c.insert(ctx, r)
}

// covering finds the assignment on which By may rest what they give: the one that
// lasts longest. What nobody may give any more rests on none.
func (c *changing) covering(ctx context.Context, by string, r *row, below map[Scope][]string) (*row, error) {
	held, _, err := c.rows(ctx, c.tx, c.tenant, `principal = ? AND may_give = 1`, by)
	if err != nil {
		return nil, err
	}
	var best *row
	for i := range held {
		h := &held[i]
		includes, _ := c.lineage(h.Role)
		if h.valid(c.now) && r.until <= h.until && slices.Contains(includes, r.Role) && c.covers(h.Scope, r, below) && (best == nil || h.until > best.until) {
			best = h
		}
	}
	return best, nil
}

// covers says whether who holds a role for a scope holds it for that of r.
func (c *changing) covers(scope Scope, r *row, below map[Scope][]string) bool {
	includes, _ := c.lineage(r.Role)
	switch {
	case scope == r.Scope, scope.kind == "*", len(c.set.kinds(includes)) == 0:
		return true
	}
	return scope.kind == r.Scope.kind && slices.Contains(below[scope], r.Scope.id)
}

// belowGiver asks what stands below the scopes of a giver: before the
// transaction, which may hold the only connection that the answer needs.
func (s *Store) belowGiver(ctx context.Context, tenant, by string, scope Scope) (map[Scope][]string, error) {
	out := map[Scope][]string{}
	if scope.id == "" || scope.kind == TeamKind || s.set.model.Below == nil {
		return out, nil
	}
	held, _, err := s.rows(ctx, s.db, tenant, `principal = ? AND may_give = 1`, by)
	if err != nil {
		return nil, err
	}
	for i := range held {
		h := held[i].Scope
		if h.kind != scope.kind || h == scope || out[h] != nil {
			continue
		}
		if out[h], err = s.set.model.Below(ctx, tenant, h.kind, h.id); err != nil {
			return nil, err
		}
	}
	return out, nil
}
