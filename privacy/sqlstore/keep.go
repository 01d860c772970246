package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// CascadeError says that erasing rows of one table makes the database delete
// rows of another, which the map keeps, or empty a column of them that an
// obligation needs. Permanent: take ON DELETE CASCADE (SET NULL, SET DEFAULT)
// off that foreign key, or let the map delete both. SET NULL is good enough
// for a column that neither leads to the person nor is retained.
type CascadeError struct {
	Deleted string // the table that the map deletes from
	Kept    string // the table whose rows would go with it
	Emptied string // the column of kept rows that would be emptied; empty: the rows go
}

// Error names both tables.
func (e *CascadeError) Error() string {
	if e.Emptied != "" {
		return fmt.Sprintf("sqlstore: deleting from %s makes the database empty column %s of %s (ON DELETE SET NULL or SET DEFAULT), whose rows an obligation keeps: take the action off the foreign key", e.Deleted, e.Emptied, e.Kept)
	}
	return fmt.Sprintf("sqlstore: deleting from %s makes the database delete from %s (ON DELETE CASCADE), whose rows the map keeps: take the cascade off the foreign key", e.Deleted, e.Kept)
}

// Is makes errors.Is(err, datamap.ErrMap) true.
func (e *CascadeError) Is(target error) bool { return target == datamap.ErrMap }

// LostError says that an erasure was taken back, because in its transaction a
// row disappeared that was to stay, by a cascade or a trigger: one that the map
// keeps, or one of another person. Permanent until the schema is mended;
// nothing has been erased.
type LostError struct {
	Table string // whose row was to stay
}

// Error names the table.
func (e *LostError) Error() string {
	return fmt.Sprintf("sqlstore: erase: a row of table %s that was to stay was deleted with others (a cascade or a trigger): nothing was erased", e.Table)
}

// staysInPlace reports whether rows of the table may outlive the erasure of a
// person whom they are about.
func staysInPlace(t datamap.Table) bool {
	return t.Reaches() && (t.Erase != datamap.Delete || t.Keep != nil || t.Link != nil)
}

// isNeeded reports whether kept rows of the table are worth less without the
// column: it leads to their person, or the obligation is about it.
func isNeeded(t datamap.Table, column string) bool {
	if t.Keep == nil {
		return false
	}
	needed := []string{t.Tenant, t.Person, t.Keep.From}
	if t.Ref != nil {
		needed = append(needed, t.Ref.Column)
	}
	for name, action := range t.Stays() {
		if action == datamap.Retain {
			needed = append(needed, name)
		}
	}
	return slices.ContainsFunc(needed, func(name string) bool { return strings.EqualFold(name, column) })
}

// counts says how many rows the tables of shared cascades have.
func (s *Store) counts(ctx context.Context, tx *sql.Tx) (map[string]int, error) {
	all := map[string]int{}
	for _, table := range s.shared {
		var n int
		if err := sqldb.One(ctx, tx, []any{&n}, "SELECT COUNT(*) FROM "+s.quote(table)); err != nil {
			return nil, dbError("erase", table, err)
		}
		all[table] = n
	}
	return all, nil
}

// othersThere checks within the transaction that no cascade went on to rows of
// another person.
func (s *Store) othersThere(ctx context.Context, tx *sql.Tx, before map[string]int, found []located) error {
	after, err := s.counts(ctx, tx)
	if err != nil {
		return err
	}
	for _, l := range found {
		before[l.table.Name]--
	}
	for _, table := range s.shared {
		if after[table] < before[table] {
			return &LostError{table}
		}
	}
	return nil
}

// stillThere checks within the transaction that no row disappeared but those
// that were to go.
func (s *Store) stillThere(ctx context.Context, tx *sql.Tx, scope datastore.Scope, found []located) error {
	for _, l := range found {
		if l.actions == nil && !l.others {
			continue
		}
		where := s.this(l, scope.Tenant)
		var n int
		query := fmt.Sprintf("SELECT COUNT(*) FROM %s WHERE %s", s.quote(l.table.Name), where)
		if err := sqldb.One(ctx, tx, []any{&n}, s.db.Bind(query), where.args...); err != nil {
			return dbError("erase", l.table.Name, err)
		}
		if n == 0 {
			return &LostError{l.table.Name}
		}
	}
	return nil
}

// Missing answers which of the rows are not there any more, by their keys.
func (s *Store) Missing(ctx context.Context, scope datastore.Scope, rows []datastore.Row) ([]datastore.Row, error) {
	var missing []datastore.Row
	for _, row := range rows {
		t, ok := s.cfg.Map.Table(row.Table)
		if ok {
			found, err := s.rowsOf(ctx, t, row.Key, scope)
			if err != nil {
				return nil, err
			}
			ok = len(found) > 0
		}
		if !ok {
			missing = append(missing, row)
		}
	}
	return missing, nil
}
