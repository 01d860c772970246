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
// of the tenant is read.
func (s *Store) Conflicts(ctx context.Context, tenant string) ([]Conflict, error) {
	if err := ids.Check("tenant", tenant); err != nil {
		return nil, request(err)
	}
	defined, err := s.definitions(ctx, s.db, tenant)
	if err != nil {
		return nil, err
	}
	rows, now, err := s.rows(ctx, s.db, tenant, `1 = 1`)
	if err != nil {
		return nil, err
	}
	held := map[string][]string{}
	for i := range rows {
		if rows[i].until > now {
			includes, _ := s.set.lineage(rows[i].Role, defined)
			held[rows[i].Principal] = append(held[rows[i].Principal], includes...)
		}
	}
	var out []Conflict
	for _, principal := range sorted(held) {
		if a, b, both := s.set.conflict(held[principal]); both {
			out = append(out, Conflict{principal, a, b})
		}
	}
	return out, nil
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
