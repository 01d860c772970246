package encryption

import (
	"context"
	"database/sql"
	"strings"

	"github.com/crmguard/crmguard/internal/sqldb"
)

// SQLite allows NULL in a primary key that was not declared NOT NULL. Such a row
// has no name: nothing can be written to it alone, so no job changes it. But it
// stops none, and what it holds is counted.

// isNameless is the condition that a row has no name, "" where there is no such
// row.
func (s *storedTable) isNameless() string {
	if s.db.Kind != sqldb.SQLite {
		return ""
	}
	null := make([]string, len(s.key.Columns))
	for i, c := range s.key.Columns {
		null[i] = c.Name + " IS NULL"
	}
	return "(" + strings.Join(null, " OR ") + ")"
}

// pages is the condition of every page: of the tenant, with a name.
func (s *storedTable) pages(tenant string) (where string, args []any) {
	where, args = s.ofTenant(tenant)
	if nameless := s.isNameless(); nameless != "" {
		where += " AND NOT " + nameless
	}
	return where, args
}

// countNameless counts what rows without a name hold.
func (s *storedTable) countNameless(ctx context.Context, q sqldb.Querier, tenant string, out *Census) (rows int, err error) {
	nameless := s.isNameless()
	if nameless == "" {
		return 0, nil
	}
	where, args := s.ofTenant(tenant)
	heads := s.heads()
	values, into := make([]any, len(heads)), make([]any, len(heads))
	for i := range values {
		into[i] = &values[i]
	}
	err = sqldb.Each(ctx, q, func(r *sql.Rows) error {
		if err := r.Scan(into...); err != nil {
			return sqldb.Safe(err)
		}
		rows++
		for _, head := range values {
			out.count(head)
		}
		return nil
	}, `SELECT `+strings.Join(heads, ", ")+` FROM `+s.sql+` WHERE `+where+` AND `+nameless, args...)
	return rows, err
}

// nameless reports the rows without a name, each as a whole.
func (s *storedTable) nameless(ctx context.Context, tenant string) ([]Unreadable, error) {
	rows, err := s.countNameless(ctx, s.db, tenant, &Census{KeyVersions: map[uint32]int64{}})
	if err != nil {
		return nil, s.failed("read", err)
	}
	all := make([]Unreadable, rows)
	for i := range all {
		all[i] = Unreadable{Table: s.def.Name, Err: &KeyError{Op: "a row has NULL in its key: give it one;", Table: s.def.Name, Err: ErrID}}
	}
	return all, nil
}
