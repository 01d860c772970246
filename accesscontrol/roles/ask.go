package roles

import (
	"context"
	"slices"
	"time"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/internal/ids"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// Principal is who acts, with the roles that they hold now by the clock of the
// database. Somebody without any role is a principal all the same, who may do
// nothing of what the roles permit. After a change by this store it is as new;
// what another process has changed it knows after [Options.MaxAge] at most.
// What it returns is the caller's: set Context and further attributes.
func (s *Store) Principal(ctx context.Context, tenant, id string) (accesscontrol.Principal, error) {
	k, err := s.current(ctx, tenant, id)
	if err != nil {
		return accesscontrol.Principal{}, err
	}
	return own(k.principal), nil
}

// For binds a principal to a policy so that the answers follow this store, for
// as long as one likes to hold them: a change by this store holds from the next
// call of the Actor on, one of another process after [Options.MaxAge] at most. A
// call reads the store again only then; all others ask no database.
//
// Add, unless it is nil, sets Context and further attributes each time that the
// principal is read, perhaps from several goroutines at once.
func (s *Store) For(ctx context.Context, policy *accesscontrol.Policy, tenant, id string, add func(p *accesscontrol.Principal)) (*accesscontrol.Actor, error) {
	return policy.Follow(ctx, func(ctx context.Context) (p accesscontrol.Principal, fresh func(now time.Time) bool, err error) {
		k, err := s.current(ctx, tenant, id)
		if err != nil {
			return p, nil, err
		}
		p = own(k.principal)
		if add != nil {
			add(&p)
		}
		return p, k.fresh, nil
	})
}

// current is what was read of a principal, or is read now.
func (s *Store) current(ctx context.Context, tenant, id string) (*kept, error) {
	if err := checkPerson(tenant, id); err != nil {
		return nil, err
	}
	who := person{tenant, id}
	if k := s.cache.find(who); k != nil {
		return k, nil
	}
	k := s.cache.begin(tenant)
	p, lasts, err := s.read(ctx, tenant, id)
	if err != nil {
		return nil, err
	}
	s.cache.keep(who, k, lasts, p)
	return k, nil
}

// read asks the database. Lasts is for how long the answer holds at most.
func (s *Store) read(ctx context.Context, tenant, id string) (p accesscontrol.Principal, lasts time.Duration, err error) {
	rows, now, err := s.rows(ctx, s.db, tenant, `principal = ?`, id)
	if err != nil {
		return p, 0, err
	}
	next := boundary(rows, now)
	rows = running(rows, now)
	defined, err := s.definitionsOf(ctx, tenant, rows)
	if err != nil {
		return p, 0, err
	}
	p, err = s.set.principal(ctx, tenant, id, s.set.held(rows, defined))
	return p, time.Duration(min(next-now, int64(time.Hour/time.Microsecond))) * time.Microsecond, err
}

// definitionsOf reads the roles of a tenant where one of the rows is of such a
// role.
func (s *Store) definitionsOf(ctx context.Context, tenant string, rows []row) (definitions, error) {
	if !slices.ContainsFunc(rows, func(r row) bool { return s.set.closure[r.Role] == nil }) {
		return nil, nil
	}
	return s.definitions(ctx, s.db, tenant)
}

// Holding is an assignment that is held now, and the roles that come with it.
type Holding struct {
	Assignment
	// Includes are the role itself and those that it inherits. It is empty where
	// neither the model nor the tenant has the role any more: such an assignment
	// gives nothing.
	Includes []string
}

// RolesOf lists what a principal holds now.
func (s *Store) RolesOf(ctx context.Context, tenant, principal string) ([]Holding, error) {
	if err := checkPerson(tenant, principal); err != nil {
		return nil, err
	}
	rows, now, err := s.rows(ctx, s.db, tenant, `principal = ?`, principal)
	if err != nil {
		return nil, err
	}
	rows = running(rows, now)
	defined, err := s.definitionsOf(ctx, tenant, rows)
	if err != nil {
		return nil, err
	}
	return s.holdings(rows, defined), nil
}

// WhoHas lists who holds a role now, also where it comes with another one. All
// of them are in memory.
func (s *Store) WhoHas(ctx context.Context, tenant, role string) ([]Holding, error) {
	if err := ids.Check("tenant", tenant); err != nil {
		return nil, request(err)
	}
	defined, err := s.definitions(ctx, s.db, tenant)
	if err != nil {
		return nil, err
	}
	var names []any
	for _, name := range append(sorted(s.set.closure), sorted(defined)...) {
		if includes, _ := s.set.lineage(name, defined); slices.Contains(includes, role) && !slices.Contains(names, any(name)) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil, refused(UnknownRole, role, "neither the model nor the tenant has it")
	}
	rows, now, err := s.rows(ctx, s.db, tenant, `role IN (`+sqldb.Marks(len(names))+`)`, names...)
	if err != nil {
		return nil, err
	}
	return s.holdings(running(rows, now), defined), nil
}

func (s *Store) holdings(rows []row, defined definitions) []Holding {
	out := make([]Holding, 0, len(rows))
	for i := range rows {
		includes, _ := s.set.lineage(rows[i].Role, defined)
		out = append(out, Holding{rows[i].Assignment, slices.Clone(includes)})
	}
	return out
}
