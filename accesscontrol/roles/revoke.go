package roles

import (
	"cmp"
	"context"
	"slices"

	"github.com/crmguard/crmguard/internal/ids"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// Revoke takes a role away from a.Principal, as a.Tenant, a.Role and a.Scope say
// and whoever gave it, with everything that was given on, and returns all of
// that: for the audit trail, and to give again what was meant to stay. The other
// fields of a are not looked at.
//
// a.By may do it who gave it, who could give it now, and so whoever it rests on, or
// the principal: they give it up. Where By may take away only some of several
// assignments that say the same, the others stay, and the principal keeps the
// role. Nobody takes away what their own right rests on, unless it is theirs.
func (s *Store) Revoke(ctx context.Context, a Assignment) (removed []Assignment, err error) {
	err = cmp.Or(checkPerson(a.Tenant, a.Principal), request(ids.CheckGiven("role", a.Role)), request(ids.CheckGiven("By", a.By)), a.Scope.check())
	if err != nil {
		return nil, err
	}
	below, err := s.belowGiver(ctx, a.Tenant, a.By, a.Scope)
	if err != nil {
		return nil, err
	}
	err = s.change(ctx, a.Tenant, func(c *changing) error {
		removed = nil
		standing, _, err := c.rows(ctx, c.tx, c.tenant, `principal = ? AND role = ? AND scope = ?`, a.Principal, a.Role, a.Scope.String())
		if err != nil {
			return err
		}
		if len(standing) == 0 {
			return ErrNotHeld
		}
		for i := range standing {
			may, err := c.mayTake(ctx, a.By, &standing[i], below)
			if err != nil {
				return err
			}
			if !may {
				continue
			}
			gone, err := c.remove(ctx, &standing[i])
			if err != nil {
				return err
			}
			removed = append(removed, gone...)
		}
		if len(removed) == 0 {
			return refused(NotTheirs, a.Role, "who takes a role away has given it, or could give it now")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return removed, nil
}

// mayTake says whether somebody may take an assignment away.
func (c *changing) mayTake(ctx context.Context, by string, r *row, below map[Scope][]string) (bool, error) {
	if by == r.Principal || by == r.By {
		return true, nil
	}
	moment := *r // who holds it now may take it away, however long it was given for
	moment.until = c.now
	source, err := c.covering(ctx, by, &moment, below)
	if err != nil || source == nil {
		return false, err
	}
	restsOn, err := c.above(ctx, source)
	if err != nil {
		return false, err
	}
	return source.id != r.id && !slices.ContainsFunc(restsOn, func(up row) bool { return up.id == r.id }), nil
}

// above lists what an assignment rests on, nearest first.
func (c *changing) above(ctx context.Context, r *row) (out []row, err error) {
	seen := map[string]bool{r.id: true} // rows of others may go in a circle
	for id := r.source; id != "" && !seen[id]; {
		seen[id] = true
		next, _, err := c.rows(ctx, c.tx, c.tenant, `id = ?`, id)
		if err != nil || len(next) == 0 {
			return out, err
		}
		out = append(out, next...)
		id = next[0].source
	}
	return out, nil
}

// remove deletes an assignment and all that rests on it.
func (c *changing) remove(ctx context.Context, r *row) (removed []Assignment, err error) {
	seen := map[string]bool{r.id: true}
	for next := []row{*r}; len(next) > 0; next = next[1:] {
		removed = append(removed, next[0].Assignment)
		if _, err := c.tx.ExecContext(ctx, c.db.Bind(`DELETE FROM crmguard_accesscontrol_assignment WHERE tenant = ? AND id = ?`), c.tenant, next[0].id); err != nil {
			return nil, sqldb.Safe(err)
		}
		resting, _, err := c.rows(ctx, c.tx, c.tenant, `source = ?`, next[0].id)
		if err != nil {
			return nil, err
		}
		for _, one := range resting {
			if !seen[one.id] {
				seen[one.id] = true
				next = append(next, one)
			}
		}
	}
	return removed, nil
}

// Dismiss takes every role away from a principal, in the name of the operator,
// with everything that they have given on, and returns all of that. It is for
// who leaves, or is erased: afterwards they are named by no assignment, and as By
// by the roles alone that they have defined. What others should keep, somebody
// else gives them before.
func (s *Store) Dismiss(ctx context.Context, tenant, principal string) (removed []Assignment, err error) {
	if err := checkPerson(tenant, principal); err != nil {
		return nil, err
	}
	err = s.change(ctx, tenant, func(c *changing) error {
		removed = nil
		for {
			standing, _, err := c.rows(ctx, c.tx, c.tenant, `principal = ?`, principal)
			if err != nil || len(standing) == 0 {
				return err
			}
			gone, err := c.remove(ctx, &standing[0])
			if err != nil {
				return err
			}
			removed = append(removed, gone...)
		}
	})
	if err != nil {
		return nil, err
	}
	return removed, nil
}
