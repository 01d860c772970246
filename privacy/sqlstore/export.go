package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/internal/value"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// Export yields the person's rows table by table, each with every column that the
// map knows of. A row of somebody else that points to the person, and of which an
// erasure takes that, comes with the columns that point and without the others. A
// batch of rows is read before the first of them is yielded, so that whoever opens
// values may use the pool.
func (s *Store) Export(ctx context.Context, scope datastore.Scope) iter.Seq2[datastore.Record, error] {
	return func(yield func(datastore.Record, error) bool) {
		rows, err := s.exportable(ctx, scope)
		if err != nil {
			yield(datastore.Record{}, err)
			return
		}
		for i, e := range s.entities {
			if err := s.apart(ctx, e, scope, rows[i]); err != nil {
				yield(datastore.Record{}, err)
				return
			}
			for chunk := range slices.Chunk(rows[i], batch) {
				records, err := s.records(ctx, e, scope, chunk)
				if err != nil {
					yield(datastore.Record{}, err)
					return
				}
				clear(chunk) // they are needed no more
				for _, r := range records {
					if !yield(r, nil) {
						return
					}
				}
			}
		}
	}
}

// exportable are the rows of an export, by entity.
func (s *Store) exportable(ctx context.Context, scope datastore.Scope) ([][]*located, error) {
	seekers, err := s.resolve(ctx, []datastore.Scope{scope})
	if err != nil {
		return nil, err
	}
	found, err := s.find(ctx, s.db, seekers, s.preparing(), nil)
	if err != nil {
		return nil, err
	}
	rows := make([][]*located, len(s.entities))
	for _, l := range found {
		own, err := l.isOwn(scope.Aliases)
		if err != nil {
			return nil, dbError("export", l.e.Name, err)
		}
		if i := slices.Index(s.entities, l.e); !l.hidden && !own {
			rows[i] = append(rows[i], l)
		}
	}
	return rows, nil
}

func (s *Store) records(ctx context.Context, e *entity, scope datastore.Scope, rows []*located) ([]datastore.Record, error) {
	columns := exported(e.Table)
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = s.quote(c.name)
	}
	byKey := map[string][]*located{}
	for _, l := range rows {
		byKey[l.name()] = append(byKey[l.name()], l)
	}
	where := s.these(rows, scope.Tenant)
	query := fmt.Sprintf("SELECT %s FROM %s WHERE %s ORDER BY %s", strings.Join(names, ", "), s.table(e.Name), where, strings.Join(names[:len(e.Key)], ", "))
	var records []datastore.Record
	var texts []bool
	err := sqldb.Each(ctx, s.db, func(rows *sql.Rows) (err error) {
		if texts == nil {
			if texts, err = s.textColumns(rows); err != nil {
				return err
			}
		}
		values, err := scanned(rows, len(names))
		if err != nil {
			return err
		}
		r, err := s.record(e, scope, columns, values, texts, byKey)
		records = append(records, r)
		return err
	}, s.db.Bind(query), where.args...)
	if err == nil && len(records) > len(byKey) {
		return nil, &KeyError{e.Name}
	}
	return records, dbError("export", e.Name, err)
}

func scanned(rows *sql.Rows, n int) ([]any, error) {
	values, pointers := make([]any, n), make([]any, n)
	for i := range values {
		pointers[i] = &values[i]
	}
	return values, rows.Scan(pointers...)
}

// textColumns says of which columns the driver may hand out text as bytes.
func (s *Store) textColumns(rows *sql.Rows) ([]bool, error) {
	types, err := rows.ColumnTypes()
	if err != nil || s.sqlite() {
		return make([]bool, len(types)), err
	}
	texts := make([]bool, len(types))
	for i, t := range types {
		name := t.DatabaseTypeName()
		texts[i] = name != "BYTEA" && name != "BIT" && name != "GEOMETRY" && !strings.HasSuffix(name, "BLOB") && !strings.HasSuffix(name, "BINARY")
	}
	return texts, nil
}

func (s *Store) record(e *entity, scope datastore.Scope, columns []exportColumn, values []any, texts []bool, byKey map[string][]*located) (datastore.Record, error) {
	r := datastore.Record{Table: e.Name, Schema: e.SchemaID()}
	key := make([]keyPart, len(e.Key))
	for i, name := range e.Key {
		text, err := s.at("", e.Name, name).spelled(values[i])
		if err != nil {
			return r, value.In("a key", err)
		}
		key[i] = keyPart{values[i], text}
	}
	r.Key = joinKey(key)
	view := view{persons: append([]string{scope.Person}, scope.Aliases...), spelled: func(column string, stored any) (string, error) {
		return s.at("", e.Name, column).spelled(stored)
	}}
	for _, l := range byKey[r.Key] {
		if l.cut != nil {
			view.pointing = append(view.pointing, l.cut.Columns...)
			continue
		}
		r.Owner, _ = l.owner() // readRow has read it
		view.shared = l.others
	}
	for i, v := range values {
		if b, ok := v.([]byte); ok && texts[i] {
			v = string(b)
		}
		r.Fields = append(r.Fields, view.fields(columns[i], v)...)
	}
	return r, nil
}

// People lists the persons of every column that names them, page by page, so
// that no connection is held between two persons; one who stands in several is
// listed as often. Rows that name a person and no tenant are nobody's: see
// [Store.Undecided].
func (s *Store) People(ctx context.Context) iter.Seq2[datastore.Person, error] {
	return func(yield func(datastore.Person, error) bool) {
		for _, e := range s.entities {
			for _, n := range s.namings(e) {
				if !s.peopleOf(ctx, n, yield) {
					return
				}
			}
		}
	}
}

// A naming is a column that names persons.
type naming struct {
	e      *entity
	person field
	from   string
	when   []datamap.When
}

