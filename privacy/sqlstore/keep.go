package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/privacy"
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

// Is makes errors.Is(err, privacy.ErrMap) true.
func (e *CascadeError) Is(target error) bool { return target == privacy.ErrMap }

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
func staysInPlace(t privacy.Table) bool {
	return t.Reaches() && (t.Erase != privacy.Delete || t.Keep != nil || t.Joint != nil)
}

// isNeeded reports whether kept rows of the table are worth less without the
// column: it leads to their person, or the obligation is about it.
func isNeeded(t privacy.Table, column string) bool {
	if t.Keep == nil {
		return false
	}
	needed := []string{t.Tenant, t.Person, t.Keep.From}
	if t.Ref != nil {
		needed = append(needed, t.Ref.Column)
	}
	for name, action := range t.Stays() {
		if action == privacy.Retain {
			needed = append(needed, name)
		}
	}
	return slices.ContainsFunc(needed, func(name string) bool { return strings.EqualFold(name, column) })
}

// cascade is a foreign key that deletes, or empties its column.
type cascade struct {
	child, column, parent string
	empties               bool
}

// cascades reads the foreign keys of SQLite's schema that delete or empty, by
// names of tables in lower case.
func cascades(ctx context.Context, db *sql.DB) (edges []cascade, err error) {
	rows, err := db.QueryContext(ctx, `SELECT lower(m.name), f."from", lower(f."table"), upper(f.on_delete) <> 'CASCADE' FROM sqlite_master m JOIN pragma_foreign_key_list(m.name) f
		WHERE m.type = 'table' AND upper(f.on_delete) IN ('CASCADE', 'SET NULL', 'SET DEFAULT') ORDER BY 1, 2`)
	if err != nil {
		return nil, dbError("check schema", "(schema)", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var e cascade
		if err := rows.Scan(&e.child, &e.column, &e.parent, &e.empties); err != nil {
			return nil, dbError("check schema", "(schema)", err)
		}
		edges = append(edges, e)
	}
	return edges, dbError("check schema", "(schema)", rows.Err())
}

// loss is a cascade that deletes or empties what the map keeps.
type loss struct {
	deleted, kept string // tables of the map
	column        string // of the kept one, with the foreign key
	empties       bool
}

// losses lists the cascades that reach a table whose rows the map keeps, from
// one that it deletes from: directly, or over others. They count whether
// foreign keys are enforced now or not, which each connection says for itself.
func losses(m *privacy.Map, edges []cascade) []loss {
	keeps := map[string]privacy.Table{}
	for _, t := range m.Tables {
		if staysInPlace(t) {
			keeps[strings.ToLower(t.Name)] = t
		}
	}
	var found []loss
	for _, deleted := range deletedFrom(m) {
		reached := []string{strings.ToLower(deleted)}
		for i := 0; i < len(reached); i++ {
			for _, e := range edges {
				if e.parent != reached[i] {
					continue
				}
				if kept, ok := keeps[e.child]; ok && (!e.empties || isNeeded(kept, e.column)) {
					found = append(found, loss{deleted, kept.Name, e.column, e.empties})
				}
				if !e.empties && !slices.Contains(reached, e.child) {
					reached = append(reached, e.child)
				}
			}
		}
	}
	return found
}

// deletedFrom lists the tables of which an erasure deletes rows.
func deletedFrom(m *privacy.Map) []string {
	var names []string
	for _, t := range m.Tables {
		if t.Reaches() && t.Erase == privacy.Delete {
			names = append(names, t.Name)
		}
		if t.Joint != nil {
			names = append(names, t.Joint.Table)
		}
	}
	return names
}

// checkKept refuses a schema that would delete what the map keeps.
func (s *Store) checkKept(ctx context.Context) error {
	if !s.sqlite {
		return nil // there the transaction of an erasure finds it
	}
	edges, err := cascades(ctx, s.cfg.DB)
	if err != nil {
		return err
	}
	s.shared = sharedCascades(s.cfg.Map, edges)
	if found := losses(s.cfg.Map, edges); len(found) > 0 {
		refused := &CascadeError{Deleted: found[0].deleted, Kept: found[0].kept}
		if found[0].empties {
			refused.Emptied = found[0].column
		}
		return refused
	}
	return nil
}

// sharedCascades lists the tables from which the database deletes by a foreign
// key that is not the map's own way from the row to its person: it may go from
// one person's row to another's.
func sharedCascades(m *privacy.Map, edges []cascade) []string {
	var tables []string
	for _, t := range m.Tables {
		if t.Reaches() && slices.ContainsFunc(edges, func(e cascade) bool {
			own := t.Ref != nil && strings.EqualFold(t.Ref.Column, e.column) && strings.EqualFold(t.Ref.Table, e.parent)
			return strings.EqualFold(t.Name, e.child) && !e.empties && !own
		}) {
			tables = append(tables, t.Name)
		}
	}
	return tables
}

// counts says how many rows the tables of shared cascades have.
func (s *Store) counts(ctx context.Context, tx *sql.Tx) (map[string]int, error) {
	all := map[string]int{}
	for _, table := range s.shared {
		var n int
		if err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM "+quote(table)).Scan(&n); err != nil {
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
func (s *Store) stillThere(ctx context.Context, tx *sql.Tx, scope privacy.Scope, found []located) error {
	for _, l := range found {
		if l.actions == nil && !l.others {
			continue
		}
		where := s.this(l, scope.Tenant)
		var n int
		query := fmt.Sprintf("SELECT COUNT(*) FROM %s WHERE %s", quote(l.table.Name), where)
		if err := tx.QueryRowContext(ctx, query, where.args...).Scan(&n); err != nil {
			return dbError("erase", l.table.Name, err)
		}
		if n == 0 {
			return &LostError{l.table.Name}
		}
	}
	return nil
}

// Missing answers which of the rows are not there any more, by their keys.
func (s *Store) Missing(ctx context.Context, scope privacy.Scope, rows []privacy.Row) ([]privacy.Row, error) {
	var missing []privacy.Row
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
