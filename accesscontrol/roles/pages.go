package roles

import (
	"cmp"
	"context"
	"database/sql"
	"iter"
	"slices"
	"strconv"

	"github.com/crmguard/crmguard/accesscontrol"
	"github.com/crmguard/crmguard/internal/ids"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// pageRows is how many assignments are in memory at once where all are read: that
// many, or those of one principal who holds more.
const pageRows = 500

// page reads assignments of the principals behind one, unverified: all of each,
// together and as of one moment. No rows are left where there is none.
func (s *Store) page(ctx context.Context, q sqldb.Querier, tenant, after string) (rows []row, now int64, err error) {
	rows, now, err = s.unverified(ctx, q, tenant, `principal > ? ORDER BY principal LIMIT `+strconv.Itoa(pageRows), after)
	if err != nil || len(rows) < pageRows {
		return rows, now, err
	}
	last := rows[len(rows)-1].Principal // of whom there may be more
	if first := slices.IndexFunc(rows, func(r row) bool { return r.Principal == last }); first > 0 {
		return rows[:first], now, nil
	}
	return s.unverified(ctx, q, tenant, `principal = ?`, last)
}

// people splits a page by principals.
func people(rows []row) iter.Seq[[]row] {
	return func(yield func([]row) bool) {
		for len(rows) > 0 {
			n := 1
			for n < len(rows) && rows[n].Principal == rows[0].Principal {
				n++
			}
			if !yield(rows[:n:n]) {
				return
			}
			rows = rows[n:]
		}
	}
}

// tenantBehind is the first tenant in the tables behind one, "" where there is none.
func (s *Store) tenantBehind(ctx context.Context, after string) (string, error) {
	var next sql.NullString
	err := sqldb.One(ctx, s.db, []any{&next}, s.db.Bind(`SELECT MIN(tenant) FROM (SELECT MIN(tenant) AS tenant FROM crmguard_accesscontrol_assignment WHERE tenant > ?
		UNION ALL SELECT MIN(tenant) AS tenant FROM crmguard_accesscontrol_role WHERE tenant > ?) AS behind`), after, after)
	return next.String, err
}

// Principals yields everybody of a tenant who holds a role now, sorted by id, as
// [Store.Principal] answers: the candidates for WhoCan of package accesscontrol.
// Who holds none is not among them, whatever policies of your own permit them.
// It reads pages, and keeps nothing. An error ends it, a forged row as well: what
// was yielded is not all, then.
func (s *Store) Principals(ctx context.Context, tenant string) iter.Seq2[accesscontrol.Principal, error] {
	return func(yield func(accesscontrol.Principal, error) bool) {
		if err := ids.Check("tenant", tenant); err != nil {
			yield(accesscontrol.Principal{}, request(err))
			return
		}
		set := s.set.remembering()
		for after := ""; ; {
			rows, now, err := s.page(ctx, s.db, tenant, after)
			if err != nil {
				yield(accesscontrol.Principal{}, err)
				return
			}
			if len(rows) == 0 {
				return
			}
			after = rows[len(rows)-1].Principal
			defined, err := s.definitionsOf(ctx, tenant, rows)
			if err != nil {
				yield(accesscontrol.Principal{}, err)
				return
			}
			for own := range people(rows) {
				p, holds, err := s.verified(ctx, set, own, now, defined)
				if !holds && err == nil {
					continue
				}
				if !yield(p, err) || err != nil {
					return
				}
			}
		}
	}
}

// verified is the principal whom the rows are about. Holds is false where none of
// them is held now.
func (s *Store) verified(ctx context.Context, set *Set, rows []row, now int64, defined definitions) (p accesscontrol.Principal, holds bool, err error) {
	for i := range rows {
		if err := s.genuine(ctx, &rows[i]); err != nil {
			return p, false, err
		}
	}
	id := rows[0].Principal
	rows = running(slices.Clone(rows), now)
	if len(rows) == 0 {
		return p, false, nil
	}
	slices.SortFunc(rows, inOrder)
	p, err = set.principal(ctx, rows[0].Tenant, id, set.held(rows, defined))
	return p, err == nil, err
}

// inOrder is the order of the rows of one principal that is asked for alone.
func inOrder(a, b row) int {
	return cmp.Or(cmp.Compare(a.Role, b.Role), cmp.Compare(a.Scope.String(), b.Scope.String()), cmp.Compare(a.By, b.By))
}

// held are the roles that rows come to.
func (s *Set) held(rows []row, defined definitions) []heldRole {
	held := make([]heldRole, 0, len(rows))
	for i := range rows {
		includes, _ := s.lineage(rows[i].Role, defined)
		held = append(held, heldRole{includes, rows[i].Scope})
	}
	return held
}

// maxRemembered bounds the ids that a set remembers to stand below others.
const maxRemembered = 100_000

// remembering is the set for one run over many principals: what stands below a
// unit is asked once, and not for each of those who hold a role there. It is for
// one goroutine.
func (s *Set) remembering() *Set {
	if s.model.Below == nil {
		return s
	}
	type place struct{ tenant, kind, id string }
	once, known, size := *s, map[place][]string{}, 0
	once.model.Below = func(ctx context.Context, tenant, kind, id string) ([]string, error) {
		at := place{tenant, kind, id}
		if list, is := known[at]; is {
			return list, nil
		}
		list, err := s.model.Below(ctx, tenant, kind, id)
		if err != nil {
			return nil, err
		}
		if size += len(list) + 1; size > maxRemembered {
			clear(known)
			size = len(list) + 1
		}
		known[at] = list
		return list, nil
	}
	return &once
}
