package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/crmguard/crmguard/privacy"
)

// Export yields the person's rows table by table. A table's rows are read
// before the first is yielded, so that whoever opens values may use the pool.
func (s *Store) Export(ctx context.Context, tenant, person string) iter.Seq2[privacy.Record, error] {
	return func(yield func(privacy.Record, error) bool) {
		for _, t := range s.tables {
			records, err := s.records(ctx, t, privacy.Scope{Tenant: tenant, Person: person})
			if err != nil {
				yield(privacy.Record{}, err)
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

func (s *Store) records(ctx context.Context, t privacy.Table, scope privacy.Scope) ([]privacy.Record, error) {
	joins, where, args, ok := s.where(t, scope)
	if !ok {
		return nil, nil
	}
	columns := exported(t)
	quoted := make([]string, len(columns))
	for i, c := range columns {
		quoted[i] = "t0." + quote(c.Name)
	}
	list := strings.Join(quoted, ", ")
	if j := t.Joint; j != nil {
		owner := "''"
		if j.Owner != "" {
			owner = "t0." + quote(j.Owner)
		}
		others := s.others(t, scope.Person)
		list += ", " + owner + ", " + others.String()
		args = append(others.args, args...)
	}
	query := fmt.Sprintf("SELECT %s FROM %s t0%s WHERE %s ORDER BY %s", list, quote(t.Name), joins, where, strings.Join(quoted[:len(t.Key)], ", "))
	rows, err := s.cfg.DB.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, dbError("export", t.Name, err)
	}
	defer func() { _ = rows.Close() }() // Err has said what there is to say
	var records []privacy.Record
	for rows.Next() {
		r, err := record(rows, t, columns)
		if err != nil {
			return nil, dbError("export", t.Name, err)
		}
		records = append(records, r)
	}
	return records, dbError("export", t.Name, rows.Err())
}

// exported lists key columns, then the columns of the map.
func exported(t privacy.Table) []privacy.Column {
	var columns []privacy.Column
	for _, k := range t.Key {
		c, ok := t.Column(k)
		if !ok {
			c = privacy.Column{Name: k, Joint: true}
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

func record(rows *sql.Rows, t privacy.Table, columns []privacy.Column) (privacy.Record, error) {
	n := len(columns)
	if t.Joint != nil {
		n += 2
	}
	values, pointers := make([]any, n), make([]any, n)
	for i := range values {
		pointers[i] = &values[i]
	}
	if err := rows.Scan(pointers...); err != nil {
		return privacy.Record{}, err
	}
	r := privacy.Record{Table: t.Name, Schema: t.SchemaID()}
	var err error
	if r.Key, err = joinKey(values[:len(t.Key)]); err != nil {
		return privacy.Record{}, err
	}
	shared := false
	if t.Joint != nil {
		r.Owner = asText(values[n-2])
		shared = asText(values[n-1]) != "0"
	}
	for i, c := range columns {
		f := privacy.Field{Name: c.Name, Value: values[i], Sealed: c.Sealed, Withhold: c.Withhold}
		if f.Withhold == "" && shared && !c.Joint && c.Category != "" {
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
func (s *Store) People(ctx context.Context) iter.Seq2[privacy.Person, error] {
	return func(yield func(privacy.Person, error) bool) {
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

func (s *Store) peopleOf(ctx context.Context, t privacy.Table, yield func(privacy.Person, error) bool) bool {
	tenants := []string{s.cfg.Map.Tenant}
	if t.Tenant != "" {
		rows, err := s.cfg.DB.QueryContext(ctx, fmt.Sprintf("SELECT DISTINCT %[1]s FROM %[2]s WHERE %[1]s IS NOT NULL ORDER BY 1", quote(t.Tenant), quote(t.Name)))
		if err == nil {
			tenants, err = texts(rows, "people", t.Name)
		}
		if err != nil {
			return yield(privacy.Person{}, dbError("people", t.Name, err)) && false
		}
	}
	for _, tenant := range tenants {
		var after any
		for more := true; more; {
			persons, last, err := s.personsAfter(ctx, t, tenant, after)
			if err != nil {
				yield(privacy.Person{}, err)
				return false
			}
			for _, p := range persons {
				if !yield(privacy.Person{Tenant: tenant, ID: p}, nil) {
					return false
				}
			}
			after, more = last, len(persons) == page
		}
	}
	return true
}

// personsAfter reads the next page of ids, as text, and the last one as the
// database holds it: numbers come before texts, and those before blobs, so
// that only a value of its own type continues the list.
func (s *Store) personsAfter(ctx context.Context, t privacy.Table, tenant string, after any) (ids []string, last any, err error) {
	column, from := "t0."+quote(t.Person), quote(t.Name)+" t0"
	if j := t.Joint; j != nil {
		column = "l." + quote(j.Person)
		from += fmt.Sprintf(" JOIN %s l ON l.%s = t0.%s", quote(j.Table), quote(j.Record), quote(t.Key[0]))
	}
	text := column
	if s.sqlite {
		text = fmt.Sprintf("CASE typeof(%[1]s) WHEN 'blob' THEN %[1]s ELSE CAST(%[1]s AS TEXT) END", column)
		column += " COLLATE BINARY" // p1 and P1 are two persons
	}
	where := condition{[]string{column + " IS NOT NULL"}, nil}
	if after != nil {
		where = condition{[]string{column + " > ?"}, []any{after}}
	}
	if t.Tenant != "" {
		s.is(&where, "t0."+quote(t.Tenant), tenant)
	}
	query := fmt.Sprintf("SELECT DISTINCT %s, %s FROM %s WHERE %s ORDER BY 1 LIMIT %d", column, text, from, where, page)
	rows, err := s.cfg.DB.QueryContext(ctx, query, where.args...)
	if err != nil {
		return nil, nil, dbError("people", t.Name, err)
	}
	defer func() { _ = rows.Close() }() // Err has said what there is to say
	for rows.Next() {
		var id string
		if err := rows.Scan(&last, &id); err != nil {
			return nil, nil, dbError("people", t.Name, err)
		}
		ids = append(ids, id)
	}
	return ids, last, dbError("people", t.Name, rows.Err())
}

// texts reads a result of one text column.
func texts(rows *sql.Rows, op, table string) ([]string, error) {
	defer func() { _ = rows.Close() }() // Err has said what there is to say
	var list []string
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, dbError(op, table, err)
		}
		list = append(list, text)
	}
	return list, dbError(op, table, rows.Err())
}
