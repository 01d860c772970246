package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// batch is how many rows one DELETE names.
const batch = 100

// Erase erases what Find locates, in one transaction. Redactions of joint
// records are prepared before it, key owners that they retire are destroyed
// after it; what an interruption leaves of that, the next Erase does. Backups
// from before it keep deleted rows: readable, but for the columns that were
// sealed under keys of the person which another store has destroyed.
func (s *Store) Erase(ctx context.Context, scope datastore.Scope, _ []datastore.Row) error {
	prepared, err := s.prepare(ctx, scope)
	if err != nil {
		return err
	}
	write := s.db.Write
	if len(s.shared) > 0 || s.db.Kind == sqldb.Postgres {
		write = s.db.WriteStill // rows are counted before and after
	}
	var answer error
	err = write(ctx, func(tx *sql.Tx) error {
		answer = s.eraseIn(ctx, tx, scope, prepared)
		return answer
	})
	if err != nil && answer == nil { // it was the transaction that failed
		return dbError("erase", "(transaction)", err)
	}
	if err != nil {
		return err
	}
	return s.retire(ctx, scope.Tenant)
}

// prepare asks the application how each joint record is to be redacted, while
// connections may still be used freely.
func (s *Store) prepare(ctx context.Context, scope datastore.Scope) (map[string]Redaction, error) {
	found, err := s.locateAll(ctx, s.db, scope)
	if err != nil {
		return nil, err
	}
	prepared := map[string]Redaction{}
	for _, l := range found {
		if !l.others || !scope.Covers(l.row) {
			continue
		}
		r, err := s.cfg.Redact(ctx, JointRow{scope.Tenant, scope.Person, l.row.Table, l.row.Key, l.owner})
		if err != nil {
			return nil, dbError("redact", l.row.Table, err)
		}
		prepared[l.row.Table+"\x00"+l.row.Key] = r
	}
	return prepared, nil
}

func (s *Store) eraseIn(ctx context.Context, tx *sql.Tx, scope datastore.Scope, prepared map[string]Redaction) error {
	found, err := s.lockAll(ctx, tx, scope)
	if err != nil {
		return err
	}
	before, err := s.counts(ctx, tx)
	if err != nil {
		return err
	}
	gone := map[string][]located{}
	for _, l := range found {
		if !scope.Covers(l.row) || l.row.Clean {
			continue
		}
		switch {
		case l.others:
			r, ok := prepared[l.row.Table+"\x00"+l.row.Key]
			if !ok {
				return fmt.Errorf("sqlstore: erase: a joint record of table %s came meanwhile: %w", l.row.Table, datastore.ErrLater)
			}
			err = s.redact(ctx, tx, scope, l, r)
		case l.actions != nil:
			err = s.update(ctx, tx, scope, l)
		default:
			gone[l.row.Table] = append(gone[l.row.Table], l)
		}
		if err != nil {
			return err
		}
	}
	for _, t := range s.tables {
		if err := s.delete(ctx, tx, scope, t, gone[t.Name]); err != nil {
			return err
		}
	}
	if err := s.othersThere(ctx, tx, before, found); err != nil {
		return err
	}
	return s.stillThere(ctx, tx, scope, found)
}

// lockAll locates the rows and locks them. On PostgreSQL a policy that came after
// Open is an error there, and hides no rows; what the application does in the
// transaction goes by its own setting.
func (s *Store) lockAll(ctx context.Context, tx *sql.Tx, scope datastore.Scope) (found []located, err error) {
	var own string
	hidden := func(setting string) error {
		if s.db.Kind != sqldb.Postgres {
			return nil
		}
		return dbError("erase", "(transaction)", sqldb.One(ctx, tx, []any{&own, new(string)}, `SELECT current_setting('row_security'), set_config('row_security', $1, true)`, setting))
	}
	if err := hidden("off"); err != nil {
		return nil, err
	}
	before := own
	if err := s.lockJoint(ctx, tx, scope); err != nil {
		return nil, err
	}
	if found, err = s.locateAll(ctx, tx, scope); err != nil {
		return nil, err
	}
	return found, hidden(before)
}

// lockJoint locks the links of the person's joint records, those of other
// persons too: of two who are erased at once, the second must see that it is
// the last.
func (s *Store) lockJoint(ctx context.Context, tx *sql.Tx, scope datastore.Scope) error {
	if s.sqlite() { // its writers are serial
		return nil
	}
	for _, t := range s.tables {
		j := t.Link
		if j == nil {
			continue
		}
		var where condition
		s.is(&where, s.at("l", j.Table, j.Person), scope.Person)
		query := fmt.Sprintf("SELECT 1 FROM %[1]s l JOIN %[1]s o ON %[2]s WHERE %[3]s FOR UPDATE",
			s.quote(j.Table), same(s.at("o", j.Table, j.Record), s.at("l", j.Table, j.Record)), where)
		if err := sqldb.Each(ctx, tx, func(*sql.Rows) error { return nil }, s.db.Bind(query), where.args...); err != nil {
			return dbError("erase", j.Table, err)
		}
	}
	return nil
}