func (s *Store) namings(e *entity) (all []naming) {
	from := s.table(e.Name) + " t0"
	for _, w := range slices.Concat(e.ways, e.cuts) {
		if w.Names() {
			all = append(all, naming{e, w.fields[0], from, w.When})
		}
	}
	if j := e.Link; j != nil {
		from += fmt.Sprintf(" JOIN %s l ON %s", s.table(j.Table), same(s.at("l", j.Table, j.Record), s.at("t0", e.Name, e.Key[0])))
		all = append(all, naming{e, s.at("l", j.Table, j.Person), from, nil})
	}
	return all
}

// tenant is the column with the tenant of the persons that are named.
func (s *Store) tenant(n naming) (f field, ok bool) {
	switch j := n.e.Link; {
	case n.e.Tenant != "":
		return s.at("t0", n.e.Name, n.e.Tenant), true
	case j != nil && j.Tenant != "":
		return s.at("l", j.Table, j.Tenant), true
	}
	return field{}, false
}

// Undecided counts, by table, the rows that name a person, or a row of another
// table that leads to one, and no tenant: nobody
// can tell whose they are, so that no erasure touches them and none is complete
// in their sight. Give them a tenant.
func (s *Store) Undecided(ctx context.Context) (rows []datastore.Row, err error) {
	for _, e := range s.entities {
		for _, n := range s.namings(e) {
			tenant, ok := s.tenant(n)
			if !ok {
				continue
			}
			where := condition{parts: []string{n.person.name + " IS NOT NULL", tenant.name + " IS NULL"}}
			for _, when := range n.when {
				s.is(&where, s.at("t0", e.Name, when.Column), when.Is)
			}
			if rows, err = s.undecided(ctx, rows, e, n.from, where, "names a person and no tenant"); err != nil {
				return nil, err
			}
		}
		for _, w := range slices.Concat(e.ways, e.cuts) {
			if w.Table == "" || e.Tenant == "" {
				continue
			}
			where := condition{parts: []string{s.at("t0", e.Name, e.Tenant).name + " IS NULL"}}
			for _, f := range w.fields {
				if f.name != s.at("t0", e.Name, e.Tenant).name {
					where.add(f.name + " IS NOT NULL")
				}
			}
			s.when(&where, e, &w)
			if rows, err = s.undecided(ctx, rows, e, s.table(e.Name)+" t0", where, "names a row of "+w.Table+" and no tenant"); err != nil {
				return nil, err
			}
		}
	}
	return rows, nil
}

func (s *Store) undecided(ctx context.Context, rows []datastore.Row, e *entity, from string, where condition, because string) ([]datastore.Row, error) {
	var count int
	query := fmt.Sprintf("SELECT COUNT(*) FROM %s WHERE %s", from, where)
	if err := sqldb.One(ctx, s.db, []any{&count}, s.db.Bind(query), where.args...); err != nil {
		return nil, dbError("people", e.Name, err)
	}
	if count > 0 {
		rows = append(rows, datastore.Row{Table: e.Name, Count: count, Because: because})
	}
	return rows, nil
}

const page = 1000

func (s *Store) peopleOf(ctx context.Context, n naming, yield func(datastore.Person, error) bool) bool {
	tenants := []string{s.cfg.Map.Tenant}
	if tenant, ok := s.tenant(n); ok {
		var err error
		tenants, err = s.texts(ctx, "people", n.e.Name, fmt.Sprintf("SELECT DISTINCT %s FROM %s WHERE %s IS NOT NULL ORDER BY 1", tenant.distinct(), n.from, tenant.name))
		if err != nil {
			return yield(datastore.Person{}, err) && false
		}
	}
	for _, tenant := range tenants {
		var after []any
		for more := true; more; {
			persons, last, err := s.personsAfter(ctx, n, tenant, after)
			if err != nil {
				yield(datastore.Person{}, err)
				return false
			}
			for _, p := range persons {
				if !yield(datastore.Person{Tenant: tenant, ID: p}, nil) {
					return false
				}
			}
			after, more = last, len(persons) == page
		}
	}
	return true
}

// personsAfter reads the next page of ids, as text, and where it ends. Ids that
// the column takes for equal and bytes do not (p1 and P1) are two persons.
func (s *Store) personsAfter(ctx context.Context, n naming, tenant string, after []any) (ids []string, last []any, err error) {
	columns, order, behind := n.person.pages()
	where := condition{parts: []string{n.person.name + " IS NOT NULL"}}
	if after != nil {
		where = behind(after)
	}
	if f, ok := s.tenant(n); ok {
		s.is(&where, f, tenant)
	}
	for _, when := range n.when {
		s.is(&where, s.at("t0", n.e.Name, when.Column), when.Is)
	}
	query := fmt.Sprintf("SELECT DISTINCT %s FROM %s WHERE %s ORDER BY %s LIMIT %d", columns, n.from, where, order, page)
	err = sqldb.Each(ctx, s.db, func(rows *sql.Rows) (err error) {
		var position, stored any
		if err := rows.Scan(&position, &stored); err != nil {
			return err
		}
		id, err := n.person.spelled(stored)
		if err != nil {
			return err
		}
		ids = append(ids, id)
		last, err = n.person.position(position, id)
		return err
	}, s.db.Bind(query), where.args...)
	return ids, last, dbError("people", n.e.Name, err)
}

// texts reads a result of one text column.
func (s *Store) texts(ctx context.Context, op, table, query string, args ...any) (list []string, err error) {
	err = sqldb.Each(ctx, s.db, func(rows *sql.Rows) error {
		var text string
		err := rows.Scan(&text)
		list = append(list, text)
		return err
	}, s.db.Bind(query), args...)
	return list, dbError(op, table, err)
}
