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

// Export yields the person's rows table by table; rows of others that only point
// to the person are theirs. A batch of rows is read before the first of them is
// yielded, so that whoever opens values may use the pool.
func (s *Store) Export(ctx context.Context, scope datastore.Scope) iter.Seq2[datastore.Record, error] {
	return func(yield func(datastore.Record, error) bool) {
		seekers, err := s.resolve(ctx, []datastore.Scope{scope})
		if err != nil {
			yield(datastore.Record{}, err)
			return
		}
		found, err := s.find(ctx, s.db, seekers, s.preparing(), nil)
		if err != nil {
			yield(datastore.Record{}, err)
			return
		}
		for _, e := range s.entities {
			own := slices.DeleteFunc(slices.Clone(found), func(l *located) bool { return l.e != e || l.cut != nil })
			for chunk := range slices.Chunk(own, batch) {
				records, err := s.records(ctx, e, scope, chunk)
				if err != nil {
					yield(datastore.Record{}, err)
					return
				}
				for _, r := range records {
					if !yield(r, nil) {
						return
					}
				}
			}
		}
	}
}

const otherPersons = "also concerns other persons"

func (s *Store) records(ctx context.Context, e *entity, scope datastore.Scope, rows []*located) ([]datastore.Record, error) {
	columns := exported(e.Table)
	var names []string // each column once, however many of its members are listed
	for _, c := range columns {
		if quoted := s.quote(c.Name); !slices.Contains(names, quoted) {
			names = append(names, quoted)
		}
	}
	byKey := map[string]*located{}
	for _, l := range rows {
		byKey[l.row.Key] = l
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
		r, err := s.record(rows, e, columns, names, texts, byKey)
		records = append(records, r)
		return err
	}, s.db.Bind(query), where.args...)
	if err == nil && len(records) > len(rows) {
		return nil, &KeyError{e.Name}
	}
	return records, dbError("export", e.Name, err)
}

// exported lists key columns, then the columns of the map.
func exported(t datamap.Table) []datamap.Column {
	var columns []datamap.Column
	for _, k := range t.Key {
		c, ok := t.Column(k)
		if !ok {
			c = datamap.Column{Name: k, Everyone: true}
		}
		columns = append(columns, c)
	}
	for _, c := range t.Columns {
		if !slices.Contains(t.Key, c.Name) {
			columns = append(columns, c)
		}
	}
	return columns
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

func (s *Store) record(rows *sql.Rows, e *entity, columns []datamap.Column, names []string, texts []bool, byKey map[string]*located) (datastore.Record, error) {
	values, pointers := make([]any, len(names)), make([]any, len(names))
	for i := range values {
		pointers[i] = &values[i]
	}
	if err := rows.Scan(pointers...); err != nil {
		return datastore.Record{}, err
	}
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
	shared := false
	if l := byKey[r.Key]; l != nil {
		r.Owner, shared = l.owner, l.others
	}
	for i, v := range values {
		if b, ok := v.([]byte); ok && texts[i] {
			values[i] = string(b)
		}
	}
	for _, c := range columns {
		f := datastore.Field{Name: c.Where(), Value: values[slices.Index(names, s.quote(c.Name))], Sealed: c.Sealed, Withhold: c.Withhold}
		if f.Withhold == "" && shared && !c.Everyone && c.Category != "" {
			f.Withhold = otherPersons
		}
		switch {
		case f.Withhold != "":
			f.Value = nil
		case c.Path != "":
			var err error
			if f.Value, err = memberOf(f.Value, c.Path); err != nil {
				return r, &ValueError{e.Name, c.Where(), "holds no JSON"}
			}
		}
		r.Fields = append(r.Fields, f)
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
