package roles

import (
	"context"
	"database/sql"
	"time"

	"github.com/crmguard/crmguard/internal/ids"
	"github.com/crmguard/crmguard/internal/sqldb"
)

// Conflict is somebody who holds two roles that exclude each other.
type Conflict struct {
	Principal   string
	Role, Other string
}

// Conflicts lists who holds what [Model.Exclusive] excludes, each person with
// the first pair that is found. There is nobody unless a set came into the model,
// or a role into another one, after both were given. Everybody who holds a role
// of the tenant is read, in pages.
func (s *Store) Conflicts(ctx context.Context, tenant string) ([]Conflict, error) {
	if err := ids.Check("tenant", tenant); err != nil {
		return nil, request(err)
	}
	defined, err := s.definitions(ctx, s.db, tenant)
	if err != nil {
		return nil, err
	}
	var out []Conflict
	for after := ""; ; {
		rows, now, err := s.page(ctx, s.db, tenant, after)
		if err != nil || len(rows) == 0 {
			return out, err
		}
		after = rows[len(rows)-1].Principal
		for own := range people(rows) {
			var held []string
			for i := range own {
				if err := s.genuine(ctx, &own[i]); err != nil {
					return nil, err
				}
				if own[i].until > now {
					includes, _ := s.set.lineage(own[i].Role, defined)
					held = append(held, includes...)
				}
			}
			if a, b, both := s.set.conflict(held); both {
				out = append(out, Conflict{own[0].Principal, a, b})
			}
		}
	}
}

// Prune deletes the assignments of a tenant that ended before a moment, and in
// any case before now: until then they say who held what, and afterwards they
// are data about persons that nobody needs. It returns how many there were.
func (s *Store) Prune(ctx context.Context, tenant string, before time.Time) (n int64, err error) {
	if err := ids.Check("tenant", tenant); err != nil {
		return 0, request(err)
	}
	err = s.change(ctx, tenant, func(c *changing) error {
		result, err := c.tx.ExecContext(ctx, c.db.Bind(`DELETE FROM crmguard_accesscontrol_assignment WHERE tenant = ? AND not_after < ?`), tenant, min(before.UnixMicro(), c.now))
		if err != nil {
			return sqldb.Safe(err)
		}
		n, err = rowsOf(result)
		return err
	})
	return n, err
}

func rowsOf(result sql.Result) (int64, error) {
	n, err := result.RowsAffected()
	return n, sqldb.Safe(err)
}
