package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// isOwn reports whether a row that names the person is theirs under another of their
// ids: under that one it is exported whole.
func (l *located) isOwn(aliases []string) (bool, error) {
	if l.cut == nil || !l.cut.Names() {
		return false, nil
	}
	for i := range l.e.ways {
		w := &l.e.ways[i]
		if !w.Names() {
			continue
		}
		there, err := l.when(w)
		if err != nil {
			return false, err
		}
		parts, ok, err := l.tuple(w.Columns)
		if err != nil || there && ok && slices.Contains(aliases, parts[0].text) {
			return err == nil, err
		}
	}
	return false, nil
}

// apart finds out which records of several persons concern somebody else than the
// person under their other ids.
func (s *Store) apart(ctx context.Context, e *entity, scope datastore.Scope, rows []*located) error {
	if e.Link == nil || len(scope.Aliases) < 2 {
		return nil
	}
	record, person := s.at("", e.Link.Table, e.Link.Record), s.at("", e.Link.Table, e.Link.Person)
	for chunk := range slices.Chunk(rows, batch) {
		keys := make([]keyPart, len(chunk))
		for i, l := range chunk {
			keys[i] = l.part(0)
		}
		var c condition
		s.key(&c, record, keys...)
		if e.Link.Tenant != "" {
			s.is(&c, s.at("", e.Link.Table, e.Link.Tenant), scope.Tenant)
		}
		own, others := map[string]bool{}, map[string]bool{}
		err := sqldb.Each(ctx, s.db, func(rows *sql.Rows) error {
			values, err := scanned(rows, 2)
			if err != nil {
				return err
			}
			of, err := record.spelled(values[0])
			if err != nil {
				return err
			}
			id, err := person.spelled(values[1])
			own[of] = true
			others[of] = others[of] || !slices.Contains(scope.Aliases, id)
			return err
		}, s.db.Bind(fmt.Sprintf("SELECT %s, %s FROM %s WHERE %s", record.text(), person.text(), s.table(e.Link.Table), c)), c.args...)
		if err != nil {
			return dbError("export", e.Link.Table, err)
		}
		for _, l := range chunk {
			l.others = l.others && (others[l.name()] || !own[l.name()])
		}
	}
	return nil
}
