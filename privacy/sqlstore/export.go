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
	found, err := s.find(ctx, s.db, seekers, s.listing(), nil)
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
	var names []string
	for i, name := range e.Key { // as rows are found by it: of an instant the driver makes another
		f := s.at("", e.Name, name)
		text := f.shown()
		if !s.sqlite() {
			text = f.text()
		}
		names = append(names, fmt.Sprintf("%s AS crmguard_key_%d", text, i))
	}
	for _, c := range columns {
		names = append(names, s.quote(c.name))
	}
	byKey := map[string][]*located{}
	for _, l := range rows {
		byKey[l.name()] = append(byKey[l.name()], l)
	}
	where := s.these(rows, scope.Tenant)
	query := fmt.Sprintf("SELECT %s FROM %s WHERE %s ORDER BY %s", strings.Join(names, ", "), s.table(e.Name), where, strings.Join(names[len(e.Key):][:len(e.Key)], ", "))
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
	values, texts = values[len(key):], texts[len(key):]
	r.Key = joinKey(key)
	if len(byKey[r.Key]) == 0 { // nobody knows whose it is
		return r, &KeyError{e.Name}
	}
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
