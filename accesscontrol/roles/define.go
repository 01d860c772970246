package roles

import (
	"context"
	"database/sql"
	"slices"

	"github.com/crmguard/crmguard/internal/frame"
	"github.com/crmguard/crmguard/internal/ids"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// Definition is a role that a tenant puts together from others, at run time.
type Definition struct {
	// Tenant has the role; no other tenant knows it.
	Tenant string
	// Role is its name, any id, and none of the model's.
	Role string
	// Inherits are the roles that it is made of, of the model or the tenant.
	Inherits []string
	// By is who defines it. They could give each of those roles Everywhere and
	// without an end; "" is refused.
	By string
}

// Define makes a role of a tenant, or changes one that nobody holds and no other
// role comes with: what somebody holds never changes behind their giver's back.
// A role that would inherit from itself is refused.
func (s *Store) Define(ctx context.Context, d Definition) error {
	if err := s.checkDefinition(d); err != nil {
		return err
	}
	return s.change(ctx, d.Tenant, func(c *changing) error {
		if err := c.unused(ctx, d.Role); err != nil {
			return err
		}
		for _, parent := range d.Inherits {
			includes, known := c.lineage(parent)
			if !known {
				return refused(UnknownRole, parent, "neither the model nor the tenant has it")
			}
			if slices.Contains(includes, d.Role) {
				return refused(Circle, d.Role, "it would inherit from itself")
			}
			r := &row{Assignment: Assignment{Role: parent, Scope: Everywhere()}, from: c.now, until: forever}
			source, err := c.covering(ctx, d.By, r, nil)
			if err != nil {
				return err
			}
			if source == nil {
				return refused(NotTheirs, parent, "who makes a role of others holds each of them Everywhere, with MayGive and without an end")
			}
		}
		c.defined[d.Role] = d.Inherits
		includes, _ := c.lineage(d.Role)
		if a, b, both := c.set.conflict(includes); both {
			e := refused(Excluded, a, "it excludes role "+b+", and one role would come with both")
			e.Other = b
			return e
		}
		if err := c.undefine(ctx, d.Role); err != nil {
			return err
		}
		return c.define(ctx, d)
	})
}

func (s *Store) checkDefinition(d Definition) error {
	if err := checkPerson(d.Tenant, d.By); err != nil {
		return err
	}
	if err := ids.CheckGiven("role", d.Role); err != nil {
		return request(err)
	}
	if _, taken := s.set.closure[d.Role]; taken {
		return refused(InUse, d.Role, "the model has a role of this name: take another one")
	}
	if len(d.Inherits) == 0 {
		return &RequestError{Text: "a role that inherits nothing may do nothing: name the roles that it is made of"}
	}
	return nil
}

// Undefine removes a role of a tenant that nobody holds and no other role comes
// with. Whoever could define it may remove it, so who asks is checked by the
// caller.
func (s *Store) Undefine(ctx context.Context, tenant, role string) error {
	if err := ids.Check("tenant", tenant); err != nil {
		return request(err)
	}
	return s.change(ctx, tenant, func(c *changing) error {
		if _, known := c.defined[role]; !known {
			return ErrNotHeld
		}
		if err := c.unused(ctx, role); err != nil {
			return err
		}
		return c.undefine(ctx, role)
	})
}

// unused refuses a role that somebody holds, or that others come with.
func (c *changing) unused(ctx context.Context, role string) error {
	for name, parents := range c.defined {
		if slices.Contains(parents, role) {
			return refused(InUse, role, "role "+shown(name)+" is made of it")
		}
	}
	var n int64
	if err := sqldb.One(ctx, c.tx, []any{&n}, c.db.Bind(`SELECT count(*) FROM crmguard_accesscontrol_assignment WHERE tenant = ? AND role = ?`), c.tenant, role); err != nil {
		return err
	}
	if n > 0 {
		return refused(InUse, role, "it is assigned: revoke it first, or make another role")
	}
	return nil
}

func (c *changing) undefine(ctx context.Context, role string) error {
	for _, table := range []string{"crmguard_accesscontrol_role_parent", "crmguard_accesscontrol_role"} {
		if _, err := c.tx.ExecContext(ctx, c.db.Bind(`DELETE FROM `+table+` WHERE tenant = ? AND role = ?`), c.tenant, role); err != nil {
			return sqldb.Safe(err)
		}
	}
	return nil
}

func (c *changing) define(ctx context.Context, d Definition) error {
	parents := slices.Compact(slices.Sorted(slices.Values(d.Inherits)))
	tag, err := c.tag(ctx, c.tenant, framedRole(c.tenant, d.Role, d.By, parents))
	if err != nil {
		return err
	}
	in := sqldb.Insert{Table: "crmguard_accesscontrol_role", Columns: []string{"tenant", "role", "given_by", "tag"}, New: true}
	if err := c.db.Insert(ctx, c.tx, in, [][]any{{c.tenant, d.Role, d.By, tag}}); err != nil {
		return err
	}
	in = sqldb.Insert{Table: "crmguard_accesscontrol_role_parent", Columns: []string{"tenant", "role", "parent"}, New: true}
	var rows [][]any
	for _, parent := range parents {
		rows = append(rows, []any{c.tenant, d.Role, parent})
	}
	return c.db.Insert(ctx, c.tx, in, rows)
}

// framedRole is what the tag of a role covers: who made it of what, sorted.
func framedRole(tenant, role, by string, parents []string) []byte {
	return frame.Join(append([]string{"crmguard/accesscontrol/role/v1", tenant, role, by}, parents...)...)
}

// definitions are the roles of a tenant, with those that they are made of.
type definitions map[string][]string

func (s *Store) definitions(ctx context.Context, q sqldb.Querier, tenant string) (definitions, error) {
	stand, err := s.standing(ctx, q, tenant)
	if err != nil {
		return nil, err
	}
	out := definitions{}
	for role, d := range stand {
		if err := s.verify(ctx, tenant, framedRole(tenant, role, d.by, d.parents), d.tag); err != nil {
			return nil, err
		}
		out[role] = d.parents
	}
	return out, nil
}

// defined is a role of a tenant as it stands in the tables.
type defined struct {
	parents []string
	by      string
	tag     []byte
}

// standing reads the roles of a tenant unverified.
func (s *Store) standing(ctx context.Context, q sqldb.Querier, tenant string) (map[string]defined, error) {
	out := map[string]defined{}
	err := sqldb.Each(ctx, q, func(scan *sql.Rows) error {
		var role string
		var parent sql.NullString
		var d defined
		if err := scan.Scan(&role, &d.by, &d.tag, &parent); err != nil {
			return sqldb.Safe(err)
		}
		d.parents = append(out[role].parents, parent.String)
		out[role] = d
		return nil
	}, s.db.Bind(`SELECT r.role, r.given_by, r.tag, p.parent FROM crmguard_accesscontrol_role r
		LEFT JOIN crmguard_accesscontrol_role_parent p ON p.tenant = r.tenant AND p.role = r.role WHERE r.tenant = ? ORDER BY r.role, p.parent`), tenant)
	return out, err
}

// lineage is a role and all that come with it. Where the model has a role of the
// name, that one counts.
func (s *Set) lineage(role string, defined definitions) (all []string, known bool) {
	if all, known = s.closure[role]; known {
		return all, true
	}
	if _, known = defined[role]; !known {
		return nil, false
	}
	all, _ = lineage(role, func(name string) []string {
		if _, own := s.model.Roles[name]; own {
			return s.closure[name][1:]
		}
		return defined[name]
	})
	return all, true
}

func (c *changing) lineage(role string) ([]string, bool) { return c.set.lineage(role, c.defined) }