// redact applies a prepared redaction and removes the person's link.
func (s *Store) redact(ctx context.Context, tx *sql.Tx, scope datastore.Scope, l located, r Redaction) error {
	if r.Apply != nil {
		if err := r.Apply(ctx, tx); err != nil {
			return dbError("redact", l.row.Table, err)
		}
	}
	j := l.table.Link
	var link condition
	s.key(&link, s.at("", j.Table, j.Record), l.key[0])
	s.is(&link, s.at("", j.Table, j.Person), scope.Person)
	if err := s.exec(ctx, tx, fmt.Sprintf("DELETE FROM %s WHERE %s", s.quote(j.Table), link), link.args...); err != nil {
		return dbError("redact", j.Table, err)
	}
	return s.remember(ctx, tx, scope.Tenant, r.Retire)
}

// update does to each column of a row that stays what the map says.
func (s *Store) update(ctx context.Context, tx *sql.Tx, scope datastore.Scope, l located) error {
	var sets []string
	var args []any
	names := make([]string, 0, len(l.actions))
	for name := range l.actions {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		switch l.actions[name] {
		case datamap.Null:
			sets = append(sets, s.quote(name)+" = NULL")
		case datamap.Redact:
			sets, args = append(sets, s.quote(name)+" = ?"), append(args, datamap.RedactedText)
		default: // retained, or another store destroys its key
		}
	}
	if len(sets) == 0 {
		return nil
	}
	where := s.this(l, scope.Tenant)
	query := fmt.Sprintf("UPDATE %s SET %s WHERE %s", s.quote(l.table.Name), strings.Join(sets, ", "), where)
	return s.only(ctx, tx, l.table, 1, query, append(args, where.args...))
}

// KeyError says that the key columns that the map names for a table, with its
// tenant column, do not tell its rows apart: an erasure would reach rows of
// others. Permanent: name the columns of a unique key. Nothing was erased.
type KeyError struct {
	Table string // whose rows share a key
}

// Error names the table.
func (e *KeyError) Error() string {
	return fmt.Sprintf("sqlstore: erase: the key that the map names for table %s does not tell its rows apart: nothing was erased", e.Table)
}

// Is makes errors.Is(err, datamap.ErrMap) true.
func (e *KeyError) Is(target error) bool { return target == datamap.ErrMap }

// only changes no more rows than were found.
func (s *Store) only(ctx context.Context, tx *sql.Tx, t datamap.Table, found int, query string, args []any) error {
	result, err := tx.ExecContext(ctx, s.db.Bind(query), args...)
	if err != nil {
		return dbError("erase", t.Name, err)
	}
	n, err := result.RowsAffected()
	if err == nil && n > int64(found) {
		return &KeyError{t.Name}
	}
	return dbError("erase", t.Name, err)
}

// this is the condition for one located row.
func (s *Store) this(l located, tenant string) condition {
	var c condition
	for i, k := range l.table.Key {
		s.key(&c, s.at("", l.table.Name, k), l.key[i])
	}
	if l.table.Tenant != "" {
		s.is(&c, s.at("", l.table.Name, l.table.Tenant), tenant)
	}
	return c
}

// key asks that a column holds one of the located keys: on SQLite the value
// that was found, in its own type.
func (s *Store) key(c *condition, f field, keys ...keyPart) {
	stored, ids := make([]any, len(keys)), make([]string, len(keys))
	for i, k := range keys {
		stored[i], ids[i] = k.stored, k.text
	}
	if s.sqlite() {
		c.add(f.name+" IN ("+marks("?", len(keys))+")", stored...)
		return
	}
	s.among(c, f, ids)
}

func (s *Store) exec(ctx context.Context, tx *sql.Tx, query string, args ...any) error {
	_, err := tx.ExecContext(ctx, s.db.Bind(query), args...)
	return err
}

// delete removes rows, links of joint records first.
func (s *Store) delete(ctx context.Context, tx *sql.Tx, scope datastore.Scope, t datamap.Table, rows []located) error {
	if j := t.Link; j != nil {
		for _, l := range rows {
			var links condition
			s.key(&links, s.at("", j.Table, j.Record), l.key[0])
			if err := s.exec(ctx, tx, fmt.Sprintf("DELETE FROM %s WHERE %s", s.quote(j.Table), links), links.args...); err != nil {
				return dbError("erase", j.Table, err)
			}
			if len(l.owner) > 2 && l.owner[:2] == "r:" {
				if err := s.remember(ctx, tx, scope.Tenant, []string{l.owner}); err != nil {
					return err
				}
			}
		}
	}
	if len(t.Key) > 1 {
		for _, l := range rows {
			where := s.this(l, scope.Tenant)
			if err := s.only(ctx, tx, t, 1, fmt.Sprintf("DELETE FROM %s WHERE %s", s.quote(t.Name), where), where.args); err != nil {
				return err
			}
		}
		return nil
	}
	for chunk := range slices.Chunk(rows, batch) {
		var where condition
		keys := make([]keyPart, len(chunk))
		for i, l := range chunk {
			keys[i] = l.key[0]
		}
		s.key(&where, s.at("", t.Name, t.Key[0]), keys...)
		if t.Tenant != "" {
			s.is(&where, s.at("", t.Name, t.Tenant), scope.Tenant)
		}
		if err := s.only(ctx, tx, t, len(chunk), fmt.Sprintf("DELETE FROM %s WHERE %s", s.quote(t.Name), where), where.args); err != nil {
			return err
		}
	}
	return nil
}

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
	return slices.ContainsFunc(s.tables, func(t datamap.Table) bool { return t.Link != nil })
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
