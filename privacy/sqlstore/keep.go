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

// RemainingError says that an erasure was taken back, because a row that was to
// go, or a value, was there again when it was looked for: a trigger writes it.
// Permanent until the schema is mended; nothing has been erased.
type RemainingError struct {
	Table string
}

// Error names the table.
func (e *RemainingError) Error() string {
	return fmt.Sprintf("sqlstore: erase: what was erased from table %s was there again (a trigger?): nothing was erased", e.Table)
}

// staysInPlace reports whether rows of the table may outlive the erasure of a
// person whom they are about.
func staysInPlace(t datamap.Table) bool {
	return t.Owns() && (t.Erase != datamap.Delete || t.Keep != nil || t.Link != nil)
}

// isNeeded reports whether kept rows of the table are worth less without the
// column: it leads to their person, or the obligation is about it.
func isNeeded(t datamap.Table, column string) bool {
	if t.Keep == nil {
		return false
	}
	needed := []string{t.Tenant, t.Keep.From}
	for _, e := range t.Ways() {
		if e.Leads() {
			needed = append(needed, e.Columns...)
		}
	}
	stays := t.Stays()
	for _, c := range t.Columns {
		if stays[c.Where()] == datamap.Retain {
			needed = append(needed, c.Name)
		}
	}
	return slices.ContainsFunc(needed, func(name string) bool { return strings.EqualFold(name, column) })
}

// counts says how many rows the tables of shared cascades have.
func (s *Store) counts(ctx context.Context, tx *sql.Tx) (map[string]int, error) {
	all := map[string]int{}
	for _, table := range s.shared {
		var n int
		if err := sqldb.One(ctx, tx, []any{&n}, "SELECT COUNT(*) FROM "+s.table(table)); err != nil {
			return nil, dbError("erase", table, err)
		}
		all[table] = n
	}
	return all, nil
}

// othersThere checks within the transaction that no cascade went on to rows of
// another person.
func (s *Store) othersThere(ctx context.Context, tx *sql.Tx, before map[string]int, found []*located) error {
	after, err := s.counts(ctx, tx)
	if err != nil {
		return err
	}
	gone := map[rowID]bool{}
	for _, l := range found {
		if !l.stays() && !gone[l.id()] {
			gone[l.id()] = true
			before[l.e.Name]--
		}
	}
	for _, table := range s.shared {
		if after[table] < before[table] {
			return &LostError{table}
		}
	}
	return nil
}

// stillThere checks within the transaction that no row disappeared but those
// that were to go: with one statement a table.
func (s *Store) stillThere(ctx context.Context, tx *sql.Tx, seekers []seeker, found []*located) error {
	type place struct {
		e      *entity
		tenant string
	}
	stay, seen := map[place][]*located{}, map[rowID]bool{}
	for _, l := range found {
		if !l.stays() { // also of a joint record whose persons went one by one
			seen[l.id()] = true
		}
	}
	for _, l := range found {
		if at := (place{l.e, seekers[l.scope].Tenant}); l.stays() && !seen[l.id()] && !l.hidden {
			seen[l.id()] = true
			stay[at] = append(stay[at], l)
		}
	}
	for at, rows := range stay {
		for chunk := range slices.Chunk(rows, batch) {
			where := s.these(chunk, at.tenant)
			var n int
			query := fmt.Sprintf("SELECT COUNT(*) FROM %s WHERE %s", s.table(at.e.Name), where)
			if err := sqldb.One(ctx, tx, []any{&n}, s.db.Bind(query), where.args...); err != nil {
				return dbError("erase", at.e.Name, err)
			}
			if n < len(chunk) {
				return &LostError{at.e.Name}
			}
		}
	}
	return nil
}

// Missing answers which of the rows are not there any more, by their keys.
func (s *Store) Missing(ctx context.Context, scope datastore.Scope, rows []datastore.Row) ([]datastore.Row, error) {
	there, err := s.byKey(ctx, scope, rows)
	if err != nil {
		return nil, err
	}
	var missing []datastore.Row
	for _, row := range rows {
		if there[rowID{row.Table, row.Key}] == nil {
			missing = append(missing, row)
		}
	}
	return missing, nil
}

// byKey reads the rows of those keys that are there, with one statement a table.
func (s *Store) byKey(ctx context.Context, scope datastore.Scope, rows []datastore.Row) (map[rowID]*located, error) {
	there := map[rowID]*located{}
	for _, e := range s.entities {
		questions, err := s.keyed(e, scope, rows)
		if err != nil {
			return nil, err
		}
		for _, c := range questions {
			found, err := s.ask(ctx, s.db, s.bare(e.Name), c)
			if err != nil {
				return nil, err
			}
			for _, l := range found {
				there[l.id()] = l
			}
		}
	}
	return there, nil
}

// keyed are the conditions for those of the rows that are of one table.
func (s *Store) keyed(e *entity, scope datastore.Scope, rows []datastore.Row) (questions []condition, err error) {
	var keys []string
	for _, row := range rows {
		if row.Table == e.Name {
			keys = append(keys, row.Key)
		}
	}
	for chunk := range slices.Chunk(keys, batch) {
		c, err := s.named(e, chunk)
		if err != nil {
			return nil, err
		}
		if e.Tenant != "" {
			s.is(&c, s.at("t0", e.Name, e.Tenant), scope.Tenant)
		}
		questions = append(questions, c)
	}
	return questions, nil
}

// absent are those of the rows that are gone, for the first of the scopes.
func (s *Store) absent(ctx context.Context, rows []datastore.Row, scopes []datastore.Scope) (gone []*located, err error) {
	if len(rows) == 0 {
		return nil, nil
	}
	there, err := s.byKey(ctx, scopes[0], rows)
	if err != nil {
		return nil, err
	}
	return s.goneOf(rows, there), nil
}

func (s *Store) goneOf(rows []datastore.Row, there map[rowID]*located) (gone []*located) {
	for _, row := range rows {
		for _, e := range s.entities {
			if e.Name == row.Table && there[rowID{row.Table, row.Key}] == nil {
				texts := splitKey(row.Key, len(e.Key))
				key := make([]any, len(texts))
				for i, text := range texts {
					key[i] = s.at("", e.Name, e.Key[i]).stored(text)
				}
				read, _ := pack(key) // of types that it knows
				gone = append(gone, &located{e: e, read: read, fate: &e.goes})
			}
		}
	}
	return gone
}
