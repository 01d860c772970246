package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/internal/sqldb"
	"github.com/crmguard/crmguard/privacy/datamap"
	"github.com/crmguard/crmguard/privacy/datastore"
)

// Export yields the person's rows table by table. A table's rows are read
// before the first is yielded, so that whoever opens values may use the pool.
func (s *Store) Export(ctx context.Context, scope datastore.Scope) iter.Seq2[datastore.Record, error] {
	return func(yield func(datastore.Record, error) bool) {
		for _, t := range s.tables {
			records, err := s.records(ctx, t, scope)
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

const otherPersons = "also concerns other persons"

func (s *Store) records(ctx context.Context, t datamap.Table, scope datastore.Scope) ([]datastore.Record, error) {
	joins, where, args, ok := s.where(t, scope)
	if !ok {
		return nil, nil
	}
	columns := exported(t)
	quoted := make([]string, len(columns))
	for i, c := range columns {
		quoted[i] = "t0." + s.quote(c.Name)
	}
	list := strings.Join(quoted, ", ")
	if j := t.Link; j != nil {
		owner := "''"
		if j.Owner != "" {
			owner = "t0." + s.quote(j.Owner)
		}
		others := s.others(t, scope.Person)
		list += ", " + owner + ", " + others.String()
		args = append(others.args, args...)
	}
	query := fmt.Sprintf("SELECT %s FROM %s t0%s WHERE %s ORDER BY %s", list, s.quote(t.Name), joins, where, s.order(t))
	var records []datastore.Record
	var texts []bool
	err := sqldb.Each(ctx, s.db, func(rows *sql.Rows) (err error) {
		if texts == nil {
			if texts, err = s.textColumns(rows); err != nil {
				return err
			}
		}
		r, err := record(rows, t, columns, texts)
		records = append(records, r)
		return err
	}, s.db.Bind(query), args...)
	return records, dbError("export", t.Name, err)
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

func record(rows *sql.Rows, t datamap.Table, columns []datamap.Column, texts []bool) (datastore.Record, error) {
	n := len(columns)
	if t.Link != nil {
		n += 2
	}
	values, pointers := make([]any, n), make([]any, n)
	for i := range values {
		pointers[i] = &values[i]
	}
	if err := rows.Scan(pointers...); err != nil {
		return datastore.Record{}, err
	}
	for i, v := range values {
		if b, ok := v.([]byte); ok && texts[i] {
			values[i] = string(b)
		}
	}
	r := datastore.Record{Table: t.Name, Schema: t.SchemaID()}
	key, err := keyParts(values[:len(t.Key)])
	if err != nil {
		return datastore.Record{}, err
	}
	r.Key = joinKey(key)
	shared := false
	if t.Link != nil {
		if r.Owner, err = textOf(values[n-2]); err != nil {
			return datastore.Record{}, err
		}
		if shared, err = isPositive(values[n-1]); err != nil {
			return datastore.Record{}, err
		}
	}
	for i, c := range columns {
		f := datastore.Field{Name: c.Name, Value: values[i], Sealed: c.Sealed, Withhold: c.Withhold}
		if f.Withhold == "" && shared && !c.Everyone && c.Category != "" {
			f.Withhold = otherPersons
		}
		if f.Withhold != "" {
			f.Value = nil
		}
		r.Fields = append(r.Fields, f)
	}
	return r, nil
}

// People lists the persons of every table that names them, page by page, so
// that no connection is held between two persons.
func (s *Store) People(ctx context.Context) iter.Seq2[datastore.Person, error] {
	return func(yield func(datastore.Person, error) bool) {
		for _, t := range s.tables {
			if t.Ref != nil {
				continue
			}
			if !s.peopleOf(ctx, t, yield) {
				return
			}
		}
	}
}

const page = 1000

func (s *Store) peopleOf(ctx context.Context, t datamap.Table, yield func(datastore.Person, error) bool) bool {
	tenants := []string{s.cfg.Map.Tenant}
	if t.Tenant != "" {
		tenant := s.at("", t.Name, t.Tenant)
		var err error
		tenants, err = s.texts(ctx, "people", t.Name, fmt.Sprintf("SELECT DISTINCT %s FROM %s WHERE %s IS NOT NULL ORDER BY 1", tenant.distinct(), s.quote(t.Name), tenant.name))
		if err != nil {
			return yield(datastore.Person{}, err) && false
		}
	}
	for _, tenant := range tenants {
		var after []any
		for more := true; more; {
			persons, last, err := s.personsAfter(ctx, t, tenant, after)
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
func (s *Store) personsAfter(ctx context.Context, t datamap.Table, tenant string, after []any) (ids []string, last []any, err error) {
	person, from := s.at("t0", t.Name, t.Person), s.quote(t.Name)+" t0"
	if j := t.Link; j != nil {
		person = s.at("l", j.Table, j.Person)
		from += fmt.Sprintf(" JOIN %s l ON %s", s.quote(j.Table), same(s.at("l", j.Table, j.Record), s.at("t0", t.Name, t.Key[0])))
	}
	columns, order, behind := person.pages()
	where := condition{[]string{person.name + " IS NOT NULL"}, nil}
	if after != nil {
		where = behind(after)
	}
	if t.Tenant != "" {
		s.is(&where, s.at("t0", t.Name, t.Tenant), tenant)
	}
	query := fmt.Sprintf("SELECT DISTINCT %s FROM %s WHERE %s ORDER BY %s LIMIT %d", columns, from, where, order, page)
	err = sqldb.Each(ctx, s.db, func(rows *sql.Rows) (err error) {
		var position any
		var id string
		if err := rows.Scan(&position, &id); err != nil {
			return err
		}
		ids = append(ids, id)
		last, err = person.position(position, id)
		return err
	}, s.db.Bind(query), where.args...)
	return ids, last, dbError("people", t.Name, err)
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
