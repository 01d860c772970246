package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy/datastore"
)

const retiredTable = "crmguard_privacy_retired"

// remember notes key owners that must be destroyed, in the same transaction
// as the change that retires them.
func (s *Store) remember(ctx context.Context, tx *sql.Tx, tenant string, owners []string) error {
	rows := make([][]any, len(owners))
	for i, owner := range owners {
		rows[i] = []any{tenant, owner}
	}
	in := sqldb.Insert{Table: retiredTable, Columns: []string{"tenant", "owner"}, Key: []string{"tenant", "owner"}}
	return dbError("erase", retiredTable, s.db.Insert(ctx, tx, in, rows))
}

func (s *Store) retired(ctx context.Context, tenant string) ([]string, error) {
	if !s.joint() {
		return nil, nil
	}
	return s.texts(ctx, "left", retiredTable, `SELECT owner FROM crmguard_privacy_retired WHERE tenant = ? ORDER BY owner`, tenant)
}

func (s *Store) joint() bool {
	return slices.ContainsFunc(s.entities, func(e *entity) bool { return e.Link != nil })
}

// retire destroys the noted owners' keys, then forgets the note.
func (s *Store) retire(ctx context.Context, tenant string) error {
	owners, err := s.retired(ctx, tenant)
	if err != nil {
		return err
	}
	for _, owner := range owners {
		if s.cfg.EraseOwner == nil {
			return dbError("erase", retiredTable, errors.New("EraseOwner is needed"))
		}
		if err := s.cfg.EraseOwner(ctx, tenant, owner); err != nil {
			return dbError("erase", retiredTable, err)
		}
		err := s.db.Write(ctx, func(tx *sql.Tx) error {
			return s.exec(ctx, tx, `DELETE FROM crmguard_privacy_retired WHERE tenant = ? AND owner = ?`, tenant, owner)
		})
		if err != nil {
			return dbError("erase", retiredTable, err)
		}
	}
	return nil
}

// lockJoint locks the links of the person's joint records, those of other
// persons too: of two who are erased at once, the second must see that it is
// the last.
func (s *Store) lockJoint(ctx context.Context, tx *sql.Tx, scope datastore.Scope) error {
	if s.sqlite() { // its writers are serial
		return nil
	}
	for _, t := range s.entities {
		j := t.Link
		if j == nil {
			continue
		}
		var where condition
		s.is(&where, s.at("l", j.Table, j.Person), scope.Person)
		query := fmt.Sprintf("SELECT 1 FROM %[1]s l JOIN %[1]s o ON %[2]s WHERE %[3]s FOR UPDATE",
			s.table(j.Table), same(s.at("o", j.Table, j.Record), s.at("l", j.Table, j.Record)), where)
		if err := sqldb.Each(ctx, tx, func(*sql.Rows) error { return nil }, s.db.Bind(query), where.args...); err != nil {
			return dbError("erase", j.Table, err)
		}
	}
	return nil
}
